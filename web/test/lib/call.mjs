// One person in a call, on the test page.

import { until } from './until.mjs';

export class Person {
  static async open(browser, name, { library } = {}) {
    return new Person(await browser.open(browser.peerPage(library)), name);
  }

  constructor(page, name) {
    this.page = page;
    this.name = name;
  }

  /** Joins; `publish` is false or the options of the page's `publish`, `connection` and `properties` are the server's. */
  async join(server, session, { publish = { source: 'camera' }, connection, properties } = {}) {
    const token = await server.token(session, { connection, properties });
    await this.page.evaluate((wish) => window.peer.join(wish), { token, name: this.name });
    if (publish) await this.page.evaluate((options) => window.peer.publish(options), publish);
    return this;
  }

  /** What each stream's peer connection says: see `look` in the page. */
  stats() {
    return this.page.evaluate(() => window.peer.stats());
  }

  async received() {
    return (await this.stats()).filter((one) => !one.local);
  }

  async sent() {
    return (await this.stats()).find((one) => one.local);
  }

  /** Resolves once video of that many others is being decoded. */
  sees(count, timeoutMs = 20_000) {
    return until(`${this.name} sees ${count}`, async () => {
      const seen = (await this.received()).filter((one) => one.video?.framesDecoded > 0);
      return seen.length === count && seen;
    }, { timeoutMs });
  }

  /** Resolves once every stream this person gets has decoded more frames than now. */
  async goesOnSeeing(count, timeoutMs = 10_000) {
    const before = frames(await this.received());
    return until(`${this.name} goes on seeing ${count}`, async () => {
      const now = frames(await this.received());
      const growing = [...now].filter(([id, value]) => value > (before.get(id) ?? Infinity));
      return growing.length === count;
    }, { timeoutMs });
  }

  events() {
    return this.page.evaluate(() => window.peer.events);
  }

  /** Resolves once the library has said `event`. */
  hears(event, timeoutMs = 20_000) {
    return until(`${this.name}: ${event}`, async () => (await this.events()).some((one) => one.name === event), { timeoutMs });
  }

  leave() {
    return this.page.evaluate(() => window.peer.leave());
  }

  async close() {
    await this.page.context().close();
  }
}

const frames = (received) => new Map(received.map((one) => [one.streamId, one.video?.framesDecoded ?? 0]));

/** Losses and arrivals of all streams together. */
export function totals(received) {
  const flows = received.flatMap((one) => [one.audio, one.video]).filter(Boolean);
  const sum = (key) => flows.reduce((total, flow) => total + (flow[key] ?? 0), 0);
  return { lost: sum('packetsLost'), packets: sum('packetsReceived'), nacks: sum('nackCount') };
}
