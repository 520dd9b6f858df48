#!/usr/bin/env node
/* screenshot.js URL OUT.png [QUESTION]: the picture of README: asks a running `hearth up` a question and photographs the answer.
 * Needs NODE_PATH with playwright-core. The fonts are those of the machine it runs on. */
'use strict';
const { findChromium, findPlaywright, launch } = require('./harness.js');
const { answered, briefly, send, visit } = require('./browser.js');

const EARLIER = ['Why is bread crust brown?', 'Names for a small black cat', 'Explain mutexes with a kitchen'];
const QUESTION = 'A Python function that groups words by their anagrams, please. Just the code, and one sentence on why it works.';

async function main(url, out, question = QUESTION) {
  const browser = await launch(findPlaywright(), findChromium());
  const { page } = await visit(browser, url, {
    viewport: { width: 1280, height: 860 }, colorScheme: 'light',
    before: briefly(400, { temperature: 0, seed: 1, system: 'Answer in at most 80 words.' }),
  });
  await page.waitForSelector('#model-dot.ready', { timeout: 120000 });
  for (const q of EARLIER) {
    await send(page, q);
    await page.waitForFunction(() => document.querySelector('.msg.answer .prose')?.textContent.length > 8, null, { timeout: 60000 });
    await page.keyboard.press('Escape');
    await answered(page);
    await page.keyboard.press('Control+k');
  }
  await send(page, question);
  await page.waitForSelector('.msg.answer:not(.live) .stats', { timeout: 600000 });
  await page.evaluate(() => document.activeElement.blur());
  await page.waitForTimeout(500);
  await page.screenshot({ path: out });
  await browser.close();
}

const [url, out, question] = process.argv.slice(2);
if (!out) {
  console.error('usage: screenshot.js URL OUT.png [QUESTION]');
  process.exitCode = 2;
} else main(url, out, question);
