/* poll.js: asks /api/status every two seconds while the page is seen (more often while a model loads), and asks for the key. */
import { getStatus, setKey } from './api.js';
import { askKey } from './dialogs.js';
import { app, emit } from './state.js';

const CALM = 2000;
const LOADING = 500;
let timer = 0;
let flying = null;

async function once() {
  try {
    app.status = await getStatus();
    app.reach = 'ok';
  } catch (e) {
    app.reach = e.status === 401 ? 'key' : e.status ? 'ok' : 'down';
  }
  emit('status');
}

function plan() {
  clearTimeout(timer);
  if (document.hidden || app.reach === 'key') return;
  const loading = app.status?.models?.some((m) => m.state === 'loading');
  timer = setTimeout(tick, loading ? LOADING : CALM);
}

async function tick() {
  await refreshStatus();
}

/* One request at a time, whoever asks. */
export async function refreshStatus() {
  flying ??= once().finally(() => {
    flying = null;
    plan();
  });
  return flying;
}

/* Asks for the API key until one works or the user gives up. True: the server now answers. */
export async function enterKey() {
  let wrong = false;
  for (;;) {
    const key = await askKey(wrong);
    if (key === null) return false;
    setKey(key);
    await refreshStatus();
    if (app.reach !== 'key') return true;
    wrong = true;
  }
}

export async function startPolling() {
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) {
      clearTimeout(timer);
      emit('hide');
    } else refreshStatus();
  });
  await refreshStatus();
  if (app.reach === 'key') await enterKey();
}
