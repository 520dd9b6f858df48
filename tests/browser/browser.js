/* browser.js: a visitor of the page: a fresh browser profile that notes every request and every complaint, and the gestures the
 * tests share. */
'use strict';
const { check, until, watch } = require('./harness.js');

/* Opens the page in a profile of its own. `expected` errors (a failed request the test provokes) are not complaints. */
async function visit(browser, url, options = {}) {
  const { expected = null, path = '/', before = null, ...context } = options;
  const ctx = await browser.newContext({ viewport: { width: 1280, height: 860 }, locale: 'en-GB', ...context });
  const page = await ctx.newPage();
  page.setDefaultTimeout(90000);
  watch(page);
  const seen = { requests: [], complaints: [] };
  ctx.on('request', (r) => seen.requests.push(r.url()));
  page.on('console', (m) => {
    if (['error', 'warning'].includes(m.type()) && !expected?.test(m.text())) seen.complaints.push(m.text());
  });
  page.on('pageerror', (e) => seen.complaints.push(String(e.stack ?? e)));
  if (before) await before(page);
  await page.goto(url + path);
  await page.waitForSelector('html[data-ready]');
  await page.waitForFunction(() => document.getElementById('model-name').textContent !== '…');
  const close = async () => {
    await ctx.close();
    check(seen.complaints.length === 0, `no errors in the console, got: ${seen.complaints.join(' | ')}`);
    const outside = seen.requests.filter((r) => !r.startsWith(`${url}/`) && !r.startsWith('blob:') && !r.startsWith('data:'));
    check(outside.length === 0, `no request to anywhere else, got: ${outside.join(' ')}`);
  };
  return { page, ctx, seen, close };
}

/* Short answers keep the suite short; set in the page's own store of defaults. */
const briefly = (max = 24, more = {}) => (page) => page.addInitScript((s) => {
  if (!localStorage.getItem('hearth.defaults')) localStorage.setItem('hearth.defaults', JSON.stringify(s));
}, { max_tokens: max, temperature: 0.7, seed: 7, ...more });

async function send(page, text) {
  await page.fill('#ask', text);
  await page.press('#ask', 'Enter');
}

/* Waits for the end of the answer that is being written and returns its text. */
async function answered(page) {
  await page.waitForFunction(() => {
    const last = [...document.querySelectorAll('.msg.answer')].at(-1);
    return last && last.getAttribute('aria-busy') === 'false' && !document.body.classList.contains('burning');
  }, null, { timeout: 90000 });
  return page.locator('.msg.answer .prose').last().innerText();
}

const status = async (url) => (await fetch(`${url}/api/status`)).json();
const idle = (url) => until(async () => (await status(url)).requests.running === 0, 'the server to be idle');

/* A body as the API streams it. */
function sse(chunks, { usage = true, done = true } = {}) {
  const lines = chunks.map((c) => ({ choices: [{ index: 0, delta: { content: c }, finish_reason: null }] }));
  lines.push({ choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] });
  if (usage) lines.push({ choices: [], usage: { prompt_tokens: 5, completion_tokens: chunks.length, total_tokens: 5 + chunks.length } });
  return lines.map((l) => `data: ${JSON.stringify(l)}\n\n`).join('') + (done ? 'data: [DONE]\n\n' : '');
}

/* Answers the page's next chat requests in place of the server. */
async function fakeAnswer(page, reply) {
  await page.route('**/v1/**', (route) => route.fulfill(reply(route.request())));
}

const streamOf = (chunks, more) => ({ status: 200, contentType: 'text/event-stream', body: sse(chunks, more) });
const errorOf = (code, message, name, headers = {}) => ({
  status: code, contentType: 'application/json', headers, body: JSON.stringify({ error: { message, type: 'invalid_request_error', code: name } }),
});

module.exports = { answered, briefly, errorOf, fakeAnswer, idle, send, sse, status, streamOf, visit };
