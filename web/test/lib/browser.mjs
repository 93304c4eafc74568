// Chromium without a window, with a made-up camera; and the little web server that brings the test page and the
// unmodified openvidu-browser bundles to it.

import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { LIBRARY, OLD_LIBRARIES, bundle } from './libraries.mjs';

const HERE = path.dirname(fileURLToPath(import.meta.url));
const FILES = {
  '/': ['text/html', path.join(HERE, '../pages/peer.html')],
  '/peer.js': ['text/javascript', path.join(HERE, '../pages/peer.js')],
  '/first-generation': ['text/html', path.join(HERE, '../pages/first-generation.html')],
  '/first-generation.js': ['text/javascript', path.join(HERE, '../pages/first-generation.js')],
  '/test-tone.js': ['text/javascript', path.join(HERE, '../pages/test-tone.js')],
};
for (const version of [LIBRARY, ...OLD_LIBRARIES]) FILES[`/openvidu-browser-${version}.js`] = ['text/javascript', bundle(version)];

const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--use-fake-device-for-media-stream',
  '--use-fake-ui-for-media-stream',
  '--allow-loopback-in-peer-connection',
  '--autoplay-policy=no-user-gesture-required',
  '--ignore-certificate-errors',
];

/** A browser with its own profile, which it throws away. */
export class Browser {
  /** Starts it; of a flag given twice the last one counts. */
  static async start(...flags) {
    const pages = createServer(serve);
    await new Promise((resolve) => { pages.listen(0, 'localhost', resolve); });
    const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', headless: true, args: [...FLAGS, ...flags] });
    return new Browser(browser, pages);
  }

  /** Starts one that may not reach our web server: it gets its pages without a network, and believes certificates only by rights. */
  static async startInside(launch, ...flags) {
    const args = [...FLAGS, ...flags].filter((flag) => flag !== '--ignore-certificate-errors');
    return new Browser(await chromium.launch({ headless: true, args, ...launch }), null);
  }

  constructor(browser, pages) {
    this.browser = browser;
    this.pages = pages;
    this.url = pages ? `http://localhost:${pages.address().port}/` : 'https://pages.test/';
  }

  /** A page in a profile of its own, so that nobody is a background tab of another. */
  async open(url = this.peerPage(), options = {}) {
    const context = await this.browser.newContext({ ignoreHTTPSErrors: this.pages !== null, viewport: { width: 960, height: 600 }, ...options });
    if (!this.pages) await context.route(`${this.url}**`, fulfill);
    const page = await context.newPage();
    page.on('pageerror', (error) => console.error(`page: ${error.message}`));
    if (process.env.MILLRACE_TEST_LOG) page.on('console', (message) => console.error(`console: ${message.text()}`));
    if (url) await page.goto(url);
    return page;
  }

  /** Address of the test page with that release of the library. */
  peerPage(library = LIBRARY) {
    return `${this.url}?${new URLSearchParams({ library })}`;
  }

  /** Address of the page for releases of the first generation. */
  firstGenerationPage(library) {
    return `${this.url}first-generation?${new URLSearchParams({ library })}`;
  }

  async closePages() {
    await Promise.all(this.browser.contexts().map((context) => context.close()));
  }

  async stop() {
    await this.browser.close();
    if (!this.pages) return;
    this.pages.closeAllConnections?.();
    await new Promise((resolve) => { this.pages.close(resolve); });
  }
}

async function fulfill(route) {
  const file = FILES[new URL(route.request().url()).pathname];
  await route.fulfill(file ? { contentType: file[0], path: file[1] } : { status: 404 });
}

async function serve(request, response) {
  const file = FILES[new URL(request.url, 'http://localhost').pathname];
  if (!file) {
    response.writeHead(404).end();
    return;
  }
  response.writeHead(200, { 'content-type': file[0] }).end(await readFile(file[1]));
}
