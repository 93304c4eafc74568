// Applications on openvidu-browser 1.x, unmodified, in one session with those of today.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Person } from './lib/call.mjs';
import { LIBRARY, OLD_LIBRARIES } from './lib/libraries.mjs';
import { stage } from './lib/stage.mjs';
import { until } from './lib/until.mjs';

/** Pictures that make a stream one that goes on. */
const PICTURES = 20;

/** The release before there were signals. */
const WITHOUT_SIGNALS = '1.0.2';

const here = stage('--first-generation-secret');

/** Somebody on a page of the first generation, who publishes. */
class Elder {
  static async join(library, wish) {
    const page = await here.browser.open(here.browser.firstGenerationPage(library));
    await page.evaluate((all) => window.peer.join(all), { publish: true, ...wish });
    return new Elder(page, library);
  }

  constructor(page, library) {
    this.page = page;
    this.library = library;
  }

  sees(count) {
    return until(`${this.library} sees ${count}`, async () => {
      const frames = Object.values(await this.page.evaluate(() => window.peer.frames));
      return frames.length === count && frames.every((shown) => shown >= PICTURES);
    });
  }

  hears(name, of) {
    return until(`${this.library}: ${name} ${of}`, async () => {
      const events = await this.page.evaluate(() => window.peer.events);
      return events.some((event) => event.name === name && event.of === of);
    });
  }
}

/** The address of a session, as these applications are given it. */
const address = (session) => `${here.server.url.replace(/^http/, 'ws').replace(/\/$/, '')}/${session}`;

for (const library of OLD_LIBRARIES) {
  test(`${library} and ${LIBRARY} in one session`, async (t) => {
    t.after(() => here.browser.closePages());
    const session = `with-${library.replaceAll('.', '-')}`;
    const younger = await (await Person.open(here.browser, 'younger')).join(here.server, session);
    const token = await here.server.token(session);
    const elder = await Elder.join(library, { url: address(session), token });
    await Promise.all([younger.sees(1), elder.sees(1)]);

    const [other] = await younger.received();
    assert.ok(other.audio.packetsReceived > 0, 'and hears it');
    if (library !== WITHOUT_SIGNALS) {
      await younger.page.evaluate(() => window.peer.session.signal({ type: 'chat', data: 'to the elder' }));
      await elder.hears('signal', 'to the elder');
      await elder.page.evaluate(() => window.peer.signal('to the younger'));
      await until('the younger hears the signal', async () => (await younger.events())
        .some((event) => event.signal?.type === 'signal:chat' && event.signal.data === 'to the younger'));
    }

    const gone = await younger.page.evaluate(() => window.peer.session.connection.connectionId);
    await younger.leave();
    await elder.hears('connectionDestroyed', gone);
  });
}

test('two of 1.9.0 make a session by the secret', async (t) => {
  t.after(() => here.browser.closePages());
  const url = `${address('by-secret')}?secret=${here.server.secret}`;
  const first = await Elder.join('1.9.0', { url });
  const second = await Elder.join('1.9.0', { url });
  await Promise.all([first.sees(1), second.sees(1)]);
  const { body } = await here.server.rest('GET', '/openvidu/api/sessions/by-secret');
  assert.equal(body.connections.numberOfElements, 2);
});
