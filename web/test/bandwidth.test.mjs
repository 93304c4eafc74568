// How much a publisher may send: as much as the way carries without the cap, and no more than the cap with it.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Browser } from './lib/browser.mjs';
import { Person } from './lib/call.mjs';
import { Server } from './lib/server.mjs';
import { pause, until } from './lib/until.mjs';

const PUBLISH = { source: 'noise', resolution: '1280x720', frameRate: 20 };
const CAP_BPS = 1_000_000;

/** A publisher with one viewer, and the average of what its video took over `seconds`, in bit/s. */
async function withPublisher(flags, work) {
  const server = await Server.start(...flags);
  const browser = await Browser.start();
  try {
    const ann = await Person.open(browser, 'Ann');
    const start = Date.now();
    await ann.join(server, 'bandwidth', { publish: PUBLISH });
    const bruno = await Person.open(browser, 'Bruno');
    await bruno.join(server, 'bandwidth', { publish: false });
    await work({ ann, bruno, start });
  } finally {
    await browser.stop();
    await server.stop();
  }
}

async function sendingBps(person, seconds) {
  const before = await person.sent();
  await pause(seconds * 1000);
  const now = await person.sent();
  return ((now.video.bytesSent - before.video.bytesSent) * 8000) / (now.at - before.at);
}

test('without a cap the estimate passes 2 Mbit/s within 10 s', async () => {
  await withPublisher(['--video-max-recv-kbps', '0'], async ({ ann, bruno, start }) => {
    await until('availableOutgoingBitrate > 2 Mbit/s', async () => (await ann.sent()).availableOutgoingBitrate > 2_000_000,
      { timeoutMs: start + 10_000 - Date.now(), everyMs: 250 });
    await bruno.sees(1);
    const bps = await sendingBps(ann, 5);
    assert.ok(bps > CAP_BPS * 1.1, `the source wants more than the cap of the next test, but sent ${Math.round(bps)} bit/s`);
  });
});

test('the default cap of 1000 kbit/s is kept, and used', async () => {
  await withPublisher([], async ({ ann, bruno }) => {
    await bruno.sees(1);
    await until('half the cap is used', async () => (await sendingBps(ann, 2)) > CAP_BPS / 2, { timeoutMs: 20_000 });
    const bps = await sendingBps(ann, 6);
    assert.ok(bps < CAP_BPS * 1.1, `${Math.round(bps)} bit/s`);
  });
});
