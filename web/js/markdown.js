/* markdown.js: Markdown blocks: headings, paragraphs, lists, quotes, tables, fences, rules.
 * Owns: lines -> tree of plain objects (parse) and tree -> DOM (render). Inline text belongs to inline.js, code to codeblock.js.
 * Differences from CommonMark, all on purpose: no HTML, no reference links, a line of --- is always a rule, nested lists may be
 * indented by two, and a fence inside a list item may lose its indentation. */
import { inline } from './inline.js';
import { codeBlock } from './codeblock.js';

const MAX_DEPTH = 12; /* quotes and lists nested deeper are shown as text */
const FENCE = /^( {0,3})(`{3,}|~{3,})[ \t]*([^`]*)$/;
const HEADING = /^ {0,3}(#{1,6})(?:[ \t]+(.*))?$/;
const RULE = /^ {0,3}([-*_])[ \t]*(?:\1[ \t]*){2,}$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( {0,3})([-*+•]|\d{1,9}[.)])(?:( {1,4})(?=\S)|( *)$| {5,}(?=\S))/;
const TABLE_RULE = /^ {0,3}\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$/;

const isBlank = (line) => /^[ \t]*$/.test(line);
const indentOf = (line) => /^ */.exec(line)[0].length;
const untab = (line) => (line.includes('\t') ? line.replace(/^[ \t]+/, (s) => s.replace(/\t/g, '    ')) : line);

/* Does this line end a paragraph that is still open? */
function interrupts(line) {
  if (FENCE.test(line) || HEADING.test(line) || RULE.test(line) || QUOTE.test(line)) return true;
  const item = ITEM.exec(line);
  return Boolean(item && item[4] === undefined && (!/\d/.test(item[2]) || /^1[.)]$/.test(item[2])));
}

/* Lines -> blocks; each block has `at`, the index of its first line. */
export function parse(lines, depth = 0) {
  const blocks = [];
  for (let i = 0; i < lines.length; ) {
    if (isBlank(lines[i])) {
      i++;
      continue;
    }
    const at = i;
    const [block, next] = readBlock(lines, i, depth);
    blocks.push({ ...block, at });
    i = next;
  }
  return blocks;
}

function readBlock(lines, i, depth) {
  const line = untab(lines[i]);
  if (indentOf(line) >= 4) return readIndented(lines, i);
  if (FENCE.test(line)) return readFence(lines, i);
  const heading = HEADING.exec(line);
  if (heading) return [{ type: 'heading', level: heading[1].length, text: headingText(heading[2] ?? '') }, i + 1];
  if (RULE.test(line)) return [{ type: 'rule' }, i + 1];
  if (QUOTE.test(line) && depth < MAX_DEPTH) return readQuote(lines, i, depth);
  if (ITEM.test(line) && depth < MAX_DEPTH) return readList(lines, i, depth);
  if (tableAt(lines, i)) {
    const table = readTable(lines, i);
    if (table) return table;
  }
  return readParagraph(lines, i);
}

/* A heading may close with #s after a space. By hand: an expression would look at every space of a hostile line again. */
function headingText(raw) {
  const text = raw.trim();
  let end = text.length;
  while (text[end - 1] === '#') end--;
  return end === 0 || /[ \t]/.test(text[end - 1]) ? text.slice(0, end).trim() : text;
}

const tableAt = (lines, i) => i + 1 < lines.length && lines[i].includes('|') && TABLE_RULE.test(lines[i + 1]);

function readParagraph(lines, i) {
  const text = [lines[i++].trim()];
  while (i < lines.length && !isBlank(lines[i]) && !interrupts(untab(lines[i])) && !tableAt(lines, i)) text.push(lines[i++].trim());
  return [{ type: 'paragraph', text: text.join('\n') }, i];
}

function readIndented(lines, i) {
  const text = [];
  for (; i < lines.length && (isBlank(lines[i]) || indentOf(untab(lines[i])) >= 4); i++) text.push(untab(lines[i]).slice(4));
  while (text.length && isBlank(text.at(-1))) text.pop();
  return [{ type: 'code', lang: '', text: text.join('\n'), open: false }, i];
}

const closes = (line, mark) => new RegExp(`^ {0,3}${mark[0]}{${mark.length},}[ \\t]*$`).test(line);

