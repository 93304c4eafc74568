// Three people who all publish: everybody sees and hears everybody, by way of the relay and nobody else.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Browser } from './lib/browser.mjs';
import { Person } from './lib/call.mjs';
import { Server } from './lib/server.mjs';
import { pause, until } from './lib/until.mjs';

const LONG_S = 20;
/** Packets under way while the two sides are asked. */
const TOLERANCE = 0.02;

let server;
let browser;
let people;

before(async () => {
  server = await Server.start();
  browser = await Browser.start();
  people = await Promise.all(['Ann', 'Bruno', 'Chiara'].map((name) => Person.open(browser, name)));
  for (const person of people) await person.join(server, 'three');
});

after(async () => {
  await browser?.stop();
  await server?.stop();
});

test('everybody decodes both others, and still does after 20 s', async () => {
  await Promise.all(people.map((person) => person.sees(2)));
  await pause(LONG_S * 1000);
  await Promise.all(people.map((person) => person.goesOnSeeing(2)));
});

test('everybody hears both others', async () => {
  for (const person of people) {
    await until(`${person.name} hears 2`, async () => (await person.received()).filter((one) => one.audio?.totalAudioEnergy > 0).length === 2);
  }
});

test('media runs between the browser and a shard, sealed with GCM', async () => {
  for (const person of people) {
    const streams = await person.stats();
    assert.equal(streams.length, 3);
    for (const one of streams) {
      assert.notEqual(server.shardOf(one.remotePort), undefined, `port ${one.remotePort} is no shard's: ${JSON.stringify(server.shards)}`);
      assert.match(one.srtpCipher, /GCM/);
    }
  }
});

test('the relay counted the packets that the browsers sent and received', async () => {
  const sum = async (streams, key) => (await Promise.all(people.map((person) => person[streams]())))
    .flat().flatMap((one) => [one.audio, one.video]).reduce((total, flow) => total + flow[key], 0);
  const [sentBefore, receivedBefore] = [await sum('sent', 'packetsSent'), await sum('received', 'packetsReceived')];
  const [rtpIn, rtpOut] = [await server.count('rtp_in'), await server.count('rtp_out')];
  const [sentAfter, receivedAfter] = [await sum('sent', 'packetsSent'), await sum('received', 'packetsReceived')];
  assert.ok(rtpIn >= sentBefore * (1 - TOLERANCE) && rtpIn <= sentAfter * (1 + TOLERANCE), `in ${rtpIn}, sent ${sentBefore}..${sentAfter}`);
  assert.ok(rtpOut >= receivedBefore * (1 - TOLERANCE) && rtpOut <= receivedAfter * (1 + TOLERANCE),
    `out ${rtpOut}, received ${receivedBefore}..${receivedAfter}`);
});

test('every viewer reports what became of its packets', async () => {
  // Feedback is some 50 to 250 ms behind what it tells of.
  await until('the feedback covers what the browsers have received', async () => {
    const received = (await Promise.all(people.map((person) => person.received())))
      .flat().flatMap((one) => [one.audio, one.video]).reduce((total, flow) => total + flow.packetsReceived, 0);
    return await server.count('packets_delivered') >= received * (1 - TOLERANCE);
  });
  assert.ok(await server.count('packets_lost') <= await server.count('packets_delivered') / 100);
});

test('who leaves is gone for the others', async () => {
  await people[2].leave();
  for (const person of people.slice(0, 2)) {
    await until(`${person.name} sees one`, async () => (await person.received()).length === 1);
    await person.goesOnSeeing(1);
  }
});
