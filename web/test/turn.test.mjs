// Calls by TURN: browsers that may use relayed candidates alone, over UDP, over TCP, and over the port of HTTPS.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Person } from './lib/call.mjs';
import { pairs, relayedOnly } from './lib/relayed.mjs';
import { stage } from './lib/stage.mjs';
import { until } from './lib/until.mjs';

const here = stage('--turn-static-user', 'ann:of-the-test');

const relay = async () => (await here.server.rest('GET', '/millrace/stats')).body.relay;

async function open(name) {
  const page = await here.browser.open('');
  await page.addInitScript(relayedOnly);
  await page.goto(here.browser.peerPage());
  return new Person(page, name);
}

async function call(t, session, server) {
  t.after(() => here.browser.closePages());
  const connection = { customIceServers: [{ url: server, username: 'ann', credential: 'of-the-test' }] };
  const people = await Promise.all(['Ann', 'Bruno'].map(open));
  for (const person of people) await person.join(here.server, session, { connection });
  await Promise.all(people.map((person) => person.sees(1)));
  await Promise.all(people.map((person) => person.goesOnSeeing(1)));
  return people;
}

/** Everybody leaves, which gives the allocations back. */
const leave = (people) => Promise.all(people.map((person) => person.leave()));

for (const protocol of ['udp', 'tcp']) {
  test(`${protocol}: both see each other by relayed candidates alone`, async (t) => {
    const { addresses: [address], turnPort } = await relay();
    const people = await call(t, `by-${protocol}`, `turn:${address}:${turnPort}?transport=${protocol}`);
    for (const person of people) {
      assert.deepEqual(await pairs(person), [`relay ${protocol}`, `relay ${protocol}`]);
    }
    assert.ok(await here.server.count('turn_channels_opened') >= 4, 'the short header is used');
    assert.equal(await here.server.count('turn_sockets'), 0, 'no socket between client and media port');
    await leave(people);
  });
}

test('plain TURN is taken on the port of HTTPS too', async (t) => {
  const { addresses: [address], httpsPort } = await relay();
  const people = await call(t, 'by-https-port', `turn:${address}:${httpsPort}?transport=tcp`);
  for (const person of people) assert.deepEqual(await pairs(person), ['relay tcp', 'relay tcp']);
  await leave(people);
});

test('allocations end with the call', async (t) => {
  const { addresses: [address], turnPort } = await relay();
  const people = await call(t, 'ends', `turn:${address}:${turnPort}?transport=udp`);
  assert.ok(await here.server.count('turn_allocations') > 0);
  await leave(people);
  await until('no allocation is left', async () => await here.server.count('turn_allocations') === 0, { timeoutMs: 20_000 });
});
