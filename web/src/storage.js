// The browser's storage, which may be switched off; the page does without it then.

export function kept(storage, key) {
  try {
    return storage.getItem(key) ?? '';
  } catch {
    return '';
  }
}

/** An empty value is forgotten. */
export function keep(storage, key, value) {
  try {
    if (value) storage.setItem(key, value);
    else storage.removeItem(key);
  } catch {
    // Nothing to do.
  }
}
