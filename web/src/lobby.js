// The page before the call: who, where, with which camera; and a look into the mirror.

import { CallError, explain } from './errors.js';
import { dress } from './icons.js';
import { keepSecret, readInvite, takeFragment } from './link.js';
import { listDevices, openDevices, stop, watchLevel } from './media.js';
import { keep, kept } from './storage.js';
import { paintAvatar } from './tile.js';

const byId = (id) => document.getElementById(id);
const NAME_KEY = 'millrace.name';

export class Lobby {
  #stream = null;
  #endLevel = () => {};
  #mic = true;
  #camera = true;
  #opening = 0;
  /** The invitation that the address holds, or nothing: then the secret is asked for. */
  #invite = '';

  constructor({ onJoin }) {
    this.root = byId('lobby');
    this.#prefill();
    byId('join-form').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#submit(onJoin);
    });
    byId('preview-mic').addEventListener('click', () => this.#toggle('mic'));
    byId('preview-camera').addEventListener('click', () => this.#toggle('camera'));
    byId('secret-show').addEventListener('click', () => this.#showSecret());
    byId('user-name').addEventListener('input', () => this.#paintName());
    for (const id of ['camera-select', 'mic-select']) byId(id).addEventListener('change', () => this.open());
    addEventListener('hashchange', () => !this.root.hidden && this.#prefill());
    this.#refresh();
  }

  #prefill() {
    const given = takeFragment();
    const invited = given.invite ? readInvite(given.invite) : null;
    this.#invite = given.invite;
    byId('session-name').value = invited?.session || given.session || byId('session-name').value || 'lobby';
    byId('session-name').readOnly = Boolean(given.invite);
    byId('user-name').value = given.name || invited?.name || byId('user-name').value || kept(localStorage, NAME_KEY);
    byId('secret').value = given.secret || byId('secret').value;
    byId('secret-field').hidden = Boolean(given.invite);
    this.#paintName();
  }

  show() {
    this.root.hidden = false;
    document.title = 'Millrace';
    this.#busy(false);
    const asked = ['session-name', 'user-name', ...(this.#invite ? [] : ['secret'])];
    const empty = asked.find((id) => !byId(id).value);
    (empty ? byId(empty) : byId('join')).focus();
    return this.open();
  }

  hide() {
    this.root.hidden = true;
    this.close();
  }

  /** Opens the chosen camera and microphone and shows them. */
  async open() {
    const mine = ++this.#opening;
    this.close();
    this.notice(null);
    byId('preview-text').textContent = 'Looking for your camera…';
    let stream;
    try {
      stream = await openDevices({ camera: byId('camera-select').value, mic: byId('mic-select').value });
    } catch (error) {
      if (mine !== this.#opening) return;
      byId('preview-text').textContent = 'No camera or microphone';
      this.notice(error, error.kind === 'insecure' ? null : () => this.open());
      this.#refresh();
      return;
    }
    if (mine !== this.#opening || this.root.hidden) return stop(stream);
    this.#stream = stream;
    byId('preview-video').srcObject = stream;
    byId('preview-video').play().catch(() => {});
    this.#endLevel = watchLevel(stream, (level) => byId('preview-level').style.setProperty('--level', level));
    await this.#fillSelects();
    this.#refresh();
  }

  close() {
    this.#endLevel();
    this.#endLevel = () => {};
    stop(this.#stream);
    this.#stream = null;
    byId('preview-video').srcObject = null;
  }

  /** Shows an error with its remedy, or clears it. */
  notice(error, again) {
    const box = byId('lobby-notice');
    box.hidden = !error;
    box.replaceChildren();
    if (!error) return;
    const { title, remedy } = explain(error);
    const strong = document.createElement('strong');
    strong.textContent = title;
    box.append(strong, ' ', remedy);
    if (!again) return;
    const button = document.createElement('button');
    button.type = 'button';
    button.className = 'text-button';
    button.textContent = 'Try again';
    button.addEventListener('click', again);
    box.append(' ', button);
  }

  async #submit(onJoin) {
    const wish = {
      session: byId('session-name').value.trim(),
      name: byId('user-name').value.trim() || 'Guest',
      invite: this.#invite,
      secret: this.#invite ? '' : byId('secret').value.trim(),
    };
    const missing = !wish.session ? 'session-name' : !wish.secret && !wish.invite ? 'secret' : null;
    if (missing) {
      byId(missing).focus();
      byId(missing).classList.add('shake');
      setTimeout(() => byId(missing).classList.remove('shake'), 500);
      return;
    }
    keep(localStorage, NAME_KEY, byId('user-name').value.trim());
    if (wish.secret) keepSecret(wish.secret);
    this.#busy(true);
    this.notice(null);
    try {
      if (!/^[\w-]+$/.test(wish.session)) throw new CallError('bad-session');
      await onJoin({ ...wish, devices: this.#devices() });
    } catch (error) {
      if (error.kind === 'wrong-secret') keepSecret('');
      this.#busy(false);
      this.notice(error);
    }
  }

  /** What to publish: a device id, `undefined` for the default one, or `false` for none. */
  #devices() {
    const track = (kind) => this.#stream?.getTracks().find((one) => one.kind === kind);
    return {
      audio: track('audio') ? track('audio').getSettings().deviceId || undefined : false,
      video: track('video') ? track('video').getSettings().deviceId || undefined : false,
      audioOn: this.#mic,
      videoOn: this.#camera,
    };
  }

  async #fillSelects() {
    const { cameras, mics } = await listDevices();
    fill(byId('camera-select'), cameras, 'Camera');
    fill(byId('mic-select'), mics, 'Microphone');
    byId('devices').hidden = cameras.length + mics.length === 0;
  }

  #toggle(which) {
    if (which === 'mic') this.#mic = !this.#mic;
    else this.#camera = !this.#camera;
    this.#refresh();
  }

  #refresh() {
    const has = (kind) => Boolean(this.#stream?.getTracks().some((track) => track.kind === kind));
    this.#stream?.getAudioTracks().forEach((track) => { track.enabled = this.#mic; });
    this.#stream?.getVideoTracks().forEach((track) => { track.enabled = this.#camera; });
    const mic = this.#mic && has('audio');
    const camera = this.#camera && has('video');
    dress(byId('preview-mic'), { icon: mic ? 'mic' : 'micOff', label: mic ? 'Mute' : 'Unmute', pressed: !mic, off: !mic });
    dress(byId('preview-camera'),
      { icon: camera ? 'camera' : 'cameraOff', label: camera ? 'Turn camera off' : 'Turn camera on', pressed: !camera, off: !camera });
    byId('preview-mic').disabled = !has('audio');
    byId('preview-camera').disabled = !has('video');
    byId('preview-empty').hidden = camera;
    if (this.#stream) byId('preview-text').textContent = has('video') ? 'Camera is off' : 'No camera';
  }

  #showSecret() {
    const hidden = byId('secret').type === 'password';
    byId('secret').type = hidden ? 'text' : 'password';
    byId('secret-show').textContent = hidden ? 'Hide' : 'Show';
    byId('secret-show').setAttribute('aria-pressed', String(hidden));
  }

  #paintName() {
    paintAvatar(byId('preview-avatar'), byId('user-name').value);
  }

  #busy(busy) {
    byId('join').disabled = busy;
    byId('join').textContent = busy ? 'Joining…' : 'Join';
  }
}

function fill(select, devices, noun) {
  const chosen = select.value;
  select.replaceChildren(...devices.map((device, index) => new Option(device.label || `${noun} ${index + 1}`, device.deviceId)));
  if (devices.some((device) => device.deviceId === chosen)) select.value = chosen;
}
