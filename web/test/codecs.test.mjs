// Sessions that force a video codec: everybody sends it and everybody decodes it.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Browser } from './lib/browser.mjs';
import { Person } from './lib/call.mjs';
import { Server } from './lib/server.mjs';
import { until } from './lib/until.mjs';

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

/** The video codec of each stream that goes in or out of the page. */
const codecs = (person) => person.page.evaluate(async () => {
  const managers = [window.peer.publisher, ...window.peer.session.streamManagers.filter((one) => one.remote)];
  return Promise.all(managers.map(async ({ stream }) => {
    const report = await stream.getRTCPeerConnection().getStats();
    const video = [...report.values()].find((one) => /^(in|out)bound-rtp$/.test(one.type) && one.kind === 'video');
    return report.get(video?.codecId)?.mimeType;
  }));
});

for (const [forced, mimeType] of [['H264', 'video/H264'], ['VP9', 'video/VP9'], ['AV1', 'video/AV1'], ['NONE', 'video/VP8']]) {
  test(`${forced}: both decode ${mimeType}`, async () => {
    const publish = { source: 'camera', resolution: '320x240' };
    const people = await Promise.all(['Ann', 'Bruno'].map((name) => Person.open(browser, name)));
    for (const person of people) {
      await person.join(server, `forced-${forced}`, { publish, properties: { forcedVideoCodec: forced } });
    }
    await Promise.all(people.map((person) => person.sees(1)));
    await Promise.all(people.map((person) => person.goesOnSeeing(1)));
    for (const person of people) {
      await until('statistics name the codecs', async () => (await codecs(person)).every(Boolean));
      assert.deepEqual(await codecs(person), [mimeType, mimeType]);
    }
    await Promise.all(people.map((person) => person.leave()));
  });
}
