/* test_render.js: the Markdown renderer, the highlighter, the event parser and the message tree, run inside the page. */
'use strict';
const { check, equal, test } = require('./harness.js');
const { visit } = require('./browser.js');
const cases = require('./markdown_cases.js');

/* Renders in the page and gives back a plain description: tags with their telling attributes, texts. */
const describe = (page, text) => page.evaluate(async (t) => {
  const { MarkdownView } = await import('/js/markdown.js');
  const box = document.createElement('div');
  new MarkdownView(box).set(t, false);
  const keep = ['href', 'start', 'checked', 'class'];
  const walk = (n) => {
    if (n.nodeType === 3) return n.data;
    if (n.className === 'code') return `<pre ${n.querySelector('.code-lang').textContent}>${n.querySelector('code').textContent}</pre>`;
    const attrs = keep.filter((k) => n.hasAttribute(k) && !/^(h-\d|to-start|table-box)$/.test(n.getAttribute(k))).map((k) => ` ${k}=${n.getAttribute(k)}`).join('');
    const tag = n.localName + (n.type === 'checkbox' && n.checked ? ' on' : '') + attrs;
    return ['br', 'hr', 'input'].includes(n.localName) ? `<${tag}>` : `<${tag}>${[...n.childNodes].map(walk).join('')}</${n.localName}>`;
  };
  return [...box.childNodes].map(walk).join('');
}, text);

