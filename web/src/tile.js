// One rectangle of the room: a person or a shared screen.

import { dress, icon } from './icons.js';
import { overlayLines } from './stats.js';

/** Enough loudness to light the ring, and how long it stays lit between syllables. */
const SPEAKING_LEVEL = 0.02;
const SPEAKING_HOLD_MS = 600;

export class Tile {
  #manager = null;
  #speakingUntil = 0;

  constructor({ name, local = false, screen = false, onFocus }) {
    this.name = name;
    this.local = local;
    this.screen = screen;
    this.element = element('div', 'tile');
    this.element.setAttribute('role', 'listitem');
    this.element.classList.toggle('local', local);
    this.element.classList.toggle('screen', screen);
    this.video = element('video');
    this.video.playsInline = true;
    this.video.muted = local;
    this.avatar = element('span', 'avatar');
    this.avatar.setAttribute('aria-hidden', 'true');
    this.label = element('span', 'label');
    this.state = element('span', 'states');
    this.overlay = element('pre', 'overlay');
    this.overlay.hidden = true;
    this.focusButton = element('button', 'focus-button');
    this.focusButton.type = 'button';
    this.focusButton.addEventListener('click', () => onFocus(this));
    this.wait = element('span', 'wait');
    const foot = element('div', 'foot');
    foot.append(this.state, this.label);
    this.element.append(this.video, this.avatar, this.wait, this.overlay, this.focusButton, foot);
    this.setFocused(false);
    this.rename(name);
    this.refresh();
  }

  rename(name) {
    this.name = name;
    paintAvatar(this.avatar, name);
    this.label.textContent = this.screen ? `${name} · screen` : this.local ? `${name} (you)` : name;
  }

  /** Shows what a publisher or subscriber brings; `null` takes it away. */
  attach(manager) {
    this.#manager = manager;
    if (manager) {
      manager.addVideoElement(this.video);
      this.#play();
      if (!this.local) {
        // The first picture takes a moment; until then the tile says that it is coming.
        this.waiting = true;
        this.video.addEventListener('playing', () => { this.waiting = false; this.refresh(); }, { once: true });
      }
    } else {
      this.video.srcObject = null;
    }
    this.refresh();
  }

  get stream() {
    return this.#manager?.stream ?? null;
  }

  /** Brings icons, picture and ring in line with the stream. */
  refresh() {
    const stream = this.stream;
    const picture = Boolean(stream?.hasVideo && stream.videoActive);
    const sound = Boolean(stream?.hasAudio && stream.audioActive);
    this.element.classList.toggle('no-picture', !picture);
    this.video.classList.toggle('mirrored', this.local && !this.screen);
    this.state.replaceChildren();
    if (stream && !sound && !this.screen) this.state.append(icon('micOff'));
    if (!stream) this.state.append(element('span', 'small', this.screen ? '' : 'watching'));
    this.wait.textContent = stream && !this.local && picture && this.waiting ? 'Connecting…' : '';
    const said = [this.label.textContent, !sound && stream && !this.screen && 'muted', !picture && stream && 'camera off'];
    this.element.setAttribute('aria-label', said.filter(Boolean).join(', '));
  }

  setFocused(focused) {
    const label = focused ? 'Back to the grid' : `Show ${this.name} large`;
    dress(this.focusButton, { icon: 'focus', label, pressed: focused });
    this.focusButton.classList.remove('round');
  }

  showStats(sum, wanted) {
    this.overlay.hidden = !wanted;
    if (wanted) this.overlay.textContent = overlayLines(sum, this.local).join('\n');
  }

  /** `level` 0..1 as WebRTC reports it. */
  hear(level, now) {
    if (level > SPEAKING_LEVEL && this.stream?.audioActive) this.#speakingUntil = now + SPEAKING_HOLD_MS;
    this.element.classList.toggle('speaking', now < this.#speakingUntil);
  }

  #play() {
    this.video.play().catch((error) => {
      // Browsers hold sound back until the person has touched the page once.
      if (error.name !== 'NotAllowedError') return;
      this.element.dispatchEvent(new CustomEvent('sound-blocked', { bubbles: true }));
    });
  }

  remove() {
    this.#manager = null;
    this.video.srcObject = null;
    this.element.remove();
  }
}

function element(name, className = '', text = '') {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}

/** Initials on a colour that stays with the name. */
export function paintAvatar(avatar, name) {
  const words = name.trim().split(/\s+/).filter(Boolean);
  const initials = words.slice(0, 2).map((word) => [...word][0].toUpperCase()).join('');
  avatar.textContent = initials || '?';
  let hash = 7;
  for (const letter of name) hash = (hash * 31 + letter.codePointAt(0)) % 360;
  avatar.style.setProperty('--hue', hash);
}
