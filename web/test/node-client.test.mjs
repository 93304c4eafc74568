// The unmodified openvidu-node-client, through every call it has.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import nodeClient from 'openvidu-node-client';
import { Browser } from './lib/browser.mjs';
import { Person } from './lib/call.mjs';
import { Server } from './lib/server.mjs';

const { OpenVidu, OpenViduRole, RecordingMode } = nodeClient;

let server;
let browser;
let openvidu;

before(async () => {
  server = await Server.start();
  browser = await Browser.start();
  openvidu = new OpenVidu(server.http, server.secret);
  openvidu.enableProdMode();
});

after(async () => {
  await browser?.stop();
  await server?.stop();
});

/** The status an answer was refused with: the client rejects with an error that has it as its text. */
const refused = (status, promise) => assert.rejects(promise, (error) => Number(error.message) === status || assert.fail(`${error.message} instead of ${status}`));

/** Joins with a token of the application's own making. */
async function join(name, { token }, publish = { source: 'camera' }) {
  const person = await Person.open(browser, name);
  await person.page.evaluate((wish) => window.peer.join(wish), { token, name });
  if (publish) await person.page.evaluate((options) => window.peer.publish(options), publish);
  return person;
}

test('sessions are made, found again and closed', async () => {
  const drawn = await openvidu.createSession();
  assert.match(drawn.sessionId, /^ses_[A-Z][A-Za-z0-9]{9}$/);
  const named = await openvidu.createSession({ customSessionId: 'named', recordingMode: RecordingMode.MANUAL });
  assert.equal(named.sessionId, 'named');
  // There already: the client gets 409 and is content.
  assert.equal((await openvidu.createSession({ customSessionId: 'named' })).sessionId, 'named');
  await refused(400, openvidu.createSession({ customSessionId: 'no good name' }));

  const another = new OpenVidu(server.http, server.secret);
  another.enableProdMode();
  assert.equal(await another.fetch(), true);
  assert.deepEqual(another.activeSessions.map(({ sessionId }) => sessionId).sort(), [drawn.sessionId, 'named'].sort());
  assert.equal(await another.fetch(), false, 'nothing has changed');
  await drawn.close();
  assert.equal(await another.fetch(), true);
  assert.deepEqual(another.activeSessions.map(({ sessionId }) => sessionId), ['named']);
  await refused(404, drawn.close());
  await refused(404, drawn.fetch());
  await named.close();
});

test('a wrong secret is refused', async () => {
  const wrong = new OpenVidu(server.http, 'not-the-secret');
  wrong.enableProdMode();
  await refused(401, wrong.createSession());
  await refused(401, wrong.fetch());
});

test('connections have what they are given, and are forgotten', async () => {
  const session = await openvidu.createSession({ customSessionId: 'connections' });
  const connection = await session.createConnection({
    role: OpenViduRole.MODERATOR,
    data: 'of the application',
    record: false,
    kurentoOptions: { videoMaxRecvBandwidth: 500, allowedFilters: ['GStreamerFilter'] },
    customIceServers: [{ url: 'turn:turn.example.org', username: 'user', credential: 'pass' }],
  });
  assert.equal(connection.status, 'pending');
  assert.match(connection.token, /\?sessionId=connections&token=tok_/);
  const { role, data } = connection.connectionProperties;
  assert.deepEqual([role, data, connection.connectionProperties.customIceServers[0].url], [OpenViduRole.MODERATOR, 'of the application', 'turn:turn.example.org']);
  await refused(400, session.createConnection({ customIceServers: [{ url: 'no such thing' }] }));
  await refused(501, session.createConnection({ type: 'IPCAM', rtspUri: 'rtsp://camera.example.org' }));
  // Only paid editions change a connection.
  await refused(403, session.updateConnection(connection.connectionId, { role: OpenViduRole.SUBSCRIBER }));
  assert.match(await session.generateToken({ role: OpenViduRole.SUBSCRIBER }), /&token=tok_/);

  await session.fetch();
  assert.equal(session.connections.length, 2);
  assert.equal(session.activeConnections.length, 0);
  await session.forceDisconnect(connection);
  await session.fetch();
  assert.equal(session.connections.length, 1);
  await refused(404, session.forceDisconnect(connection.connectionId));
  await session.close();
});

test('who is there is seen, unpublished and put out', async (t) => {
  t.after(() => browser.closePages());
  const session = await openvidu.createSession({ customSessionId: 'people' });
  const [first, second] = [await session.createConnection(), await session.createConnection()];
  const ann = await join('Ann', first);
  const bruno = await join('Bruno', second);
  await Promise.all([ann.sees(1), bruno.sees(1)]);

  assert.equal(await session.fetch(), true);
  assert.equal(await session.fetch(), false, 'nothing has changed');
  assert.deepEqual(session.activeConnections.map(({ connectionId }) => connectionId).sort(), [first.connectionId, second.connectionId].sort());
  const seen = session.activeConnections.find(({ connectionId }) => connectionId === first.connectionId);
  assert.equal(seen.publishers.length, 1);
  assert.deepEqual([seen.publishers[0].hasAudio, seen.publishers[0].hasVideo, seen.publishers[0].typeOfVideo], [true, true, 'CAMERA']);
  assert.equal(seen.subscribers[0], session.activeConnections.find(({ connectionId }) => connectionId === second.connectionId).publishers[0].streamId);
  const { changes } = await openvidu.fetchWebRtc();
  assert.equal(typeof changes, 'boolean');

  await session.forceUnpublish(seen.publishers[0]);
  await bruno.hears('streamDestroyed');
  assert.equal((await ann.events()).find(({ of, name }) => of === 'publisher' && name === 'streamDestroyed').detail, 'forceUnpublishByServer');
  await refused(404, session.forceUnpublish('str_CAM_none'));
  await session.forceDisconnect(second.connectionId);
  await bruno.hears('sessionDisconnected');
  assert.equal((await bruno.events()).find(({ name }) => name === 'sessionDisconnected').detail, 'forceDisconnectByServer');
  await session.close();
  await ann.hears('sessionDisconnected');
  assert.equal((await ann.events()).find(({ name }) => name === 'sessionDisconnected').detail, 'sessionClosedByServer');
});

test('what there is not says so', async () => {
  const session = await openvidu.createSession({ customSessionId: 'without' });
  await refused(501, openvidu.startRecording(session.sessionId));
  await refused(501, openvidu.stopRecording('none'));
  await refused(501, openvidu.getRecording('none'));
  await refused(501, openvidu.listRecordings());
  await refused(501, openvidu.deleteRecording('none'));
  // Only paid editions broadcast.
  await refused(403, openvidu.startBroadcast(session.sessionId, 'rtmp://example.org/live'));
  await refused(403, openvidu.stopBroadcast(session.sessionId));
  await session.close();
});
