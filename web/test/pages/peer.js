// A person in a call, driven by a test: the smallest application on the unmodified openvidu-browser.

/** The library waits for ever for an answer that does not come; a test does not. */
const ANSWER_TIMEOUT_MS = 15_000;

/** Everything the library says of a session and of an own stream. Speech is left out: listening for it costs. */
const SESSION_EVENTS = ['connectionCreated', 'connectionDestroyed', 'connectionPropertyChanged', 'streamCreated', 'streamDestroyed',
  'streamPropertyChanged', 'signal', 'recordingStarted', 'recordingStopped', 'broadcastStarted', 'broadcastStopped',
  'networkQualityLevelChanged', 'reconnecting', 'reconnected', 'sessionDisconnected', 'exception'];
const PUBLISHER_EVENTS = ['accessAllowed', 'accessDenied', 'streamCreated', 'streamDestroyed', 'streamPropertyChanged'];

/** What of an event can leave the page. */
function told(event) {
  const plain = (value) => (value === undefined ? undefined : JSON.parse(JSON.stringify(value)));
  return {
    detail: event?.reason ?? event?.message,
    connection: (event?.connection ?? event?.stream?.connection)?.connectionId,
    stream: event?.stream?.streamId,
    signal: event?.type === 'signal' || event?.type?.startsWith('signal:')
      ? { type: event.type, data: event.data, from: event.from?.connectionId ?? null } : undefined,
    changed: event?.changedProperty && { property: event.changedProperty, value: plain(event.newValue) },
  };
}

function answered(what, promise) {
  const late = new Promise((_, reject) => { setTimeout(() => reject(new Error(`no answer: ${what}`)), ANSWER_TIMEOUT_MS); });
  return Promise.race([promise, late]);
}

class Peer {
  /** Every event, in the order in which the library told them; `of` is `session` or `publisher`. */
  events = [];
  /** Time of the first picture of each stream, by stream id; and of every picture when `watchFrames` was called. */
  firstFrame = {};
  frameTimes = {};
  joinedAt = 0;
  #watching = false;

  async join({ token, name }) {
    this.openvidu = new OpenVidu();
    this.openvidu.enableProdMode();
    this.session = this.openvidu.initSession();
    for (const name of SESSION_EVENTS) this.session.on(name, (event) => this.#note('session', name, event));
    this.session.on('streamCreated', ({ stream }) => this.#subscribe(stream));
    this.joinedAt = performance.now();
    await answered('connect', this.session.connect(token, { clientData: name }));
  }

  #note(of, name, event) {
    this.events.push({ of, name, ...told(event), at: performance.now() });
  }

  #subscribe(stream) {
    const video = document.createElement('video');
    video.width = 160;
    document.body.append(video);
    const subscriber = this.session.subscribe(stream, undefined);
    subscriber.addVideoElement(video);
    const id = stream.streamId;
    const seen = () => {
      this.firstFrame[id] ??= performance.now();
      if (this.#watching) (this.frameTimes[id] ??= []).push(performance.now());
      video.requestVideoFrameCallback(seen);
    };
    video.requestVideoFrameCallback(seen);
  }

  /** `source`: `camera`, `noise` (hard to compress) or `tone` (flash and beep). */
  async publish({ source = 'camera', resolution = '640x360', frameRate = 15 } = {}) {
    const sources = source === 'camera' ? {} : await this.#tracks(source, resolution, frameRate);
    this.publisher = await this.openvidu.initPublisherAsync(undefined, { resolution, frameRate, mirror: false, ...sources });
    for (const name of PUBLISHER_EVENTS) this.publisher.on(name, (event) => this.#note('publisher', name, event));
    await answered('publish', this.session.publish(this.publisher));
  }

  async #tracks(source, resolution, frameRate) {
    const [width, height] = resolution.split('x').map(Number);
    if (source === 'tone') {
      this.tone = testTone({ width, height, frameRate });
      const stream = this.tone.stream;
      return { videoSource: stream.getVideoTracks()[0], audioSource: stream.getAudioTracks()[0] };
    }
    return { videoSource: noise(width, height, frameRate), audioSource: undefined };
  }

  watchFrames() {
    this.frameTimes = {};
    this.#watching = true;
  }

  /** The longest time without a new picture since `watchFrames`, in ms. */
  longestGap() {
    const now = performance.now();
    const gaps = Object.values(this.frameTimes).flatMap((times) => times.map((time, index) => (times[index + 1] ?? now) - time));
    return gaps.length ? Math.max(...gaps) : Infinity;
  }

  /** From the call of `connect` to the first picture of the first stream, in ms; null when there was none yet. */
  timeToFirstFrame() {
    const times = Object.values(this.firstFrame);
    return times.length ? Math.min(...times) - this.joinedAt : null;
  }

  async stats() {
    const streams = [this.publisher?.stream, ...this.session.streamManagers.filter((one) => one.remote).map((one) => one.stream)];
    return Promise.all(streams.filter((stream) => stream?.streamId && stream.getWebRtcPeer()).map(look));
  }

  leave() {
    this.tone?.stop();
    this.session.disconnect();
  }
}

/** The parts of a peer connection's report that tests ask about. */
async function look(stream) {
  const connection = stream.getRTCPeerConnection();
  const report = [...(await connection.getStats()).values()];
  const byId = new Map(report.map((one) => [one.id, one]));
  const flow = (kind) => report.find((one) => one.type === (stream.isLocal() ? 'outbound-rtp' : 'inbound-rtp') && one.kind === kind);
  const transport = report.find((one) => one.type === 'transport');
  const pair = byId.get(transport?.selectedCandidatePairId);
  const far = byId.get(pair?.remoteCandidateId);
  return {
    streamId: stream.streamId,
    connectionId: stream.connection.connectionId,
    local: stream.isLocal(),
    at: performance.now(),
    audio: flow('audio') ?? null,
    video: flow('video') ?? null,
    srtpCipher: transport?.srtpCipher ?? '',
    iceState: connection.iceConnectionState,
    remoteAddress: far?.address ?? '',
    remotePort: far?.port ?? 0,
    availableOutgoingBitrate: pair?.availableOutgoingBitrate ?? 0,
  };
}

/** Pictures that change everywhere, so that the encoder wants all it may have. */
function noise(width, height, frameRate) {
  const canvas = Object.assign(document.createElement('canvas'), { width, height });
  const context = canvas.getContext('2d');
  const small = new ImageData(width / 8, height / 8);
  const tile = Object.assign(document.createElement('canvas'), { width: small.width, height: small.height });
  let state = 1;
  setInterval(() => {
    for (let at = 0; at < small.data.length; at += 4) {
      state = (Math.imul(state, 1664525) + 1013904223) | 0;
      small.data[at] = state >>> 24;
      small.data[at + 1] = state >>> 16;
      small.data[at + 2] = state >>> 8;
      small.data[at + 3] = 255;
    }
    tile.getContext('2d').putImageData(small, 0, 0);
    context.drawImage(tile, 0, 0, width, height);
  }, 1000 / frameRate);
  return canvas.captureStream(frameRate).getVideoTracks()[0];
}

window.peer = new Peer();
