/* state.js: what the page knows: conversations, the open one, the server's status, defaults. Views listen to its events and
 * never to each other:
 *   convs   the list changed           open    another conversation is open       thread {conv}      its messages changed
 *   delta {conv, msg}  text arrived    run {conv}  an answer began or ended       status             the server's state arrived
 *   model   another model was chosen */
import { openStore } from './db.js';
import { newConv, titleFrom, wellFormed } from './tree.js';

const bus = new EventTarget();
export const emit = (type, detail = {}) => bus.dispatchEvent(new CustomEvent(type, { detail }));
export const on = (type, fn) => bus.addEventListener(type, (e) => fn(e.detail));

export const NO_SETTINGS = { system: '', temperature: null, max_tokens: null, seed: null };

export const app = {
  convs: new Map(),
  conv: null, /* the open one; may be new and not yet stored */
  status: null, /* last /api/status */
  reach: 'unknown', /* unknown | ok | down | key */
  running: new Map(), /* conversation id -> AbortController of its answer */
};

let store;
const channel = 'BroadcastChannel' in self ? new BroadcastChannel('hearth') : null;

export function remember(name, value) {
  try {
    localStorage.setItem(`hearth.${name}`, JSON.stringify(value));
  } catch {
    /* only a convenience */
  }
}

export function recall(name, fallback) {
  try {
    return JSON.parse(localStorage.getItem(`hearth.${name}`)) ?? fallback;
  } catch {
    return fallback;
  }
}

export async function loadAll() {
  store = await openStore();
  for (const conv of await store.all()) {
    if (!wellFormed(conv)) continue;
    for (const msg of Object.values(conv.nodes)) delete msg.phase; /* an answer whose page went away is not being written */
    app.convs.set(conv.id, conv);
  }
  channel?.addEventListener('message', async ({ data }) => {
    if (app.running.has(data.id)) return;
    const conv = await store.get(data.id);
    if (conv) app.convs.set(data.id, conv);
    else app.convs.delete(data.id);
    emit('convs');
    if (app.conv?.id === data.id && conv) {
      app.conv = conv;
      emit('thread', { conv });
    }
  });
  return store.kind;
}

/* Stores a conversation; a failure (disk full, quota) is told once per call by the returned false. */
export async function save(conv, { touch = true } = {}) {
  if (touch) conv.updated = Date.now();
  const known = app.convs.has(conv.id);
  app.convs.set(conv.id, conv);
  if (!known || touch) emit('convs');
  try {
    await store.put(conv);
    channel?.postMessage({ id: conv.id });
    return true;
  } catch {
    return false;
  }
}

export async function removeConv(conv) {
  app.running.get(conv.id)?.abort();
  app.convs.delete(conv.id);
  if (app.conv?.id === conv.id) openConv(null);
  emit('convs');
  await store.remove(conv.id).catch(() => {});
  channel?.postMessage({ id: conv.id });
}

/* Opens a stored conversation, or a new one (null). */
export function openConv(conv) {
  app.conv = conv ?? newConv({ ...NO_SETTINGS, ...recall('defaults', {}) });
  const hash = conv ? `#c/${conv.id}` : '';
  if (location.hash !== hash) history.pushState(null, '', location.pathname + hash);
  emit('open');
}

/* The first message makes a new conversation a stored one. */
export function nameConv(conv, text) {
  if (!conv.named && !conv.title) conv.title = titleFrom(text);
  if (app.conv === conv && !location.hash) history.replaceState(null, '', `${location.pathname}#c/${conv.id}`);
}

export function sortedConvs() {
  return [...app.convs.values()].sort((a, b) => b.updated - a.updated);
}

export const models = () => app.status?.models ?? [];
export const modelInfo = (name) => models().find((m) => m.name === name) ?? null;

/* The model the open conversation would use now: its own, else the last one chosen, else the server's default. */
export function currentModel() {
  const names = models().map((m) => m.name);
  const wanted = [app.conv?.model, recall('model', ''), app.status?.default_model].filter(Boolean);
  return wanted.find((n) => names.includes(n)) ?? wanted[0] ?? names[0] ?? '';
}

export function chooseModel(name) {
  app.conv.model = name;
  remember('model', name);
  if (app.convs.has(app.conv.id)) save(app.conv, { touch: false });
  emit('model');
}
