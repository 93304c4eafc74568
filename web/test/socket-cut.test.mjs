// The way to the server is cut in the middle of a call: for 3 s, for 8 s, and for longer than anybody is waited for.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Browser } from './lib/browser.mjs';
import { Person, totals } from './lib/call.mjs';
import { Proxy } from './lib/proxy.mjs';
import { Server } from './lib/server.mjs';
import { pause, until } from './lib/until.mjs';

let server;
let browser;
let proxy;

before(async () => {
  server = await Server.start();
  browser = await Browser.start();
  proxy = await Proxy.start(Number(new URL(server.http).port));
});

after(async () => {
  await browser?.stop();
  await proxy?.stop();
  await server?.stop();
});

/** Two in a call, of whom the first comes through the proxy. */
async function call(session) {
  const far = await Person.open(browser, 'far');
  const near = await Person.open(browser, 'near');
  await far.join(server.through(proxy), session);
  await near.join(server, session);
  await Promise.all([far.sees(1), near.sees(1)]);
  return { far, near };
}

const names = async (person) => (await person.events()).filter(({ of }) => of === 'session').map(({ name }) => name);
const times = (all, name) => all.filter((one) => one === name).length;

for (const seconds of [3, 8]) {
  test(`${seconds} s without a socket: media runs on, and nobody is put out`, async (t) => {
    t.after(() => browser.closePages());
    const { far, near } = await call(`cut-${seconds}`);
    const before = totals(await far.received());
    const heard = await names(near);
    proxy.cut();
    await Promise.all([pause(seconds * 1000), far.goesOnSeeing(1), near.goesOnSeeing(1)]);
    // Said while the far one is deaf, it is told when it is back.
    await near.page.evaluate(() => window.peer.session.signal({ type: 'late', data: 'you were away' }));
    proxy.mend();
    await far.hears('reconnected');
    await until('the signal comes after all', async () => (await far.events()).some((event) => event.signal?.data === 'you were away'));
    await Promise.all([far.goesOnSeeing(1), near.goesOnSeeing(1)]);
    assert.equal(totals(await far.received()).lost, before.lost, 'no packet was lost meanwhile');
    const said = await names(far);
    assert.deepEqual([times(said, 'reconnecting'), times(said, 'reconnected'), times(said, 'sessionDisconnected')], [1, 1, 0], said.join());
    const others = (await names(near)).slice(heard.length).filter((name) => name !== 'signal');
    assert.deepEqual(others, [], 'the other one notices nothing');
  });
}

test('20 s without a socket: it has left for the others, and hears so when it is back', async (t) => {
  t.after(() => browser.closePages());
  const { far, near } = await call('cut-20');
  const gone = await far.page.evaluate(() => window.peer.session.connection.connectionId);
  proxy.cut();
  await until('it has left', async () => (await near.events()).some((event) => event.name === 'connectionDestroyed' && event.connection === gone), { timeoutMs: 20_000 });
  const destroyed = (await near.events()).find(({ name }) => name === 'streamDestroyed');
  assert.equal(destroyed.detail, 'networkDisconnect');
  await pause(20_000 - 12_000);
  proxy.mend();
  await far.hears('sessionDisconnected', 30_000);
  const { body } = await server.rest('GET', '/openvidu/api/sessions/cut-20');
  assert.equal(body.connections.numberOfElements, 1);
});
