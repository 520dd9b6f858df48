/* machine.js: the machine at a glance: a meter in the top bar, and a panel with models, memory by owner and requests. */
import { unloadModel } from './api.js';
import { $, bytes, h, toast } from './dom.js';
import { load, sorted } from './models.js';
import { refreshStatus } from './poll.js';
import { app, on, recall, remember } from './state.js';

const COLOURS = 6;
const ROWS = 7; /* owners named one by one; the small rest is one row */
const PARTS = { weights: 'weights', kv: 'KV cache', scratch: 'workspace', staging: 'loading buffer', text: 'tokeniser', header: 'names and sizes', program: 'the program itself' };

/* "model/smollm2:135m/kv" -> "smollm2:135m, KV cache" */
function ownerName(path) {
  const parts = path.split('/');
  if (parts[0] === 'model' && parts.length > 1) return [parts[1], PARTS[parts[2]] ?? parts.slice(2).join(' ')].filter(Boolean).join(', ');
  return PARTS[path] ?? parts.join(' ');
}

/* What the machine's own shortage does to us, in one line; nothing when there is none. */
function pressureLine({ ceiling, limit, pressure, machine_left, models_evicted }) {
  if (!pressure || pressure === 'none') return null;
  const gone = models_evicted ? ` ${models_evicted === 1 ? 'A model has' : `${models_evicted} models have`} made way since the start.` : '';
  return h('p', { class: 'fine', id: 'pressure' }, `This machine is short of memory (${bytes(machine_left)} left): ${bytes(limit)} of ${bytes(ceiling)} may be used now.${gone}`);
}

function memoryBox(memory) {
  const { ceiling, used, rss, owners = [] } = memory;
  const limit = Math.min(ceiling, memory.limit ?? ceiling);
  const all = owners.filter((o) => o.bytes > 0).sort((a, b) => b.bytes - a.bytes);
  const rest = all.slice(ROWS);
  const list = all.slice(0, ROWS);
  if (rest.length) list.push({ path: `${rest.length} more`, bytes: rest.reduce((sum, o) => sum + o.bytes, 0) });
  const share = (n) => (ceiling ? (100 * n) / ceiling : 0);
  const bar = h('div', { class: 'mem-bar', role: 'img', 'aria-label': `${bytes(used)} of ${bytes(ceiling)} reserved` });
  const legend = h('ul', { class: 'legend' });
  list.forEach((o, n) => {
    const seg = h('span', { class: `seg c${n % COLOURS}` });
    seg.style.width = `${share(o.bytes)}%`;
    bar.append(seg);
    legend.append(h('li', null, h('span', { class: `swatch c${n % COLOURS}` }), h('span', null, ownerName(o.path)), h('span', { class: 'num' }, bytes(o.bytes))));
  });
  legend.append(h('li', null, h('span', { class: 'swatch free' }), h('span', null, limit < ceiling ? 'free now' : 'free under the ceiling'), h('span', { class: 'num' }, bytes(Math.max(0, limit - used)))));
  return h('div', { class: 'card' }, h('h3', null, 'Memory'),
    h('p', { class: 'big' }, bytes(used), h('span', null, ` of ${bytes(ceiling)}`)), bar, legend, pressureLine(memory),
    rss ? h('p', { class: 'fine' }, `The process holds ${bytes(rss)} in all.`) : null);
}

function modelRow(m) {
  const keep = m.keep_alive > 0 ? `stays ${m.keep_alive < 120 ? `${m.keep_alive} s` : `${Math.round(m.keep_alive / 60)} min`} when idle` : null;
  const facts = [m.waiting ? 'waits for memory' : null, m.family, m.quant, m.bytes ? bytes(m.bytes) : null, m.n_ctx ? `${Math.round(m.n_ctx / 1024)}k context` : null, keep].filter(Boolean).join(' · ');
  const busy = m.state === 'loading' || m.state === 'unloading';
  const act = async () => {
    if (m.state !== 'ready') return load(m.name);
    await unloadModel(m.name).catch((e) => toast(e.message));
    return refreshStatus();
  };
  const verb = m.state === 'ready' ? 'Unload' : 'Load';
  return h('li', { class: 'model-row', 'data-model': m.name }, h('span', { class: `dot ${m.state}` }),
    h('span', { class: 'model-facts' }, h('strong', null, m.name), h('span', null, facts)),
    busy ? h('progress', { max: '1', value: m.progress || null, 'aria-label': `${m.name} is ${m.state}` })
      : h('button', { type: 'button', class: 'btn small', 'aria-label': `${verb} ${m.name}`, disabled: m.running > 0, on: { click: act } }, m.running > 0 ? 'Answering' : verb));
}

function cacheLine({ bytes: held = 0, hit_tokens: hit = 0, missed_tokens: missed = 0 }, { preempted = 0, refused = 0 }) {
  const share = hit + missed ? `${Math.round((100 * hit) / (hit + missed))} % of prompt tokens found` : 'nothing looked up yet';
  return `Prefix cache: ${bytes(held)}, ${share}. ${preempted} preempted, ${refused} refused.`;
}

function requestsBox({ requests = {}, speed = {}, totals = {}, prefix_cache: cache = {}, uptime_s, version }) {
  const fact = (value, label) => h('div', { class: 'fact' }, h('span', { class: 'big' }, value), h('span', null, label));
  const rate = speed.tokens_per_s || speed.last_tokens_per_s;
  const up = uptime_s > 5400 ? `${(uptime_s / 3600).toFixed(1)} h` : `${Math.round(uptime_s / 60)} min`;
  return h('div', { class: 'card' }, h('h3', null, 'Requests'),
    h('div', { class: 'facts' }, fact(String(requests.running ?? 0), 'running'), fact(String(requests.waiting ?? 0), 'waiting'),
      fact(rate ? rate.toFixed(1) : '–', 'tokens/s')),
    h('p', { class: 'fine' }, cacheLine(cache, totals)),
    h('p', { class: 'fine' }, `Hearth ${version ?? ''}, up for ${up}, ${(totals.output_tokens ?? 0).toLocaleString('en')} tokens written.`));
}

function drawPanel() {
  const box = $('machine');
  if (box.hidden || !app.status) return;
  const held = document.activeElement?.closest?.('.model-row')?.dataset.model;
  box.replaceChildren(memoryBox(app.status.memory ?? {}),
    h('div', { class: 'card' }, h('h3', null, 'Models'), h('ul', { class: 'model-list' }, sorted().map(modelRow))), requestsBox(app.status));
  if (held) box.querySelector(`[data-model="${CSS.escape(held)}"] button`)?.focus();
}

function drawMeter() {
  const { memory, requests } = app.status ?? {};
  if (!memory) return;
  const share = memory.ceiling ? memory.used / memory.ceiling : 0;
  $('mini-fill').style.width = `${Math.min(100, 100 * share)}%`;
  $('mini-fill').classList.toggle('full', share > 0.9);
  const active = (requests?.running ?? 0) + (requests?.waiting ?? 0);
  const text = `${bytes(memory.used)} of ${bytes(memory.ceiling)}${active ? ` · ${active} active` : ''}`;
  $('meter-text').textContent = text;
  $('meter-btn').setAttribute('aria-label', `Machine: ${text}`);
}

function show(open) {
  $('machine').hidden = !open;
  $('meter-btn').setAttribute('aria-expanded', String(open));
  remember('machine', open);
  drawPanel();
}

export function startMachine() {
  $('meter-btn').addEventListener('click', () => show($('machine').hidden));
  on('status', () => {
    drawMeter();
    drawPanel();
  });
  show(recall('machine', false) && innerHeight > 700);
}
