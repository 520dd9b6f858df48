/* composer.js: the message box: grows with its text, sends, stops, keeps a draft per conversation. */
import { $, isComposing, isNarrow, isTouch } from './dom.js';
import { stopAnswer } from './generate.js';
import { app, currentModel, modelInfo, on } from './state.js';
import { ask } from './thread.js';

const drafts = new Map(); /* conversation id -> unsent text */
let shown = null; /* id whose draft is in the box */

const busy = () => app.running.has(app.conv.id);

function fit() {
  const box = $('ask');
  box.style.height = 'auto';
  box.style.height = `${Math.min(box.scrollHeight, innerHeight * 0.4)}px`;
}

function refresh() {
  const running = busy();
  const sendHadFocus = document.activeElement === $('send') || document.activeElement === $('stop');
  $('send').hidden = running;
  $('stop').hidden = !running;
  $('send').disabled = !$('ask').value.trim() || app.reach === 'down';
  document.body.classList.toggle('burning', running);
  if (sendHadFocus) $('ask').focus();
}

function submit(e) {
  e?.preventDefault();
  const text = $('ask').value.trim();
  if (!text || busy() || $('send').disabled) return;
  $('ask').value = '';
  drafts.delete(app.conv.id);
  fit();
  ask(text);
}

function keydown(e) {
  if (e.key === 'Enter' && !e.shiftKey && !isComposing(e) && !(isTouch() && isNarrow())) {
    submit(e);
    e.preventDefault();
  } else if (e.key === 'ArrowUp' && !$('ask').value && !busy()) {
    const last = [...document.querySelectorAll('.msg.user')].at(-1);
    const edit = last?.querySelector('[data-act=edit]');
    if (edit) {
      e.preventDefault();
      edit.click();
    }
  }
}

/* Base models continue a text; the page says so where it matters, at the box. */
function showMode() {
  const raw = modelInfo(currentModel())?.chat === false;
  $('mode-note').hidden = !raw;
  $('mode-note').textContent = raw ? `${currentModel()} is a base model: it has not learnt to answer, it continues your text.` : '';
  $('ask').placeholder = raw ? 'Begin a text…' : 'Ask anything';
}

export function startComposer() {
  $('composer').addEventListener('submit', submit);
  $('ask').addEventListener('keydown', keydown);
  $('ask').addEventListener('input', () => {
    drafts.set(app.conv.id, $('ask').value);
    fit();
    refresh();
  });
  $('stop').addEventListener('click', () => stopAnswer(app.conv));
  on('open', () => {
    if (shown !== app.conv.id) {
      shown = app.conv.id;
      $('ask').value = drafts.get(shown) ?? '';
    }
    fit();
    refresh();
    showMode();
    if (!isTouch()) $('ask').focus();
  });
  on('run', refresh);
  for (const type of ['status', 'model']) on(type, () => {
    refresh();
    showMode();
  });
  addEventListener('resize', fit);
}
