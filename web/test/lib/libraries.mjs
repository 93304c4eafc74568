// Releases of openvidu-browser, each as its makers bundled it.
//
// The present one comes with `npm ci`. Those of the first generation would bring a hundred packages that nobody
// maintains any more, and their bundles need none of them: the archives alone are fetched, and known by their hash.

import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const HERE = path.dirname(fileURLToPath(import.meta.url));
const OLD = JSON.parse(readFileSync(path.join(HERE, '../first-generation.json'), 'utf8'));
const OLD_FOLDER = path.join(HERE, '../../../target/first-generation');

export const LIBRARY = '2.32.2';
export const OLD_LIBRARIES = Object.keys(OLD);

/** Where the bundle of a release is, or nothing when it is none of ours. */
export function bundle(version) {
  if (version === LIBRARY) return path.join(HERE, `../../node_modules/openvidu-browser/static/js/openvidu-browser-${LIBRARY}.min.js`);
  return OLD[version] && path.join(OLD_FOLDER, version, 'package', OLD[version].bundle);
}

/** Brings the old releases here, where they are missing. */
export function fetchOldLibraries() {
  mkdirSync(OLD_FOLDER, { recursive: true });
  for (const version of OLD_LIBRARIES) {
    if (!existsSync(bundle(version))) fetchOldLibrary(version);
  }
}

function fetchOldLibrary(version) {
  execFileSync('npm', ['pack', '--loglevel=error', `openvidu-browser@${version}`, '--pack-destination', OLD_FOLDER], { stdio: ['ignore', 'ignore', 'inherit'] });
  const archive = path.join(OLD_FOLDER, `openvidu-browser-${version}.tgz`);
  const found = `sha512-${createHash('sha512').update(readFileSync(archive)).digest('base64')}`;
  if (found !== OLD[version].integrity) throw new Error(`${archive} is not what it was: ${found}`);
  mkdirSync(path.join(OLD_FOLDER, version), { recursive: true });
  execFileSync('tar', ['-xzf', archive, '-C', path.join(OLD_FOLDER, version), `package/${OLD[version].bundle}`]);
}
