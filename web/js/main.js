/* main.js: starts the parts in order and owns what belongs to the whole page: keys, the address, the first conversation. */
import { startComposer } from './composer.js';
import { $, fillIcons, isMac, toast } from './dom.js';
import { stopAnswer } from './generate.js';
import { startMachine } from './machine.js';
import { startModels } from './models.js';
import { startPolling } from './poll.js';
import { openSettings, startSettings } from './settings.js';
import { drawer, newChat, startSidebar } from './sidebar.js';
import { app, emit, loadAll, openConv } from './state.js';
import { startThread } from './thread.js';

const linked = () => app.convs.get(/^#c\/(\w+)$/.exec(location.hash)?.[1]) ?? null;

function keys(e) {
  const mod = e.ctrlKey || e.metaKey;
  if (document.querySelector('dialog[open]')) return;
  if (mod && !e.shiftKey && !e.altKey && e.key.toLowerCase() === 'k') newChat();
  else if (mod && e.key === ',') openSettings();
  else if (e.key === 'Escape' && document.body.classList.contains('side-shown')) drawer(false);
  else if (e.key === 'Escape' && app.running.has(app.conv.id)) stopAnswer(app.conv);
  else return;
  e.preventDefault();
}

async function start() {
  fillIcons(document);
  $('new-key').textContent = isMac() ? '⌘ K' : 'Ctrl K';
  const kind = await loadAll();
  startThread();
  startComposer();
  startSidebar();
  startModels();
  startMachine();
  startSettings();
  openConv(linked());
  document.addEventListener('keydown', keys);
  addEventListener('popstate', () => openConv(linked()));
  addEventListener('pagehide', () => emit('hide'));
  document.documentElement.dataset.ready = 'true';
  if (kind === 'memory') toast('This browser stores nothing: conversations end with this tab.');
  await startPolling();
}

start();
