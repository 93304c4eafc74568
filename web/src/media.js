// The camera and microphone before the call: asking for them, choosing among them, a level meter.

import { CallError, deviceError } from './errors.js';

export const VIDEO = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30, max: 30 } };

/** Opens what there is. When both together fail for lack of one, the other alone is tried. */
export async function openDevices({ camera, mic }) {
  if (!window.isSecureContext || !navigator.mediaDevices) throw new CallError('insecure');
  const video = { ...VIDEO, ...(camera ? { deviceId: { exact: camera } } : {}) };
  const audio = mic ? { deviceId: { exact: mic } } : true;
  const wishes = [{ audio, video }, { audio }, { video }];
  let first;
  for (const wish of wishes) {
    try {
      return await navigator.mediaDevices.getUserMedia(wish);
    } catch (error) {
      first ??= error;
      // Refused by the person: asking again for half of it would only annoy.
      if (error.name === 'NotAllowedError' && !/system/i.test(error.message)) break;
    }
  }
  throw deviceError(first);
}

export async function listDevices() {
  const all = await navigator.mediaDevices.enumerateDevices();
  return {
    cameras: all.filter((one) => one.kind === 'videoinput'),
    mics: all.filter((one) => one.kind === 'audioinput'),
  };
}

export function stop(stream) {
  stream?.getTracks().forEach((track) => track.stop());
}

/** Calls `show(0..1)` several times a second until the returned function is called. */
export function watchLevel(stream, show) {
  if (!stream.getAudioTracks().length) return () => {};
  const context = new AudioContext();
  const analyser = context.createAnalyser();
  analyser.fftSize = 512;
  context.createMediaStreamSource(stream).connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  const timer = setInterval(() => {
    analyser.getFloatTimeDomainData(samples);
    const power = samples.reduce((sum, one) => sum + one * one, 0) / samples.length;
    // -60 dB to 0 dB on a straight scale.
    show(Math.max(0, Math.min(1, 1 + Math.log10(power + 1e-9) / 6)));
  }, 80);
  return () => {
    clearInterval(timer);
    context.close();
  };
}
