//! The shard's egress with TURN around it: a datagram for a relayed address is written behind the room for a header, and
//! leaves for the client.

use std::mem;
use std::net::SocketAddr;

use millrace_turn::server::{Framing, Slot};

use super::streams::way_to;
use super::{ServerTime, Turn};
use crate::egress::{Egress, Path, RunKey};
use crate::router::parcel::{Datagram, Towards};

/// Paths with a socket go straight to `egress`; the others to the clients of allocations, here or on other shards.
pub struct Around<'a, 'm, E> {
    turn: &'a mut Turn<'m>,
    now: ServerTime,
    egress: &'a mut E,
    reserved: Reserved,
}

/// What was reserved last.
enum Reserved {
    /// A slot of `egress`, as it is.
    Straight,
    /// A slot of `egress`, with a header before the datagram.
    Framed { slot: Slot, framing: Framing },
    /// A buffer for the shard with the allocation.
    Crossing { shard: u8, datagram: Box<Datagram> },
}

impl<'a, 'm, E: Egress> Around<'a, 'm, E> {
    pub(super) const fn new(turn: &'a mut Turn<'m>, now: ServerTime, egress: &'a mut E) -> Self {
        Self { turn, now, egress, reserved: Reserved::Straight }
    }

    /// A slot behind the room for the header that the allocation's client gets.
    #[inline(never)]
    fn reserve_inside(&mut self, key: RunKey, path: &Path, shard: u8, slot: u16) -> Option<&mut [u8]> {
        let media = SocketAddr::new(path.local, self.turn.media.own()?);
        self.forget();
        if shard != self.turn.media.shard {
            let head = (Towards::Client, slot, path.remote, media);
            let datagram = self.turn.crossing.buffer(head)?;
            self.reserved = Reserved::Crossing { shard, datagram };
            let Reserved::Crossing { datagram, .. } = &mut self.reserved else { return None };
            return Some(datagram.room());
        }
        let slot = Slot(slot.into());
        let server = self.turn.server.as_mut()?;
        let (client, framing) = server.frame(self.now, slot, path.remote, media)?;
        let room = self.egress.reserve(key, &way_to(&client))?;
        self.reserved = Reserved::Framed { slot, framing };
        room.get_mut(framing.header_len()..)
    }
}

impl<E> Around<'_, '_, E> {
    /// A reservation that was never committed.
    fn forget(&mut self) {
        if let Reserved::Crossing { datagram, .. } = mem::replace(&mut self.reserved, Reserved::Straight) {
            self.turn.crossing.recycle(datagram);
        }
    }
}

impl<E: Egress> Egress for Around<'_, '_, E> {
    #[inline]
    fn reserve(&mut self, key: RunKey, path: &Path) -> Option<&mut [u8]> {
        if let Some((shard, slot)) = path.via.allocation() {
            return self.reserve_inside(key, path, shard, slot);
        }
        self.forget();
        self.egress.reserve(key, path)
    }

    #[inline]
    fn commit(&mut self, len: usize) {
        match mem::replace(&mut self.reserved, Reserved::Straight) {
            Reserved::Straight => self.egress.commit(len),
            Reserved::Framed { slot, framing } => {
                let Some(server) = &mut self.turn.server else { return };
                // A reservation that is not committed is forgotten.
                if server.note_to_client(self.now, slot, 1, len)
                    && let Ok(total) = framing.finish(self.egress.reserved(), len)
                {
                    self.egress.commit(total);
                }
            }
            Reserved::Crossing { shard, mut datagram } => {
                datagram.set_len(len);
                self.turn.crossing.push(self.turn.media.shard, shard, datagram);
            }
        }
    }

    fn reserved(&mut self) -> &mut [u8] {
        match &mut self.reserved {
            Reserved::Straight => self.egress.reserved(),
            Reserved::Framed { framing, .. } => &mut self.egress.reserved()[framing.header_len()..],
            Reserved::Crossing { datagram, .. } => datagram.room(),
        }
    }
}

/// Whoever reserved and never committed, as before a panic, costs no buffer.
impl<E> Drop for Around<'_, '_, E> {
    fn drop(&mut self) {
        self.forget();
    }
}
