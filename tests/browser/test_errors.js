/* test_errors.js: what the page says when something fails: the server's words, a next step, a way to retry. */
'use strict';
const { Skip, check, equal, test, until } = require('./harness.js');
const { answered, briefly, errorOf, fakeAnswer, send, sse, streamOf, visit } = require('./browser.js');

const card = (page) => page.locator('.error-card');
const expected = /Failed to load resource|ERR_/;

module.exports = async (browser, url, start) => {
  await test('errors: cause and next step of each kind', async () => {
    const { page, close } = await visit(browser, url, { expected });
    const kinds = [
      [errorOf(400, 'The prompt has 9120 tokens; the model takes 8192.', 'context_length_exceeded'), /9120 tokens/, /Start a new chat/],
      [errorOf(429, '64 requests are waiting.', 'queue_full', { 'retry-after': '3' }), /64 requests/, /pause of 3 s/],
      [errorOf(404, "No model 'x'.", 'model_not_found'), /No model 'x'/, /Choose another model/],
      [errorOf(503, 'qwen needs 1.1 GB, 0.4 GB are free.', 'insufficient_memory'), /needs 1.1 GB/, /Unload a model/],
      [errorOf(500, 'It broke.', 'internal'), /It broke/, /terminal/],
      [{ status: 502, contentType: 'text/html', body: '<h1>Bad gateway</h1>' }, /answered 502/, /terminal/],
      [streamOf(['half an'], { done: false }), /broke off/, /Retry/],
      [{ ...streamOf([]), body: 'data: {"error":{"message":"The engine ran out of pages.","code":"engine"}}\n\n' }, /out of pages/, /terminal/],
    ];
    let reply = null;
    await fakeAnswer(page, () => reply);
    for (const [answer, cause, next] of kinds) {
      reply = answer;
      await page.keyboard.press('Control+k');
      await send(page, 'x');
      await answered(page);
      check(cause.test(await card(page).locator('.error-cause').innerText()), `${cause}, got ${await card(page).innerText()}`);
      check(next.test(await card(page).locator('.error-next').innerText()), `${next}, got ${await card(page).innerText()}`);
    }
    check(await card(page).getAttribute('role') === 'alert', 'errors to be announced');
    reply = streamOf(['fine now']);
    await card(page).locator('button:has-text("Retry")').click();
    await page.waitForFunction(() => document.querySelector('.prose')?.textContent === 'fine now');
    equal(await card(page).count(), 0, 'error cards after the retry');
    await close();
  });

  await test('errors: a prompt beyond the context is refused by the server with its numbers', async () => {
    const { page, close } = await visit(browser, url, { expected });
    await send(page, 'stone '.repeat(40000));
    await answered(page);
    const text = await card(page).innerText();
    check(/\d{4,}/.test(text) && /Start a new chat/.test(text), `numbers and a next step, got ${text}`);
    await card(page).locator('button:has-text("New chat")').click();
    check(await page.locator('.welcome').count() === 1, 'a new chat');
    await close();
  });

  await test('errors: a server that is gone, and comes back', async () => {
    const { page, close } = await visit(browser, url, { expected });
    let gone = true;
    await page.route('**/api/status', (r) => (gone ? r.abort() : r.continue()));
    await page.waitForSelector('#banner:not([hidden])', { timeout: 8000 });
    check(/does not answer/.test(await page.locator('#banner').innerText()), 'the banner');
    gone = false;
    await page.waitForSelector('#banner[hidden]', { state: 'attached', timeout: 8000 });
    await page.route('**/v1/**', (r) => r.abort());
    await send(page, 'x');
    await answered(page);
    check(/hearth up/.test(await card(page).innerText()), 'the next step');
    await close();
  });

  await test('errors: a server with a key: asked for, kept for the tab, sent, asked again when wrong', async () => {
    const keys = [];
    const guard = async (route) => {
      const auth = (await route.request().allHeaders()).authorization ?? '';
      keys.push(auth);
      if (auth !== 'Bearer open-sesame') return route.fulfill(errorOf(401, 'An API key is needed.', 'invalid_api_key'));
      return route.request().url().includes('/v1/') ? route.fulfill({ status: 200, contentType: 'text/event-stream', body: sse(['in']) }) : route.continue();
    };
    const before = async (p) => {
      await p.route('**/api/status', guard);
      await p.route('**/v1/**', guard);
      /* the page cannot name its model before it has the key */
      await p.addInitScript(() => localStorage.setItem('hearth.model', '"later"'));
    };
    const { page, close } = await visit(browser, url, { expected, before });
    await page.fill('dialog input[type=password]', 'wrong');
    await page.keyboard.press('Enter');
    await until(async () => /refused that key/.test(await page.locator('dialog').innerText()), 'the second question');
    await page.fill('dialog input[type=password]', 'open-sesame');
    await page.keyboard.press('Enter');
    await page.waitForSelector('dialog', { state: 'detached' });
    await send(page, 'hello');
    equal(await answered(page), 'in', 'the answer');
    check(keys.includes('') && keys.includes('Bearer wrong') && keys.at(-1) === 'Bearer open-sesame', 'the keys sent');
    const kept = await page.evaluate(() => [sessionStorage.getItem('hearth.key'), JSON.stringify(localStorage).includes('sesame')]);
    equal(kept, ['open-sesame', false], 'the key in this tab only');
    await close();
  });

  await test('errors: a real server with a key, which then ends under the open page', async () => {
    if (!start) throw new Skip('HEARTH_URL names a server that this test may not restart');
    const up = await start(['--api-key', 'open-sesame']);
    try {
      check((await fetch(`${up.url}/api/status`)).status === 401, 'the status to be locked');
      const before = async (p) => {
        await briefly(8)(p);
        await p.addInitScript(() => sessionStorage.getItem('hearth.key') || localStorage.setItem('hearth.model', '"later"'));
      };
      const { page, close } = await visit(browser, up.url, { expected, before });
      await page.fill('dialog input[type=password]', 'open-sesame');
      await page.keyboard.press('Enter');
      await page.waitForSelector('dialog', { state: 'detached' });
      await until(async () => (await page.locator('#model-name').innerText()) !== 'later', 'the model\'s name');
      await send(page, 'Hello');
      check((await answered(page)).length > 0, 'an answer');
      await up.stop();
      await page.waitForSelector('#banner:not([hidden])', { timeout: 8000 });
      check(await page.isDisabled('#send'), 'no sending without a server');
      await close();
    } finally {
      await up.stop();
    }
  });
};
