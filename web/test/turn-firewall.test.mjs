// Browsers whose network lets no UDP out, or nothing but the port of HTTPS: what they reach us by, and that they see each other.

import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { after, before, test } from 'node:test';
import { Person } from './lib/call.mjs';
import { Firewall, HOST, impossible } from './lib/firewall.mjs';
import { pairs, relayedOnly } from './lib/relayed.mjs';
import { Server } from './lib/server.mjs';

const skip = impossible();

let firewall;
let server;
let browser;
let ports;

/** Ports that nobody has now: clients are told of ports by number. */
async function freePorts(count) {
  const listeners = Array.from({ length: count }, () => createServer().listen(0));
  await Promise.all(listeners.map((one) => new Promise((resolve) => { one.once('listening', resolve); })));
  const free = listeners.map((one) => one.address().port);
  await Promise.all(listeners.map((one) => new Promise((resolve) => { one.close(resolve); })));
  return free;
}

before(async () => {
  if (skip) return;
  firewall = await Firewall.build();
  const [https, turn, tls] = await freePorts(3);
  ports = { https, turn, tls };
  const certificate = { MILLRACE_CERTIFICATE_FILE: firewall.certificate, MILLRACE_CERTIFICATE_KEY_FILE: firewall.key };
  server = await Server.startIn(
    certificate,
    '--https-port', https, '--turn-port', turn, '--turn-tls-port', tls, '--ice-tcp',
    '--public-ip', firewall.address, '--public-url', `https://${HOST}:${https}`,
    '--turn-static-user', 'ann:of-the-test',
  );
  browser = await firewall.browser();
});

after(async () => {
  await browser?.stop();
  await server?.stop();
  await firewall?.remove();
});

async function open(name, script) {
  const page = await browser.open('');
  if (script) await page.addInitScript(script);
  await page.goto(browser.peerPage());
  return new Person(page, name);
}

/** Two see each other; gives the pairs that they do it by, and has them leave. */
async function call(t, session, { servers, script = relayedOnly }) {
  t.after(() => browser.closePages());
  const connection = servers && { customIceServers: servers };
  const people = await Promise.all(['Ann', 'Bruno'].map((name) => open(name, script)));
  for (const person of people) await person.join(server.secure(), session, { connection });
  await Promise.all(people.map((person) => person.sees(1)));
  await Promise.all(people.map((person) => person.goesOnSeeing(1)));
  const used = await Promise.all(people.map(pairs));
  await Promise.all(people.map((person) => person.leave()));
  return used.flat();
}

const user = (url) => [{ url, username: 'ann', credential: 'of-the-test' }];
const four = (pair) => [pair, pair, pair, pair];

const CASES = [
  ['an open network, TURN by UDP', () => firewall.open(), () => `turn:${firewall.address}:${ports.turn}?transport=udp`, 'relay udp'],
  ['no UDP, TURN by TCP', () => firewall.dropUdp(), () => `turn:${firewall.address}:${ports.turn}?transport=tcp`, 'relay tcp'],
  ['no UDP, TURN by TLS', () => firewall.dropUdp(), () => `turns:${HOST}:${ports.tls}?transport=tcp`, 'relay tls'],
  ['the port of HTTPS alone, TURN by TCP', () => firewall.leaveOnly(ports.https), () => `turn:${firewall.address}:${ports.https}?transport=tcp`, 'relay tcp'],
  ['the port of HTTPS alone, TURN by TLS', () => firewall.leaveOnly(ports.https), () => `turns:${HOST}:${ports.https}?transport=tcp`, 'relay tls'],
];

for (const [index, [name, shut, url, pair]] of CASES.entries()) {
  test(name, { skip }, async (t) => {
    shut();
    assert.deepEqual(await call(t, `firewall-${index}`, { servers: user(url()) }), four(pair));
  });
}

test('no UDP and no TURN: media ports by TCP', { skip }, async (t) => {
  firewall.dropUdp();
  const servers = [{ url: `stun:${firewall.address}:${ports.turn}` }];
  for (const pair of await call(t, 'ice-tcp', { servers, script: null })) assert.match(pair, /^(host|prflx) tcp$/);
});

for (const [name, shut, allowed] of [
  // Which of the ways it is told of a browser takes depends on which answers first.
  ['an open network', () => firewall.open(), /^relay (udp|tcp|tls)$/],
  ['no UDP', () => firewall.dropUdp(), /^relay (tcp|tls)$/],
]) {
  test(`${name}: the server says itself where TURN is, and gives credentials`, { skip }, async (t) => {
    shut();
    for (const pair of await call(t, `told-${name.replaceAll(' ', '-')}`, {})) assert.match(pair, allowed);
  });
}
