// The call page: a lobby and a room, one of them shown.

import { Lobby } from './lobby.js';
import { Room, toast } from './room.js';

const room = new Room({
  onLeft: (words) => {
    lobby.show();
    if (words) lobby.notice(new Error(words));
    else toast('You left the call.');
  },
});

const lobby = new Lobby({
  onJoin: async (wish) => {
    lobby.close();
    try {
      await room.enter(wish);
    } catch (error) {
      lobby.open();
      throw error;
    }
    lobby.hide();
  },
});

lobby.show();

// For tests and for the curious in the console.
window.millrace = {
  get session() { return room.call?.session ?? null; },
  get publisher() { return room.call?.publisher ?? null; },
  get subscribers() { return room.call?.subscribers ?? []; },
  stats: () => room.call?.stats() ?? Promise.resolve([]),
};
