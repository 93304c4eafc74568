// A viewer is pointed at another stream 100 times while it watches. No session description changes, so the browser must take it for
// one stream that goes on: its numbers have no hole, and its decoder only meets another size.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Person } from './lib/call.mjs';
import { stage } from './lib/stage.mjs';
import { until } from './lib/until.mjs';

const SESSION = 'repoint';
const TIMES = 100;
/** Each source has a shape of its own, by which its picture is known however far the encoder shrinks it. */
const SOURCES = { wide: '320x240', square: '240x240', tall: '240x320' };
const SHAPES = Object.fromEntries(Object.entries(SOURCES).map(([name, size]) => {
  const [width, height] = size.split('x').map(Number);
  return [name, width / height];
}));

const scene = stage('--allow-fault-injection');

const shows = (video, name) => Math.abs(video.frameWidth / video.frameHeight - SHAPES[name]) < 0.1;

test(`a viewer is pointed ${TIMES} times at one of three sources`, async (t) => {
  const { server, browser } = scene;
  const viewer = await Person.open(browser, 'viewer');
  await viewer.join(server, SESSION, { publish: false });
  const streams = {};
  for (const [name, resolution] of Object.entries(SOURCES)) {
    const person = await Person.open(browser, name);
    await person.join(server, SESSION, { publish: { source: 'tone', resolution } });
    streams[name] = (await person.sent()).streamId;
    // The viewer subscribes to the first stream and to no other.
    if (name === 'wide') {
      await viewer.sees(1);
      await viewer.page.evaluate(() => window.peer.session.off('streamCreated'));
    }
  }
  const connection = await viewer.page.evaluate(() => window.peer.session.connection.connectionId);
  const watched = async () => (await viewer.received())[0];
  const first = await until('the first picture', async () => {
    const now = await watched();
    return now.video?.framesDecoded > 0 && shows(now.video, 'wide') && now;
  });

  const names = Object.keys(SOURCES);
  const delays = [];
  for (let time = 1; time <= TIMES; time += 1) {
    const [from, to] = [names[(time - 1) % names.length], names[time % names.length]];
    const { framesDecoded } = (await watched()).video;
    const start = performance.now();
    const answer = await server.rest('POST', '/millrace/debug/repoint', { session: SESSION, connection, from: streams[from], to: streams[to] });
    assert.equal(answer.status, 204, `${time}: ${answer.body}`);
    await until(`${to} is decoded (${time})`, async () => {
      const { video } = await watched();
      return shows(video, to) && video.framesDecoded > framesDecoded;
    }, { everyMs: 20 });
    delays.push(performance.now() - start);
  }

  const last = await watched();
  const { video, audio } = last;
  delays.sort((a, b) => a - b);
  t.diagnostic(`to the first picture of the other source: median ${Math.round(delays[TIMES / 2])} ms, longest ${Math.round(delays.at(-1))} ms`);
  t.diagnostic(`decoded ${video.framesDecoded} frames, ${video.keyFramesDecoded} of them key frames, dropped ${video.framesDropped}; `
    + `lost ${video.packetsLost} video and ${audio.packetsLost} audio packets, discarded ${video.packetsDiscarded ?? 0}; ${video.pliCount} PLI`);
  assert.equal(video.ssrc, first.video.ssrc, 'one stream');
  assert.equal(audio.ssrc, first.audio.ssrc, 'one stream');
  // A hole in the numbers counts as lost packets, a repeated one as a negative number of them.
  assert.deepEqual([video.packetsLost, audio.packetsLost], [0, 0]);
  assert.equal(video.nackCount, 0, 'nothing was asked for again');
  assert.ok(video.keyFramesDecoded >= TIMES, `${video.keyFramesDecoded} key frames`);
  assert.equal(video.decoderImplementation, first.video.decoderImplementation, 'the decoder did not fall back');
  assert.equal((await viewer.events()).filter(({ name }) => name === 'exception').length, 0);
});
