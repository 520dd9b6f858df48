/* main.js: the order of the browser tests. Each file exports (browser, url, start) => promise; start(options) gives a server of
 * the test's own, or is null. */
'use strict';
const { fail, fetchModels, findChromium, findPlaywright, finish, launch, skip, startServer } = require('./harness.js');

const SUITES = ['./test_load.js', './test_render.js', './test_chat.js', './test_history.js', './test_models.js', './test_errors.js', './test_access.js'];

async function server() {
  if (process.env.HEARTH_URL) return { url: process.env.HEARTH_URL, stop: async () => {}, start: null };
  const names = ['smollm2:135m', 'gemma3:270m'];
  const files = fetchModels(...names);
  if (!files) return null;
  const start = (extra) => startServer({ [names[0]]: files[0] }, extra);
  return { start, ...await startServer(Object.fromEntries(names.map((n, i) => [n, files[i]]))) };
}

async function main() {
  const playwright = findPlaywright();
  const chromium = findChromium();
  if (!playwright) return skip('browser', 'playwright-core is not installed (tools/install-deps test)');
  if (!chromium) return skip('browser', 'Chromium is not installed (tools/install-deps test)');
  const up = await server();
  if (!up) return skip('browser', 'the models cannot be fetched here');
  const browser = await launch(playwright, chromium);
  try {
    for (const file of SUITES) await require(file)(browser, up.url, up.start);
  } finally {
    await browser.close();
    await up.stop();
  }
  return undefined;
}

main().catch((e) => fail('browser', e)).then(finish);
