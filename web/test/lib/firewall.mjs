// A browser behind a firewall: a network namespace whose only cable leads to this machine, and a private CA that it trusts.

import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Browser } from './browser.mjs';

/** Name of this machine in the certificate. */
export const HOST = 'turn.test';

/** First part of the names of our namespaces; `cargo xtask test` removes those whose process is gone. */
const PREFIX = 'millrace-';

const ENVIRONMENT = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` };
const run = (program, ...args) => execFileSync(program, args, { env: ENVIRONMENT, stdio: ['ignore', 'pipe', 'pipe'] });

/** Why there can be no firewall here, or false. */
export function impossible() {
  if (process.getuid() !== 0) return 'only root makes network namespaces';
  const name = `${PREFIX}${process.pid}-x`;
  try {
    run('ip', 'netns', 'add', name);
    run('ip', 'netns', 'delete', name);
    return false;
  } catch (error) {
    return `this root may not make network namespaces: ${error.stderr ?? error.message}`;
  }
}

export class Firewall {
  /** Makes the namespace, the cable and the CA. Nothing is shut yet. */
  static async build() {
    const folder = await mkdtemp(path.join(tmpdir(), 'millrace-firewall-'));
    const firewall = new Firewall(folder);
    try {
      firewall.#connect();
      await firewall.#certify();
      await firewall.#trust();
    } catch (error) {
      await firewall.remove();
      throw error;
    }
    return firewall;
  }

  constructor(folder) {
    this.folder = folder;
    this.name = `${PREFIX}${process.pid}-f`;
    this.cable = `mr${process.pid}`;
    // Of the range for benchmarks (RFC 2544), which browsers take for the Internet: they shut private ones to most pages.
    const subnet = `198.18.${process.pid % 256}`;
    /** This machine, as the browser sees it. */
    this.address = `${subnet}.1`;
    this.inside = `${subnet}.2`;
    this.certificate = path.join(folder, 'server.pem');
    this.key = path.join(folder, 'server.key');
  }

  #connect() {
    run('ip', 'netns', 'add', this.name);
    run('ip', 'link', 'add', this.cable, 'type', 'veth', 'peer', 'name', 'out', 'netns', this.name);
    run('ip', 'address', 'add', `${this.address}/24`, 'dev', this.cable);
    run('ip', 'link', 'set', this.cable, 'up');
    run('ip', '-n', this.name, 'address', 'add', `${this.inside}/24`, 'dev', 'out');
    for (const link of ['lo', 'out']) run('ip', '-n', this.name, 'link', 'set', link, 'up');
  }

  async #certify() {
    const file = (name) => path.join(this.folder, name);
    const fresh = (key) => ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', key];
    run('openssl', 'req', '-x509', ...fresh(file('ca.key')), '-out', file('ca.pem'), '-days', '2', '-subj', '/CN=CA of a test');
    run('openssl', 'req', ...fresh(this.key), '-out', file('server.csr'), '-subj', `/CN=${HOST}`);
    await writeFile(file('names'), `subjectAltName=DNS:${HOST},IP:${this.address}\n`);
    run('openssl', 'x509', '-req', '-in', file('server.csr'), '-CA', file('ca.pem'), '-CAkey', file('ca.key'), '-CAcreateserial', '-days', '2', '-extfile', file('names'), '-out', this.certificate);
  }

  /** Browsers look for the user's own CAs in his home. */
  async #trust() {
    const store = path.join(this.folder, '.pki/nssdb');
    await mkdir(store, { recursive: true });
    run('certutil', '-N', '-d', `sql:${store}`, '--empty-password');
    run('certutil', '-A', '-d', `sql:${store}`, '-n', 'CA of a test', '-t', 'C,,', '-i', path.join(this.folder, 'ca.pem'));
  }

  /** A browser inside, which believes no certificate that is not of the CA. */
  async browser() {
    const executablePath = path.join(this.folder, 'chromium');
    await writeFile(executablePath, `#!/bin/sh\nexec ip netns exec ${this.name} ${process.env.CHROMIUM ?? '/usr/bin/chromium'} "$@"\n`, { mode: 0o755 });
    return Browser.startInside({ executablePath, env: { ...ENVIRONMENT, HOME: this.folder } }, `--host-resolver-rules=MAP ${HOST} ${this.address}`);
  }

  /** Everything goes through. */
  open() {
    this.#rule('-F');
  }

  /** Everything but UDP. */
  dropUdp() {
    this.open();
    for (const chain of ['INPUT', 'OUTPUT']) this.#rule('-A', chain, '-p', 'udp', '-j', 'DROP');
  }

  /** Nothing but TCP to one port. */
  leaveOnly(port) {
    this.open();
    this.#rule('-A', 'OUTPUT', '-o', 'lo', '-j', 'ACCEPT');
    this.#rule('-A', 'OUTPUT', '-p', 'tcp', '--dport', String(port), '-j', 'ACCEPT');
    this.#rule('-A', 'OUTPUT', '-j', 'DROP');
  }

  #rule(...words) {
    run('ip', 'netns', 'exec', this.name, 'iptables', ...words);
  }

  async remove() {
    // It takes the cable with it. One that was never made cannot be removed, and need not be.
    try {
      run('ip', 'netns', 'delete', this.name);
    } catch { /* see above */ }
    await rm(this.folder, { recursive: true, force: true });
  }
}
