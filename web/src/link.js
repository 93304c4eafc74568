// What the page knows from its address, and the address it hands out. Everything sits in the fragment: browsers
// never send it to a server or in a referrer.

export function readFragment(hash = location.hash) {
  const given = new URLSearchParams(hash.replace(/^#/, ''));
  return {
    session: given.get('session') ?? '',
    name: given.get('name') ?? '',
    secret: given.get('secret') ?? '',
  };
}

function fragment(fields) {
  const text = new URLSearchParams();
  for (const [key, value] of Object.entries(fields)) if (value) text.set(key, value);
  return '#' + text.toString();
}

/** So that a reload finds the form filled in as it was. */
export function rememberInAddress({ session, name, secret }) {
  history.replaceState(null, '', location.pathname + fragment({ session, name, secret }));
}

/** The link for another person: same session, own name to be typed there. */
export function inviteLink({ session, secret }) {
  return location.origin + location.pathname + fragment({ session, secret });
}

/** A loopback address means something else on the guest's machine. */
export function isLoopback(host = location.hostname) {
  return host === 'localhost' || host === '[::1]' || /^127\./.test(host);
}
