// What the other tests stand on: the proxy that can be cut, and the old releases of the library.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { test } from 'node:test';
import vm from 'node:vm';
import { LIBRARY, OLD_LIBRARIES, bundle } from './lib/libraries.mjs';
import { Proxy } from './lib/proxy.mjs';

test('a proxy passes on, is cut, and is mended', async () => {
  const echo = createServer((socket) => socket.on('error', () => {}).pipe(socket));
  echo.listen(0, '127.0.0.1');
  await once(echo, 'listening');
  const proxy = await Proxy.start(echo.address().port);
  // An end that nobody reads is never heard of.
  const open = () => connect(proxy.port, 'localhost').on('error', () => {}).resume();
  const closed = (socket) => new Promise((resolve) => { socket.once('close', resolve); });
  const said = async (socket, text) => {
    socket.write(text);
    return String((await once(socket, 'data'))[0]);
  };

  const first = open();
  assert.equal(await said(first, 'one'), 'one');
  const lost = closed(first);
  proxy.cut();
  await lost;
  await closed(open());
  proxy.mend();
  const second = open();
  assert.equal(await said(second, 'two'), 'two');
  await proxy.stop();
  echo.close();
});

test('every release of the library is here and is a program', async () => {
  assert.deepEqual(OLD_LIBRARIES, ['1.0.2', '1.7.0', '1.9.0']);
  for (const version of [LIBRARY, ...OLD_LIBRARIES]) {
    const text = await readFile(bundle(version), 'utf8');
    assert.doesNotThrow(() => new vm.Script(text), version);
    assert.match(text, /OpenVidu/, version);
  }
  assert.equal(bundle('0.0.0'), undefined);
});
