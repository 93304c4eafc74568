// A flash and a beep that leave together arrive together. What the browser adds by itself is measured beside it,
// between two peer connections without a server, and subtracted.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Person } from './lib/call.mjs';
import { stage } from './lib/stage.mjs';
import { median } from './lib/until.mjs';

const PAIRS = 20;
/** Players move picture and sound together step by step at the start; judged are the last ones. */
const JUDGED = 8;
const SKEW_MAX_MS = 80;

const here = stage();

test('picture and sound stay within 80 ms of each other', async (t) => {
  const alone = await Person.open(here.browser, 'Nobody');
  const own = median((await alone.page.evaluate((count) => measureWithoutServer(count), PAIRS)).slice(-JUDGED));
  await alone.close();

  const ann = await Person.open(here.browser, 'Ann');
  await ann.join(here.server, 'lips', { publish: { source: 'tone', resolution: '640x360', frameRate: 30 } });
  const bruno = await Person.open(here.browser, 'Bruno');
  await bruno.join(here.server, 'lips', { publish: false });
  await bruno.sees(1);
  const skews = await bruno.page.evaluate((count) => measureSkew(document.querySelector('video'), count), PAIRS);
  t.diagnostic(`browser alone ${Math.round(own)} ms; with the relay ${skews.map(Math.round).join(' ')} ms`);
  assert.ok(skews.length >= JUDGED, `only ${skews.length} flashes met a beep`);
  const skew = median(skews.slice(-JUDGED)) - own;
  assert.ok(Math.abs(skew) <= SKEW_MAX_MS, `${Math.round(skew)} ms`);
});
