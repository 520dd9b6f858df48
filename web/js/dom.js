/* dom.js: building elements without ever parsing HTML, and the small services every view uses: toasts, announcements, formats. */
import { icon } from './icons.js';

export const $ = (id) => document.getElementById(id);

/* h('button', {class: 'x', on: {click: f}, 'aria-label': 'Y'}, child, 'text'). A null child or attribute is left out. */
export function h(tag, props, ...children) {
  const el = document.createElement(tag);
  for (const [key, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key === 'on') for (const [type, fn] of Object.entries(value)) el.addEventListener(type, fn);
    else if (key === 'value' || key === 'checked') el[key] = value;
    else el.setAttribute(key, value === true ? '' : value);
  }
  el.append(...children.flat().filter((c) => c !== null && c !== undefined && c !== false));
  return el;
}

export function button(label, iconName, onClick, props = {}) {
  return h('button', { type: 'button', class: 'icon-btn', 'aria-label': label, title: label, on: { click: onClick }, ...props }, icon(iconName));
}

/* Elements of index.html name their icon in data-icon. */
export function fillIcons(root) {
  for (const el of root.querySelectorAll('[data-icon]')) {
    el.prepend(icon(el.dataset.icon));
    el.removeAttribute('data-icon');
  }
}

const LIVE_KEEP = 6; /* spoken paragraphs kept, so that the region does not grow for ever */

/* Says `text` to screen readers, after what is being said. */
export function announce(text) {
  const live = $('live');
  live.append(h('p', null, text));
  while (live.childElementCount > LIVE_KEEP) live.firstElementChild.remove();
}

/* A short note at the bottom, with at most one action, e.g. undo. */
export function toast(text, actionLabel, action) {
  const box = h('div', { class: 'toast' }, h('span', null, text));
  const gone = () => box.remove();
  if (actionLabel) {
    const run = () => {
      gone();
      action();
    };
    box.append(h('button', { type: 'button', class: 'text-btn', on: { click: run } }, actionLabel));
  }
  $('toasts').replaceChildren(box);
  setTimeout(gone, actionLabel ? 8000 : 3500);
}

export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    /* Plain http on a host name other than localhost has no clipboard API; the old way still works there. */
    const area = h('textarea', { class: 'sr', 'aria-hidden': 'true', value: text });
    document.body.append(area);
    area.select();
    document.execCommand('copy');
    area.remove();
  }
}

/* A copy button whose label says what happened. `get` returns the text at the time of the click. */
export function copyButton(label, get, props = {}) {
  const btn = button(label, 'copy', async () => {
    await copyText(get());
    btn.replaceChildren(icon('check'));
    btn.setAttribute('aria-label', 'Copied');
    announce('Copied');
    setTimeout(() => {
      btn.replaceChildren(icon('copy'));
      btn.setAttribute('aria-label', label);
    }, 1600);
  }, props);
  return btn;
}

export function download(name, text) {
  const url = URL.createObjectURL(new Blob([text], { type: 'application/json' }));
  const a = h('a', { href: url, download: name });
  document.body.append(a);
  a.click();
  a.remove();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

const UNITS = ['B', 'KB', 'MB', 'GB', 'TB'];

export function bytes(n) {
  let unit = 0;
  for (; n >= 1000 && unit < UNITS.length - 1; unit++) n /= 1000;
  return `${unit < 2 || n >= 100 ? Math.round(n) : n.toFixed(1)} ${UNITS[unit]}`;
}

export function seconds(ms) {
  if (ms < 995) return `${Math.round(ms)} ms`;
  return ms < 60000 ? `${(ms / 1000).toFixed(ms < 9950 ? 1 : 0)} s` : `${Math.floor(ms / 60000)} min ${Math.round((ms % 60000) / 1000)} s`;
}

export const isNarrow = () => matchMedia('(max-width: 860px)').matches;
export const isTouch = () => matchMedia('(pointer: coarse)').matches;
export const isMac = () => /Mac|iPhone|iPad/.test(navigator.platform);
export const isComposing = (e) => e.isComposing || e.keyCode === 229; /* an input method's Enter picks a word */
export const calm = () => matchMedia('(prefers-reduced-motion: reduce)').matches;
