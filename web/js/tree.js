/* tree.js: what a conversation is. Messages form a tree: editing a question or retrying an answer adds a sibling and
 * nothing is lost; `sel` at each node says which child is on the visible path. Plain data, no DOM, no storage. */

export const newId = () => Array.from(crypto.getRandomValues(new Uint8Array(9)), (b) => b.toString(36).padStart(2, '0')).join('');

export function newConv(settings) {
  const now = Date.now();
  return { v: 1, id: newId(), title: '', named: false, created: now, updated: now, model: '', settings: { ...settings }, nodes: {}, kids: [], sel: 0 };
}

const parentOf = (conv, msg) => (msg.parent ? conv.nodes[msg.parent] : conv);

/* Adds a child under `parent` (a message, or null for the root) and puts it on the visible path. */
export function addMessage(conv, parent, role, content, more = {}) {
  const msg = { id: newId(), parent: parent?.id ?? null, role, content, time: Date.now(), kids: [], sel: 0, ...more };
  const holder = parent ?? conv;
  conv.nodes[msg.id] = msg;
  holder.kids.push(msg.id);
  holder.sel = holder.kids.length - 1;
  return msg;
}

/* The visible path, first message first. */
export function visible(conv) {
  const list = [];
  for (let at = conv; at.kids.length; ) {
    at = conv.nodes[at.kids[Math.min(at.sel, at.kids.length - 1)]];
    list.push(at);
  }
  return list;
}

/* The path from the first message down to `msg`, whatever is selected. */
export function ancestry(conv, msg) {
  const list = [];
  for (let at = msg; at; at = conv.nodes[at.parent]) list.unshift(at);
  return list;
}

export function siblings(conv, msg) {
  const holder = parentOf(conv, msg);
  return { index: holder.kids.indexOf(msg.id), count: holder.kids.length };
}

export function step(conv, msg, by) {
  const holder = parentOf(conv, msg);
  holder.sel = Math.max(0, Math.min(holder.kids.length - 1, holder.kids.indexOf(msg.id) + by));
}

/* Takes a message and everything below it out of the tree. */
export function removeMessage(conv, msg) {
  const holder = parentOf(conv, msg);
  holder.kids = holder.kids.filter((id) => id !== msg.id);
  holder.sel = Math.max(0, Math.min(holder.sel, holder.kids.length - 1));
  const drop = [msg];
  while (drop.length) {
    const at = drop.pop();
    drop.push(...at.kids.map((id) => conv.nodes[id]));
    delete conv.nodes[at.id];
  }
}

export function titleFrom(text) {
  const line = text.trim().replace(/\s+/g, ' ');
  if (line.length <= 52) return line;
  const cut = line.lastIndexOf(' ', 50);
  return `${line.slice(0, cut > 25 ? cut : 50)}…`;
}

/* True when `conv`, read from a file, has the shape the page relies on: every link leads to a node, every text is a string. */
export function wellFormed(conv) {
  const isList = (kids) => Array.isArray(kids) && kids.every((id) => Object.hasOwn(conv.nodes, id));
  if (!conv || typeof conv.id !== 'string' || typeof conv.title !== 'string' || typeof conv.nodes !== 'object' || !conv.nodes) return false;
  if (!isList(conv.kids)) return false;
  const seen = new Set();
  const todo = conv.kids.map((id) => [id, null]);
  while (todo.length) {
    const [id, parent] = todo.pop();
    const msg = conv.nodes[id];
    if (!msg || seen.has(id) || msg.id !== id || msg.parent !== parent || typeof msg.content !== 'string' || !isList(msg.kids)) return false;
    if (msg.role !== 'user' && msg.role !== 'assistant') return false;
    seen.add(id);
    todo.push(...msg.kids.map((kid) => [kid, id]));
  }
  return true;
}
