/* test_chat.js: asking, seeing the stream, stopping, editing, retrying, deleting, settings, by pointer and by keyboard. */
'use strict';
const { check, equal, test, until } = require('./harness.js');
const { answered, briefly, fakeAnswer, idle, send, status, streamOf, visit } = require('./browser.js');

const lastAnswer = (page) => page.locator('.msg.answer .prose').last();
const bodies = (page) => {
  const list = [];
  page.on('request', (r) => r.url().includes('/v1/') && list.push({ path: new URL(r.url()).pathname, ...r.postDataJSON() }));
  return list;
};

module.exports = async (browser, url) => {
  await test('chat: an answer streams in, and its speed is shown', async () => {
    const { page, close } = await visit(browser, url, { before: briefly(400) }); // long enough to be seen growing on a busy machine
    await page.evaluate(() => {
      window.lengths = new Set();
      new MutationObserver(() => {
        window.lengths.add(document.querySelector('.msg.answer .prose')?.textContent.length ?? 0);
        window.busy ||= document.querySelector('.msg.answer.live')?.getAttribute('aria-busy');
      }).observe(document.getElementById('thread'), { childList: true, subtree: true, characterData: true, attributes: true });
    });
    await send(page, 'Tell me a short story about a stone hearth.');
    equal(await page.locator('.bubble').innerText(), 'Tell me a short story about a stone hearth.', 'the question');
    check((await page.inputValue('#ask')) === '', 'an empty box after sending');
    const text = await answered(page);
    check(await page.evaluate(() => window.busy) === 'true', 'aria-busy while writing');
    check(text.length > 20, `an answer, got ${JSON.stringify(text)}`);
    const steps = await page.evaluate(() => window.lengths.size);
    check(steps > 5, `the text to grow in more than 5 steps, got ${steps}`);
    const stats = await page.locator('.stats').innerText();
    check(/[\d.]+ tokens\/s/.test(stats) && /first token [\d.]+ m?s/.test(stats) && /\d+ tokens/.test(stats), `speed, got ${stats}`);
    const spoken = await page.locator('#live').innerText();
    check(/Answer finished/.test(spoken), `the end to be spoken, got ${spoken}`);
    check(await page.evaluate(() => document.activeElement.id === 'ask'), 'the focus in the message box');
    await close();
  });

  await test('chat: a question asked before the page knows the models is answered', async () => {
    const page = await browser.newPage();
    let know;
    const known = new Promise((resolve) => { know = resolve; });
    await page.route('**/api/status', async (route) => {
      await known;
      await route.continue();
    });
    await briefly(8)(page);
    await page.goto(url);
    await page.waitForSelector('html[data-ready]');
    await send(page, 'Tell me a story.');
    know();
    check((await answered(page)).length > 0, 'an answer');
    await page.close();
  });

  for (const [how, act] of [['the button', (page) => page.click('#stop')], ['Esc', (page) => page.keyboard.press('Escape')]]) {
    await test(`chat: ${how} stops an answer and the server stops working`, async () => {
      const { page, close } = await visit(browser, url, { before: briefly(4000) });
      await send(page, 'Count from one to one thousand, long form, and then write a long essay.');
      await page.waitForFunction(() => document.querySelector('.msg.answer .prose')?.textContent.length > 10);
      await act(page);
      await answered(page);
      check(await page.locator('.end-note').innerText() === 'You stopped this answer.', 'the note');
      check(await page.isVisible('#send') && !await page.isVisible('#stop'), 'the send button back');
      await idle(url);
      const text = await lastAnswer(page).innerText();
      await page.waitForTimeout(400);
      equal(await lastAnswer(page).innerText(), text, 'the text after stopping');
      await close();
    });
  }

  await test('chat: the whole conversation is sent, with the settings', async () => {
    const { page, close } = await visit(browser, url);
    const sent = bodies(page);
    await page.click('#settings-btn');
    await page.fill('#set-system', 'You are brief.');
    await page.fill('#set-max_tokens', '8');
    await page.fill('#set-seed', '42');
    await page.locator('#set-temperature').focus();
    await page.keyboard.press('Home');
    await page.keyboard.press('Escape');
    await send(page, 'One');
    const first = await answered(page);
    await send(page, 'Two');
    await answered(page);
    equal(sent[0].messages, [{ role: 'system', content: 'You are brief.' }, { role: 'user', content: 'One' }], 'the first request');
    equal(sent[1].messages.map((m) => m.role), ['system', 'user', 'assistant', 'user'], 'the turns of the second');
    check(sent[1].messages[2].content.trim() === first.trim() || first.length > 0, 'the first answer in the second request');
    const { temperature, max_tokens: max, seed, stream, stream_options: opts } = sent[1];
    equal({ temperature, max, seed, stream, opts }, { temperature: 0, max: 8, seed: 42, stream: true, opts: { include_usage: true } }, 'parameters');
    await close();
  });

  await test('chat: the same seed writes the same answer again; retry keeps both versions', async () => {
    const { page, close } = await visit(browser, url, { before: briefly(20, { seed: 5, temperature: 1 }) });
    await send(page, 'Name a colour and say why.');
    const first = await answered(page);
    await page.locator('[data-act=retry]').click();
    await page.waitForFunction(() => document.querySelector('.msg.answer .count')?.textContent === '2 / 2' || document.querySelector('.msg.answer.live'));
    const second = await answered(page);
    equal(second, first, 'the second answer');
    equal(await page.locator('.msg.answer .count').innerText(), '2 / 2', 'versions');
    await page.click('[aria-label="Previous version"]');
    equal(await page.locator('.msg.answer .count').innerText(), '1 / 2', 'versions');
    equal(await lastAnswer(page).innerText(), first, 'the first answer');
    await close();
  });

  await test('chat: editing a question asks again and keeps the old branch', async () => {
    const { page, close } = await visit(browser, url, { before: briefly(8) });
    await send(page, 'First question');
    const old = await answered(page);
    await page.press('#ask', 'ArrowUp');
    check(await page.inputValue('.edit-box textarea') === 'First question', 'the question in the edit box');
    await page.keyboard.press('Escape');
    check(await page.locator('.edit-box').count() === 0, 'Esc to leave the edit box');
    await page.locator('.msg.user').hover();
    await page.click('[data-act=edit]');
    await page.fill('.edit-box textarea', 'Second question');
    await page.keyboard.press('Enter');
    await answered(page);
    equal(await page.locator('.bubble').allInnerTexts(), ['Second question'], 'the visible questions');
    await page.locator('.msg.user').hover();
    await page.click('.msg.user [aria-label="Previous version"]');
    equal(await page.locator('.bubble').allInnerTexts(), ['First question'], 'the old branch');
    equal(await lastAnswer(page).innerText(), old, 'the old answer');
    await close();
  });

  await test('chat: deleting a message can be undone', async () => {
    const { page, close } = await visit(browser, url);
    await fakeAnswer(page, () => streamOf(['ok']));
    await send(page, 'keep');
    await answered(page);
    await send(page, 'drop');
    await answered(page);
    await page.locator('.msg.user').last().hover();
    await page.locator('.msg.user [data-act=delete]').last().click();
    equal(await page.locator('.bubble').allInnerTexts(), ['keep'], 'after deleting');
    await page.click('.toast .text-btn');
    equal(await page.locator('.bubble').allInnerTexts(), ['keep', 'drop'], 'after undo');
    await close();
  });

  await test('chat: copying an answer and a block of code', async () => {
    const { page, close } = await visit(browser, url, { permissions: ['clipboard-read', 'clipboard-write'] });
    await fakeAnswer(page, () => streamOf(['Hi **you**\n\n', '```py\nx = 1\n', 'y\n```']));
    await send(page, 'x');
    await answered(page);
    const clip = () => page.evaluate(() => navigator.clipboard.readText());
    await page.click('[aria-label="Copy code"]');
    await until(async () => (await clip()) === 'x = 1\ny', 'the code on the clipboard', 5000);
    await page.click('[aria-label="Copy answer"]');
    await until(async () => (await clip()) === 'Hi **you**\n\n```py\nx = 1\ny\n```', 'the answer on the clipboard', 5000);
    await close();
  });

  await test('chat: an answer with hostile Markdown stays text', async () => {
    const { page, close } = await visit(browser, url);
    await fakeAnswer(page, () => streamOf(['<img src=x onerror="window.pwned=1"> ', '[x](javascript:window.pwned=1) <scr', 'ipt>window.pwned=1</script>']));
    await send(page, '<b onclick=window.pwned=1>me</b>');
    await answered(page);
    check(!await page.evaluate(() => window.pwned), 'nothing to run');
    equal(await page.locator('.prose img, .prose script, .bubble b, .prose a').count(), 0, 'active elements');
    check((await lastAnswer(page).innerText()).includes('<script>window.pwned=1</script>'), 'the text as it came');
    await close();
  });

  await test('chat: a long answer follows its end, and lets the reader scroll away', async () => {
    const { page, close } = await visit(browser, url);
    await fakeAnswer(page, () => streamOf(Array.from({ length: 300 }, (_, n) => `Paragraph ${n}.\n\n`)));
    await send(page, 'long');
    await answered(page);
    const gap = () => page.evaluate(() => { const s = document.getElementById('scroll'); return s.scrollHeight - s.scrollTop - s.clientHeight; });
    await until(async () => (await gap()) < 5, 'the end in view', 5000);
    await page.evaluate(() => { document.getElementById('scroll').scrollTop = 100; });
    await page.waitForSelector('#jump:not([hidden])');
    await page.click('#jump');
    await until(async () => (await gap()) < 5, 'the end in view again', 5000);
    await close();
  });

  await test('chat: two chats answer at once', async () => {
    const { page, close } = await visit(browser, url, { before: briefly(200) });
    const stop = () => page.click('#stop', { timeout: 3000 }).catch(() => {}); // it may have ended by itself just now
    await send(page, 'Write a long story about the sea.');
    await page.waitForSelector('.msg.answer.live');
    await page.keyboard.press('Control+k');
    check(await page.locator('.welcome').count() === 1 && await page.isVisible('#send'), 'a fresh chat while the other answers');
    await send(page, 'Write a long story about a forest.');
    await page.waitForSelector('.msg.answer.live');
    check((await status(url)).requests.running >= 1, 'requests to run');
    await stop();
    await answered(page);
    await page.locator('.conv-link').last().click();
    await page.waitForFunction(() => document.querySelector('.bubble')?.textContent.includes('the sea'));
    await stop();
    check((await answered(page)).length > 0, 'the first chat to have its text');
    await idle(url);
    await close();
  });
};
