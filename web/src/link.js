// What the page takes from its address, what it keeps, and the links it hands out. Everything in an address sits in the
// fragment: browsers never send that to a server or in a referrer.

import { keep, kept } from './storage.js';

const SECRET_KEY = 'millrace.secret';

/**
 * Takes what the address says. A secret is taken out of the address and the history at once: both outlive the page, and
 * others see the address bar. It goes on in this tab's session storage.
 */
export function takeFragment() {
  const given = new URLSearchParams(location.hash.replace(/^#/, ''));
  const text = (key) => given.get(key) ?? '';
  if (text('secret')) {
    keepSecret(text('secret'));
    given.delete('secret');
    show(given);
  }
  return { session: text('session'), name: text('name'), invite: text('invite'), secret: secret() };
}

/** The secret that this tab was given, or nothing. */
export function secret() {
  return kept(sessionStorage, SECRET_KEY);
}

/** Keeps the secret for as long as this tab is open, and in no other place; an empty one is forgotten. */
export function keepSecret(text) {
  keep(sessionStorage, SECRET_KEY, text);
}

/** So that a reload finds the form filled in as it was. The secret is never part of it. */
export function rememberInAddress({ session, name, invite }) {
  const given = new URLSearchParams();
  // An invitation says which session it is for.
  for (const [key, value] of Object.entries(invite ? { name, invite } : { session, name })) if (value) given.set(key, value);
  show(given);
}

function show(given) {
  const text = given.toString();
  history.replaceState(null, '', location.pathname + (text && '#' + text));
}

/** The link for another person; the own name is to be typed there. */
export function inviteLink(invite) {
  return location.origin + location.pathname + '#' + new URLSearchParams({ invite });
}

/** What an invitation says, or nothing when it cannot be read. Only the server knows whether it is genuine. */
export function readInvite(invite) {
  try {
    const [claims] = invite.split('.');
    const bytes = Uint8Array.from(atob(claims.replaceAll('-', '+').replaceAll('_', '/')), (letter) => letter.charCodeAt(0));
    const { session, name = '', expires_at_s: expires } = JSON.parse(new TextDecoder().decode(bytes));
    return typeof session === 'string' ? { session, name: String(name), expiresAt: expires * 1000 } : null;
  } catch {
    return null;
  }
}

/** A loopback address means something else on the guest's machine. */
export function isLoopback(host = location.hostname) {
  return host === 'localhost' || host === '[::1]' || /^127\./.test(host);
}
