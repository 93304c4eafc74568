// Sessions that force a video codec: everybody sends it and everybody decodes it.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Person } from './lib/call.mjs';
import { stage } from './lib/stage.mjs';
import { until } from './lib/until.mjs';

const here = stage();

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
    const people = await Promise.all(['Ann', 'Bruno'].map((name) => Person.open(here.browser, name)));
    for (const person of people) {
      await person.join(here.server, `forced-${forced}`, { publish, properties: { forcedVideoCodec: forced } });
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
