// Sessions spread over shards, and a shard that panics takes nobody else with it.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Browser } from './lib/browser.mjs';
import { Person, totals } from './lib/call.mjs';
import { Server } from './lib/server.mjs';
import { pause, until } from './lib/until.mjs';

const SESSIONS = ['north', 'south'];
/** Longest stop of the picture in the session of the shard that panicked. */
const GAP_MAX_MS = 1000;
const WATCH_S = 6;

let server;
let browser;
const calls = new Map();

before(async () => {
  server = await Server.start('--shards', '2', '--allow-fault-injection');
  browser = await Browser.start();
  for (const session of SESSIONS) {
    const publisher = await Person.open(browser, `publisher of ${session}`);
    const viewer = await Person.open(browser, `viewer of ${session}`);
    await publisher.join(server, session);
    await viewer.join(server, session, { publish: false });
    calls.set(session, { publisher, viewer });
  }
});

after(async () => {
  await browser?.stop();
  await server?.stop();
});

/** The shard whose port both ends of a call talk to. */
async function shardOf({ publisher, viewer }) {
  await viewer.sees(1);
  const ports = [(await publisher.sent()).remotePort, (await viewer.received())[0].remotePort];
  const shards = ports.map((port) => server.shardOf(port));
  assert.equal(shards[0], shards[1], `one session on two shards: ports ${ports}`);
  assert.notEqual(shards[0], undefined, `port ${ports[0]} is no shard's`);
  return shards[0];
}

test('two sessions live on two shards', async (t) => {
  assert.equal(server.shards.length, 2);
  for (const call of calls.values()) call.shard = await shardOf(call);
  const named = [...calls].map(([session, { shard }]) => `${session} on shard ${shard}`);
  t.diagnostic(named.join(', '));
  assert.equal(new Set([...calls.values()].map(({ shard }) => shard)).size, 2, named.join(', '));
  for (const { shard, counters } of await server.counters()) assert.ok(counters.rtp_in > 0, `shard ${shard} got no media`);
});

test('a shard that panics goes on within 1 s, and the other one loses nothing', async (t) => {
  const [hurt, spared] = [0, 1].map((shard) => [...calls.values()].find((call) => call.shard === shard));
  const before = totals(await spared.viewer.received());
  const told = await hurt.viewer.events();
  for (const { viewer } of [hurt, spared]) await viewer.page.evaluate(() => window.peer.watchFrames());
  await pause(1000);

  const answer = await server.rest('POST', '/millrace/debug/panic/0');
  assert.ok(answer.status < 300, `${answer.status} ${JSON.stringify(answer.body)}`);
  await until('shard 0 was rebuilt', async () => (await server.counters()).find(({ shard }) => shard === 0).counters.rebuilds === 1);
  await pause(WATCH_S * 1000);

  await hurt.viewer.goesOnSeeing(1);
  const gap = await hurt.viewer.page.evaluate(() => window.peer.longestGap());
  const losses = totals(await hurt.viewer.received());
  t.diagnostic(`longest stop ${Math.round(gap)} ms; lost ${losses.lost}`);
  assert.ok(gap < GAP_MAX_MS, `the picture stood for ${Math.round(gap)} ms`);
  const of = (events) => events.map(({ name }) => name).filter((name) => name !== 'exception');
  assert.deepEqual(of(await hurt.viewer.events()), of(told), 'signaling had no part in it');

  const now = totals(await spared.viewer.received());
  assert.equal(now.lost, before.lost, 'the other shard lost packets');
  assert.ok(now.packets > before.packets + 50);
  const { counters } = (await server.counters()).find(({ shard }) => shard === 1);
  assert.equal(counters.rebuilds, 0);
});
