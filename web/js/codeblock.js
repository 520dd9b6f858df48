/* codeblock.js: one block of code: its language, a copy button, light colours. It can grow: tokens before the last line end are
 * final and stay; only the rest is coloured again. */
import { copyButton, h } from './dom.js';
import { labelOf, tokens } from './highlight.js';

export function codeBlock(lang, text, { growing = false } = {}) {
  const code = h('code');
  let full = '';
  let done = 0; /* characters whose nodes are final */
  let loose = []; /* nodes after them */
  const label = labelOf(lang);
  const pre = h('pre', { tabindex: '0', role: 'region', 'aria-label': label ? `Code, ${label}` : 'Code' }, code);
  const bar = h('div', { class: 'code-bar' }, h('span', { class: 'code-lang' }, label || 'text'), copyButton('Copy code', () => full, { class: 'icon-btn small' }));

  function set(next, more = growing) {
    full = next;
    for (const node of loose) node.remove();
    loose = [];
    const last = more ? full.lastIndexOf('\n') + 1 : full.length;
    for (const [kind, part] of tokens(lang, full, done)) {
      const node = kind ? h('span', { class: `t-${kind}` }, part) : document.createTextNode(part);
      code.append(node);
      if (!loose.length && done + part.length <= last) done += part.length;
      else loose.push(node);
    }
  }

  set(text);
  return { node: h('div', { class: 'code' }, bar, pre), set };
}
