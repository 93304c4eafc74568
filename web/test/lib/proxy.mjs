// A way to the server that can be cut: what a lost network is to a socket that is open.

import { connect, createServer } from 'node:net';

export class Proxy {
  /** Starts one in front of a port of this machine. */
  static async start(port) {
    const proxy = new Proxy(port);
    await new Promise((resolve) => { proxy.server.listen(0, 'localhost', resolve); });
    proxy.port = proxy.server.address().port;
    return proxy;
  }

  #pairs = new Set();
  #isCut = false;

  constructor(port) {
    this.server = createServer((near) => this.#join(near, port));
  }

  #join(near, port) {
    if (this.#isCut) {
      near.destroy();
      return;
    }
    const far = connect(port, '127.0.0.1');
    const pair = { near, far };
    this.#pairs.add(pair);
    for (const [one, other] of [[near, far], [far, near]]) {
      one.pipe(other);
      one.on('error', () => other.destroy());
      one.on('close', () => {
        other.destroy();
        this.#pairs.delete(pair);
      });
    }
  }

  /** Ends every connection, and lets none through until `mend`. */
  cut() {
    this.#isCut = true;
    for (const { near, far } of this.#pairs) {
      near.resetAndDestroy();
      far.resetAndDestroy();
    }
  }

  mend() {
    this.#isCut = false;
  }

  async stop() {
    this.cut();
    await new Promise((resolve) => { this.server.close(resolve); });
  }
}
