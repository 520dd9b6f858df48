/* settings.js: the panel with this conversation's settings, the appearance and the browser's data. */
import { $, download, h, isMac, toast } from './dom.js';
import { confirmBox, modal } from './dialogs.js';
import { icon } from './icons.js';
import { app, emit, NO_SETTINGS, on, openConv, remember, removeConv, save, sortedConvs } from './state.js';
import { wellFormed } from './tree.js';

const THEMES = [['auto', 'System', 'auto'], ['light', 'Light', 'sun'], ['dark', 'Dark', 'moon']];

const themeNow = () => document.documentElement.dataset.theme ?? 'auto';

function setTheme(theme) {
  if (theme === 'auto') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  try {
    localStorage.setItem('hearth.theme', theme);
  } catch {
    /* lasts for this visit only */
  }
  showTheme();
}

function showTheme() {
  const [, label, name] = THEMES.find(([t]) => t === themeNow());
  $('theme-btn').replaceChildren(icon(name), h('span', null, `${label} appearance`));
  $('theme-btn').setAttribute('aria-label', `Appearance: ${label}. Change`);
}

const field = (label, help, control) => h('div', { class: 'field' }, h('label', { for: control.id }, label), control, help ? h('p', { class: 'fine', id: `${control.id}-help` }, help) : null);

function change(name, value) {
  app.conv.settings[name] = value;
  if (app.convs.has(app.conv.id)) save(app.conv, { touch: false });
}

function numberField(name, label, help, attrs) {
  const input = h('input', {
    type: 'number', id: `set-${name}`, value: app.conv.settings[name] ?? '', placeholder: 'Default', inputmode: 'decimal', 'aria-describedby': `set-${name}-help`, ...attrs,
    on: { input: () => {
      const n = input.value === '' ? null : Number(input.value);
      input.setCustomValidity(input.validity.rangeUnderflow || input.validity.rangeOverflow ? `Between ${attrs.min} and ${attrs.max}` : '');
      if (n === null || (Number.isFinite(n) && n >= attrs.min && n <= attrs.max)) change(name, n);
    } },
  });
  return field(label, help, input);
}

function temperatureField() {
  const out = h('output', { for: 'set-temperature' });
  const range = h('input', { type: 'range', id: 'set-temperature', min: '0', max: '2', step: '0.1', 'aria-describedby': 'set-temperature-help', on: { input: () => write(Number(range.value)) } });
  const reset = h('button', { type: 'button', class: 'text-btn', on: { click: () => write(null) } }, 'Default');
  function write(value, store = true) {
    if (store) change('temperature', value);
    range.value = value ?? 0.8;
    range.classList.toggle('unset', value === null);
    out.textContent = value === null ? 'default' : value.toFixed(1);
    reset.hidden = value === null;
  }
  write(app.conv.settings.temperature, false);
  return h('div', { class: 'field' }, h('div', { class: 'row-between' }, h('label', { for: 'set-temperature' }, 'Temperature'), h('span', { class: 'row' }, reset, out)),
    range, h('p', { class: 'fine', id: 'set-temperature-help' }, '0 repeats itself exactly; higher is livelier.'));
}

function themeField() {
  const pick = ([theme, label, name]) => h('label', { class: 'seg-choice' },
    h('input', { type: 'radio', name: 'theme', value: theme, checked: themeNow() === theme, on: { change: () => setTheme(theme) } }), icon(name), h('span', null, label));
  return h('fieldset', { class: 'segmented' }, h('legend', null, 'Appearance'), THEMES.map(pick));
}

/* What is taken from a file: texts and links of the tree, nothing the views would have to distrust. */
function plain(conv) {
  const number = (x, other) => (Number.isFinite(x) ? x : other);
  const nodes = {};
  for (const { id, parent, role, content, model, time, kids, sel, raw } of Object.values(conv.nodes)) {
    nodes[id] = { id, parent, role, content, model: String(model ?? ''), time: number(time, 0), kids, sel: number(sel, 0), raw: Boolean(raw), state: 'done' };
  }
  const { id, title, kids } = conv;
  return { v: 1, id, title, named: true, created: number(conv.created, 0), updated: number(conv.updated, 0), model: String(conv.model ?? ''), settings: { ...NO_SETTINGS }, nodes, kids, sel: number(conv.sel, 0) };
}

