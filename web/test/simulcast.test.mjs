// A publisher who offers simulcast: one layer is taken, the largest.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Person } from './lib/call.mjs';
import { stage } from './lib/stage.mjs';

const here = stage();

/** Publishes with more of the library than the page itself uses. */
const publish = (person, options) => person.page.evaluate(async (wish) => {
  const peer = window.peer;
  peer.publisher = await peer.openvidu.initPublisherAsync(undefined, { mirror: false, ...wish });
  await peer.session.publish(peer.publisher);
}, options);

/** Reports of one type and of video from the publisher's connection. */
const reports = (person, type) => person.page.evaluate(async (wanted) => {
  const report = await window.peer.publisher.stream.getRTCPeerConnection().getStats();
  return [...report.values()].filter((one) => one.type === wanted && one.kind === 'video');
}, type);

test('of simulcast the largest layer is sent, and decoded', async () => {
  const [ann, bruno] = await Promise.all(['Ann', 'Bruno'].map((name) => Person.open(here.browser, name)));
  const properties = { mediaServer: 'mediasoup' };
  await ann.join(here.server, 'simulcast', { publish: false, properties });
  await publish(ann, { resolution: '640x480', videoSimulcast: true });
  await bruno.join(here.server, 'simulcast', { publish: false, properties });
  await bruno.sees(1);
  await bruno.goesOnSeeing(1);
  const layers = (await reports(ann, 'outbound-rtp')).filter((one) => one.packetsSent > 0);
  assert.deepEqual(layers.map((one) => one.rid), ['rdiv1']);
  await Promise.all([ann, bruno].map((person) => person.leave()));
});
