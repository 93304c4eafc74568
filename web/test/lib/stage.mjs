// The server and the browser of one test file: there before its first test, gone after its last.

import { after, before } from 'node:test';
import { Browser } from './browser.mjs';
import { Server } from './server.mjs';

/** Gives an object that has `server` and `browser` once tests run; `flags` are the server's. */
export function stage(...flags) {
  const stage = {};
  before(async () => {
    stage.server = await Server.start(...flags);
    stage.browser = await Browser.start();
  });
  after(async () => {
    await stage.browser?.stop();
    await stage.server?.stop();
  });
  return stage;
}
