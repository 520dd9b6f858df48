/* generate.js: one answer from question to last token: makes sure the model is loaded, streams, measures, stores.
 * Owns the life of an assistant message: waiting -> streaming -> done | stopped | error. No DOM. */
import { ApiError, complete, loadModel } from './api.js';
import { refreshStatus } from './poll.js';
import { app, currentModel, emit, modelInfo, on, save } from './state.js';
import { addMessage, ancestry } from './tree.js';

const SAVE_EVERY = 2000; /* ms between saves while streaming: a closed tab loses at most this much */

const sleep = (ms, signal) => new Promise((resolve, reject) => {
  const timer = setTimeout(resolve, ms);
  signal.addEventListener('abort', () => {
    clearTimeout(timer);
    reject(new DOMException('stopped', 'AbortError'));
  }, { once: true });
});

/* Loads the model when it is only installed, and waits until it is ready; msg.progress tells the view. */
async function ensureLoaded(conv, msg, signal) {
  const state = () => modelInfo(msg.model)?.state;
  if (!state() || state() === 'ready') return;
  let failed = null;
  let settled = state() === 'loading';
  if (!settled) {
    loadModel(msg.model, signal).catch((e) => {
      failed = e;
    }).finally(() => {
      settled = true;
    });
  }
  msg.phase = 'loading';
  while (!failed) {
    await refreshStatus();
    if (state() === 'ready' || (settled && state() !== 'loading')) break;
    msg.progress = modelInfo(msg.model)?.progress ?? null;
    emit('delta', { conv, msg });
    await sleep(400, signal);
  }
  if (failed) throw failed;
}

/* Base models have no chat template: they get the visible text as it is and continue it. */
function rawPrompt(turns) {
  let text = '';
  for (const m of turns) {
    if (m.role === 'user' && text && !text.endsWith('\n')) text += '\n';
    text += m.content;
  }
  return text;
}

function buildRequest(conv, msg) {
  const turns = ancestry(conv, msg).slice(0, -1).filter((m) => m.content);
  const { system, temperature, max_tokens, seed } = conv.settings;
  const body = { model: msg.model };
  for (const [name, value] of Object.entries({ temperature, max_tokens, seed })) if (value !== null && value !== undefined) body[name] = value;
  if (modelInfo(msg.model)?.chat === false) {
    msg.raw = true;
    /* the API's own default for completions is a few words; a page wants a passage */
    return ['/v1/completions', { max_tokens: 256, ...body, prompt: rawPrompt(turns) }];
  }
  const messages = turns.map(({ role, content }) => ({ role, content }));
  if (system) messages.unshift({ role: 'system', content: system });
  return ['/v1/chat/completions', { ...body, messages }];
}

async function stream(conv, msg, signal) {
  const [path, body] = buildRequest(conv, msg);
  const t0 = performance.now();
  let first = 0;
  let last = 0;
  let chunks = 0;
  let saved = t0;
  msg.phase = 'waiting';
  emit('delta', { conv, msg });
  for await (const part of complete(path, body, signal)) {
    const now = performance.now();
    if (part.text || part.reasoning) {
      first ||= now;
      last = now;
      chunks++;
      msg.phase = part.text ? 'writing' : 'thinking';
      msg.content += part.text;
      if (part.reasoning) msg.reasoning = (msg.reasoning ?? '') + part.reasoning;
    }
    if (part.finish) msg.finish = part.finish;
    if (part.usage) msg.usage = part.usage;
    if (part.timings) msg.timings = part.timings;
    msg.stats = stats(msg, t0, first, last, chunks);
    emit('delta', { conv, msg });
    if (now - saved > SAVE_EVERY) {
      saved = now;
      save(conv, { touch: false });
    }
  }
}

/* Tokens per second: the engine's own number when it sent one, else what arrived here. */
function stats(msg, t0, first, last, chunks) {
  const tokens = msg.usage?.completion_tokens ?? chunks;
  const here = last > first ? ((tokens - 1) * 1000) / (last - first) : null;
  return { ttft: first ? first - t0 : null, tokens, rate: msg.timings?.predicted_per_second ?? here };
}

/* Answers `question` (a user message) with the conversation's model; resolves when the answer has ended in any way. */
export async function generate(conv, question) {
  if (app.running.has(conv.id)) return;
  const msg = addMessage(conv, question, 'assistant', '', { model: currentModel(), state: 'streaming', phase: 'waiting' });
  conv.model = msg.model;
  const stop = new AbortController();
  app.running.set(conv.id, stop);
  save(conv);
  emit('thread', { conv });
  emit('run', { conv, msg });
  try {
    if (!msg.model) { // asked before the page knew the models
      await refreshStatus();
      msg.model = conv.model = currentModel();
    }
    if (!msg.model) throw new ApiError('No model is installed yet.', { code: 'no_model' });
    await ensureLoaded(conv, msg, stop.signal);
    await stream(conv, msg, stop.signal);
    msg.state = 'done';
  } catch (e) {
    msg.state = stop.signal.aborted ? 'stopped' : 'error';
    if (!stop.signal.aborted) msg.error = { message: e.message, status: e.status ?? 0, code: e.code ?? '', type: e.type ?? '', retryAfter: e.retryAfter ?? 0 };
  }
  delete msg.phase;
  delete msg.progress;
  app.running.delete(conv.id);
  if (app.convs.has(conv.id)) save(conv);
  emit('delta', { conv, msg });
  emit('run', { conv, msg });
  refreshStatus();
}

export const stopAnswer = (conv) => app.running.get(conv.id)?.abort();

/* A tab that closes in the middle keeps what it has. */
on('hide', () => {
  for (const id of app.running.keys()) save(app.convs.get(id), { touch: false });
});
