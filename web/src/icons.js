// Our own line icons, drawn on a 24 x 24 grid.

const PATHS = {
  mic: 'M12 3a3 3 0 0 0-3 3v6a3 3 0 0 0 6 0V6a3 3 0 0 0-3-3Z M5 11a7 7 0 0 0 14 0 M12 18v3 M8.5 21h7',
  micOff: 'M9 6.5V6a3 3 0 0 1 6 0v5 M14.3 13.9A3 3 0 0 1 9 12V9 M5 11a7 7 0 0 0 11.6 5.2 M19 11a7 7 0 0 1-.6 2.8 M12 18v3 M8.5 21h7 M3 3l18 18',
  camera: 'M3.5 7.5a2 2 0 0 1 2-2h8a2 2 0 0 1 2 2v9a2 2 0 0 1-2 2h-8a2 2 0 0 1-2-2Z M15.5 10.5l5-3v9l-5-3',
  cameraOff: 'M9.5 5.5h4a2 2 0 0 1 2 2v4 M15.5 15.5v1a2 2 0 0 1-2 2h-8a2 2 0 0 1-2-2v-9a2 2 0 0 1 1.4-1.9 M15.5 10.5l5-3v9l-2.6-1.6 M3 3l18 18',
  screen: 'M3 6a1.5 1.5 0 0 1 1.5-1.5h15A1.5 1.5 0 0 1 21 6v9a1.5 1.5 0 0 1-1.5 1.5h-15A1.5 1.5 0 0 1 3 15Z M8.5 20h7 M12 13.5V8 M9.3 10.4 12 7.7l2.7 2.7',
  invite: 'M10 14a4 4 0 0 0 5.7 0l3.1-3.1a4 4 0 0 0-5.7-5.7L12 6.3 M14 10a4 4 0 0 0-5.7 0l-3.1 3.1a4 4 0 0 0 5.7 5.7L12 17.7',
  stats: 'M4 20V12 M9.3 20V5 M14.7 20v-6 M20 20V9',
  leave: 'M3.6 15.3c-.8-.8-.9-2-.2-3C5.100 9.900 8.300 8.500 12 8.500s6.900 1.400 8.600 3.800c.7 1 .6 2.200-.2 3l-.9.9c-.5.5-1.300.6-1.900.2l-2-1.300c-.5-.3-.8-.9-.7-1.500l.1-1a10 10 0 0 0-6 0l.1 1c.1.6-.2 1.200-.7 1.500l-2 1.300c-.6.4-1.400.3-1.900-.2Z',
  focus: 'M4 9V5.5A1.500 1.500 0 0 1 5.500 4H9 M15 4h3.500A1.500 1.500 0 0 1 20 5.500V9 M20 15v3.500a1.500 1.500 0 0 1-1.500 1.500H15 M9 20H5.500A1.500 1.500 0 0 1 4 18.500V15',
};

export function icon(name) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('viewBox', '0 0 24 24');
  svg.setAttribute('class', 'icon');
  svg.setAttribute('aria-hidden', 'true');
  const path = document.createElementNS('http://www.w3.org/2000/svg', 'path');
  path.setAttribute('d', PATHS[name]);
  svg.append(path);
  return svg;
}

/** Gives a button its icon, its name for screen readers, its tooltip with the key, and its state. */
export function dress(button, { icon: name, label, key, pressed, off }) {
  button.replaceChildren(icon(name));
  button.setAttribute('aria-label', label);
  button.title = key ? `${label} (${key.toUpperCase()})` : label;
  if (key) button.setAttribute('aria-keyshortcuts', key.toUpperCase());
  if (pressed !== undefined) button.setAttribute('aria-pressed', String(pressed));
  button.classList.toggle('off', Boolean(off));
}
