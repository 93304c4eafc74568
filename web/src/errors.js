// Every way a call can fail to start, in words that say what to do about it.

export class CallError extends Error {
  constructor(kind, cause, detail = '') {
    super(detail || kind, { cause });
    this.kind = kind;
    this.detail = detail;
  }
}

const TEXTS = {
  'unreachable': ['The server does not answer.', 'Check that it is running and that this address is right, then try again.'],
  'wrong-secret': ['The secret is not the one of this server.', 'The server prints it when it starts. With an invite link you need none: ask for one.'],
  'invite-expired': ['This invite link has expired.', 'Ask for a new one.'],
  'invite-wrong': ['This invite link is not one of this server.', 'Check that it is complete, or ask for a new one.'],
  'invite-early': ['This session is not open.', 'Try again once it has begun.'],
  'refused': ['The server refused.', ''],
  'no-websocket': ['The server answers, but the call connection could not be opened.', 'A proxy in between must let WebSockets through at /openvidu.'],
  'bad-session': ['This session name cannot be used.', 'Use letters, digits, “-” and “_”.'],
  'browser': ['This browser cannot make calls.', 'Use a current Chrome, Edge, Firefox or Safari.'],
  'permission': ['The browser may not use your camera or microphone.', 'Allow both in the address bar and press “Try again”, or join to watch and listen.'],
  'no-device': ['No camera or microphone was found.', 'Plug one in and press “Try again”, or join to watch and listen.'],
  'busy-device': ['Another program uses your camera or microphone.', 'Close it and press “Try again”, or join to watch and listen.'],
  'screen-denied': ['The screen was not shared.', ''],
  'publish': ['Your camera and microphone could not be published.', ''],
};

/** `{title, remedy}` for any error that reaches the user. */
export function explain(error) {
  if (error?.kind === 'insecure') return insecure();
  const known = TEXTS[error?.kind];
  if (known) return { title: known[0], remedy: [error.detail, known[1]].filter(Boolean).join(' ') };
  return { title: 'Something went wrong.', remedy: String(error?.message ?? error) };
}

/** Browsers hide the camera from pages that came over plain HTTP from anywhere but the machine itself. */
function insecure() {
  return {
    title: 'This page came over an insecure connection, so the browser keeps your camera and microphone from it.',
    remedy: `Open it with https:// (the server's HTTPS port is 4443 unless it was changed: https://${location.hostname}:4443/), ` +
      'or as http://localhost on the server itself. You can join to watch and listen.',
  };
}

/** What getUserMedia or getDisplayMedia threw, as one of our kinds. */
export function deviceError(error) {
  switch (error?.name) {
    case 'NotAllowedError':
    case 'SecurityError':
    case 'DEVICE_ACCESS_DENIED':
      return new CallError('permission', error);
    case 'NotReadableError':
    case 'AbortError':
    case 'DEVICE_ALREADY_IN_USE':
      return new CallError('busy-device', error);
    case 'NotFoundError':
    case 'OverconstrainedError':
      return new CallError('no-device', error);
    default:
      return error instanceof CallError ? error : new CallError('no-device', error);
  }
}
