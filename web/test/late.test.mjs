// Somebody who comes late sees the others at once: the relay asks for a key frame when a subscription begins.
// MILLRACE_LATE_SECONDS=30 waits as long as the promise says; the default keeps the tests short.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Person } from './lib/call.mjs';
import { stage } from './lib/stage.mjs';
import { median, pause, until } from './lib/until.mjs';

const LATE_S = Number(process.env.MILLRACE_LATE_SECONDS ?? 8);
const VIEWERS = 10;
const FIRST_FRAME_MAX_MS = 1000;

const here = stage();

test(`a viewer who comes ${LATE_S} s late sees a frame within 1 s (median of ${VIEWERS})`, async (t) => {
  const ann = await Person.open(here.browser, 'Ann');
  await ann.join(here.server, 'late');
  await pause(LATE_S * 1000);
  const times = [];
  for (let number = 1; number <= VIEWERS; number += 1) {
    const viewer = await Person.open(here.browser, `Viewer ${number}`);
    await viewer.join(here.server, 'late', { publish: false });
    times.push(await until('first frame', () => viewer.page.evaluate(() => window.peer.timeToFirstFrame()), { everyMs: 50 }));
    await viewer.leave();
    await viewer.close();
  }
  t.diagnostic(`first frame after ms: ${times.map(Math.round).join(' ')}`);
  assert.ok(median(times) < FIRST_FRAME_MAX_MS, `median ${median(times)} ms`);
});
