// Media by TCP: browsers that are told of no UDP candidate connect to the media port, and what they publish is decoded.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Browser } from './lib/browser.mjs';
import { Person } from './lib/call.mjs';
import { Server } from './lib/server.mjs';

let server;
let browser;

before(async () => {
  server = await Server.start('--ice-tcp');
  browser = await Browser.start();
});

after(async () => {
  await browser?.stop();
  await server?.stop();
});

/** In the page: the server's candidates of UDP are lost on the way, as its packets would be in such a network. */
function loseUdp() {
  const set = RTCPeerConnection.prototype.setRemoteDescription;
  RTCPeerConnection.prototype.setRemoteDescription = function lossy(description, ...more) {
    const sdp = description.sdp.replace(/a=candidate:\S+ \d+ udp .*\r\n/g, '');
    return set.call(this, { type: description.type, sdp }, ...more);
  };
}

async function open(name) {
  const page = await browser.open('');
  await page.addInitScript(loseUdp);
  await page.goto(browser.peerPage());
  return new Person(page, name);
}

/** The protocols of the pairs that media goes over, by stream. */
const protocols = (person) => person.page.evaluate(() => Promise.all(window.peer.session.streamManagers.map(async ({ stream }) => {
  const report = await stream.getRTCPeerConnection().getStats();
  const transport = [...report.values()].find(({ type }) => type === 'transport');
  const pair = report.get(transport.selectedCandidatePairId);
  return report.get(pair.remoteCandidateId).protocol;
})));

test('both decode each other, and go on', async () => {
  const people = await Promise.all(['Ann', 'Bruno'].map(open));
  for (const person of people) await person.join(server, 'by-tcp', { publish: { source: 'noise' } });
  await Promise.all(people.map((person) => person.sees(1)));
  await Promise.all(people.map((person) => person.goesOnSeeing(1)));
  for (const person of people) {
    const used = await protocols(person);
    assert.ok(used.length >= 1 && used.every((protocol) => protocol === 'tcp'), used.join());
  }
  const { edge } = (await server.rest('GET', '/millrace/stats')).body;
  assert.ok(edge.edge_ice_tcp >= 4 && edge.edge_messages_in > 100 && edge.edge_messages_out > 100, JSON.stringify(edge));
  assert.equal(edge.edge_closed_slow + edge.edge_closed_broken, 0, JSON.stringify(edge));
});
