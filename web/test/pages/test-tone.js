// Lip sync, measured: once a second a white flash and a beep that begin together, and an eye and an ear for them.

const PERIOD_S = 1;
const LENGTH_S = 0.15;

/** A stream whose picture flashes when its sound beeps. */
function testTone({ width, height, frameRate }) {
  const audio = new AudioContext();
  const oscillator = new OscillatorNode(audio, { frequency: 880 });
  const gate = new GainNode(audio, { gain: 0 });
  const out = audio.createMediaStreamDestination();
  oscillator.connect(gate).connect(out);
  oscillator.start();

  const canvas = Object.assign(document.createElement('canvas'), { width, height });
  const context = canvas.getContext('2d');
  let next = audio.currentTime + PERIOD_S;
  const schedule = () => {
    gate.gain.setValueAtTime(0.8, next);
    gate.gain.setValueAtTime(0, next + LENGTH_S);
  };
  schedule();
  const timer = setInterval(() => {
    const now = audio.currentTime;
    const lit = now >= next && now < next + LENGTH_S;
    context.fillStyle = lit ? '#fff' : '#000';
    context.fillRect(0, 0, width, height);
    // A corner that always moves, so that the capture never pauses.
    context.fillStyle = '#444';
    context.fillRect((now * 40) % width, 0, 8, 8);
    if (now >= next + LENGTH_S) {
      next += PERIOD_S;
      schedule();
    }
  }, 8);
  const stream = new MediaStream([...canvas.captureStream(frameRate).getVideoTracks(), ...out.stream.getAudioTracks()]);
  return { stream, stop: () => { clearInterval(timer); audio.close(); } };
}

const EAR = `
  registerProcessor('ear', class extends AudioWorkletProcessor {
    quiet = sampleRate;
    process([input]) {
      const samples = input[0];
      if (!samples) return true;
      for (let at = 0; at < samples.length; at += 1) {
        if (Math.abs(samples[at]) < 0.05) { this.quiet += 1; continue; }
        if (this.quiet > sampleRate * 0.3) this.port.postMessage(currentTime + at / sampleRate);
        this.quiet = 0;
      }
      return true;
    }
  });`;

/** Begins of beeps, as page times in ms, pushed to `heard`. */
async function listen(stream, heard) {
  const audio = new AudioContext();
  const code = URL.createObjectURL(new Blob([EAR], { type: 'text/javascript' }));
  await audio.audioWorklet.addModule(code);
  const ear = new AudioWorkletNode(audio, 'ear', { numberOfOutputs: 0 });
  ear.port.onmessage = ({ data }) => heard.push(performance.now() - (audio.currentTime - data) * 1000);
  audio.createMediaStreamSource(new MediaStream(stream.getAudioTracks())).connect(ear);
  return () => audio.close();
}

/** Begins of flashes, as page times in ms, pushed to `seen`. */
function watch(video, seen) {
  const canvas = Object.assign(document.createElement('canvas'), { width: 16, height: 9 });
  const context = canvas.getContext('2d', { willReadFrequently: true });
  let lit = true;
  let over = false;
  const look = (now) => {
    context.drawImage(video, 0, 0, 16, 9);
    const { data } = context.getImageData(0, 0, 16, 9);
    let sum = 0;
    for (let at = 0; at < data.length; at += 4) sum += data[at];
    const bright = sum / (data.length / 4) > 128;
    if (bright && !lit) seen.push(now);
    lit = bright;
    if (!over) video.requestVideoFrameCallback(look);
  };
  video.requestVideoFrameCallback(look);
  return () => { over = true; };
}

/** Picture minus sound of `count` flash-and-beep pairs, in ms: positive means that the picture is late. */
async function measureSkew(video, count) {
  const heard = [];
  const seen = [];
  const deaf = await listen(video.srcObject, heard);
  const blind = watch(video, seen);
  const skews = () => seen.map((flash) => {
    const beep = heard.reduce((best, one) => (Math.abs(one - flash) < Math.abs(best - flash) ? one : best), Infinity);
    return flash - beep;
  }).filter((skew) => Math.abs(skew) < (PERIOD_S * 1000) / 2);
  const deadline = performance.now() + (count + 8) * PERIOD_S * 1000;
  while (skews().length < count && performance.now() < deadline) await new Promise((next) => { setTimeout(next, 100); });
  deaf();
  blind();
  return skews();
}

/** The same over two peer connections of this page, with no server between them: what the browser itself adds. */
async function measureWithoutServer(count) {
  const tone = testTone({ width: 640, height: 360, frameRate: 30 });
  const [near, far] = [new RTCPeerConnection(), new RTCPeerConnection()];
  near.onicecandidate = ({ candidate }) => far.addIceCandidate(candidate);
  far.onicecandidate = ({ candidate }) => near.addIceCandidate(candidate);
  const video = document.createElement('video');
  video.srcObject = new MediaStream();
  video.autoplay = true;
  document.body.append(video);
  far.ontrack = ({ track }) => video.srcObject.addTrack(track);
  for (const track of tone.stream.getTracks()) near.addTrack(track, tone.stream);
  await near.setLocalDescription();
  await far.setRemoteDescription(near.localDescription);
  await far.setLocalDescription();
  await near.setRemoteDescription(far.localDescription);
  await new Promise((ready) => { video.onplaying = ready; });
  const skews = await measureSkew(video, count);
  near.close();
  far.close();
  video.remove();
  tone.stop();
  return skews;
}
