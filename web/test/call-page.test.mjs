// The call page as people use it: buttons, keys, words when something is wrong; and nothing asked of anybody else.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CallPage, openLobby } from './lib/call-page.mjs';
import { stage } from './lib/stage.mjs';
import { until } from './lib/until.mjs';

const here = stage();

/** A test after which the pages are closed: nobody encodes pictures for a test that is over. */
function pageTest(name, body) {
  test(name, async (t) => {
    t.after(() => here.browser.closePages());
    await body(t);
  });
}

pageTest('three people meet, mute, turn the camera off, look at figures and leave', async (t) => {
  const people = [];
  for (const name of ['Ann Lee', 'Bruno', 'Chiara']) people.push(await CallPage.join(here.browser, here.server, 'page', name));
  const [ann, bruno, chiara] = people;

  await t.test('everybody sees three tiles with names and moving pictures', async () => {
    for (const person of people) {
      await person.tiles(3);
      await person.plays(2);
    }
    assert.deepEqual(await ann.names(), ['Ann Lee (you)', 'Bruno', 'Chiara']);
  });

  await t.test('muting and turning off the camera show up with the others', async () => {
    await bruno.page.keyboard.press('m');
    await bruno.page.getByRole('button', { name: 'Turn camera off' }).click();
    await ann.page.getByRole('listitem', { name: /Bruno, muted, camera off/ }).waitFor();
    await bruno.page.keyboard.press('v');
    await bruno.page.getByRole('button', { name: 'Unmute' }).click();
    await ann.page.getByRole('listitem', { name: 'Bruno', exact: true }).waitFor();
    await ann.plays(2);
  });

  await t.test('figures can be shown', async () => {
    await ann.page.keyboard.press('t');
    await until('kbit/s on each tile', async () => (await ann.page.locator('.overlay:visible', { hasText: 'kbit/s' }).count()) === 3);
    const sums = await ann.page.evaluate(() => window.millrace.stats());
    assert.equal(sums.length, 3);
    for (const { transport } of sums) assert.match(transport.srtpCipher, /GCM/);
    await ann.page.keyboard.press('t');
  });

  await t.test('a screen comes as a tile of its own', async () => {
    await chiara.page.keyboard.press('s');
    await ann.page.getByRole('listitem', { name: 'Chiara · screen' }).waitFor();
    await ann.plays(3);
    await chiara.page.getByRole('button', { name: 'Stop sharing' }).click();
    await ann.tiles(3);
  });

  await t.test('the secret is neither in the address nor in the history', async () => {
    for (const { page } of people) assert.ok(!page.url().includes(here.server.secret), page.url());
    assert.equal(await ann.page.evaluate(() => sessionStorage.getItem('millrace.secret')), here.server.secret);
    assert.ok(!await ann.page.evaluate((secret) => JSON.stringify(localStorage).includes(secret), here.server.secret));
  });

  await t.test('the invite link leads others into the session, without the secret', async () => {
    await ann.page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
    await ann.page.getByRole('button', { name: 'Copy invite link' }).first().click();
    const link = await until('a link', () => ann.page.evaluate(() => navigator.clipboard.readText()));
    assert.deepEqual([...new URLSearchParams(new URL(link).hash.slice(1)).keys()], ['invite']);
    assert.ok(!link.includes(here.server.secret));
    const guest = await CallPage.enter(here.browser, link, 'Dora');
    await guest.tiles(4);
    await ann.page.getByRole('listitem', { name: 'Dora', exact: true }).waitFor();
    assert.ok(!await guest.page.evaluate((secret) => JSON.stringify({ ...sessionStorage, ...localStorage }).includes(secret), here.server.secret));
    await guest.page.getByRole('button', { name: 'Leave' }).click();
    await ann.tiles(3);
  });

  await t.test('who leaves comes back to the lobby and is gone for the others', async () => {
    await chiara.page.getByRole('button', { name: 'Leave' }).click();
    await chiara.page.getByRole('button', { name: 'Join', exact: true }).waitFor();
    await ann.tiles(2);
    await bruno.tiles(2);
  });

  await t.test('no request left for anywhere else', () => {
    for (const person of people) assert.deepEqual([...person.hosts], [new URL(here.server.http).host]);
  });
});

pageTest('it works over HTTPS with the certificate the server made', async (t) => {
  const ann = await CallPage.join(here.browser, here.server, 'tls', 'Ann', { base: here.server.url });
  const bruno = await CallPage.join(here.browser, here.server, 'tls', 'Bruno', { base: here.server.url });
  await ann.plays(1);
  await bruno.plays(1);
});

pageTest('a wrong secret is told as such', async (t) => {
  const page = await openLobby(here.browser, here.server, { session: 'page', name: 'Eve', secret: 'wrong' });
  await page.getByRole('button', { name: 'Join', exact: true }).click();
  await page.getByRole('alert').filter({ hasText: 'The secret is not the one of this server.' }).waitFor();
  await page.getByRole('button', { name: 'Join', exact: true }).waitFor();
});

pageTest('a link that is no invitation, or one no more, is told as such', async (t) => {
  const says = async (invite, words) => {
    const page = await here.browser.open(`${here.server.http}/#${new URLSearchParams({ invite, name: 'Eve' })}`);
    assert.equal(await page.locator('#secret').isVisible(), false);
    await page.getByRole('button', { name: 'Join', exact: true }).click();
    await page.getByRole('alert').filter({ hasText: words }).waitFor();
  };
  const invitation = async (wish) => (await here.server.rest('POST', '/millrace/api/invitations', wish)).body.invitation;
  await says(`${(await invitation({ session: 'page' })).slice(0, -1)}_`, 'not one of this server');
  await says(await invitation({ session: 'not-begun' }), 'not open');
  const brief = await invitation({ session: 'page', createsSession: true, expiresInS: 1 });
  await until('it has expired', async () => (await here.server.rest('POST', '/millrace/api/invitations/enter', { invitation: brief })).status === 410);
  await says(brief, 'expired');
});

pageTest('a server that does not answer is told as such', async (t) => {
  const page = await openLobby(here.browser, here.server, { session: 'page', name: 'Ann', secret: here.server.secret });
  await page.route('**/openvidu/api/**', (route) => route.abort('connectionrefused'));
  await page.getByRole('button', { name: 'Join', exact: true }).click();
  await page.getByRole('alert').filter({ hasText: 'The server does not answer.' }).waitFor();
});

pageTest('without permission one can still watch', async (t) => {
  const deny = () => {
    navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('denied', 'NotAllowedError'));
  };
  const ann = await CallPage.join(here.browser, here.server, 'watch', 'Ann');
  const page = await openLobby(here.browser, here.server, { session: 'watch', name: 'Bruno', secret: here.server.secret, script: deny });
  await page.getByRole('alert').filter({ hasText: 'may not use your camera' }).waitFor();
  await page.getByRole('button', { name: 'Join', exact: true }).click();
  const bruno = new CallPage(page);
  await bruno.plays(1);
  await ann.page.getByRole('listitem', { name: 'Bruno' }).waitFor();
});

pageTest('an insecure page names the remedy', async (t) => {
  const pretend = () => Object.defineProperty(window, 'isSecureContext', { value: false });
  const page = await openLobby(here.browser, here.server, { session: 'page', name: 'Ann', secret: 'x', script: pretend });
  await page.getByRole('alert').filter({ hasText: 'https://' }).waitFor();
});
