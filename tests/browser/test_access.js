/* test_access.js: for everyone: names and roles, contrast, keyboard alone, narrow screens, light and dark, less motion. */
'use strict';
const { check, equal, test } = require('./harness.js');
const { answered, fakeAnswer, streamOf, visit } = require('./browser.js');

const RICH = ['# Title\n\ntext *em* `code` [link](https://a.example)\n\n> quote\n\n- [x] a\n- b\n\n', '| a | b |\n|---|---|\n| 1 | 2 |\n\n```python\n# note\n@deco\ndef f(x): return "s" + str(42)\n```\n'];

/* In the page: every visible text whose contrast with what lies behind it is too low. */
function lowContrast() {
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const rgba = (css) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = css;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, under) => top.slice(0, 3).map((c, i) => c * top[3] + under[i] * (1 - top[3]));
  const lum = (c) => c.map((v) => (v / 255 <= 0.03928 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4)).reduce((s, v, i) => s + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (el) => {
    const stack = [];
    for (let at = el; at; at = at.parentElement) stack.push(rgba(getComputedStyle(at).backgroundColor));
    return stack.reverse().reduce((under, top) => over(top, under), [255, 255, 255]);
  };
  const found = [];
  const look = (el, colour, text) => {
    const style = getComputedStyle(el);
    const back = behind(el);
    const [a, b] = [lum(over(rgba(colour), back)), lum(back)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    if (ratio < (large ? 3 : 4.5)) found.push(`${ratio.toFixed(2)} ${el.localName}.${el.className}: ${text.trim().slice(0, 30)}`);
  };
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const el = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || !el.checkVisibility({ opacityProperty: true, visibilityProperty: true }) || el.closest('.sr, .skip, :disabled')) continue;
    look(el, getComputedStyle(el).color, walk.currentNode.data);
  }
  for (const el of document.querySelectorAll('[placeholder]')) if (el.checkVisibility()) look(el, getComputedStyle(el, '::placeholder').color, el.placeholder);
  return found;
}

/* In the page: what a screen reader would stumble over. */
function stumbles() {
  const found = [];
  const name = (el) => (el.getAttribute('aria-label') ?? '') || [...(el.labels ?? [])].map((l) => l.textContent).join('') || el.textContent.trim() || el.getAttribute('alt') || '';
  for (const el of document.querySelectorAll('button, a[href], input, textarea, select, [role=menuitem], [role=region], dialog, progress')) {
    if (el.checkVisibility() && !name(el) && !el.closest('[aria-hidden=true]')) found.push(`no name: ${el.outerHTML.slice(0, 80)}`);
  }
  for (const img of document.querySelectorAll('img')) if (!img.hasAttribute('alt')) found.push('image without alt');
  const ids = [...document.querySelectorAll('[id]')].map((e) => e.id);
  for (const id of new Set(ids)) if (ids.filter((x) => x === id).length > 1) found.push(`id twice: ${id}`);
  for (const attr of ['aria-controls', 'aria-describedby', 'for']) {
    for (const el of document.querySelectorAll(`[${attr}]`)) if (!document.getElementById(el.getAttribute(attr))) found.push(`${attr} leads nowhere: ${el.getAttribute(attr)}`);
  }
  for (const what of ['main', 'nav', 'header', 'aside', 'h1', '[aria-live=polite]', '[role=status]']) if (!document.querySelector(what)) found.push(`no ${what}`);
  let level = 0;
  for (const h of document.querySelectorAll('main h1, main h2, main h3, main h4, main h5, main h6')) {
    const n = Number(h.localName[1]);
    if (n > level + 1) found.push(`heading ${n} after ${level}: ${h.textContent}`);
    level = n;
  }
  if (!document.documentElement.lang) found.push('no language');
  for (const svg of document.querySelectorAll('svg')) if (svg.getAttribute('aria-hidden') !== 'true') found.push('icon is not hidden');
  return found;
}

