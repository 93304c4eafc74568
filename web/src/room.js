// The page in the call: tiles, buttons, keys, status.

import { Call, describe } from './call.js';
import { explain } from './errors.js';
import { dress } from './icons.js';
import { keepLaidOut } from './layout.js';
import { inviteLink, isLoopback, readInvite, rememberInAddress } from './link.js';
import { requestInvitation } from './rest.js';
import { Tile } from './tile.js';

const byId = (id) => document.getElementById(id);
const LEVEL_PERIOD_MS = 250;
const STATS_EVERY = 4;

const ENDINGS = {
  disconnect: '',
  networkDisconnect: 'The connection to the server was lost for too long. Join again to go on.',
  forceDisconnectByUser: 'A moderator removed you from the session.',
  forceDisconnectByServer: 'The server removed you from the session.',
  sessionClosedByServer: 'The session was closed.',
};

export class Room {
  #call = null;
  #tiles = new Map();
  #focused = null;
  #stats = false;
  #timers = [];
  #since = 0;

  constructor({ onLeft }) {
    this.root = byId('room');
    this.onLeft = onLeft;
    keepLaidOut(byId('grid'));
    byId('mic').addEventListener('click', () => this.#toggleMic());
    byId('camera').addEventListener('click', () => this.#toggleCamera());
    byId('screen').addEventListener('click', () => this.#toggleScreen());
    byId('invite').addEventListener('click', () => this.#invite());
    byId('alone-invite').addEventListener('click', () => this.#invite());
    byId('stats').addEventListener('click', () => this.#toggleStats());
    byId('leave').addEventListener('click', () => this.leave());
    this.root.addEventListener('sound-blocked', () => this.#offerSound());
    addEventListener('keydown', (event) => this.#key(event));
    addEventListener('pagehide', () => this.#call?.leave());
  }

  async enter(wish) {
    const call = new Call(wish, this.#listener());
    this.#call = call;
    this.wish = wish;
    this.#stats = false;
    byId('room-name').textContent = wish.session;
    try {
      await call.join();
    } catch (error) {
      this.#clear();
      throw error;
    }
    rememberInAddress(wish);
    document.title = `${wish.session} · Millrace`;
    this.#since = Date.now();
    this.#status('connected');
    this.#tick();
    this.#refresh();
    this.root.focus({ preventScroll: true });
  }

  get call() {
    return this.#call;
  }

  leave() {
    this.#call?.leave();
  }

  /** What the call tells us, turned into tiles. */
  #listener() {
    return {
      arrived: (connection) => this.#arrived(connection),
      left: (connection) => this.#drop(connection.connectionId),
      published: (publisher) => this.#mine().attach(publisher),
      subscribed: (subscriber) => this.#tileOf(subscriber.stream.connection).attach(subscriber),
      unsubscribed: (stream) => this.#tiles.get(stream.connection.connectionId)?.attach(null),
      changed: () => this.#refresh(),
      status: (status) => this.#status(status),
      failed: (error) => this.#notice(error),
      screenStarted: (publisher, connection) => this.#tileOf(connection, true).attach(publisher),
      screenStopped: () => this.#dropMyScreen(),
      ended: (reason) => this.#ended(reason),
    };
  }

  #arrived(connection) {
    this.root.hidden = false;
    const local = connection.connectionId === this.#call.session.connection?.connectionId;
    this.#tileOf(connection, local);
    const { name, screen } = describe(connection);
    if (!local && this.#since) toast(screen ? `${name} shares a screen` : `${name} joined`);
  }

  #tileOf(connection, local = false) {
    const known = this.#tiles.get(connection.connectionId);
    if (known) return known;
    const { name, screen } = describe(connection);
    const tile = new Tile({ name, screen, local, onFocus: (one) => this.#focus(one) });
    this.#tiles.set(connection.connectionId, tile);
    byId('grid').append(tile.element);
    if (screen && !local) this.#focus(tile, true);
    this.#refresh();
    return tile;
  }

  #mine() {
    return this.#tileOf(this.#call.session.connection, true);
  }

  #drop(connectionId) {
    const tile = this.#tiles.get(connectionId);
    if (!tile) return;
    this.#tiles.delete(connectionId);
    if (this.#focused === tile) this.#focus(tile, false);
    tile.remove();
    if (!tile.local && !tile.screen) toast(`${tile.name} left`);
    this.#refresh();
  }

  #dropMyScreen() {
    for (const [id, tile] of this.#tiles) if (tile.local && tile.screen) this.#drop(id);
    this.#refresh();
  }

  /** One tile large, the others in a strip beside it. */
  #focus(tile, on = this.#focused !== tile) {
    this.#focused?.setFocused(false);
    if (this.#focused) byId('grid').prepend(this.#focused.element);
    this.#focused = on ? tile : null;
    this.root.classList.toggle('has-focus', on);
    byId('focus').hidden = !on;
    if (on) byId('focus').append(tile.element);
    tile.setFocused(on);
    // Moving a video in the document pauses it.
    for (const one of this.#tiles.values()) if (one.stream) one.video.play().catch(() => {});
  }

  #refresh() {
    if (!this.#call) return;
    const { publisher, sharing } = this.#call;
    const audio = Boolean(publisher?.stream?.hasAudio);
    const video = Boolean(publisher?.stream?.hasVideo);
    const mic = audio && publisher.stream.audioActive;
    const camera = video && publisher.stream.videoActive;
    dress(byId('mic'), { icon: mic ? 'mic' : 'micOff', label: mic ? 'Mute' : 'Unmute', key: 'm', pressed: !mic, off: !mic });
    dress(byId('camera'), {
      icon: camera ? 'camera' : 'cameraOff', label: camera ? 'Turn camera off' : 'Turn camera on', key: 'v', pressed: !camera, off: !camera,
    });
    dress(byId('screen'), { icon: 'screen', label: sharing ? 'Stop sharing' : 'Share screen', key: 's', pressed: sharing });
    dress(byId('invite'), { icon: 'invite', label: 'Copy invite link', key: 'i' });
    dress(byId('stats'), { icon: 'stats', label: 'Statistics', key: 't', pressed: this.#stats });
    dress(byId('leave'), { icon: 'leave', label: 'Leave' });
    byId('mic').disabled = !audio;
    byId('camera').disabled = !video;
    byId('screen').hidden = !navigator.mediaDevices?.getDisplayMedia;
    const people = [...this.#tiles.values()].filter((tile) => !tile.screen).length;
    byId('room-people').textContent = people === 1 ? '1 person' : `${people} people`;
    byId('alone').hidden = people !== 1;
    for (const tile of this.#tiles.values()) tile.refresh();
  }

  #status(status) {
    const words = { connected: 'Connected', reconnecting: 'Reconnecting…' };
    byId('room-status').textContent = words[status];
    byId('room-status').dataset.status = status;
  }

  #toggleMic() {
    if (byId('mic').disabled) return;
    this.#call.setMic(!this.#call.publisher.stream.audioActive);
    this.#refresh();
  }

  async #toggleCamera() {
    if (byId('camera').disabled) return;
    byId('camera').disabled = true;
    try {
      await this.#call.setCamera(!this.#call.publisher.stream.videoActive);
    } catch (error) {
      this.#notice(error);
    }
    this.#refresh();
  }

  async #toggleScreen() {
    if (this.#call.sharing) return this.#call.stopScreen();
    try {
      await this.#call.startScreen();
    } catch (error) {
      // Closing the browser's own chooser needs no message.
      if (error.kind !== 'screen-denied') this.#notice(error);
    }
    this.#refresh();
  }

  /** A guest hands on the own invitation; the host has a new one made. */
  async #invite() {
    let invite;
    try {
      invite = this.wish.invite || await requestInvitation(this.wish);
    } catch (error) {
      this.#notice(error);
      return;
    }
    const link = inviteLink(invite);
    try {
      await navigator.clipboard.writeText(link);
    } catch {
      prompt('Copy this link:', link);
      return;
    }
    const until = new Date(readInvite(invite)?.expiresAt).toLocaleString([], { dateStyle: 'medium', timeStyle: 'short' });
    toast(isLoopback() ? 'Link copied. It says localhost: for other machines open this page by the server’s address.'
      : `Link copied. Whoever has it may join this session until ${until}.`);
  }

  #toggleStats() {
    this.#stats = !this.#stats;
    this.#refresh();
    this.#sampleStats();
  }

  #key(event) {
    if (this.root.hidden || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    const target = { m: 'mic', v: 'camera', s: 'screen', i: 'invite', t: 'stats' }[event.key.toLowerCase()];
    if (target && !byId(target).hidden) byId(target).click();
    if (event.key === 'Escape' && this.#focused) this.#focus(this.#focused, false);
  }

  /** Levels four times a second, figures once. */
  #tick() {
    let round = 0;
    this.#timers.push(setInterval(() => {
      this.#hearEverybody();
      if (round % STATS_EVERY === 0) {
        this.#clock();
        this.#sampleStats();
      }
      round += 1;
    }, LEVEL_PERIOD_MS));
  }

  #clock() {
    const seconds = Math.floor((Date.now() - this.#since) / 1000);
    const two = (value) => String(value).padStart(2, '0');
    const hours = Math.floor(seconds / 3600);
    byId('room-clock').textContent = (hours ? `${hours}:` : '') + `${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
  }

  #hearEverybody() {
    const now = performance.now();
    for (const tile of this.#tiles.values()) {
      if (tile.local || !tile.stream?.hasAudio) continue;
      const receiver = tile.stream.getRTCPeerConnection?.()?.getReceivers().find((one) => one.track?.kind === 'audio');
      const heard = receiver?.getSynchronizationSources?.()[0]?.audioLevel;
      tile.hear(heard ?? 0, now);
    }
  }

  async #sampleStats() {
    const call = this.#call;
    const sums = call ? await call.stats().catch(() => []) : [];
    const now = performance.now();
    for (const [id, tile] of this.#tiles) {
      const sum = sums.find((one) => one.connectionId === id);
      if (tile.local && sum?.audio) tile.hear(sum.audio.level, now + LEVEL_PERIOD_MS * (STATS_EVERY - 1));
      tile.showStats(sum, this.#stats);
    }
  }

  #notice(error) {
    const { title, remedy } = explain(error);
    const box = byId('room-notice');
    box.hidden = false;
    box.textContent = `${title} ${remedy}`;
    setTimeout(() => { box.hidden = true; }, 9000);
  }

  /** Browsers keep sound back until the person has acted once: one button for all tiles. */
  #offerSound() {
    const box = byId('room-notice');
    const button = document.createElement('button');
    button.type = 'button';
    button.className = 'secondary';
    button.textContent = 'Turn sound on';
    button.addEventListener('click', () => {
      box.hidden = true;
      for (const tile of this.#tiles.values()) tile.video.play().catch(() => {});
    });
    box.replaceChildren('The browser holds the sound back. ', button);
    box.hidden = false;
  }

  #ended(reason) {
    const words = ENDINGS[reason] ?? `The call ended (${reason}).`;
    const call = this.#call;
    this.#clear();
    call?.stopScreen();
    this.onLeft(words);
  }

  #clear() {
    this.#timers.forEach(clearInterval);
    this.#timers = [];
    this.#since = 0;
    this.#call = null;
    if (this.#focused) this.#focus(this.#focused, false);
    for (const tile of this.#tiles.values()) tile.remove();
    this.#tiles.clear();
    byId('room-notice').hidden = true;
    this.root.hidden = true;
  }
}

let toastTimer;
export function toast(words) {
  const box = byId('toast');
  box.textContent = words;
  box.classList.add('shown');
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => box.classList.remove('shown'), 4000);
}
