/* test_history.js: conversations are kept in the browser: reload, search, rename, delete, export, import, two tabs. */
'use strict';
const fs = require('node:fs');
const { check, equal, test, until } = require('./harness.js');
const { answered, briefly, fakeAnswer, send, streamOf, visit } = require('./browser.js');

const ready = (page) => page.waitForSelector('html[data-ready]');
const titles = (page) => page.locator('.conv-name').allInnerTexts();

async function talk(page, ...questions) {
  for (const q of questions) {
    await page.keyboard.press('Control+k');
    await send(page, q);
    await answered(page);
  }
}

module.exports = async (browser, url) => {
  await test('history: a reload brings the conversation back, word for word', async () => {
    const { page, close } = await visit(browser, url, { before: briefly(16) });
    await send(page, 'What is basalt?');
    const text = await answered(page);
    const stats = await page.locator('.stats').innerText();
    await page.reload();
    await ready(page);
    equal(await page.locator('.bubble').innerText(), 'What is basalt?', 'the question');
    equal(await page.locator('.msg.answer .prose').innerText(), text, 'the answer');
    equal(await page.locator('.stats').innerText(), stats, 'its numbers');
    equal(await titles(page), ['What is basalt?'], 'the list');
    await close();
  });

  await test('history: a reload in the middle keeps what had arrived', async () => {
    const { page, close } = await visit(browser, url, { before: briefly(4000) });
    await send(page, 'Write a very long essay about rivers.');
    await page.waitForFunction(() => document.querySelector('.msg.answer .prose')?.textContent.length > 40);
    await page.waitForTimeout(2600);
    await page.reload();
    await ready(page);
    check((await page.locator('.msg.answer .prose').innerText()).length > 20, 'the part that was saved');
    check(/interrupted|stopped/.test(await page.locator('.end-note').innerText()), 'a note that it was interrupted');
    await close();
  });

  await test('history: search, open, back', async () => {
    const { page, close } = await visit(browser, url);
    await fakeAnswer(page, (r) => streamOf([`About ${r.postDataJSON().messages.at(-1).content}`]));
    await talk(page, 'apples and pears', 'rocks', 'the sea');
    equal(await titles(page), ['the sea', 'rocks', 'apples and pears'], 'newest first');
    await page.fill('#search', 'about PEARS');
    equal(await titles(page), ['apples and pears'], 'found by words of the answer');
    await page.click('.conv-link');
    await page.waitForFunction(() => document.querySelector('.bubble')?.textContent === 'apples and pears');
    check(await page.locator('.conv-link[aria-current=page]').count() === 1, 'the open one marked');
    await page.fill('#search', 'nowhere');
    equal(await page.locator('.conv-none').innerText(), 'Nothing found.', 'an empty result');
    await page.fill('#search', '');
    await page.goBack();
    await page.waitForFunction(() => document.querySelector('.bubble')?.textContent === 'the sea');
    await close();
  });

  await test('history: rename and delete, with undo', async () => {
    const { page, close } = await visit(browser, url);
    await fakeAnswer(page, () => streamOf(['ok']));
    await talk(page, 'first', 'second');
    await page.locator('.conv-row').first().hover();
    await page.locator('.conv-more').first().click();
    await page.click('[role=menuitem]:has-text("Rename")');
    await page.fill('#prompt-field', 'My <b>chat</b>');
    await page.keyboard.press('Enter');
    await page.waitForFunction(() => document.querySelector('.conv-name').textContent === 'My <b>chat</b>');
    await page.locator('.conv-row').last().hover();
    await page.locator('.conv-more').last().click();
    await page.click('[role=menuitem]:has-text("Delete")');
    await page.click('dialog .btn.danger');
    await until(async () => (await titles(page)).length === 1, 'one conversation');
    await page.click('.toast .text-btn');
    await until(async () => (await titles(page)).length === 2, 'both after undo');
    await page.reload();
    await ready(page);
    equal((await titles(page)).sort(), ['My <b>chat</b>', 'first'], 'after a reload');
    await close();
  });

  await test('history: export and import give the same conversation', async () => {
    const one = await visit(browser, url);
    await fakeAnswer(one.page, () => streamOf(['The ', 'answer.']));
    await talk(one.page, 'the question');
    await one.page.click('#settings-btn');
    const [file] = await Promise.all([one.page.waitForEvent('download'), one.page.click('.btn:has-text("Export all")')]);
    const at = await file.path();
    const data = JSON.parse(fs.readFileSync(at, 'utf8'));
    equal(Object.values(data.conversations[0].nodes).map((m) => m.content), ['the question', 'The answer.'], 'the file');
    const two = await visit(browser, url);
    await two.page.click('#settings-btn');
    await two.page.setInputFiles('input[type=file]', at);
    await until(async () => (await titles(two.page)).length === 1, 'the imported conversation');
    await two.page.setInputFiles('input[type=file]', { name: 'x.json', mimeType: 'application/json', buffer: Buffer.from('{"conversations":[{"id":1},{"id":"a","title":"t","nodes":{},"kids":["z"]}]}') });
    await until(async () => /no conversation/.test(await two.page.locator('.toast').innerText()), 'a broken file to be refused');
    await two.page.keyboard.press('Escape');
    await two.page.click('.conv-link');
    await two.page.waitForFunction(() => document.querySelector('.prose')?.textContent === 'The answer.');
    await one.close();
    await two.close();
  });

  await test('history: a second tab sees new conversations at once', async () => {
    const { page, ctx, close } = await visit(browser, url);
    const other = await ctx.newPage();
    await other.goto(url);
    await ready(other);
    await fakeAnswer(page, () => streamOf(['ok']));
    await talk(page, 'seen from both');
    await until(async () => (await titles(other)).includes('seen from both'), 'the other tab');
    await close();
  });

  await test('history: without IndexedDB the page keeps conversations in localStorage', async () => {
    const before = (page) => page.addInitScript(() => { Object.defineProperty(window, 'indexedDB', { value: { open() { throw new Error('off'); } } }); });
    const { page, close } = await visit(browser, url, { before });
    await fakeAnswer(page, () => streamOf(['kept']));
    await talk(page, 'small store');
    await page.reload();
    await ready(page);
    equal(await titles(page), ['small store'], 'after a reload');
    await close();
  });
};
