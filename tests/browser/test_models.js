/* test_models.js: choosing and loading models, base models, the machine panel. */
'use strict';
const { Skip, check, equal, test, until } = require('./harness.js');
const { answered, briefly, send, status, visit } = require('./browser.js');

const tell = (url, what, model) => fetch(`${url}/api/${what}`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ model }) });
const rowOf = (page, name) => page.locator(`.model-row[data-model="${name}"]`);

module.exports = async (browser, url) => {
  for (const m of (await status(url)).models) await tell(url, 'load', m.name); /* a model's kind is known once it is loaded */
  const { models } = await status(url);
  const first = models.find((m) => m.chat);
  const base = models.find((m) => m.chat === false);
  const second = models.find((m) => m !== first);

  await test('models: the chooser lists what is installed and marks the one in use', async () => {
    const { page, close } = await visit(browser, url);
    await page.click('#model-btn');
    equal((await page.locator('.menu .menu-label').allInnerTexts()).sort(), models.map((m) => m.name).sort(), 'the list');
    equal(await page.locator('.menu [aria-checked=true]').count(), 1, 'marked models');
    await page.keyboard.press('Escape');
    check(await page.locator('.menu').count() === 0 && await page.evaluate(() => document.activeElement.id === 'model-btn'), 'Esc to close the menu and return the focus');
    await close();
  });

  await test('models: switching loads the other model and the next answer comes from it', async () => {
    if (!second) throw new Skip('only one model is installed');
    await tell(url, 'unload', second.name);
    const { page, close } = await visit(browser, url, { before: briefly(8) });
    await page.click('#model-btn');
    await page.click(`[role=menuitemradio]:has-text("${second.name}")`);
    await until(async () => (await page.locator('#model-name').innerText()).startsWith(second.name), 'the name at the top');
    await send(page, 'Once upon a time');
    await answered(page);
    equal(await page.locator('.foot .by').innerText(), second.name, 'the model of the answer');
    check((await status(url)).models.find((m) => m.name === second.name).state === 'ready', 'the model to be loaded');
    await page.reload();
    await until(async () => (await page.locator('#model-name').innerText()) === second.name, 'the choice after a reload');
    await close();
  });

  await test('models: a base model continues a text and the page says so', async () => {
    if (!base) throw new Skip('no base model is installed');
    const { page, close } = await visit(browser, url, { before: briefly(8) });
    const sent = [];
    page.on('request', (r) => r.url().includes('/v1/') && sent.push([new URL(r.url()).pathname, r.postDataJSON()]));
    await page.click('#model-btn');
    await page.click(`[role=menuitemradio]:has-text("${base.name}")`);
    await until(async () => /base model/.test(await page.locator('#mode-note').innerText().catch(() => '')), 'the note');
    await send(page, 'The sun is');
    const text = await answered(page);
    await send(page, 'And the moon is');
    await answered(page);
    equal([sent[0][0], sent[0][1].prompt], ['/v1/completions', 'The sun is'], 'the request');
    check(sent[1][1].prompt.startsWith('The sun is') && sent[1][1].prompt.endsWith('And the moon is') && sent[1][1].prompt.length >= text.length, 'the whole text as the second prompt');
    await close();
  });

  await test('models: the machine panel shows models, memory by owner and requests, and unloads and loads', async () => {
    if (!second) throw new Skip('only one model is installed');
    const { page, close } = await visit(browser, url);
    await page.click('#meter-btn');
    check(await page.getAttribute('#meter-btn', 'aria-expanded') === 'true', 'the button to say it is open');
    equal(await page.locator('.model-row').count(), models.length, 'models');
    const { memory } = await status(url);
    check(await page.locator('.legend li').count() >= 2 && memory.owners.length > 0, 'owners of memory');
    const width = await page.evaluate(() => [...document.querySelectorAll('.seg')].reduce((w, s) => w + s.offsetWidth, 0) / document.querySelector('.mem-bar').offsetWidth);
    const share = memory.used / memory.ceiling;
    check(Math.abs(width - share) < 0.1, `the bar to show ${share}, got ${width}`);
    const state = async () => (await status(url)).models.find((m) => m.name === second.name).state;
    if (await state() !== 'ready') {
      await rowOf(page, second.name).locator('button').click();
      await until(async () => (await state()) === 'ready', 'the model to load');
    }
    await rowOf(page, second.name).locator('button:text-is("Unload")').click();
    await until(async () => (await state()) === 'installed', 'the model to be unloaded');
    await rowOf(page, second.name).locator('button:text-is("Load")').click();
    await until(async () => (await state()) === 'ready', 'the model to be loaded again');
    await page.reload();
    await page.waitForSelector('.model-row');
    await close();
  });

  await test('models: the status is asked for only while the page is seen', async () => {
    const { page, seen, close } = await visit(browser, url);
    const polls = () => seen.requests.filter((r) => r.endsWith('/api/status')).length;
    await until(() => polls() >= 2, 'a second poll', 8000);
    await page.evaluate(() => {
      Object.defineProperty(document, 'hidden', { value: true, configurable: true });
      document.dispatchEvent(new Event('visibilitychange'));
    });
    await page.waitForTimeout(300);
    const before = polls();
    await page.waitForTimeout(5000);
    equal(polls(), before, 'polls while hidden');
    await close();
  });
};
