// The two REST calls a call needs, on the page's own origin.

import { CallError } from './errors.js';

const ANSWER_TIMEOUT_MS = 10_000;

function basic(secret) {
  const bytes = new TextEncoder().encode('OPENVIDUAPP:' + secret);
  return 'Basic ' + btoa(String.fromCharCode(...bytes));
}

async function post(path, secret, body) {
  const gone = new AbortController();
  const timer = setTimeout(() => gone.abort(), ANSWER_TIMEOUT_MS);
  try {
    return await fetch('/openvidu/api' + path, {
      method: 'POST',
      headers: { Authorization: basic(secret), 'Content-Type': 'application/json' },
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

/** Makes the session when it does not exist yet and returns a fresh token for one connection to it. */
export async function requestToken({ session, secret }) {
  const made = await post('/sessions', secret, { customSessionId: session });
  // 409: the session exists already, which is what we want.
  if (!made.ok && made.status !== 409) throw await refused(made);
  const path = `/sessions/${encodeURIComponent(session)}/connection`;
  const connection = await post(path, secret, { role: 'PUBLISHER' });
  if (!connection.ok) throw await refused(connection);
  return (await connection.json()).token;
}
