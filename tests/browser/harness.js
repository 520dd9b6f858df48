/* harness.js: starts what the browser tests need (server, Chromium) and counts verdicts. Owns no test. */
'use strict';
const { spawn, spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const count = { passed: 0, failed: 0, skipped: 0 };
const only = process.env.HEARTH_ONLY ?? '';

function skip(name, why) {
  count.skipped++;
  console.log(`skip ${name}: ${why}`);
}

function fail(name, e) {
  count.failed++;
  console.log(`FAIL ${name}\n     ${String(e.stack ?? e).split('\n').slice(0, 8).join('\n     ')}`);
}

/* The page that a failing test had before it, and what it then showed. */
let watched = null;
const watch = (page) => { watched = page; };

async function shown() {
  const text = await watched?.evaluate(() => document.body.innerText).catch(() => '');
  if (text) console.log(`     the page said: ${text.slice(-600).split('\n').join('\n     | ')}`);
}

class Skip extends Error {}

/* Runs one test; it fails by throwing and is skipped by throwing Skip. The time limit only catches a hang. */
async function test(name, fn, limit = 120000) {
  if (only && !name.includes(only)) return;
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`still running after ${limit / 1000} s`)), limit);
  });
  try {
    await Promise.race([fn(), late]);
    count.passed++;
    console.log(`ok   ${name}`);
  } catch (e) {
    if (e instanceof Skip) return skip(name, e.message);
    fail(name, e);
    await shown();
  } finally {
    clearTimeout(timer);
  }
  return undefined;
}

function finish() {
  console.log(`${count.passed} passed, ${count.failed} failed, ${count.skipped} skipped`);
  process.exitCode = count.failed ? 1 : 0;
}

function check(ok, what) {
  if (!ok) throw new Error(`expected ${what}`);
}

function equal(got, want, what) {
  const [a, b] = [JSON.stringify(got), JSON.stringify(want)];
  if (a !== b) throw new Error(`${what}\n  got  ${a}\n  want ${b}`);
}

/* Waits until `probe` returns something true. */
async function until(probe, what, limit = 60000) {
  for (const end = Date.now() + limit; Date.now() < end; await new Promise((r) => setTimeout(r, 50))) {
    const got = await probe();
    if (got) return got;
  }
  throw new Error(`waited ${limit / 1000} s in vain for ${what}`);
}

function findPlaywright() {
  for (const folder of [process.env.HEARTH_NODE_PATH, process.env.NODE_PATH].filter(Boolean)) {
    const at = path.join(folder, 'playwright-core');
    if (fs.existsSync(at)) return require(at);
  }
  return null;
}

function findChromium() {
  const names = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];
  /* Some systems install a stub that only tells how to get the browser; it does not know its version. */
  const works = (n) => fs.existsSync(n) && spawnSync(n, ['--version'], { stdio: 'ignore', timeout: 20000 }).status === 0;
  return process.env.HEARTH_CHROMIUM ?? names.find(works) ?? null;
}

const FLAGS = ['--disable-gpu', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--no-first-run'];

function launch(playwright, executablePath) {
  const args = process.getuid() === 0 ? ['--no-sandbox', ...FLAGS] : FLAGS;
  return playwright.chromium.launch({ executablePath, args });
}

/* The files of the named models, or null when they cannot be had (no network). */
function fetchModels(...names) {
  const got = spawnSync('tools/fetch-models', names, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
  const files = got.status === 0 ? got.stdout.trim().split('\n') : [];
  return files.length === names.length ? files : null;
}

/* Starts `hearth up` with these models in a data folder of its own; resolves with its address. */
async function startServer(files, extra = []) {
  const home = fs.mkdtempSync(path.join(process.env.HEARTH_HOME ?? os.tmpdir(), 'browser-'));
  const env = { ...process.env, XDG_DATA_HOME: home, XDG_CONFIG_HOME: home, XDG_CACHE_HOME: home, HEARTH_HOME: home };
  const bin = process.env.HEARTH_BIN;
  for (const [name, file] of Object.entries(files)) {
    const pull = spawnSync(bin, ['pull', file, '--as', name], { env, encoding: 'utf8' });
    if (pull.status !== 0) throw new Error(`hearth pull ${file} --as ${name}: ${pull.stderr || pull.stdout}`);
  }
  const args = ['up', '--port', '0', '--no-open', '--model', Object.keys(files)[0], ...extra];
  const proc = spawn(bin, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let text = '';
  let ended = null;
  for (const s of [proc.stdout, proc.stderr]) s.on('data', (d) => { text += d; });
  proc.on('exit', (code, signal) => { ended = `it ended with ${code ?? signal}`; });
  const url = await until(() => {
    if (ended) throw new Error(`hearth up: ${ended}: ${text.slice(-800)}`);
    return /Hearth is up: (http:\/\/[\d.]+:\d+)/.exec(text)?.[1];
  }, 'hearth up to print its address');
  const stop = async () => {
    if (ended) return;
    proc.kill('SIGTERM');
    await until(() => ended, 'hearth up to end after SIGTERM', 20000).catch(() => proc.kill('SIGKILL'));
    fs.rmSync(home, { recursive: true, force: true });
  };
  return { url, stop, output: () => text };
}

module.exports = { Skip, check, equal, fail, fetchModels, findChromium, findPlaywright, finish, launch, skip, startServer, test, until, watch };
