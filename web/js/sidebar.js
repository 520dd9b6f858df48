/* sidebar.js: the list of conversations: search, open, rename, export, delete; on narrow screens a drawer. */
import { $, announce, button, download, h, isNarrow, toast } from './dom.js';
import { confirmBox, promptBox } from './dialogs.js';
import { openMenu } from './menu.js';
import { app, emit, on, openConv, remember, recall, removeConv, save, sortedConvs } from './state.js';

const DAY = 86400000;

function groupOf(time) {
  const today = new Date().setHours(0, 0, 0, 0);
  if (time >= today) return 'Today';
  if (time >= today - DAY) return 'Yesterday';
  if (time >= today - 6 * DAY) return 'This week';
  return new Date(time).toLocaleDateString('en', { month: 'long', year: 'numeric' });
}

/* Every word of the search must occur in the title or in a message. */
function matches(conv, query) {
  if (!query.length) return true;
  const text = [conv.title, ...Object.values(conv.nodes).map((m) => m.content)].join('\n').toLowerCase();
  return query.every((word) => text.includes(word));
}

function row(conv) {
  const link = h('a', {
    class: 'conv-link', href: `#c/${conv.id}`, 'aria-current': app.conv?.id === conv.id ? 'page' : null,
    on: { click: (e) => pick(e, conv) },
  }, app.running.has(conv.id) ? h('span', { class: 'dot busy', role: 'img', 'aria-label': 'answering' }) : null, h('span', { class: 'conv-name' }, conv.title || 'Untitled'));
  const more = button(`More for ${conv.title || 'Untitled'}`, 'dots', () => openMenu(more, 'Conversation', [
    { label: 'Rename', icon: 'edit', run: () => rename(conv) },
    { label: 'Export as JSON', icon: 'save', run: () => exportOne(conv) },
    { label: 'Delete', icon: 'trash', danger: true, run: () => removeOne(conv) },
  ]), { class: 'icon-btn small conv-more', 'aria-haspopup': 'menu', 'aria-expanded': 'false' });
  return h('li', { class: 'conv-row', 'data-id': conv.id }, link, more);
}

function pick(e, conv) {
  if (e.metaKey || e.ctrlKey || e.shiftKey) return;
  e.preventDefault();
  if (isNarrow()) drawer(false);
  openConv(conv);
}

function draw() {
  const query = $('search').value.toLowerCase().split(/\s+/).filter(Boolean);
  const held = document.activeElement?.closest?.('.conv-row')?.dataset.id;
  const nodes = [];
  let group = null;
  for (const conv of sortedConvs().filter((c) => matches(c, query))) {
    const name = groupOf(conv.updated);
    if (group?.name !== name) {
      group = { name, list: h('ul', { class: 'conv-list', 'aria-label': name }) };
      nodes.push(h('h2', { class: 'conv-group' }, name), group.list);
    }
    group.list.append(row(conv));
  }
  if (!nodes.length) nodes.push(h('p', { class: 'conv-none' }, query.length ? 'Nothing found.' : 'Your conversations will gather here.'));
  $('conv-nav').replaceChildren(...nodes);
  if (held) $('conv-nav').querySelector(`[data-id="${CSS.escape(held)}"] .conv-link`)?.focus();
}

async function rename(conv) {
  const title = await promptBox('Rename the conversation', { label: 'Name', value: conv.title, yes: 'Rename' });
  if (!title) return;
  Object.assign(conv, { title, named: true });
  await save(conv, { touch: false });
  emit('convs');
  if (conv === app.conv) emit('thread', { conv });
}

export function exportOne(conv) {
  const name = (conv.title || 'conversation').replace(/[^\p{L}\p{N}]+/gu, '-').slice(0, 40).toLowerCase();
  download(`hearth-${name}.json`, JSON.stringify({ hearth: 1, conversations: [conv] }, null, 1));
}

async function removeOne(conv) {
  if (!await confirmBox('Delete the conversation?', `“${conv.title}” will be gone from this browser.`, 'Delete')) return;
  await removeConv(conv);
  announce('Conversation deleted');
  toast('Conversation deleted', 'Undo', () => save(conv, { touch: false }).then(() => emit('convs')));
  $('new-chat').focus();
}

/* Shows or hides the list: a drawer over the page on narrow screens, a column beside it on wide ones. */
export function drawer(show) {
  const narrow = isNarrow();
  document.body.classList.toggle('side-shown', narrow && show);
  if (!narrow) {
    document.body.classList.toggle('side-folded', !show);
    remember('folded', !show);
  }
  const open = narrow ? show : !document.body.classList.contains('side-folded');
  const held = $('sidebar').contains(document.activeElement);
  $('sidebar').inert = !open;
  document.querySelector('.column').inert = narrow && show;
  $('scrim').hidden = !(narrow && show);
  $('side-open').setAttribute('aria-expanded', String(open));
  if (narrow && show) $('side-close').focus();
  else if (held && !open) $('side-open').focus();
}

export function newChat() {
  if (isNarrow()) drawer(false);
  $('search').value = '';
  openConv(null);
  draw();
  $('ask').focus();
}

export function startSidebar() {
  const isOpen = () => (isNarrow() ? document.body.classList.contains('side-shown') : !document.body.classList.contains('side-folded'));
  $('side-open').addEventListener('click', () => drawer(!isOpen()));
  $('side-close').addEventListener('click', () => drawer(false));
  $('scrim').addEventListener('click', () => drawer(false));
  $('new-chat').addEventListener('click', newChat);
  $('brand').addEventListener('click', (e) => {
    e.preventDefault();
    newChat();
  });
  $('search').addEventListener('input', draw);
  for (const type of ['convs', 'open', 'run']) on(type, draw);
  const settle = () => drawer(!isNarrow() && !recall('folded', false));
  matchMedia('(max-width: 860px)').addEventListener('change', settle);
  settle();
}
