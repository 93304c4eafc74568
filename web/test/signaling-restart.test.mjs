// Signaling is killed in the middle of a call: media does not notice, browsers reconnect, newcomers get in.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Browser } from './lib/browser.mjs';
import { Person, totals } from './lib/call.mjs';
import { Server } from './lib/server.mjs';
import { until } from './lib/until.mjs';

let server;
let browser;
let people;

before(async () => {
  server = await Server.start();
  browser = await Browser.start();
  people = await Promise.all(['Ann', 'Bruno'].map((name) => Person.open(browser, name)));
  for (const person of people) await person.join(server, 'killed');
  await Promise.all(people.map((person) => person.sees(1)));
});

after(async () => {
  await browser?.stop();
  await server?.stop();
});

const alive = (pid) => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

test('media runs on while signaling is dead', async () => {
  // Only what was lost before may be lost after.
  const start = await Promise.all(people.map(async (person) => totals(await person.received())));
  process.kill(server.pids.signaling, 'SIGKILL');
  await until('it is dead', () => !alive(server.pids.signaling));
  await Promise.all(people.map((person) => person.goesOnSeeing(1)));
  await server.answers();
  assert.ok(alive(server.pids.relay), 'the relay is the same process');
  await Promise.all(people.map((person) => person.hears('reconnected')));
  await Promise.all(people.map((person) => person.goesOnSeeing(1)));
  for (const [index, person] of people.entries()) {
    const now = totals(await person.received());
    assert.equal(now.lost, start[index].lost, `${person.name} lost packets`);
    assert.ok(now.packets > start[index].packets + 50, `${person.name} got ${now.packets - start[index].packets} packets`);
  }
});

test('nobody was thrown out', async () => {
  for (const person of people) {
    const said = (await person.events()).map(({ name }) => name);
    assert.ok(said.includes('reconnecting') && said.includes('reconnected'), said.join());
    assert.ok(!said.includes('sessionDisconnected'), said.join());
  }
});

test('a newcomer joins the same session, and everybody sees everybody', async () => {
  const chiara = await Person.open(browser, 'Chiara');
  await chiara.join(server, 'killed');
  const all = [...people, chiara];
  await Promise.all(all.map((person) => person.sees(2)));
  await Promise.all(all.map((person) => person.goesOnSeeing(2)));
});
