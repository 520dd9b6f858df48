/* message.js: how one message looks and what can be done with it. The thread owns when it is built and what the actions do. */
import { button, copyButton, h, isComposing, seconds } from './dom.js';
import { icon } from './icons.js';
import { MarkdownView } from './markdown.js';
import { siblings } from './tree.js';

const one = (x) => (x >= 100 ? Math.round(x) : x.toFixed(1));

/* "50.2 tokens/s · first token 0.2 s · 184 tokens", with the details as a tooltip. */
function statsLine(msg) {
  const s = msg.stats;
  if (!s?.tokens) return null;
  const t = msg.timings;
  const parts = [];
  if (s.rate) parts.push(h('span', { class: 'rate' }, `${one(s.rate)} tokens/s`));
  if (s.ttft !== null) parts.push(h('span', null, `first token ${seconds(s.ttft)}`));
  parts.push(h('span', null, `${s.tokens} token${s.tokens === 1 ? '' : 's'}`));
  const detail = t ? `Prompt: ${t.prompt_n} tokens in ${seconds(t.prompt_ms ?? 0)}; queue: ${seconds(t.queue_ms ?? 0)}; answer: ${t.predicted_n} tokens in ${seconds(t.predicted_ms ?? 0)}` : null;
  return h('span', { class: 'stats', title: detail }, parts);
}

/* What went wrong, in the server's words, and what to do next. */
function nextStep(error) {
  const { code, status } = error;
  if (code === 'unreachable') return 'Is `hearth up` still running in its terminal? Start it again, then retry; this conversation is safe in the browser.';
  if (code === 'broken_stream') return 'What arrived is kept above. Retry to ask again.';
  if (code === 'no_model') return 'Install one in a terminal: hearth pull smollm2:135m';
  if (status === 401) return 'Enter the key the server was started with, then retry.';
  if (code === 'context_length_exceeded') return 'Start a new chat, delete earlier messages, or ask for fewer tokens in the settings.';
  if (status === 404) return 'Choose another model at the top, or install it with hearth pull.';
  if (code === 'insufficient_memory') return 'Unload a model in the machine panel, or choose a smaller one.';
  if (code === 'bad_model_file') return 'Check the file in a terminal: hearth pull --verify, or choose another model.';
  if (status === 429 || status === 503) return error.retryAfter ? `The server is busy. It asks for a pause of ${error.retryAfter} s.` : 'The server is busy. Wait a moment, then retry.';
  if (status >= 500) return 'The terminal of hearth up may say more. Retry, or choose another model.';
  return 'Change the message or the settings, then retry.';
}

function errorCard(msg, act) {
  const e = msg.error;
  const key = e.status === 401;
  return h('div', { class: 'error-card', role: 'alert' }, icon('warn'),
    h('div', null, h('p', { class: 'error-cause' }, e.message), h('p', { class: 'error-next' }, nextStep(e)),
      h('div', { class: 'row' },
        h('button', { type: 'button', class: 'btn', on: { click: () => act(key ? 'key' : 'retry', msg) } }, key ? 'Enter the key' : 'Retry'),
        e.code === 'context_length_exceeded' ? h('button', { type: 'button', class: 'btn', on: { click: () => act('new', msg) } }, 'New chat') : null)));
}

function switcher(conv, msg, act, busy) {
  const { index, count } = siblings(conv, msg);
  if (count < 2) return null;
  const prev = button('Previous version', 'left', () => act('prev', msg), { disabled: busy || index === 0, class: 'icon-btn small' });
  const next = button('Next version', 'right', () => act('next', msg), { disabled: busy || index === count - 1, class: 'icon-btn small' });
  return h('span', { class: 'switcher', role: 'group', 'aria-label': 'Versions' }, prev, h('span', { class: 'count' }, `${index + 1} / ${count}`), next);
}

const small = { class: 'icon-btn small' };

export class UserMessage {
  constructor(conv, msg, act, busy) {
    Object.assign(this, { msg, act });
    this.text = h('div', { class: 'bubble' }, msg.content);
    this.bar = h('div', { class: 'actions' }, switcher(conv, msg, act, busy), copyButton('Copy message', () => msg.content, small),
      button('Edit and send again', 'edit', () => this.edit(), { ...small, disabled: busy, 'data-act': 'edit' }),
      button('Delete from here on', 'trash', () => act('delete', msg), { ...small, disabled: busy, 'data-act': 'delete' }));
    this.node = h('article', { class: 'msg user', 'data-id': msg.id, 'aria-label': 'You' }, h('h2', { class: 'sr' }, 'You'), this.text, this.bar);
  }

