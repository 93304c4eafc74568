// The product, started for one test file: free ports, its own data folder, ended with the test.

import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { until } from './until.mjs';

const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../..');
const BINARY = process.env.MILLRACE_BIN ?? path.join(ROOT, 'target/release/millrace');
/** Any free ones, unless a test names them. */
const PORTS = ['--http-port', '--https-port', '--media-port', '--turn-port', '--turn-tls-port'];
const READY_TIMEOUT_MS = 30_000;
const END_TIMEOUT_MS = 8_000;

export class Server {
  /** Starts it and waits for its first line, which says where and what it is. */
  static start(...flags) {
    return Server.startIn({}, ...flags);
  }

  /** The same with settings by environment. */
  static async startIn(environment, ...flags) {
    const data = await mkdtemp(path.join(tmpdir(), 'millrace-test-'));
    const free = PORTS.filter((port) => !flags.includes(port)).flatMap((port) => [port, '0']);
    const args = ['--json', ...free, '--data-dir', data, ...flags];
    const child = spawn(BINARY, args, { env: { ...process.env, ...environment }, stdio: ['ignore', 'pipe', 'pipe'] });
    const server = new Server(child, data);
    try {
      Object.assign(server, await server.#firstLine());
    } catch (error) {
      await server.stop();
      throw error;
    }
    server.http = (server.http_url ?? server.url).replace(/\/$/, '');
    return server;
  }

  constructor(child, data) {
    this.child = child;
    this.data = data;
    this.log = '';
    this.ended = new Promise((resolve) => child.once('exit', resolve));
    child.stderr.on('data', (piece) => {
      this.log += piece;
      if (process.env.MILLRACE_TEST_LOG) process.stderr.write(piece);
    });
  }

  #firstLine() {
    return new Promise((resolve, reject) => {
      const failed = (why) => reject(new Error(`${BINARY} ${why}\n${this.log}`));
      const timer = setTimeout(() => failed('was not ready in time'), READY_TIMEOUT_MS);
      this.child.once('error', (error) => failed(`could not be started: ${error.message}`));
      this.child.once('exit', (code) => failed(`ended with ${code} before it was ready`));
      createInterface({ input: this.child.stdout }).once('line', (line) => {
        clearTimeout(timer);
        try {
          resolve(JSON.parse(line));
        } catch {
          failed(`said something that is not JSON: ${line}`);
        }
      });
    });
  }

  /** One REST call; the body of the answer as JSON, where it has one. */
  async rest(method, where, body, { secret = this.secret } = {}) {
    const response = await fetch(this.http + where, {
      method,
      headers: {
        authorization: 'Basic ' + Buffer.from(`OPENVIDUAPP:${secret}`).toString('base64'),
        'content-type': 'application/json',
      },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.timeout(10_000),
    });
    const text = await response.text();
    return { status: response.status, body: text ? parsed(text) : null };
  }

  /** The same server by way of a proxy: tokens it gives name the proxy. */
  through(proxy) {
    return Object.assign(Object.create(this), { http: `http://localhost:${proxy.port}` });
  }

  /** The same server by HTTPS: tokens it gives lead through the relay's edge. */
  secure() {
    const { host } = new URL(this.url);
    const token = async (...wish) => (await this.token(...wish)).replace(/^ws:\/\/[^?]*/, `wss://${host}`);
    return Object.assign(Object.create(this), { token });
  }

  /** Makes the session with its properties when it is not there yet; a token for one connection with its own. */
  async token(session, { connection: wish = {}, properties = {} } = {}) {
    const made = await this.rest('POST', '/openvidu/api/sessions', { ...properties, customSessionId: session });
    if (made.status !== 200 && made.status !== 409) throw new Error(`session: ${made.status} ${JSON.stringify(made.body)}`);
    const connection = await this.rest('POST', `/openvidu/api/sessions/${session}/connection`, wish);
    if (connection.status !== 200) throw new Error(`connection: ${connection.status} ${JSON.stringify(connection.body)}`);
    return connection.body.token;
  }

  /** The relay's counters: `[{shard, port, counters: {name: value}}]`. */
  async counters() {
    const { status, body } = await this.rest('GET', '/millrace/stats');
    if (status !== 200) throw new Error(`/millrace/stats: ${status}`);
    return body.shards.map((one) => ({ ...one, shard: one.shard ?? one.id, counters: asObject(one.counters) }));
  }

  /** The sum of one counter over all shards. */
  async count(name) {
    return (await this.counters()).reduce((sum, { counters }) => sum + (counters[name] ?? 0), 0);
  }

  /** Which shard a candidate port belongs to. */
  shardOf(port) {
    return this.shards.find((shard) => shard.port === Number(port))?.id;
  }

  /** Resolves once REST answers, as after a restart of signaling. */
  answers(timeoutMs = 15_000) {
    return until('signaling answers', async () => (await this.rest('GET', '/openvidu/api/sessions')).status === 200, { timeoutMs });
  }

  async stop() {
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill('SIGTERM');
    const late = setTimeout(() => this.child.kill('SIGKILL'), END_TIMEOUT_MS);
    if (this.child.pid) await this.ended;
    clearTimeout(late);
    await rm(this.data, { recursive: true, force: true });
  }
}

function asObject(counters) {
  return Array.isArray(counters) ? Object.fromEntries(counters.map(({ name, value }) => [name, Number(value)])) : counters;
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