function readFence(lines, i) {
  const [, indent, mark, info] = FENCE.exec(untab(lines[i++]));
  const text = [];
  let open = true;
  for (; i < lines.length && open; i++) {
    if (closes(lines[i], mark)) open = false;
    else text.push(indent ? lines[i].replace(new RegExp(`^ {0,${indent.length}}`), '') : lines[i]);
  }
  return [{ type: 'code', lang: info.trim().split(/[\s{]/)[0], text: text.join('\n'), open }, i];
}

function readQuote(lines, i, depth) {
  const inner = [];
  for (; i < lines.length && !isBlank(lines[i]); i++) {
    if (QUOTE.test(lines[i])) inner.push(lines[i].replace(QUOTE, ''));
    else if (!inner.length || isBlank(inner.at(-1)) || interrupts(lines[i])) break;
    else inner.push(lines[i]); /* a lazy line of the quoted paragraph */
  }
  return [{ type: 'quote', kids: parse(inner, depth + 1) }, i];
}

const listKind = (mark) => (/\d/.test(mark) ? mark.at(-1) : mark);

/* Reads one list: items of one kind of marker; each item's lines are parsed on their own. */
function readList(lines, i, depth) {
  const first = ITEM.exec(untab(lines[i]));
  const list = { type: 'list', ordered: /\d/.test(first[2]), start: parseInt(first[2], 10), tight: true, items: [] };
  const base = first[1].length;
  while (i < lines.length) {
    const m = ITEM.exec(untab(lines[i]));
    if (!m || listKind(m[2]) !== listKind(first[2]) || m[1].length >= base + 2 || RULE.test(lines[i])) break;
    const item = readItem(lines, i, m);
    i = item.next;
    const more = i < lines.length && ITEM.exec(untab(lines[i]));
    const ends = !more || listKind(more[2]) !== listKind(first[2]);
    const kids = parse(item.lines, depth + 1);
    const gap = item.blankEnd && !ends;
    const inner = kids.some((k, n) => n > 0 && k.type === 'paragraph' && kids[n - 1].type === 'paragraph');
    if (gap || inner) list.tight = false;
    const task = kids[0]?.type === 'paragraph' && /^\[([ xX])\][ \n]/.exec(kids[0].text);
    if (task) kids[0].text = kids[0].text.slice(4);
    list.items.push({ task: task ? task[1] !== ' ' : null, kids, source: item.lines.join('\n') });
    if (ends) break;
  }
  return [list, i];
}

/* The lines that belong to the item starting at line i, with its indentation taken off. */
function readItem(lines, i, m) {
  const line = untab(lines[i++]);
  const width = m[0].length - (m[3] === undefined && m[4] === undefined ? m[0].length - m[1].length - m[2].length - 1 : 0);
  const content = m[4] !== undefined ? m[1].length + m[2].length + 1 : width;
  const own = [line.slice(content)];
  let fence = FENCE.exec(own[0])?.[2] ?? null;
  let blank = false;
  for (; i < lines.length; i++) {
    const next = untab(lines[i]);
    const indent = indentOf(next);
    const cut = next.slice(Math.min(indent, content));
    if (isBlank(next)) {
      if (own.length === 1 && isBlank(own[0])) break; /* an empty item ends at the first blank line */
      own.push('');
      blank = true;
      continue;
    }
    const nested = indent >= m[1].length + 2 && ITEM.test(cut);
    const lazy = !blank && indent < content && !interrupts(next) && !ITEM.test(next);
    if (!fence && indent < content && !nested && !lazy) break;
    if (fence ? closes(cut, fence) : FENCE.test(cut)) fence = fence ? null : FENCE.exec(cut)[2];
    own.push(cut);
    blank = false;
  }
  const blankEnd = own.length > 1 && own.at(-1) === '';
  while (own.length > 1 && own.at(-1) === '') own.pop();
  return { lines: own, next: i, blankEnd };
}

function cells(line) {
  const list = [''];
  const body = line.trim().replace(/^\|/, '').replace(/([^\\])\|$/, '$1');
  for (let i = 0; i < body.length; i++) {
    if (body[i] === '\\' && body[i + 1] === '|') list[list.length - 1] += body[++i];
    else if (body[i] === '|') list.push('');
    else list[list.length - 1] += body[i];
  }
  return list.map((c) => c.trim());
}

function readTable(lines, i) {
  const head = cells(lines[i]);
  const align = cells(lines[i + 1]).map((c) => (c.endsWith(':') ? (c.startsWith(':') ? 'center' : 'end') : 'start'));
  if (head.length !== align.length) return null;
  const rows = [];
  for (i += 2; i < lines.length && !isBlank(lines[i]) && !interrupts(untab(lines[i])); i++) {
    const row = cells(lines[i]);
    rows.push(head.map((_, n) => row[n] ?? ''));
  }
  return [{ type: 'table', head, align, rows }, i];
}

function el(tag, className, ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  node.append(...children);
  return node;
}

const RENDER = {
  paragraph: (b, open) => el('p', '', inline(b.text, open)),
  heading: (b, open) => el(`h${Math.min(6, b.level + 2)}`, `h-${b.level}`, inline(b.text, open)),
  rule: () => el('hr'),
  code: (b) => codeBlock(b.lang, b.text).node,
  quote: (b, open) => el('blockquote', '', ...renderAll(b.kids, open)),
  list: renderList,
  table: renderTable,
};

function renderList(b, open) {
  const list = el(b.ordered ? 'ol' : 'ul', '');
  if (b.ordered && b.start !== 1) list.start = b.start;
  list.append(...b.items.map((item, n) => renderItem(item, b.tight, open && n === b.items.length - 1)));
  return list;
}

function renderItem(item, tight, open) {
  const li = el('li', '');
  if (item.task !== null) {
    const box = el('input', '');
    Object.assign(box, { type: 'checkbox', checked: item.task, disabled: true });
    box.setAttribute('aria-label', item.task ? 'Done' : 'To do');
    li.className = 'task';
    li.append(box);
  }
  item.kids.forEach((kid, k) => {
    const last = open && k === item.kids.length - 1;
    li.append(tight && kid.type === 'paragraph' ? inline(kid.text, last) : render(kid, last));
  });
  return li;
}

/* Brings the drawn list of `old` to the state of `b`, its longer self, by drawing only the items that changed. */
function growList(list, old, b) {
  if (old.tight !== b.tight || old.ordered !== b.ordered || old.start !== b.start) return renderList(b, true);
  let same = 0;
  while (same < old.items.length - 1 && same < b.items.length - 1 && old.items[same].source === b.items[same].source) same++;
  while (list.childElementCount > same) list.lastChild.remove();
  for (let n = same; n < b.items.length; n++) list.append(renderItem(b.items[n], b.tight, n === b.items.length - 1));
  return list;
}

function renderTable(b) {
  const row = (tag, list) => el('tr', '', ...list.map((c, n) => el(tag, `to-${b.align[n]}`, inline(c))));
  const head = row('th', b.head);
  for (const th of head.children) th.scope = 'col';
  const box = el('div', 'table-box', el('table', '', el('thead', '', head), el('tbody', '', ...b.rows.map((r) => row('td', r)))));
  box.tabIndex = 0; /* it may scroll sideways */
  box.setAttribute('role', 'region');
  box.setAttribute('aria-label', 'Table');
  return box;
}

export const render = (block, open = false) => RENDER[block.type](block, open);
export const renderAll = (blocks, open = false) => blocks.map((b, n) => render(b, open && n === blocks.length - 1));

/* Shows a text that grows at its end. Blocks before the last block of the complete lines are final: they are built once (a
 * line still arriving may turn out to continue a list). What follows is built again when text arrives, except an open fence,
 * whose code block takes the new text itself. */
export class MarkdownView {
  constructor(root) {
    this.root = root;
    this.text = '';
    this.stable = 0; /* offset of the first character that may still be read in another way */
    this.tail = []; /* the nodes from there on */
    this.fence = null; /* {code, from}: the open code block and the offset of its first code character */
    this.list = null; /* {block, node}: the list at the end, as drawn last */
  }

  set(text, growing) {
    if (!text.startsWith(this.text)) {
      this.root.replaceChildren();
      Object.assign(this, { stable: 0, tail: [], fence: null, list: null });
    }
    this.text = text;
    const rest = text.slice(this.stable);
    if (this.fence && growing && this.grow()) return;
    const lines = rest.split('\n');
    const blocks = parse(lines);
    const before = this.tail;
    this.tail = [];
    this.fence = null;
    const nodes = blocks.map((block) => (growing && block === blocks.at(-1) ? this.drawLast(block, lines) : render(block)));
    for (const node of before) if (!nodes.includes(node)) node.remove();
    for (const node of nodes) if (!node.parentNode) this.root.append(node);
    const sure = blocks.length > 1 ? parse(lines.slice(0, -1)).at(-1)?.at ?? 0 : 0;
    this.tail = nodes.filter((_, n) => blocks[n].at >= sure);
    this.stable += offset(lines, sure);
  }

  drawLast(block, lines) {
    const { list } = this;
    this.list = null;
    if (block.type === 'code' && block.open) return this.openFence(block, lines);
    if (block.type !== 'list') return render(block, true);
    const at = this.stable + offset(lines, block.at);
    const node = list?.at === at ? growList(list.node, list.block, block) : renderList(block, true);
    this.list = { block, node, at };
    return node;
  }

  openFence(block, lines) {
    const code = codeBlock(block.lang, '', { growing: true });
    const start = this.stable + offset(lines, block.at + 1);
    if (start > this.text.length || /^ /.test(lines[block.at])) code.set(block.text);
    else {
      this.fence = { code, from: start, mark: FENCE.exec(untab(lines[block.at]))[2] };
      this.grow();
    }
    return code.node;
  }

  /* Gives new text to the open code block; false once its last line may be the closing fence. Only lines that arrived since
   * the last call are looked at. */
  grow() {
    const { code, from, mark } = this.fence;
    const seen = Math.max(from, this.text.lastIndexOf('\n', from + (this.fence.shown ?? 0) - 1) + 1);
    const fresh = this.text.slice(seen).split('\n');
    if (fresh.some((line) => closes(line, mark))) {
      this.fence = null;
      return false;
    }
    let end = this.text.length;
    if (/^ {0,3}[`~]+$/.test(fresh.at(-1))) end -= fresh.at(-1).length; /* may become the fence: wait for its end */
    code.set(this.text.slice(from, end));
    this.fence.shown = end - from;
    return true;
  }
}

const offset = (lines, n) => lines.slice(0, n).reduce((sum, line) => sum + line.length + 1, 0);