  edit() {
    const area = h('textarea', { 'aria-label': 'Edit your message', value: this.msg.content, rows: '2' });
    const stop = () => {
      form.replaceWith(this.text);
      this.bar.hidden = false;
      this.bar.querySelector('[data-act=edit]').focus();
    };
    const submit = (e) => {
      e.preventDefault();
      if (area.value.trim()) this.act('edit', this.msg, area.value);
    };
    const keydown = (e) => {
      if (e.key === 'Escape') {
        e.stopPropagation();
        stop();
      } else if (e.key === 'Enter' && !e.shiftKey && !isComposing(e)) submit(e);
    };
    const form = h('form', { class: 'edit-box', on: { submit, keydown } }, area,
      h('div', { class: 'row-end' }, h('button', { type: 'button', class: 'btn', on: { click: stop } }, 'Cancel'), h('button', { type: 'submit', class: 'btn primary' }, 'Send')));
    this.text.replaceWith(form);
    this.bar.hidden = true;
    area.focus();
    area.setSelectionRange(area.value.length, area.value.length);
  }
}

const PHASES = { waiting: 'Reading your message', thinking: 'Thinking', writing: 'Writing' };

export class AnswerMessage {
  constructor(conv, msg, act, busy) {
    Object.assign(this, { conv, msg, act });
    this.prose = h('div', { class: 'prose' });
    this.view = new MarkdownView(this.prose);
    this.thought = null;
    this.extra = h('div');
    this.foot = h('div', { class: 'foot' });
    this.node = h('article', { class: 'msg answer', 'data-id': msg.id, 'aria-label': `Answer from ${msg.model}` },
      h('h2', { class: 'sr' }, `Answer from ${msg.model}`), this.prose, this.extra, this.foot);
    this.update(busy);
  }

  /* Draws the message as it is now. Returns the time it took, so that the thread can pace itself. */
  update(busy) {
    const t0 = performance.now();
    const { msg } = this;
    const live = msg.state === 'streaming' && Boolean(msg.phase);
    this.node.classList.toggle('live', live);
    this.node.setAttribute('aria-busy', String(live));
    if (msg.reasoning) this.drawThought(live && !msg.content);
    this.prose.classList.toggle('raw', Boolean(msg.raw));
    if (msg.raw) this.prose.textContent = msg.content; /* a base model's text is no Markdown */
    else this.view.set(msg.content, live);
    if (live) this.drawLive();
    else this.drawEnd(busy);
    return performance.now() - t0;
  }

  drawThought(open) {
    if (!this.thought) {
      this.thought = h('details', { class: 'thought' }, h('summary', null, 'Thoughts'), h('div', { class: 'thought-text' }));
      this.prose.before(this.thought);
    }
    this.thought.open = open || (this.thought.open && this.msg.state === 'streaming');
    this.thought.lastChild.textContent = this.msg.reasoning;
  }

  drawLive() {
    const { msg } = this;
    const rate = msg.stats?.rate;
    const load = msg.phase === 'loading';
    const label = load ? `Warming up ${msg.model}${msg.progress ? ` · ${Math.round(msg.progress * 100)} %` : ''}` : PHASES[msg.phase] ?? 'Working';
    const text = msg.phase === 'writing' && rate ? `${label} · ${one(rate)} tokens/s` : label;
    if (!this.pulse) {
      this.pulse = h('span', { class: 'pulse' });
      this.bar = h('progress', { class: 'load-bar', max: '1', 'aria-label': 'Loading the model' });
      this.extra.replaceChildren(h('div', { class: 'live-line' }, h('span', { class: 'embers', 'aria-hidden': 'true' }, h('i'), h('i'), h('i')), this.pulse), this.bar);
    }
    if (this.pulse.textContent !== text) this.pulse.textContent = text;
    this.bar.hidden = !load;
    if (load && msg.progress) this.bar.value = msg.progress;
  }

  drawEnd(busy) {
    const { msg, act } = this;
    this.pulse = null;
    const notes = { stopped: 'You stopped this answer.', streaming: 'This answer was interrupted.' };
    const note = notes[msg.state] ?? (msg.finish === 'length' ? 'The answer reached its token limit. Raise “Longest answer” in the settings for more.' : null);
    this.extra.replaceChildren(...[msg.error && errorCard(msg, act), note && h('p', { class: 'end-note' }, note),
      !msg.content && msg.state === 'done' && h('p', { class: 'end-note' }, 'The model ended its answer without a word.')].filter(Boolean));
    const more = { ...small, disabled: busy };
    this.foot.replaceChildren(h('div', { class: 'actions' }, switcher(this.conv, msg, act, busy), copyButton('Copy answer', () => msg.content, small),
      button('Retry', 'retry', () => act('retry', msg), { ...more, 'data-act': 'retry' }), button('Delete', 'trash', () => act('delete', msg), { ...more, 'data-act': 'delete' })),
    h('span', { class: 'by' }, msg.model), statsLine(msg) ?? '');
  }
}
