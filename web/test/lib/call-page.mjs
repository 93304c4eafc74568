// The product's own call page, used as a person would.

import { until } from './until.mjs';

/** Opens the page with its form filled in by the address. */
export async function openLobby(browser, server, { session, name, secret, base = server.http, script, viewport }) {
  const page = await browser.open(null, viewport ? { viewport } : {});
  if (script) await page.addInitScript(script, name);
  page.hosts = new Set();
  page.on('request', (request) => /^(http|ws)/.test(request.url()) && page.hosts.add(new URL(request.url()).host));
  page.on('websocket', (socket) => page.hosts.add(new URL(socket.url()).host));
  await page.goto(`${base.replace(/\/$/, '')}/#${new URLSearchParams({ session, name, secret })}`);
  return page;
}

export class CallPage {
  static async join(browser, server, session, name, options = {}) {
    return CallPage.#join(await openLobby(browser, server, { session, name, secret: server.secret, ...options }));
  }

  /** Enters by an invite link, as a guest who types a name. */
  static async enter(browser, link, name) {
    const page = await browser.open(link);
    await page.getByLabel('Your name').fill(name);
    return CallPage.#join(page);
  }

  static async #join(page) {
    // The mirror shows a picture: camera and microphone are there.
    await page.waitForFunction(() => document.getElementById('preview-video').videoWidth > 0);
    await page.getByRole('button', { name: 'Join', exact: true }).click();
    await page.locator('#room .tile.local').waitFor();
    await page.waitForFunction(() => window.millrace.publisher?.stream?.streamId);
    return new CallPage(page);
  }

  constructor(page) {
    this.page = page;
    this.hosts = page.hosts;
  }

  tiles(count) {
    return until(`${count} tiles`, async () => (await this.page.locator('.tile').count()) === count);
  }

  names() {
    return this.page.locator('.tile .label').allTextContents();
  }

  /** Resolves once the pictures of that many others move. */
  plays(count) {
    return until(`${count} pictures move`, () => this.page.evaluate(async (wanted) => {
      const frames = async () => new Map((await window.millrace.stats()).filter((one) => !one.local).map((one) => [one.streamId, one.video?.frames ?? 0]));
      const before = await frames();
      await new Promise((next) => { setTimeout(next, 500); });
      const moving = [...await frames()].filter(([id, value]) => value > (before.get(id) ?? Infinity));
      return moving.length === wanted;
    }, count), { timeoutMs: 25_000 });
  }
}
