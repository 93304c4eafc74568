// The call itself, on the unmodified openvidu-browser: connecting, publishing, subscribing, sharing a screen.
// It knows no buttons and no tiles; it tells its listener what changed.

import { OpenVidu } from 'openvidu-browser';
import { CallError } from './errors.js';
import { requestToken } from './rest.js';
import { Sampler } from './stats.js';

/** The library retries a first connection for ever and never says so; we stop waiting here. */
const CONNECT_TIMEOUT_MS = 12_000;
const RESOLUTION = '1280x720';
const FRAME_RATE = 30;

/** The name a connection was made with; other OpenVidu pages may send plain text. */
export function describe(connection) {
  const [mine] = (connection.data ?? '').split('%/%');
  try {
    const said = JSON.parse(mine);
    return { name: String(said.clientData ?? 'Guest'), screen: said.screen === true };
  } catch {
    return { name: mine || 'Guest', screen: false };
  }
}

export class Call {
  session = null;
  publisher = null;
  subscribers = [];
  #screen = null;
  #sampler = new Sampler();

  constructor(wish, listener) {
    this.wish = wish;
    this.listener = listener;
  }

  async join() {
    const openvidu = quiet(new OpenVidu());
    this.session = openvidu.initSession();
    this.#listen(this.session);
    await this.#connect(this.session, { clientData: this.wish.name });
    await this.#publish(openvidu);
  }

  async #connect(session, data) {
    const token = await requestToken(this.wish);
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new CallError('no-websocket')), CONNECT_TIMEOUT_MS);
    });
    try {
      await Promise.race([session.connect(token, data), late]);
    } catch (error) {
      session.disconnect();
      if (error?.name === 'BROWSER_NOT_SUPPORTED') throw new CallError('browser', error);
      throw error instanceof CallError ? error : new CallError('refused', error, error?.message ?? '');
    } finally {
      clearTimeout(timer);
    }
  }

  /** A call without one's own picture is still a call: failures here are told, not thrown. */
  async #publish(openvidu) {
    const { audio, video, audioOn, videoOn } = this.wish.devices;
    if (audio === false && video === false) return;
    try {
      const publisher = await openvidu.initPublisherAsync(undefined, {
        audioSource: audio,
        videoSource: video,
        publishAudio: audioOn,
        publishVideo: videoOn,
        resolution: RESOLUTION,
        frameRate: FRAME_RATE,
        mirror: false,
      });
      this.publisher = publisher;
      this.listener.published(publisher);
      await this.session.publish(publisher);
      this.listener.changed(this.session.connection);
    } catch (error) {
      this.publisher = null;
      this.listener.published(null);
      this.listener.failed(new CallError('publish', error, error?.message ?? ''));
    }
  }

  #listen(session) {
    const mine = (connection) => this.#screen?.session.connection?.connectionId === connection.connectionId;
    session.on('connectionCreated', ({ connection }) => {
      if (!mine(connection)) this.listener.arrived(connection);
    });
    session.on('connectionDestroyed', ({ connection }) => this.listener.left(connection));
    session.on('streamCreated', ({ stream }) => {
      if (mine(stream.connection)) return;
      const subscriber = session.subscribe(stream, undefined);
      this.subscribers.push(subscriber);
      this.listener.subscribed(subscriber);
    });
    session.on('streamDestroyed', ({ stream }) => {
      this.#sampler.forget(stream.streamId);
      this.subscribers = this.subscribers.filter((one) => one.stream !== stream);
      this.listener.unsubscribed(stream);
    });
    session.on('streamPropertyChanged', ({ stream }) => this.listener.changed(stream.connection));
    session.on('reconnecting', () => this.listener.status('reconnecting'));
    session.on('reconnected', () => this.listener.status('connected'));
    session.on('sessionDisconnected', ({ reason }) => this.listener.ended(reason));
    session.on('exception', ({ name, message }) => console.warn(`${name}: ${message}`));
  }

  setMic(on) {
    this.publisher.publishAudio(on);
  }

  /** Off also lets go of the camera, so that its lamp goes out. */
  setCamera(on) {
    return on ? this.publisher.publishVideo(true) : this.publisher.publishVideo(false, true);
  }

  get sharing() {
    return Boolean(this.#screen);
  }

  /** The screen is a second connection: OpenVidu knows one stream a connection. */
  async startScreen() {
    const openvidu = quiet(new OpenVidu());
    const session = openvidu.initSession();
    const publisher = await openvidu.initPublisherAsync(undefined, {
      videoSource: 'screen', audioSource: false, publishAudio: false, publishVideo: true, mirror: false,
    }).catch((error) => {
      throw new CallError('screen-denied', error);
    });
    this.#screen = { session, publisher };
    publisher.stream.getMediaStream().getVideoTracks()[0]?.addEventListener('ended', () => this.stopScreen());
    session.on('sessionDisconnected', () => this.stopScreen());
    try {
      await this.#connect(session, { clientData: this.wish.name, screen: true });
      await session.publish(publisher);
    } catch (error) {
      this.stopScreen();
      throw error;
    }
    this.listener.screenStarted(publisher, session.connection);
  }

  stopScreen() {
    const screen = this.#screen;
    if (!screen) return;
    this.#screen = null;
    screen.publisher.stream.getMediaStream()?.getTracks().forEach((track) => track.stop());
    if (screen.session.connection) screen.session.disconnect();
    this.listener.screenStopped();
  }

  leave() {
    this.stopScreen();
    this.session?.disconnect();
  }

  /** Every stream of the call with what its peer connection says. */
  async stats() {
    const managers = [this.publisher, this.#screen?.publisher, ...this.subscribers].filter((one) => one?.stream?.streamId);
    return Promise.all(managers.map(async ({ stream }) => ({
      streamId: stream.streamId,
      connectionId: stream.connection.connectionId,
      name: describe(stream.connection).name,
      local: stream.isLocal(),
      ...(await this.#sampler.sample(stream)),
    })));
  }
}

function quiet(openvidu) {
  openvidu.enableProdMode();
  return openvidu;
}
