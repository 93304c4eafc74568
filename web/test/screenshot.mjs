// Takes the picture of the call page that the README shows: node test/screenshot.mjs ../docs/call.png

import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { Browser } from './lib/browser.mjs';
import { CallPage } from './lib/call-page.mjs';
import { Server } from './lib/server.mjs';
import { pause } from './lib/until.mjs';

const PEOPLE = ['Ann Lee', 'Bruno Costa', 'Chiara Rossi'];
const target = path.resolve(process.argv[2] ?? '../docs/call.png');

/** Runs in the page: instead of Chromium's test pattern, a painted person who says something now and then. */
function paintedCamera(name) {
  const hue = { Ann: 190, Bruno: 28, Chiara: 265 }[name.split(' ')[0]] ?? 120;
  navigator.mediaDevices.getUserMedia = async (wish) => {
    const canvas = Object.assign(document.createElement('canvas'), { width: 1280, height: 720 });
    const context = canvas.getContext('2d');
    const blob = (x, y, rx, ry, fill) => {
      context.fillStyle = fill;
      context.beginPath();
      context.ellipse(x, y, rx, ry, 0, 0, 2 * Math.PI);
      context.fill();
    };
    const paint = () => {
      const sway = Math.sin(performance.now() / 900 + hue) * 14;
      const wall = context.createLinearGradient(0, 0, 1280, 720);
      wall.addColorStop(0, `hsl(${hue} 38% 62%)`);
      wall.addColorStop(1, `hsl(${hue + 50} 42% 24%)`);
      context.fillStyle = wall;
      context.fillRect(0, 0, 1280, 720);
      blob(1010, 160, 150, 150, `hsl(${hue + 20} 60% 80% / .25)`);
      blob(640 + sway, 760, 330, 290, `hsl(${hue + 170} 32% 34%)`);
      blob(640 + sway, 500, 62, 92, 'hsl(24 42% 58%)');
      blob(640 + sway, 330, 148, 178, `hsl(${hue + 10} 30% 20%)`);
      blob(640 + sway, 365, 124, 152, 'hsl(24 48% 66%)');
      blob(640 + sway, 262, 132, 72, `hsl(${hue + 10} 30% 20%)`);
      blob(592 + sway, 362, 10, 13, '#222');
      blob(688 + sway, 362, 10, 13, '#222');
      blob(640 + sway, 440, 34, 8 + 7 * Math.abs(Math.sin(performance.now() / 160)), 'hsl(2 50% 42%)');
    };
    paint();
    setInterval(paint, 50);
    const audio = new AudioContext();
    const gate = new GainNode(audio, { gain: name.startsWith('Chiara') ? 0.3 : 0 });
    const out = audio.createMediaStreamDestination();
    const tone = new OscillatorNode(audio, { frequency: 220 });
    tone.connect(gate).connect(out);
    tone.start();
    const tracks = [];
    if (wish.video) tracks.push(...canvas.captureStream(20).getVideoTracks());
    if (wish.audio) tracks.push(...out.stream.getAudioTracks());
    return new MediaStream(tracks);
  };
}

const server = await Server.start();
const browser = await Browser.start();
try {
  const pages = [];
  for (const name of PEOPLE) {
    pages.push(await CallPage.join(browser, server, 'daily-standup', name, { script: paintedCamera, viewport: { width: 1280, height: 760 } }));
  }
  await Promise.all(pages.map((page) => page.plays(2)));
  await pages[1].page.keyboard.press('m');
  // Time for the encoders to reach their full size, and for notes about joining to go.
  await pause(12_000);
  await mkdir(path.dirname(target), { recursive: true });
  await pages[0].page.mouse.move(2, 2);
  await pages[0].page.screenshot({ path: target });
  console.log(target);
} finally {
  await browser.stop();
  await server.stop();
}