async function importFile(file) {
  try {
    const data = JSON.parse(await file.text());
    const list = (data.conversations ?? []).filter(wellFormed).map(plain);
    for (const conv of list) await save(conv, { touch: false });
    emit('convs');
    toast(list.length ? `${list.length} conversation${list.length === 1 ? '' : 's'} imported` : 'The file holds no conversation of Hearth.');
  } catch {
    toast('The file is not an export of Hearth.');
  }
}

function dataField(finish) {
  const file = h('input', { type: 'file', accept: 'application/json,.json', class: 'sr', tabindex: '-1', 'aria-hidden': 'true', on: { change: () => file.files[0] && importFile(file.files[0]) } });
  const exportAll = () => download('hearth-conversations.json', JSON.stringify({ hearth: 1, conversations: sortedConvs() }, null, 1));
  const removeAll = async () => {
    finish(null);
    const n = app.convs.size;
    if (!n || !await confirmBox('Delete every conversation?', `${n} conversation${n === 1 ? '' : 's'} will be gone from this browser. There is no undo; export them first if in doubt.`, 'Delete all')) return;
    for (const conv of sortedConvs()) await removeConv(conv);
    openConv(null);
  };
  const btn = (label, click, more = '') => h('button', { type: 'button', class: `btn ${more}`, on: { click } }, label);
  return h('div', { class: 'field' }, h('h3', null, 'Conversations'), h('p', { class: 'fine' }, 'They are kept in this browser only.'),
    h('div', { class: 'row wrap' }, btn('Export all', exportAll), btn('Import', () => file.click()), btn('Delete all', removeAll, 'danger'), file));
}

function shortcuts() {
  const mod = isMac() ? '⌘' : 'Ctrl';
  const rows = [['Enter', 'send'], ['Shift + Enter', 'new line'], ['Esc', 'stop the answer'], [`${mod} + K`, 'new chat'], ['↑', 'edit your last message'], [`${mod} + ,`, 'settings']];
  return h('div', { class: 'field' }, h('h3', null, 'Keys'), h('dl', { class: 'keys-list' }, rows.flatMap(([k, what]) => [h('dt', null, h('kbd', null, k)), h('dd', null, what)])));
}

export function openSettings() {
  const s = app.conv.settings;
  modal('Settings', 'drawer', (finish) => {
    const system = h('textarea', { id: 'set-system', rows: '4', value: s.system ?? '', placeholder: 'You are a helpful assistant who answers briefly.', on: { input: () => change('system', system.value) } });
    const keep = h('button', { type: 'button', class: 'btn', on: { click: () => {
      remember('defaults', app.conv.settings);
      toast('New chats will start with these settings');
    } } }, 'Use for new chats');
    return [
      h('div', { class: 'drawer-head' }, h('h2', null, 'Settings'), h('button', { type: 'button', class: 'icon-btn', 'aria-label': 'Close the settings', on: { click: () => finish(null) } }, icon('close'))),
      h('h3', null, 'This conversation'),
      field('System prompt', 'Who the model is and how it should answer. Base models ignore it.', system),
      temperatureField(),
      numberField('max_tokens', 'Longest answer, in tokens', 'Empty: as long as the context allows.', { min: '1', max: '1000000', step: '1' }),
      numberField('seed', 'Seed', 'The same seed gives the same answer, every time.', { min: '0', max: '4294967295', step: '1' }),
      h('div', { class: 'row' }, keep), h('hr'), themeField(), h('hr'), dataField(finish), h('hr'), shortcuts(),
    ];
  });
}

export function startSettings() {
  $('settings-btn').addEventListener('click', openSettings);
  $('theme-btn').addEventListener('click', () => {
    const order = THEMES.map(([t]) => t);
    setTheme(order[(order.indexOf(themeNow()) + 1) % order.length]);
  });
  on('open', () => {
    app.conv.settings = { ...NO_SETTINGS, ...app.conv.settings };
  });
  showTheme();
}
