// Both ways of negotiating, in the browser: viewers offer (kurento), or the server does (mediasoup). In both the relay is
// killed under the call.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Person } from './lib/call.mjs';
import { stage } from './lib/stage.mjs';
import { until } from './lib/until.mjs';

/** Publishers notice by themselves, some 12 s after the last packet. */
const RECOVERY_MS = 45_000;

const here = stage();

/** For each stream that is watched: who offered, and the name of the transport. */
const watched = (person) => person.page.evaluate(() => window.peer.session.streamManagers.filter((one) => one.remote).map(({ stream }) => {
  const connection = stream.getRTCPeerConnection();
  return { remote: connection.remoteDescription?.type, ufrag: /a=ice-ufrag:(\S+)/.exec(connection.localDescription?.sdp)?.[1] };
}));

const call = async (mode) => {
  const people = await Promise.all(['Ann', 'Bruno'].map((name) => Person.open(here.browser, name)));
  for (const person of people) await person.join(here.server, `mode-${mode}`, { properties: { mediaServer: mode } });
  await Promise.all(people.map((person) => person.sees(1)));
  return people;
};

for (const [mode, remote] of [['kurento', 'answer'], ['mediasoup', 'offer']]) {
  test(`${mode}: both decode, reconnect, and outlive the relay`, async () => {
    const people = await call(mode);
    for (const person of people) assert.equal((await watched(person))[0].remote, remote);

    const [before] = await watched(people[0]);
    await people[0].page.evaluate(() => window.peer.session.streamManagers.find((one) => one.remote).stream.reconnect());
    assert.notEqual((await watched(people[0]))[0].ufrag, before.ufrag, 'a new transport');
    await Promise.all(people.map((person) => person.goesOnSeeing(1)));

    const first = await Promise.all(people.map(watched));
    process.kill((await here.server.rest('GET', '/millrace/stats')).body.relay.pid, 'SIGKILL');
    // Viewers are asked back at once, long before they would have noticed.
    for (const [index, person] of people.entries()) {
      await until(`${person.name} is on a new transport`, async () => {
        const [now] = await watched(person);
        return now.remote === 'offer' && now.ufrag && now.ufrag !== first[index][0].ufrag;
      }, { timeoutMs: 8_000 });
    }
    await Promise.all(people.map((person) => person.goesOnSeeing(1, RECOVERY_MS)));
    for (const person of people) {
      assert.ok(!(await person.events()).some(({ name }) => name === 'sessionDisconnected'));
    }
    await Promise.all(people.map((person) => person.leave()));
  });
}
