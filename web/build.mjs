// Bundles the call page into dist/. The result is committed, because the server carries it inside its binary;
// `--check` builds again in memory and compares byte for byte. What browsers load is there a second time, compressed as
// far as Brotli can: the server sends it as it is. It is compared decompressed, since another Node may pack it otherwise.

import { build } from 'esbuild';
import { readFile, readdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, brotliDecompressSync } from 'node:zlib';

const here = path.dirname(fileURLToPath(import.meta.url));
const at = (...parts) => path.join(here, ...parts);

const SHARED = {
  absWorkingDir: here,
  bundle: true,
  minify: true,
  write: false,
  metafile: true,
  charset: 'utf8',
  legalComments: 'none',
  target: ['chrome100', 'firefox100', 'safari15.4'],
  logLevel: 'warning',
};

/** The licences of what is inside app.js, as they ask for. */
async function notices(metafile) {
  const packages = new Set();
  for (const input of Object.keys(metafile.inputs)) {
    const inside = input.match(/^node_modules\/((?:@[^/]+\/)?[^/]+)\//);
    if (inside) packages.add(inside[1]);
  }
  const parts = ['Third-party software inside app.js, unmodified, with its licences.\n'];
  for (const name of [...packages].sort()) {
    const folder = at('node_modules', name);
    const about = JSON.parse(await readFile(path.join(folder, 'package.json'), 'utf8'));
    const file = (await readdir(folder)).sort().find((one) => /^(licen[sc]e|copying)/i.test(one));
    const text = file ? (await readFile(path.join(folder, file), 'utf8')).replaceAll('\r\n', '\n').trim()
      : `(the package names its licence only: ${about.license ?? JSON.stringify(about.licenses)})`;
    parts.push(`${'='.repeat(78)}\n${name} ${about.version} - ${about.license ?? ''}\n${'='.repeat(78)}\n${text}\n`);
  }
  return parts.join('\n');
}

async function outputs() {
  const script = await build({
    ...SHARED, entryPoints: ['src/main.js'], outfile: 'app.js', format: 'iife',
    define: { 'process.env.NODE_ENV': '"production"', global: 'globalThis' },
  });
  const style = await build({ ...SHARED, entryPoints: ['src/app.css'], outfile: 'app.css' });
  return new Map([
    ['index.html', await readFile(at('src', 'index.html'), 'utf8')],
    ['app.js', script.outputFiles[0].text],
    ['app.css', style.outputFiles[0].text],
    ['THIRD-PARTY.txt', await notices(script.metafile)],
  ]);
}

/** The files browsers load. */
const SERVED = ['index.html', 'app.js', 'app.css'];

/** What a file of dist/ holds, as text; null if it cannot be had. */
async function held(name) {
  try {
    const bytes = await readFile(at('dist', name));
    return (name.endsWith('.br') ? brotliDecompressSync(bytes) : bytes).toString('utf8');
  } catch {
    return null;
  }
}

const check = process.argv.includes('--check');
let different = 0;
for (const [name, text] of await outputs()) {
  const files = new Map([[name, Buffer.from(text)]]);
  if (SERVED.includes(name)) files.set(`${name}.br`, check ? null : brotliCompressSync(text));
  for (const [file, bytes] of files) {
    if (!check) {
      await writeFile(at('dist', file), bytes);
      console.log(`dist/${file}  ${bytes.length} bytes`);
    } else if (await held(file) !== text) {
      different += 1;
      console.error(`dist/${file} is not what src/ builds; run: cargo xtask web`);
    }
  }
}
process.exitCode = different ? 1 : 0;
