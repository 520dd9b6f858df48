/* models.js: the model chooser at the top, and the banner that tells when the server cannot be reached. */
import { loadModel } from './api.js';
import { $, bytes, h, toast } from './dom.js';
import { openMenu } from './menu.js';
import { enterKey, refreshStatus } from './poll.js';
import { app, chooseModel, currentModel, modelInfo, models, on } from './state.js';

const STATES = { ready: 'in memory', loading: 'loading', unloading: 'leaving memory', installed: 'on disk' };
const ORDER = { ready: 0, loading: 1, unloading: 2, installed: 3 };

export const sorted = () => [...models()].sort((a, b) => (ORDER[a.state] ?? 3) - (ORDER[b.state] ?? 3) || a.name.localeCompare(b.name));

/* Loads a model and tells what happened; the status poll shows the progress. */
export async function load(name) {
  const request = loadModel(name).then(() => null, (e) => e);
  setTimeout(refreshStatus, 120);
  const error = await request;
  await refreshStatus();
  if (error) toast(error.message);
}

function choose() {
  const now = currentModel();
  const item = (m) => ({
    label: m.name,
    note: [m.quant, bytes(m.bytes), m.chat === false ? 'base model' : null].filter(Boolean).join(' · '),
    mark: h('span', { class: `dot ${m.state}` }), checked: m.name === now,
    run: () => {
      chooseModel(m.name);
      if (m.state === 'installed') load(m.name);
      $('ask').focus();
    },
  });
  const list = sorted();
  const warm = list.filter((m) => m.state !== 'installed');
  const cold = list.filter((m) => m.state === 'installed');
  const items = [];
  if (warm.length) items.push({ heading: 'In memory' }, ...warm.map(item));
  if (cold.length) items.push({ heading: 'On disk' }, ...cold.map(item));
  if (!items.length) items.push({ heading: 'No model is installed. In a terminal: hearth pull smollm2:135m' });
  openMenu($('model-btn'), 'Models', items);
}

function show() {
  const name = currentModel();
  const info = modelInfo(name);
  const state = info?.state ?? 'unknown';
  const percent = state === 'loading' && info.progress ? ` ${Math.round(info.progress * 100)} %` : '';
  $('model-name').textContent = (name || (app.status || app.reach === 'down' ? 'No model' : '…')) + percent;
  $('model-dot').className = `dot ${state}`;
  $('model-btn').title = info ? `${name}, ${STATES[state] ?? state}` : name;
}

function banner() {
  const box = $('banner');
  const kind = app.reach;
  box.hidden = kind !== 'down' && kind !== 'key';
  if (box.dataset.kind === kind) return;
  box.dataset.kind = kind;
  if (kind === 'down') box.replaceChildren(h('span', null, 'Hearth does not answer. Is `hearth up` running? This page keeps trying.'));
  else if (kind === 'key') {
    box.replaceChildren(h('span', null, 'This Hearth asks for a key.'), h('button', { type: 'button', class: 'text-btn', on: { click: enterKey } }, 'Enter it'));
  } else box.replaceChildren();
}

export function startModels() {
  $('model-btn').addEventListener('click', choose);
  for (const type of ['status', 'model', 'open']) on(type, show);
  on('status', banner);
}
