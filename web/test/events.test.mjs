// Who hears of what: a moderator, a publisher and a subscriber in one session, and somebody in another.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Browser } from './lib/browser.mjs';
import { Person } from './lib/call.mjs';
import { Server } from './lib/server.mjs';
import { until } from './lib/until.mjs';

let server;
let browser;
let people;
/** Connection ids by name. */
const ids = {};

before(async () => {
  server = await Server.start();
  browser = await Browser.start();
  const open = (name) => Person.open(browser, name);
  const [moderator, publisher, subscriber, stranger] = await Promise.all(['moderator', 'publisher', 'subscriber', 'stranger'].map(open));
  people = { moderator, publisher, subscriber, stranger };
  await moderator.join(server, 'events', { publish: false, connection: { role: 'MODERATOR' } });
  await publisher.join(server, 'events', { connection: { role: 'PUBLISHER' } });
  await subscriber.join(server, 'events', { publish: false, connection: { role: 'SUBSCRIBER' } });
  await stranger.join(server, 'elsewhere', { publish: false });
  for (const [name, person] of Object.entries(people)) ids[name] = await person.page.evaluate(() => window.peer.session.connection.connectionId);
});

after(async () => {
  await browser?.stop();
  await server?.stop();
});

/** What each heard since the last time, as `of name detail` without what only the library itself knows of. */
const heardBefore = {};
async function news(person) {
  const events = await person.events();
  const fresh = events.slice(heardBefore[person.name] ?? 0);
  heardBefore[person.name] = events.length;
  return fresh.filter(({ name, signal }) => name !== 'accessAllowed' && !signal?.type.startsWith('signal:fence'))
    .map(({ of, name, detail, connection }) => [of, name, detail, Object.keys(ids).find((one) => ids[one] === connection)].filter(Boolean).join(' '));
}

/** A word from the server to both sessions. It comes behind everything that was said before, so whoever has it has heard all. */
let fences = 0;
async function fence(names) {
  fences += 1;
  const type = `fence-${fences}`;
  for (const session of ['events', 'elsewhere']) {
    const { status } = await server.rest('POST', '/openvidu/api/signal', { session, type, data: '' });
    assert.equal(status, 200);
  }
  for (const name of names) {
    await until(`${name} hears ${type}`, async () => (await people[name].events()).some(({ signal }) => signal?.type === `signal:${type}`));
  }
}

/** Does something, waits until each of `expected` has come, and finds that nothing else has. */
async function heard(doing, expected, { gone = [] } = {}) {
  await doing();
  const seen = Object.fromEntries(Object.keys(people).map((name) => [name, []]));
  for (const [name, lines] of Object.entries(expected)) {
    await until(`${name} hears ${lines}; has heard ${seen[name]}`, async () => {
      seen[name].push(...await news(people[name]));
      return lines.every((line) => seen[name].includes(line));
    });
  }
  await fence(Object.keys(people).filter((name) => !gone.includes(name)));
  for (const [name, lines] of Object.entries({ stranger: [], ...expected })) {
    seen[name].push(...await news(people[name]));
    assert.deepEqual(seen[name].sort(), [...lines].sort(), name);
  }
}

/** What an application asks of the library; gives the name of the error, if it is refused. */
const ask = (person, what, ...args) => person.page.evaluate(async ({ what, args }) => {
  try {
    const { session } = window.peer;
    const connections = [...session.remoteConnections.values()];
    const connection = (id) => connections.find((one) => one.connectionId === id);
    const stream = (id) => connection(id).stream;
    if (what === 'disconnect') await session.forceDisconnect(connection(args[0]));
    if (what === 'unpublish') await session.forceUnpublish(stream(args[0]));
    if (what === 'signal') await session.signal({ type: 'note', data: 'hi', to: args.map(connection) });
    if (what === 'publish') await window.peer.publish();
    if (what === 'mute') await window.peer.publisher.publishVideo(false);
    return null;
  } catch (error) {
    return error.name ?? String(error);
  }
}, { what, args });

test('who joins and who publishes is heard by those who are there', async () => {
  await people.subscriber.sees(1);
  await people.moderator.sees(1);
  const expected = {
    moderator: ['session connectionCreated moderator', 'session connectionCreated publisher', 'session streamCreated publisher', 'session connectionCreated subscriber'],
    publisher: ['session connectionCreated publisher', 'session connectionCreated moderator', 'session connectionCreated subscriber', 'publisher streamCreated publisher'],
    subscriber: ['session connectionCreated subscriber', 'session connectionCreated moderator', 'session connectionCreated publisher', 'session streamCreated publisher'],
    stranger: ['session connectionCreated stranger'],
  };
  await heard(async () => {}, expected);
});

test('a subscriber who publishes is refused, and so is one who moderates', async () => {
  await heard(async () => {
    assert.equal(await ask(people.subscriber, 'publish'), 'OPENVIDU_PERMISSION_DENIED');
    assert.equal(await ask(people.subscriber, 'disconnect', ids.publisher), 'OPENVIDU_PERMISSION_DENIED');
    assert.equal(await ask(people.publisher, 'disconnect', ids.subscriber), 'OPENVIDU_PERMISSION_DENIED');
    assert.equal(await ask(people.subscriber, 'unpublish', ids.publisher), 'OPENVIDU_PERMISSION_DENIED');
  }, { moderator: [], publisher: [] });
  await news(people.subscriber);
});

test('a signal to one is heard by that one', async () => {
  await heard(() => ask(people.publisher, 'signal', ids.subscriber), { moderator: [], publisher: [], subscriber: ['session signal'] });
  await heard(() => ask(people.publisher, 'signal'), { moderator: ['session signal'], publisher: ['session signal'], subscriber: ['session signal'] });
});

test('a muted picture is heard of by everybody', async () => {
  await heard(() => ask(people.publisher, 'mute'), {
    moderator: ['session streamPropertyChanged publishVideo publisher'],
    publisher: ['session streamPropertyChanged publishVideo publisher', 'publisher streamPropertyChanged publishVideo publisher'],
    subscriber: ['session streamPropertyChanged publishVideo publisher'],
  });
});

test('a moderator ends a stream, and then a connection', async () => {
  await heard(async () => assert.equal(await ask(people.moderator, 'unpublish', ids.publisher), null), {
    moderator: ['session streamDestroyed forceUnpublishByUser publisher'],
    publisher: ['publisher streamDestroyed forceUnpublishByUser publisher'],
    subscriber: ['session streamDestroyed forceUnpublishByUser publisher'],
  });
  await heard(async () => assert.equal(await ask(people.moderator, 'disconnect', ids.publisher), null), {
    moderator: ['session connectionDestroyed forceDisconnectByUser publisher'],
    publisher: ['session sessionDisconnected forceDisconnectByUser'],
    subscriber: ['session connectionDestroyed forceDisconnectByUser publisher'],
  }, { gone: ['publisher'] });
});
