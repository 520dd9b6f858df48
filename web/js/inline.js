/* inline.js: Markdown inside a line: code, emphasis, links, autolinks, breaks, entities.
 * Owns: turning untrusted text into DOM nodes by createElement and createTextNode alone; HTML is shown, never parsed.
 * Idea: one pass from left to right appends nodes; runs of * _ ~ stay text nodes on a delimiter list until their partner
 * wraps what lies between. Every scan is bounded or remembers failures, so hostile text costs linear time. */

const MAX_NEST = 16; /* deeper emphasis stays text: thousands of nested elements would stop the browser's layout */
const ENTITIES = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'", nbsp: '\u00a0', ndash: '–', mdash: '—', hellip: '…', times: '×', copy: '©', rarr: '→', larr: '←' };
const PUNCT = /[\p{P}\p{S}]/u;
const SPACE = /\s/u;

/* The address if it is one a person may be sent to, else null. Control characters hide schemes; they are dropped first. */
export function safeHref(raw) {
  const text = raw.replace(/[\u0000-\u0020\u007f-\u009f\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]/g, '');
  if (!/^(https?:\/\/|mailto:)/i.test(text)) return null;
  try {
    const url = new URL(text);
    return ['http:', 'https:', 'mailto:'].includes(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

function linkTo(href) {
  const a = document.createElement('a');
  a.href = href;
  a.title = href;
  a.target = '_blank';
  a.rel = 'noopener noreferrer nofollow';
  return a;
}

function el(tag, text) {
  const node = document.createElement(tag);
  if (text !== undefined) node.textContent = text;
  return node;
}

/* State of one inline text: the nodes so far lie in `out`; `delims` and `brackets` hold open candidates. */
class Inline {
  constructor(text, open) {
    this.s = text;
    this.i = 0;
    this.open = open; /* more text will come: an unclosed ** or ` is drawn as if it were closed at the end */
    this.out = document.createDocumentFragment();
    this.delims = [];
    this.brackets = [];
    this.ticks = null; /* run length -> positions, built at the first backtick */
    this.depth = new WeakMap();
  }

  match(re) {
    re.lastIndex = this.i;
    const m = re.exec(this.s);
    if (m) this.i += m[0].length;
    return m;
  }

  text(t) {
    const last = this.out.lastChild;
    if (last?.nodeType === 3 && !last.delim) last.data += t;
    else this.out.append(document.createTextNode(t));
  }

  parse() {
    const plain = /[^\\`*_~[\]!<&\nh]+/y;
    while (this.i < this.s.length) {
      const m = this.match(plain);
      if (m) this.text(m[0]);
      else this.special(this.s[this.i]);
    }
    this.emphasis(0);
    return this.out;
  }

  special(c) {
    switch (c) {
      case '\\': return this.escape();
      case '`': return this.code();
      case '*': case '_': case '~': return this.delimiter(c);
      case '[': return this.bracket('[', false);
      case '!': return this.s[this.i + 1] === '[' ? this.bracket('![', true) : this.char();
      case ']': return this.close();
      case '<': return this.angle();
      case '&': return this.entity();
      case '\n': return this.newline();
      case 'h': return this.bareLink();
      default: return this.char();
    }
  }

  char() {
    this.text(this.s[this.i++]);
  }

  escape() {
    const m = this.match(/\\([!-/:-@[-`{-~])/y);
    if (m) this.text(m[1]);
    else if (this.s[this.i + 1] === '\n') this.i++;
    else this.char();
  }

  /* Code spans close at a run of the same length; runs are indexed once, so failed searches cost nothing. */
  code() {
    if (!this.ticks) {
      this.ticks = new Map();
      for (const m of this.s.matchAll(/`+/g)) {
        if (!this.ticks.has(m[0].length)) this.ticks.set(m[0].length, []);
        this.ticks.get(m[0].length).push(m.index);
      }
    }
    const run = this.match(/`+/y)[0];
    const list = this.ticks.get(run.length) ?? [];
    while (list.length && list[0] < this.i) list.shift();
    let end = list[0];
    if (end === undefined && this.open && this.i < this.s.length) end = this.s.length;
    if (end === undefined) return this.text(run);
    let body = this.s.slice(this.i, end).replace(/\n/g, ' ');
    if (/^ .* $/.test(body) && body.trim()) body = body.slice(1, -1);
    this.out.append(el('code', body));
    this.i = Math.min(end + run.length, this.s.length);
    return undefined;
  }

  delimiter(c) {
    const at = this.i;
    while (this.s[this.i] === c) this.i++;
    const n = this.i - at;
    const before = at ? this.s[at - 1] : ' ';
    const after = this.i < this.s.length ? this.s[this.i] : ' ';
    const [sb, sa, pb, pa] = [SPACE.test(before), SPACE.test(after), PUNCT.test(before), PUNCT.test(after)];
    const left = !sa && (!pa || sb || pb);
    const right = !sb && (!pb || sa || pa);
    const node = document.createTextNode(c.repeat(n));
    node.delim = true;
    this.out.append(node);
    if (c === '~' && n !== 2) return;
    this.delims.push({
      node, c, n, size: n,
      opens: c === '_' ? left && (!right || pb) : left,
      closes: c === '_' ? right && (!left || pa) : right,
    });
  }

  bracket(mark, image) {
    this.i += mark.length;
    const node = document.createTextNode(mark);
    node.delim = true;
    this.out.append(node);
    this.brackets.push({ node, image, delims: this.delims.length });
  }

  /* At ']': a link if "(address)" follows and a '[' is open. */
  close() {
    this.i++;
    const open = this.brackets.pop();
    const m = open && this.match(/\(\s{0,9}(<[^<>\n]{0,2000}>|[^\s()<>]{0,2000}(?:\([^\s()]{0,500}\)[^\s()]{0,500}){0,8})(?:\s{1,9}(?:"[^"]{0,500}"|'[^']{0,500}'))?\s{0,9}\)/y);
    if (!m) return this.text(']');
    this.emphasis(open.delims);
    const href = safeHref(m[1].replace(/^<|>$/g, ''));
    const box = href ? linkTo(href) : el('span');
    if (!href) box.className = 'no-link';
    while (open.node.nextSibling) box.append(open.node.nextSibling);
    open.node.remove();
    if (open.image) {
      box.classList.add('image-link');
      box.prepend(`Image${box.textContent ? ': ' : ''}`);
    }
    for (const inner of box.querySelectorAll('a')) inner.replaceWith(...inner.childNodes);
    this.brackets = this.brackets.filter((b) => b.image); /* no link inside a link */
    this.out.append(box);
    return undefined;
  }

  angle() {
    let m = this.match(/<((?:https?:\/\/|mailto:)[^\s<>]{1,2000})>/iy);
    if (m && safeHref(m[1])) {
      const a = linkTo(safeHref(m[1]));
      a.textContent = m[1];
      return this.out.append(a);
    }
    if (m) return this.text(m[0]);
    m = this.match(/<br ?\/?>/iy);
    return m ? this.out.append(el('br')) : this.char();
  }

  entity() {
    const m = this.match(/&(?:#(\d{1,7})|#x([\da-f]{1,6})|([a-z]{2,8}));/iy);
    if (!m) return this.char();
    const code = m[1] ? Number(m[1]) : parseInt(m[2], 16);
    if (m[3]) return this.text(Object.hasOwn(ENTITIES, m[3]) ? ENTITIES[m[3]] : m[0]);
    return this.text(code > 0 && code <= 0x10ffff ? String.fromCodePoint(code) : '\ufffd');
  }

  /* A line end inside a paragraph stays one: models mean their line breaks (verse, addresses, steps). */
  newline() {
    this.match(/\n[ \t]*/y);
    this.out.append(el('br'));
  }

  bareLink() {
    const before = this.i ? this.s[this.i - 1] : ' ';
    const m = /[\p{L}\p{N}_]/u.test(before) ? null : this.match(/https?:\/\/[^\s<>`"|\\]{2,2000}/y);
    if (!m) return this.text(this.match(/h[^\\`*_~[\]!<&\nh]*/y)[0]);
    let url = m[0].replace(/[.,;:!?'*_~\]}]+$/, '');
    while (url.endsWith(')') && url.split(')').length > url.split('(').length) url = url.slice(0, -1).replace(/[.,;:!?]+$/, '');
    this.i -= m[0].length - url.length;
    const href = safeHref(url);
    if (!href) return this.text(url);
    const a = linkTo(href);
    a.textContent = url;
    return this.out.append(a);
  }

  /* Pairs the delimiters from index `from` on (CommonMark's rule: nearest opener, multiples of three). `bottom` remembers
   * below which index no opener exists for a kind of closer, which keeps the search linear. */
  emphasis(from) {
    const stack = [];
    const bottom = {};
    for (const d of this.delims.splice(from)) {
      while (d.closes && d.n > 0) {
        const kind = d.c + (d.opens ? 1 : 0) + (d.size % 3);
        const at = this.opener(stack, d, bottom[kind] ?? 0);
        if (at < 0) {
          bottom[kind] = stack.length;
          break;
        }
        stack.length = at + 1;
        if (!this.wrap(stack[at], d)) break;
        if (stack[at].n === 0) stack.length = at;
        for (const k of Object.keys(bottom)) bottom[k] = Math.min(bottom[k], stack.length);
      }
      if (d.opens && d.n > 0) stack.push(d);
    }
    const last = this.open && from === 0 ? stack.at(-1) : null;
    if (last?.n === 2 && last.c === '*' && last.node.nextSibling) this.wrap(last, null);
  }

  opener(stack, d, floor) {
    for (let k = stack.length - 1; k >= floor; k--) {
      const o = stack[k];
      const odd = (o.closes || d.opens) && (o.size + d.size) % 3 === 0 && (o.size % 3 || d.size % 3);
      if (o.c === d.c && !odd) return k;
    }
    return -1;
  }

  /* Puts what lies between the opener and the closer (null: the end) into an element. */
  wrap(o, d) {
    const n = o.n >= 2 && (d?.n ?? 2) >= 2 ? 2 : 1;
    const box = el(o.c === '~' ? 'del' : n === 2 ? 'strong' : 'em');
    let deep = 0;
    for (let at = o.node.nextSibling; at && at !== d?.node; at = at.nextSibling) deep = Math.max(deep, this.depth.get(at) ?? 0);
    if (deep >= MAX_NEST) return false;
    while (o.node.nextSibling && o.node.nextSibling !== d?.node) box.append(o.node.nextSibling);
    this.depth.set(box, deep + 1);
    o.node.after(box);
    for (const x of d ? [o, d] : [o]) {
      x.n -= n;
      x.node.data = x.c.repeat(x.n);
      if (x.n === 0) x.node.remove();
    }
    return true;
  }
}

/* The nodes of one inline text. `open`: the text is still growing. */
export const inline = (text, open = false) => new Inline(text, open).parse();
