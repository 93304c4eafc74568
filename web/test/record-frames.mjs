// Records what Chromium makes of a moving picture: node test/record-frames.mjs ../loadtest/scenarios/chromium-2500k.frames
//
// The publisher's packets are read off the loopback device with tcpdump (so this wants root). Sizes are those of the
// RTP payload: header and extensions travel in the clear, the tag's length follows from the cipher. Nobody watches: what
// a viewer decodes takes the encoder's time, and what the encoder makes does not depend on viewers.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { Browser } from './lib/browser.mjs';
import { Person } from './lib/call.mjs';
import { Server } from './lib/server.mjs';
import { pause, until } from './lib/until.mjs';

const [target, KBPS = 3000, SECONDS = 30, SOURCE = 'noise'] = process.argv.slice(2);
const WISH = { source: SOURCE, resolution: '1280x720', frameRate: 30 };
/** The fake camera has 20 frames a second unless told otherwise; its picture is too plain for more than 1.1 Mbit/s. */
const CAMERA = '--use-fake-device-for-media-stream=fps=30';
const SNAPSHOT = 160;

/** Whole datagrams' lengths and first bytes, from a capture in the classic format of libpcap (little-endian). */
function* datagrams(capture) {
  // Loopback frames look like Ethernet; then IPv4 or IPv6, then UDP.
  const ethernet = 14, udp = 8;
  for (let at = 24; at + 16 <= capture.length;) {
    const kept = capture.readUInt32LE(at + 8), bytes = capture.subarray(at + 16, at + 16 + kept);
    const ip = bytes[ethernet] >> 4 === 6 ? 40 : (bytes[ethernet] & 0x0f) * 4;
    yield { len: bytes.readUInt16BE(ethernet + ip + 4) - udp, head: bytes.subarray(ethernet + ip + udp) };
    at += 16 + kept;
  }
}

/** RTP packets by SSRC: timestamp and length of the payload. RTCP, STUN and DTLS are left out (RFC 7983, RFC 5761). */
function streams(capture, tagLen) {
  const bySsrc = new Map();
  for (const { len, head } of datagrams(capture)) {
    const isRtp = head.length >= 16 && head[0] >> 6 === 2 && (head[1] < 192 || head[1] > 223);
    if (!isRtp) continue;
    const fixed = 12 + 4 * (head[0] & 0x0f);
    const extension = head[0] & 0x10 ? 4 + 4 * head.readUInt16BE(fixed + 2) : 0;
    const ssrc = head.readUInt32BE(8);
    if (!bySsrc.has(ssrc)) bySsrc.set(ssrc, []);
    bySsrc.get(ssrc).push({ timestamp: head.readUInt32BE(4), payload: len - fixed - extension - tagLen });
  }
  return bySsrc;
}

/** Timestamp and payload lengths of each frame but the first and the last, which the capture may have cut. */
function frames(packets) {
  const found = [];
  packets.forEach(({ timestamp, payload }) => {
    if (found.at(-1)?.timestamp !== timestamp) found.push({ timestamp, lens: [] });
    found.at(-1).lens.push(payload);
  });
  return found.slice(1, -1);
}

/** Frames a second by their timestamps, which count 90 000 a second and wrap. */
function frameRate(list) {
  const ticks = (list.at(-1).timestamp - list[0].timestamp) >>> 0;
  return Math.round((list.length - 1) * 90_000 / ticks);
}

const bytes = (list) => list.flatMap(({ lens }) => lens).reduce((sum, len) => sum + len, 0);

async function capture(port, seconds) {
  const filter = `udp and dst port ${port}`;
  const tcpdump = spawn('tcpdump', ['-i', 'lo', '-s', SNAPSHOT, '-B', 16384, '-U', '-w', '-', filter], { stdio: ['ignore', 'pipe', 'inherit'] });
  const pieces = [];
  tcpdump.stdout.on('data', (piece) => pieces.push(piece));
  await pause(seconds * 1000);
  tcpdump.kill('SIGINT');
  await once(tcpdump, 'close');
  return Buffer.concat(pieces);
}

const server = await Server.start('--video-max-recv-kbps', `${KBPS}`, '--shards', '1');
const browser = await Browser.start(CAMERA);
try {
  const ann = await Person.open(browser, 'Ann');
  await ann.join(server, 'recording', { publish: WISH });
  // The estimate rises to the cap, and the encoder to its full size.
  await until('the full rate', async () => {
    const { availableOutgoingBitrate, video } = await ann.sent();
    return availableOutgoingBitrate >= KBPS * 950 && video.frameHeight === 720;
  }, { timeoutMs: 60_000, everyMs: 500 });
  await pause(5000);
  const recorded = await capture(server.shards[0].port, Number(SECONDS));
  const { video, srtpCipher } = await ann.sent();
  const tagLen = srtpCipher.includes('GCM') ? 16 : 10;
  const found = [...streams(recorded, tagLen).values()].map(frames);
  const list = found.reduce((most, one) => (bytes(one) > bytes(most) ? one : most), []);
  const rate = frameRate(list);
  const packets = list.reduce((sum, { lens }) => sum + lens.length, 0);
  const lines = [
    `# ${rate} frames/s: RTP payload bytes of each packet, a frame a line`,
    `# frames_per_second: ${rate}`,
    `# Chromium ${browser.browser.version()}, VP8 by ${video.encoderImplementation}, ${WISH.resolution} of ${SOURCE}, ${Math.round(bytes(list) * 8 * rate / list.length / 1000)} kbit/s under a cap of ${KBPS};`,
    `# ${list.length} frames, ${packets} packets, ${srtpCipher}; made by web/test/record-frames.mjs.`,
    '# A last packet that is 16 bytes shorter than the one before has as much more of header extensions (video timing).',
    ...list.map(({ lens }) => lens.join(' ')),
  ];
  await writeFile(target, `${lines.join('\n')}\n`);
  console.log(lines.slice(0, 5).join('\n'), `limited by ${video.qualityLimitationReason}`);
} finally {
  await browser.stop();
  await server.stop();
}
