/* test_load.js: the first load: light, compressed, cached, shut tight, nothing from elsewhere. */
'use strict';
const { check, test } = require('./harness.js');
const { visit } = require('./browser.js');

const BUDGET = 100000; /* bytes over the wire, headers included */

module.exports = async (browser, url) => {
  await test('load: the page weighs less than 100 kB over the wire, and nothing comes from elsewhere', async () => {
    const sizes = new Map();
    const before = async (page) => {
      const cdp = await page.context().newCDPSession(page);
      await cdp.send('Network.enable');
      cdp.on('Network.loadingFinished', (e) => sizes.set(e.requestId, e.encodedDataLength));
    };
    const { page, close } = await visit(browser, url, { before });
    await page.waitForTimeout(300);
    const total = [...sizes.values()].reduce((a, b) => a + b, 0);
    console.log(`     ${sizes.size} requests, ${total} bytes`);
    check(sizes.size > 5 && total < BUDGET, `more than 5 requests and fewer than ${BUDGET} bytes, got ${sizes.size} and ${total}`);
    await close();
  });

  await test('load: headers: compressed, revalidated, no sniffing, a policy that allows only this origin', async () => {
    if (process.env.HEARTH_URL_IS_MOCK) return;
    const res = await fetch(`${url}/`, { headers: { 'accept-encoding': 'gzip' } });
    const h = res.headers;
    check(h.get('content-encoding') === 'gzip', 'gzip');
    check(h.get('x-content-type-options') === 'nosniff', 'nosniff');
    const csp = h.get('content-security-policy') ?? '';
    check(/default-src '(self|none)'/.test(csp) && !/unsafe|\*|https?:/.test(csp), `a strict policy, got ${csp}`);
    const again = await fetch(`${url}/`, { headers: { 'if-none-match': h.get('etag') ?? '' } });
    check(again.status === 304, `304 for a known ETag, got ${again.status}`);
    const plain = await fetch(`${url}/js/main.js`, { headers: { 'accept-encoding': 'identity' } });
    check(!plain.headers.get('content-encoding') && (await plain.text()).includes('import'), 'the plain file for a client without gzip');
    check((await fetch(`${url}/js/../../etc/passwd`)).status === 404 && (await fetch(`${url}/nothing`)).status === 404, '404 for what is not there');
  });

  await test('load: scripts and styles are files: inline code does not run', async () => {
    const { page, close } = await visit(browser, url, { expected: /Content Security Policy|TrustedHTML|TrustedScript|Trusted Type|violates/ });
    const ran = await page.evaluate(() => {
      const script = document.createElement('script');
      try {
        script.textContent = 'window.inlineRan = true';
        document.body.append(script);
      } catch {
        /* Trusted Types refuse even the assignment */
      }
      let html = false;
      try {
        document.createElement('div').innerHTML = '<b>x</b>';
        html = true;
      } catch {
        /* as it should be */
      }
      return { inline: Boolean(window.inlineRan), html };
    });
    check(!ran.inline, 'an inline script to be blocked');
    check(!ran.html, 'innerHTML to be refused by the page\'s policy');
    await close();
  });
};
