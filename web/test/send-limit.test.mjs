// What a viewer may be sent holds its publisher back, until somebody watches who may be sent more.

import { after, before, test } from 'node:test';
import { Browser } from './lib/browser.mjs';
import { Person } from './lib/call.mjs';
import { Server } from './lib/server.mjs';
import { pause, until } from './lib/until.mjs';

const PUBLISH = { source: 'noise', resolution: '640x360', frameRate: 20 };
const LIMIT_KBPS = 300;

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

async function sendingKbps(person, seconds) {
  const before = await person.sent();
  await pause(seconds * 1000);
  const now = await person.sent();
  return ((now.video.bytesSent - before.video.bytesSent) * 8) / (now.at - before.at);
}

test('videoMaxSendBandwidth of the only viewer is kept, and no longer when another one comes', async () => {
  const [ann, bruno, chiara] = await Promise.all(['Ann', 'Bruno', 'Chiara'].map((name) => Person.open(browser, name)));
  await ann.join(server, 'limited', { publish: PUBLISH });
  const rises = (why) => until(why, async () => await sendingKbps(ann, 2) > LIMIT_KBPS * 1.8, { timeoutMs: 30_000 });
  await rises('without viewers the limit is the default one');
  await bruno.join(server, 'limited', { publish: false, connection: { kurentoOptions: { videoMaxSendBandwidth: LIMIT_KBPS } } });
  await bruno.sees(1);
  await until('the limit is kept', async () => await sendingKbps(ann, 3) < LIMIT_KBPS * 1.15, { timeoutMs: 30_000 });
  await bruno.goesOnSeeing(1);
  await chiara.join(server, 'limited', { publish: false });
  await chiara.sees(1);
  await rises('the limit is gone');
});
