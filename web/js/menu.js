/* menu.js: a small menu under a button, by keyboard and pointer, after the ARIA menu pattern. */
import { h } from './dom.js';
import { icon } from './icons.js';

let close = null;

/* items: {label, note, icon, checked, danger, run} or 'line' or {heading}. `checked` true or false makes a radio item. */
export function openMenu(anchor, label, items) {
  const again = close && anchor.getAttribute('aria-expanded') === 'true';
  close?.(false);
  if (again) return;
  const box = h('div', { class: 'menu', role: 'menu', 'aria-label': label }, items.map(itemNode));
  const nodes = [...box.querySelectorAll('[role^=menuitem]')];
  const outside = (e) => {
    if (!box.contains(e.target) && !anchor.contains(e.target)) close(false);
  };
  close = (refocus) => {
    close = null;
    box.remove();
    anchor.setAttribute('aria-expanded', 'false');
    document.removeEventListener('pointerdown', outside, true);
    if (refocus) anchor.focus();
  };
  box.addEventListener('keydown', (e) => keys(e, nodes));
  box.addEventListener('click', (e) => {
    const at = nodes.indexOf(e.target.closest('[role^=menuitem]'));
    if (at < 0) return;
    close(true);
    items.filter((x) => x.run)[at].run();
  });
  document.addEventListener('pointerdown', outside, true);
  document.body.append(box);
  anchor.setAttribute('aria-expanded', 'true');
  place(box, anchor);
  (nodes.find((n) => n.getAttribute('aria-checked') === 'true') ?? nodes[0])?.focus();
}

function itemNode(item) {
  if (item === 'line') return h('div', { class: 'menu-line', role: 'separator' });
  if (item.heading) return h('div', { class: 'menu-head', role: 'presentation' }, item.heading);
  const radio = item.checked !== undefined;
  return h('div', {
    class: `menu-item${item.danger ? ' danger' : ''}`, tabindex: '-1',
    role: radio ? 'menuitemradio' : 'menuitem', 'aria-checked': radio ? String(item.checked) : null,
  }, item.icon ? icon(item.icon) : null, item.mark ?? null,
  h('span', { class: 'menu-label' }, item.label), item.note ? h('span', { class: 'menu-note' }, item.note) : null,
  item.checked ? icon('check') : null);
}

function keys(e, nodes) {
  const at = nodes.indexOf(document.activeElement);
  const go = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: nodes.length - 1 }[e.key];
  if (go !== undefined) nodes.at(go % nodes.length)?.focus();
  else if (e.key === 'Enter' || e.key === ' ') nodes[at]?.click();
  else if (e.key === 'Escape') close(true);
  else if (e.key === 'Tab') return close(true);
  else if (e.key.length === 1) nodes.find((n, k) => k > at && n.textContent.toLowerCase().startsWith(e.key.toLowerCase()))?.focus();
  else return undefined;
  e.preventDefault();
  e.stopPropagation();
  return undefined;
}

/* Below the button, or above where there is no room; always inside the window. */
function place(box, anchor) {
  const a = anchor.getBoundingClientRect();
  const { offsetWidth: w, offsetHeight: hgt } = box;
  const below = a.bottom + 6 + hgt <= innerHeight || a.top < hgt;
  box.style.left = `${Math.max(8, Math.min(a.left, innerWidth - w - 8))}px`;
  box.style.top = `${below ? Math.min(a.bottom + 6, Math.max(8, innerHeight - hgt - 8)) : a.top - hgt - 6}px`;
}