module.exports = async (browser, url) => {
  const { page, close } = await visit(browser, url);

  await test('render: Markdown becomes the right elements', async () => {
    for (const [text, want] of cases.right) equal(await describe(page, text), want, `of ${JSON.stringify(text)}`);
  });

  await test('render: hostile Markdown never becomes active content', async () => {
    for (const text of cases.hostile) {
      const bad = await page.evaluate(async (t) => {
        const { MarkdownView } = await import('/js/markdown.js');
        const box = document.createElement('div');
        document.body.append(box);
        const view = new MarkdownView(box);
        for (let n = 1; n <= t.length; n += 3) view.set(t.slice(0, n), true);
        view.set(t, false);
        const allowed = 'a,p,h3,h4,h5,h6,em,strong,del,code,pre,ul,ol,li,blockquote,table,thead,tbody,tr,th,td,hr,br,div,span,input[type=checkbox][disabled],button,svg,path';
        const found = [...box.querySelectorAll('*')].filter((e) => !e.matches(allowed)).map((e) => e.outerHTML);
        for (const e of box.querySelectorAll('*')) for (const a of e.attributes) if (/^on|^style$|^srcdoc$|^src$/.test(a.name)) found.push(`${e.localName} ${a.name}`);
        for (const a of box.querySelectorAll('a')) {
          if (!/^(https?|mailto):$/.test(a.protocol) || !a.rel.includes('noopener')) found.push(a.outerHTML);
        }
        await new Promise((r) => setTimeout(r));
        if (window.pwned) found.push('code ran');
        const lost = t.length > 20 && box.textContent.trim() === '';
        box.remove();
        return lost ? ['the text vanished'] : found;
      }, text);
      equal(bad, [], `active content from ${JSON.stringify(text.slice(0, 80))}`);
    }
  });

  await test('render: text that arrives in pieces ends like text that arrives at once', async () => {
    for (const text of [...cases.right.map(([t]) => t), cases.long]) {
      const differ = await page.evaluate(async (t) => {
        const { MarkdownView } = await import('/js/markdown.js');
        const html = (steps) => {
          const box = document.createElement('div');
          const view = new MarkdownView(box);
          for (const n of steps) view.set(t.slice(0, n), true);
          view.set(t, false);
          return box.outerHTML;
        };
        const once = html([]);
        const every = html([...t].map((_, n) => n + 1));
        const by7 = html(Array.from({ length: t.length / 7 }, (_, n) => 7 * (n + 1)));
        return once === every && once === by7 ? null : [once.slice(0, 600), every.slice(0, 600), by7.slice(0, 600)];
      }, text);
      equal(differ, null, `of ${JSON.stringify(text.slice(0, 100))}`);
    }
  });

  await test('render: finished blocks of a growing answer stay the same nodes', async () => {
    const kept = await page.evaluate(async () => {
      const { MarkdownView } = await import('/js/markdown.js');
      const box = document.createElement('div');
      const view = new MarkdownView(box);
      let text = 'One.\n\nTwo.\n\n```c\nint a;\nint b;\n';
      view.set(text, true);
      const [first, , code] = box.children;
      const span = code.querySelector('code span');
      view.set(text += 'int c;\n', true);
      return box.children[0] === first && box.children[2] === code && code.querySelector('code span') === span && code.textContent.includes('int c;');
    });
    check(kept, 'the same nodes after more text');
  });

  await test('render: long and hostile input does not hang the page', async () => {
    const slow = await page.evaluate(async (list) => {
      const { MarkdownView } = await import('/js/markdown.js');
      const found = [];
      for (const [unit, more] of list) {
        const text = unit.repeat(Math.ceil(20000 / unit.length)) + more;
        const t0 = performance.now();
        new MarkdownView(document.createElement('div')).set(text, false);
        const took = performance.now() - t0;
        if (took > 5000) found.push(`${unit} ${Math.round(took)} ms`);
      }
      return found;
    }, cases.bombs);
    equal(slow, [], 'inputs that took more than 5 s');
  });

  await test('render: the highlighter loses no character in any language', async () => {
    const bad = await page.evaluate(async () => {
      const { tokens } = await import('/js/highlight.js');
      const langs = ['c', 'cpp', 'js', 'ts', 'python', 'rust', 'go', 'java', 'kotlin', 'c#', 'swift', 'sh', 'json', 'yaml', 'toml', 'sql', 'html', 'css', 'diff', 'make', 'nonsense', ''];
      const bits = ['"', "'", '`', '/*', '*/', '//', '#', '\n', ' ', '\\', 'if', 'x1', '0xff', '3.14', '"""', '<a b="c">', '<!--', '-->', '--', '😀', 'é', '$x', '@dec', '(', ')', '{', '}', '+a', '-b', ': ', '\t'];
      const found = [];
      let seed = 1;
      const rnd = (n) => (seed = (seed * 48271) % 2147483647) % n;
      for (const lang of langs) for (let k = 0; k < 60; k++) {
        const text = Array.from({ length: 40 }, () => bits[rnd(bits.length)]).join('');
        if ([...tokens(lang, text)].map((t) => t[1]).join('') !== text) found.push([lang, text]);
      }
      const kinds = Object.fromEntries([...tokens('python', 'def f(x): return "a" # c\n1')].filter((t) => t[0]).map((t) => [t[1], t[0]]));
      return { found, kinds };
    });
    equal(bad.found, [], 'texts changed by the highlighter');
    equal(bad.kinds, { 1: 'num', def: 'word', f: 'name', return: 'word', '"a"': 'string', '# c': 'comment' }, 'the kinds of tokens');
  });

  await test('render: server-sent events are the same for every split of the bytes', async () => {
    const bad = await page.evaluate(async () => {
      const { events } = await import('/js/api.js');
      const raw = new TextEncoder().encode(': keep-alive\n\ndata: {"a":"é😀"}\r\n\r\ndata: one\ndata: two\n\nevent: x\ndata:bare\n\ndata: [DONE]\n\n');
      const want = JSON.stringify(['{"a":"é😀"}', 'one\ntwo', 'bare', '[DONE]']);
      for (let cut = 0; cut <= raw.length; cut++) {
        const stream = new ReadableStream({ start(c) {
          for (const part of [raw.slice(0, cut), raw.slice(cut)]) if (part.length) c.enqueue(part);
          c.close();
        } });
        const got = [];
        for await (const data of events(stream)) got.push(data);
        if (JSON.stringify(got) !== want) return [cut, got];
      }
      return null;
    });
    equal(bad, null, 'events');
  });

  await test('render: the message tree keeps its shape, and broken imports are refused', async () => {
    const got = await page.evaluate(async () => {
      const t = await import('/js/tree.js');
      const conv = t.newConv({});
      const q = t.addMessage(conv, null, 'user', 'q');
      t.addMessage(conv, q, 'assistant', 'a1');
      const a2 = t.addMessage(conv, q, 'assistant', 'a2');
      const path = () => t.visible(conv).map((m) => m.content).join();
      const out = [path()];
      t.step(conv, a2, -1);
      out.push(path(), t.siblings(conv, a2).count);
      t.removeMessage(conv, a2);
      out.push(path(), Object.keys(conv.nodes).length, t.wellFormed(conv));
      const broken = (change) => {
        const c = structuredClone(conv);
        change(c);
        return t.wellFormed(c);
      };
      out.push(broken((c) => c.kids.push('none')), broken((c) => c.nodes[q.id].kids.push(q.id)), broken((c) => { c.nodes[q.id].content = {}; }),
        broken((c) => { c.nodes[q.id].role = 'system'; }), broken((c) => { c.nodes = null; }), t.wellFormed(null));
      return out;
    });
    equal(got, ['q,a2', 'q,a1', 2, 'q,a1', 2, true, false, false, false, false, false, false], 'the tree');
  });

  await test('render: nothing complained while rendering', close);
};