async function rich(browser, url, options) {
  const got = await visit(browser, url, options);
  await fakeAnswer(got.page, () => streamOf(RICH));
  await got.page.fill('#ask', 'Show everything');
  await got.page.click('#send');
  await answered(got.page);
  return got;
}

module.exports = async (browser, url) => {
  for (const scheme of ['light', 'dark']) {
    await test(`access: contrast and names, ${scheme}`, async () => {
      const { page, close } = await rich(browser, url, { colorScheme: scheme, reducedMotion: 'reduce' });
      const look = async (where) => {
        await page.waitForTimeout(120);
        equal(await page.evaluate(lowContrast), [], `low contrast, ${where}`);
        equal(await page.evaluate(stumbles), [], `stumbling blocks, ${where}`);
      };
      await look('conversation');
      await page.click('#meter-btn');
      await page.waitForSelector('.model-row');
      await look('machine panel');
      await page.click('#meter-btn');
      await page.click('#model-btn');
      await look('menu');
      await page.keyboard.press('Escape');
      await page.click('#settings-btn');
      await look('settings');
      await page.keyboard.press('Escape');
      await page.keyboard.press('Control+k');
      await look('welcome');
      await close();
    });
  }

  await test('access: dark and light follow the system, and the choice is kept', async () => {
    const { page, close } = await visit(browser, url, { colorScheme: 'dark' });
    const light = () => page.evaluate(() => Number(/\d+/.exec(getComputedStyle(document.body).backgroundColor)[0]) > 128);
    equal(await light(), false, 'light by a dark system');
    await page.emulateMedia({ colorScheme: 'light' });
    equal(await light(), true, 'light by a light system');
    await page.click('#settings-btn');
    await page.locator('.seg-choice', { hasText: 'Dark' }).click();
    equal(await light(), false, 'light after choosing dark');
    await page.reload();
    await page.waitForSelector('html[data-ready]');
    equal(await light(), false, 'light after a reload');
    await close();
  });

  await test('access: everything by keyboard alone, with a visible focus', async () => {
    const { page, close } = await visit(browser, url, { reducedMotion: 'reduce' });
    await fakeAnswer(page, () => streamOf(['An answer.']));
    const onSkip = () => page.evaluate(() => document.activeElement.className === 'skip');
    for (let n = 0; n < 30 && !await onSkip(); n++) await page.keyboard.press('Shift+Tab');
    check(await onSkip(), 'the skip link');
    await page.keyboard.press('Enter');
    check(await page.evaluate(() => document.activeElement.id === 'ask'), 'the skip link to lead to the message box');
    await page.keyboard.type('line one');
    await page.keyboard.press('Shift+Enter');
    await page.keyboard.type('line two');
    await page.keyboard.press('Enter');
    await answered(page);
    equal(await page.locator('.bubble').innerText(), 'line one\nline two', 'two lines');
    const reached = new Set();
    for (let n = 0; n < 40; n++) {
      await page.keyboard.press('Shift+Tab');
      await page.waitForTimeout(30);
      const at = await page.evaluate(() => {
        const el = document.activeElement;
        const s = getComputedStyle(el);
        const ember = getComputedStyle(document.querySelector('.starter-kind, .new-chat .icon')).color; /* the box shows its focus by its border */
        return el === document.body ? null : { name: el.getAttribute('aria-label') ?? el.textContent.trim(), ring: getComputedStyle(el.id === 'ask' ? el.form : el).borderColor === ember || s.outlineStyle !== 'none', seen: el.checkVisibility({ opacityProperty: true }) };
      });
      if (!at) continue;
      check(at.ring, `a visible focus on ${at.name}`);
      check(at.seen || at.name.startsWith('Skip'), `${at.name} to be visible when focused`);
      reached.add(at.name.replace(/ for .*|: .*/, ''));
    }
    for (const want of ['Copy answer', 'Retry', 'Edit and send again', 'Settings', 'Machine', 'New chatCtrl K', 'Search conversations']) check([...reached].some((r) => r.startsWith(want)), `${want} to be reachable, got ${[...reached].join(', ')}`);
    await page.locator('#model-btn').focus();
    await page.keyboard.press('Enter');
    await page.keyboard.press('ArrowDown');
    check(await page.evaluate(() => document.activeElement.getAttribute('role') === 'menuitemradio'), 'arrows to move in the menu');
    await page.keyboard.press('Escape');
    await page.keyboard.press('Control+k');
    check(await page.evaluate(() => document.activeElement.id === 'ask') && await page.locator('.welcome').count() === 1, 'Ctrl K to begin a new chat');
    await page.keyboard.press('Control+,');
    check(await page.locator('dialog[open]').count() === 1, 'Ctrl , to open the settings');
    await page.keyboard.press('Escape');
    await close();
  });

  await test('access: an input method\'s Enter does not send', async () => {
    const { page, close } = await visit(browser, url);
    await page.fill('#ask', 'にほん');
    await page.evaluate(() => document.getElementById('ask').dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', isComposing: true, bubbles: true, cancelable: true })));
    equal(await page.locator('.msg').count(), 0, 'messages');
    await close();
  });

  for (const width of [320, 390, 768]) {
    await test(`access: a screen ${width} wide: nothing overflows, the list is a drawer`, async () => {
      const { page, close } = await rich(browser, url, { viewport: { width, height: 700 }, hasTouch: true, isMobile: true });
      const wide = () => page.evaluate(() => [...document.querySelectorAll('body *')].filter((e) => e.checkVisibility() && !e.closest('.sidebar, .sr, .skip, pre, .table-box') && e.getBoundingClientRect().right > innerWidth + 1).map((e) => `${e.localName}.${e.className}`));
      equal(await wide(), [], 'elements beyond the edge');
      check(await page.evaluate(() => document.getElementById('sidebar').inert), 'the closed drawer to be out of reach');
      await page.tap('#side-open');
      await page.waitForFunction(() => document.getElementById('sidebar').getBoundingClientRect().left === 0);
      check(await page.evaluate(() => !document.getElementById('sidebar').inert && document.querySelector('.column').inert && document.activeElement.id === 'side-close'), 'the drawer to hold the focus');
      await page.keyboard.press('Escape');
      check(await page.evaluate(() => document.activeElement.id === 'side-open'), 'the focus back at its button');
      await page.tap('#meter-btn');
      await page.waitForSelector('.model-row');
      equal(await wide(), [], 'elements beyond the edge with the machine panel');
      await page.tap('#meter-btn');
      await page.tap('#settings-btn');
      equal(await wide(), [], 'elements beyond the edge with the settings');
      await close();
    });
  }

  await test('access: less motion when the system asks for it', async () => {
    const { page, close } = await visit(browser, url, { reducedMotion: 'reduce' });
    await page.evaluate(() => document.body.classList.add('burning'));
    const moving = await page.evaluate(() => document.getAnimations().filter((a) => a.effect.getComputedTiming().iterations > 1).length);
    equal(moving, 0, 'endless animations');
    await close();
  });

  await test('access: sentences, not tokens, are spoken', async () => {
    const { page, close } = await visit(browser, url);
    const said = await page.evaluate(async () => {
      const { Speaker } = await import('/js/speak.js');
      const text = 'The first sentence is long enough to be spoken at once, it is. The second one follows with **some** more words in it. And a rest';
      const live = document.getElementById('live');
      live.replaceChildren();
      const s = new Speaker();
      s.last = -10000;
      for (let n = 1; n <= text.length; n++) s.grow(text.slice(0, n));
      s.end(text, 'Done.');
      return [...live.children].map((p) => p.textContent);
    });
    equal(said, ['The first sentence is long enough to be spoken at once, it is.', 'The second one follows with some more words in it. And a rest', 'Done.'], 'what is spoken');
    await close();
  });
};
