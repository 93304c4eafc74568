// WSS ends at the relay's edge and goes on to signaling. Signaling is killed under it, and the relay with all sockets.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Browser } from './lib/browser.mjs';
import { Person, totals } from './lib/call.mjs';
import { Server } from './lib/server.mjs';
import { until } from './lib/until.mjs';

/** As long as without the edge: publishers notice by themselves, some 12 s after the last packet. */
const RECOVERY_MS = 45_000;

let server;
let browser;

before(async () => {
  server = await Server.start();
  browser = await Browser.start();
});

after(async () => {
  await browser?.stop();
  await server?.stop();
});

const names = async (person) => (await person.events()).map(({ name }) => name);

async function call(session, properties) {
  const people = await Promise.all(['Ann', 'Bruno'].map((name) => Person.open(browser, name)));
  for (const person of people) await person.join(server.secure(), session, { properties });
  await Promise.all(people.map((person) => person.sees(1)));
  return people;
}

const stats = async () => (await server.rest('GET', '/millrace/stats')).body;

test('sockets lead through the edge, and come back when signaling does', async (t) => {
  t.after(() => browser.closePages());
  const people = await call('signaling-killed');
  assert.ok((await stats()).edge.edge_http >= 2, 'both came by it');
  const start = await Promise.all(people.map(async (person) => totals(await person.received())));
  process.kill((await stats()).signaling.pid, 'SIGKILL');
  await Promise.all(people.map((person) => person.hears('reconnected')));
  await Promise.all(people.map((person) => person.goesOnSeeing(1)));
  for (const [index, person] of people.entries()) {
    assert.equal(totals(await person.received()).lost, start[index].lost, `${person.name} lost packets`);
    assert.ok(!(await names(person)).includes('sessionDisconnected'));
  }
  assert.equal((await stats()).relay.pid, server.pids.relay, 'the relay is the same process');
});

for (const mediaServer of ['kurento', 'mediasoup']) {
  test(`${mediaServer}: the relay takes the sockets along, and everybody comes back`, async (t) => {
    t.after(() => browser.closePages());
    const people = await call(`relay-killed-${mediaServer}`, { mediaServer });
    const { pid } = (await stats()).relay;
    process.kill(pid, 'SIGKILL');
    await Promise.all(people.map((person) => person.hears('reconnected')));
    await Promise.all(people.map((person) => person.goesOnSeeing(1, RECOVERY_MS)));
    for (const person of people) assert.ok(!(await names(person)).includes('sessionDisconnected'), (await names(person)).join());
    await until('another relay', async () => (await stats()).relay.pid !== pid);
  });
}
