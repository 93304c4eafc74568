// A publisher that wants to see itself as the others do gets its stream back from the relay.

import { test } from 'node:test';
import { Person } from './lib/call.mjs';
import { stage } from './lib/stage.mjs';
import { until } from './lib/until.mjs';

const here = stage();

test('subscribeToRemote echoes the stream', async () => {
  const [ann, bruno] = await Promise.all(['Ann', 'Bruno'].map((name) => Person.open(here.browser, name)));
  await ann.join(here.server, 'mirror', { publish: false });
  await bruno.join(here.server, 'mirror', { publish: false });
  await ann.page.evaluate(async () => {
    const { peer } = window;
    peer.publisher = await peer.openvidu.initPublisherAsync(undefined, { resolution: '640x360', frameRate: 15, mirror: false });
    peer.publisher.subscribeToRemote();
    await peer.session.publish(peer.publisher);
  });
  const decoded = () => ann.page.evaluate(async () => {
    const report = [...(await window.peer.publisher.stream.getRTCPeerConnection().getStats()).values()];
    const of = (kind) => report.find((one) => one.type === 'inbound-rtp' && one.kind === kind);
    return { frames: of('video')?.framesDecoded ?? 0, audio: of('audio')?.packetsReceived ?? 0 };
  });
  await until('Ann decodes her own stream', async () => {
    const { frames, audio } = await decoded();
    return frames > 20 && audio > 20;
  });
  await bruno.sees(1);
});
