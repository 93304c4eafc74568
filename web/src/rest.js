// The REST calls a call needs, on the page's own origin.

import { CallError } from './errors.js';

const ANSWER_TIMEOUT_MS = 10_000;
const API = '/openvidu/api';
const INVITATIONS = '/millrace/api/invitations';

function basic(secret) {
  const bytes = new TextEncoder().encode('OPENVIDUAPP:' + secret);
  return 'Basic ' + btoa(String.fromCharCode(...bytes));
}

/** Without a secret the call is one that everybody may make. */
async function post(path, body, secret) {
  const gone = new AbortController();
  const timer = setTimeout(() => gone.abort(), ANSWER_TIMEOUT_MS);
  const headers = { 'Content-Type': 'application/json' };
  if (secret) headers.Authorization = basic(secret);
  try {
    return await fetch(path, {
      method: 'POST',
      headers,
      body: JSON.stringify(body),
      // A wrong password must reach us as 401, not open the browser's own password dialog.
      credentials: 'omit',
      signal: gone.signal,
    });
  } catch (error) {
    throw new CallError('unreachable', error);
  } finally {
    clearTimeout(timer);
  }
}

async function refused(response) {
  if (response.status === 401) return new CallError('wrong-secret');
  const text = await response.text().catch(() => '');
  let words = text;
  try {
    words = JSON.parse(text).message || text;
  } catch {
    // Not JSON: show it as it is.
  }
  return new CallError('refused', undefined, `HTTP ${response.status}${words ? ': ' + words.slice(0, 200) : ''}`);
}

/** A fresh token for one connection: by the invitation of a guest, or by the secret of the host. */
export function requestToken({ session, secret, invite }) {
  return invite ? enter(invite) : open(session, secret);
}

/** Makes the session when it does not exist yet. */
async function open(session, secret) {
  const made = await post(API + '/sessions', { customSessionId: session }, secret);
  // 409: the session exists already, which is what we want.
  if (!made.ok && made.status !== 409) throw await refused(made);
  const path = `${API}/sessions/${encodeURIComponent(session)}/connection`;
  const connection = await post(path, { role: 'PUBLISHER' }, secret);
  if (!connection.ok) throw await refused(connection);
  return (await connection.json()).token;
}

async function enter(invite) {
  const entered = await post(INVITATIONS + '/enter', { invitation: invite });
  if (entered.ok) return (await entered.json()).token;
  if (entered.status === 410) throw new CallError('invite-expired');
  if (entered.status === 400 || entered.status === 403) throw new CallError('invite-wrong');
  if (entered.status === 404) throw new CallError('invite-early');
  throw await refused(entered);
}

/** Makes an invitation to the session. It counts for as long as the server finds right. */
export async function requestInvitation({ session, secret }) {
  const made = await post(INVITATIONS, { session, role: 'PUBLISHER', createsSession: true }, secret);
  if (!made.ok) throw await refused(made);
  return (await made.json()).invitation;
}
