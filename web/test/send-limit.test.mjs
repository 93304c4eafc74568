// What a viewer may be sent holds its publisher back, until somebody watches who may be sent more.

import { test } from 'node:test';
import { Person } from './lib/call.mjs';
import { stage } from './lib/stage.mjs';
import { pause, until } from './lib/until.mjs';

const PUBLISH = { source: 'noise', resolution: '640x360', frameRate: 20 };
const LIMIT_KBPS = 300;

const here = stage();

async function sendingKbps(person, seconds) {
  const before = await person.sent();
  await pause(seconds * 1000);
  const now = await person.sent();
  return ((now.video.bytesSent - before.video.bytesSent) * 8) / (now.at - before.at);
}

test('videoMaxSendBandwidth of the only viewer is kept, and no longer when another one comes', async () => {
  const [ann, bruno, chiara] = await Promise.all(['Ann', 'Bruno', 'Chiara'].map((name) => Person.open(here.browser, name)));
  await ann.join(here.server, 'limited', { publish: PUBLISH });
  const rises = (why) => until(why, async () => await sendingKbps(ann, 2) > LIMIT_KBPS * 1.8, { timeoutMs: 30_000 });
  await rises('without viewers the limit is the default one');
  await bruno.join(here.server, 'limited', { publish: false, connection: { kurentoOptions: { videoMaxSendBandwidth: LIMIT_KBPS } } });
  await bruno.sees(1);
  await until('the limit is kept', async () => await sendingKbps(ann, 3) < LIMIT_KBPS * 1.15, { timeoutMs: 30_000 });
  await bruno.goesOnSeeing(1);
  await chiara.join(here.server, 'limited', { publish: false });
  await chiara.sees(1);
  await rises('the limit is gone');
});
