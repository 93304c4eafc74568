// Brings what the tests need of openvidu-browser's first generation; `cargo xtask setup` calls it.

import { fetchOldLibraries } from './lib/libraries.mjs';

fetchOldLibraries();
