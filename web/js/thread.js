/* thread.js: the visible path of the open conversation: builds the messages, follows a streaming answer, carries out what the
 * user does with a message. */
import { $, announce, calm, h, toast } from './dom.js';
import { generate } from './generate.js';
import { AnswerMessage, UserMessage } from './message.js';
import { enterKey } from './poll.js';
import { Speaker } from './speak.js';
import { app, currentModel, emit, modelInfo, nameConv, on, openConv, save } from './state.js';
import { addMessage, removeMessage, step, visible } from './tree.js';

const NEAR = 90; /* px from the end that still count as "at the end" */
let views = new Map(); /* message id -> view */
let speaker = null;
let pending = 0; /* frame requested for new text */
let rest = 0; /* no drawing before this time: drawing may take a quarter of the time at most */
let stick = true;

const scroller = () => $('scroll');
const atEnd = () => scroller().scrollHeight - scroller().scrollTop - scroller().clientHeight < NEAR;

export function toEnd(smooth = false) {
  scroller().scrollTo({ top: scroller().scrollHeight, behavior: smooth && !calm() ? 'smooth' : 'instant' });
  stick = true;
}

function draw() {
  const { conv } = app;
  const busy = app.running.has(conv.id);
  const path = visible(conv);
  views = new Map();
  for (const msg of path) views.set(msg.id, msg.role === 'user' ? new UserMessage(conv, msg, act, busy) : new AnswerMessage(conv, msg, act, busy));
  const nodes = path.length ? [...views.values()].map((v) => v.node) : [welcome()];
  $('thread').replaceChildren(...nodes);
  $('thread').classList.toggle('empty', !path.length);
  $('conv-title').textContent = conv.title || 'New chat';
  document.title = conv.title ? `${conv.title} · Hearth` : 'Hearth';
}

function greeting() {
  const hour = new Date().getHours();
  if (hour < 5) return 'Still up?';
  return hour < 12 ? 'Good morning.' : hour < 18 ? 'Good afternoon.' : 'Good evening.';
}

const STARTERS = [
  ['Explain', 'Explain how a sourdough starter works, in plain words.'],
  ['Write', 'Write a short, friendly note to ask a neighbour to keep the noise down.'],
  ['Code', 'Write a Python function that groups a list of words by their anagrams.'],
  ['Plan', 'Give me a simple plan for a quiet Sunday, as a list.'],
];
const RAW_STARTERS = [['Continue', 'Once upon a time, in a house at the edge of the forest,'], ['Continue', 'The three things every good morning needs are']];

function welcome() {
  const info = modelInfo(currentModel());
  const raw = info?.chat === false;
  const cards = (raw ? RAW_STARTERS : STARTERS).map(([kind, text]) => h('button', { type: 'button', class: 'starter', on: { click: () => ask(text) } },
    h('span', { class: 'starter-kind' }, kind), h('span', null, text)));
  return h('div', { class: 'welcome' }, h('img', { class: 'welcome-fire', src: '/favicon.svg', alt: '' }), h('p', { class: 'greeting' }, greeting()), h('p', { class: 'welcome-sub', id: 'welcome-sub' }, warmth(info)), h('div', { class: 'starters' }, cards));
}

function warmth(info) {
  if (app.reach === 'down') return 'Hearth is not answering right now.';
  if (!info) return app.status ? 'No model is installed yet. In a terminal: hearth pull smollm2:135m' : '\u00a0';
  const state = { ready: 'is warm and ready.', loading: 'is warming up.' }[info.state] ?? 'is installed and warms up with your first message.';
  return `${info.name} ${state}`;
}

/* Sends a new message at the end of the visible path. */
export function ask(text) {
  const { conv } = app;
  if (app.running.has(conv.id)) return;
  const question = addMessage(conv, visible(conv).at(-1) ?? null, 'user', text);
  nameConv(conv, text);
  stick = true;
  generate(conv, question);
}

async function act(what, msg, value) {
  const { conv } = app;
  if (app.running.has(conv.id)) return;
  const parent = conv.nodes[msg.parent] ?? null;
  if (what === 'retry') generate(conv, parent);
  else if (what === 'key') {
    if (await enterKey()) generate(conv, parent);
  } else if (what === 'edit') {
    stick = true;
    generate(conv, addMessage(conv, parent, 'user', value.trim()));
  } else if (what === 'new') openConv(null);
  else if (what === 'delete') remove(conv, msg);
  else {
    step(conv, msg, what === 'next' ? 1 : -1);
    save(conv, { touch: false });
    draw();
    const now = visible(conv).find((m) => m.parent === msg.parent);
    views.get(now?.id)?.node.querySelector(`[aria-label="${what === 'next' ? 'Next' : 'Previous'} version"]`)?.focus();
  }
}

function remove(conv, msg) {
  const before = structuredClone({ nodes: conv.nodes, kids: conv.kids, sel: conv.sel });
  removeMessage(conv, msg);
  save(conv);
  emit('thread', { conv });
  announce('Deleted');
  $('ask').focus();
  toast('Message deleted', 'Undo', () => {
    Object.assign(conv, before);
    save(conv);
    emit('thread', { conv });
  });
}

/* Draws new text of the streaming message, at most once a frame and less often when drawing is slow. */
function follow(msg) {
  pending = 0;
  const view = views.get(msg.id);
  if (!view) return;
  const now = performance.now();
  if (msg.phase && now < rest) {
    pending = requestAnimationFrame(() => follow(msg));
    return;
  }
  rest = now + 3 * view.update(app.running.has(app.conv.id));
  if (stick) toEnd();
  showJump();
}

function showJump() {
  $('jump').hidden = atEnd() || !visible(app.conv).length;
}

export function startThread() {
  on('open', () => {
    stick = true;
    draw();
    toEnd();
    showJump();
  });
  on('thread', ({ conv }) => {
    if (conv !== app.conv) return;
    draw();
    if (stick) toEnd();
    showJump();
  });
  on('delta', ({ conv, msg }) => {
    if (conv !== app.conv) return;
    speaker?.grow(msg.content);
    pending ||= requestAnimationFrame(() => follow(msg));
  });
  on('run', ({ conv, msg }) => {
    if (conv !== app.conv) return;
    if (app.running.has(conv.id)) speaker = new Speaker();
    else {
      const how = { done: 'Answer finished.', stopped: 'Answer stopped.', error: `Error: ${msg.error?.message ?? ''}` }[msg.state];
      speaker?.end(msg.content, how);
      speaker = null;
      cancelAnimationFrame(pending);
      pending = 0;
      rest = 0;
      draw(); /* the actions of every message are free again */
      if (stick) toEnd();
      showJump();
    }
  });
  for (const type of ['status', 'model']) on(type, freshenWelcome);
  scroller().addEventListener('scroll', () => {
    stick = atEnd();
    showJump();
  }, { passive: true });
  $('jump').addEventListener('click', () => {
    toEnd(true);
    $('ask').focus();
  });
}

/* The greeting follows the model's state; its buttons stay in place unless the kind of model changed. */
function freshenWelcome() {
  const sub = document.getElementById('welcome-sub');
  if (!sub) return;
  const info = modelInfo(currentModel());
  const raw = String(info?.chat === false);
  if ($('thread').dataset.raw !== raw) {
    $('thread').dataset.raw = raw;
    draw();
  } else sub.textContent = warmth(info);
}
