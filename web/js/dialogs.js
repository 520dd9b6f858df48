/* dialogs.js: modal questions on <dialog>: the browser keeps focus inside, Esc cancels, focus returns to where it was. */
import { h } from './dom.js';

/* Shows `content` in a modal; resolves with the value given to `finish`, or null when dismissed. */
export function modal(label, className, build) {
  return new Promise((resolve) => {
    const box = h('dialog', { class: className, 'aria-label': label });
    let result = null;
    const finish = (value) => {
      result = value;
      box.close();
    };
    const back = document.activeElement;
    box.append(...build(finish));
    box.addEventListener('close', () => {
      box.remove();
      if (back?.isConnected) back.focus();
      resolve(result);
    });
    box.addEventListener('mousedown', (e) => {
      if (e.target === box) finish(null); /* the backdrop */
    });
    document.body.append(box);
    box.showModal();
  });
}

export function confirmBox(title, text, yes) {
  return modal(title, 'ask-box', (finish) => [
    h('h2', null, title),
    h('p', null, text),
    h('div', { class: 'row-end' },
      h('button', { type: 'button', class: 'btn', on: { click: () => finish(null) } }, 'Cancel'),
      h('button', { type: 'button', class: 'btn danger', on: { click: () => finish(true) } }, yes)),
  ]);
}

/* A form of one field; resolves with its trimmed value. */
export function promptBox(title, { text, label, value = '', yes, type = 'text' }) {
  return modal(title, 'ask-box', (finish) => {
    const input = h('input', { type, value, id: 'prompt-field', autocomplete: 'off', spellcheck: 'false' });
    const submit = (e) => {
      e.preventDefault();
      if (input.value.trim()) finish(input.value.trim());
    };
    setTimeout(() => input.select());
    return [h('form', { on: { submit } },
      h('h2', null, title), text ? h('p', null, text) : null,
      h('label', { for: 'prompt-field' }, label), input,
      h('div', { class: 'row-end' },
        h('button', { type: 'button', class: 'btn', on: { click: () => finish(null) } }, 'Cancel'),
        h('button', { type: 'submit', class: 'btn primary' }, yes)))];
  });
}

export const askKey = (wrong) => promptBox('This Hearth asks for a key', {
  text: wrong ? 'The server refused that key. Check it and try again.' : 'It was started with --api-key. The key stays in this tab and is forgotten when you close it.',
  label: 'API key', yes: 'Unlock', type: 'password',
});
