//! The relay's own TURN server (RFC 8656), in place of one beside it.
//!
//! ```text
//!   TURN client ── 3478 ──► Turn ── the slice itself ──► Shard          the peer is a media port of this shard
//!                            │  └── crossing ──────────► another shard  or of another one
//!                            ├─ the slice itself ──────► its own clients' relayed addresses, where the operator
//!                            └───── a real socket ─────► outside        allows them, and anybody else
//!
//!   Shard ── writes into a slot ──► Around ── a header before it ──► TURN client
//! ```
//!
//! An allocation has a relayed address, and towards our media ports nothing else: what its client sends there re-enters the
//! shard in memory, from that address, and what the shard answers is written behind the room for a channel header. So
//! the shard, its fan-out and io never know that TURN exists. What comes to a media port this way is never looked at as
//! TURN again, so relayed addresses make no loop.
//!
//! What the protocol demands is in the crate `millrace-turn`; this is where its bytes come from and go to.

mod around;
mod crossing;
mod figures;
mod outside;
mod streams;
#[cfg(test)]
mod tests;

use std::mem;
use std::net::SocketAddr;
use std::sync::Arc;

pub use millrace_turn::server::{Config, Now as ServerTime};
use millrace_turn::server::{Outcome, Reach, Server, Slot, ToPeer};

pub use around::Around;

use crate::crypto::mac::HmacSha256Key;
use crate::egress::{Egress, Path, RunKey, Via};
use crate::ingress::{Train, Trains};
use crate::limits::{ALLOCATIONS_MAX, PEERS_MAX};
use crate::records::TurnRecords;
use crate::router::parcel::{Content, Datagram, Parcel, Towards};
use crate::shard::Shard;
use crate::time::Timestamp;
use crate::wire::edge_hello;
use crossing::Crossing;
use outside::Sockets;
use streams::{Heard, Streams, way_to};

/// Port of [`Via::TURN_HTTPS`]. A client that speaks to both ports from one socket is two clients (RFC 8656 §2.1).
pub const HTTPS_PORT: u16 = 443;

/// Longest answer: an error with realm, nonce and the attributes that were not understood.
const ANSWER_BYTES_MAX: usize = 576;

/// The media ports of this relay.
#[derive(Clone, Debug)]
pub struct MediaPorts {
    /// This shard.
    pub shard: u8,
    /// Port of each shard, by its id.
    pub ports: Vec<u16>,
}

impl MediaPorts {
    fn own(&self) -> Option<u16> {
        self.ports.get(usize::from(self.shard)).copied()
    }

    fn shard_of(&self, port: u16) -> Option<u8> {
        self.ports.iter().position(|&one| one == port).and_then(|shard| u8::try_from(shard).ok())
    }
}

/// One shard's TURN server with its ways to clients and peers.
pub struct Turn<'m> {
    /// None when it is off.
    server: Option<Server<'m>>,
    media: MediaPorts,
    /// Port that clients speak to.
    port: u16,
    crossing: Crossing,
    streams: Streams,
    /// Where answers are written: kept, for clearing it for each packet would show.
    answer: Box<[u8; ANSWER_BYTES_MAX]>,
    /// As a client's last message found it. What goes to clients is judged by the monotonic clock alone.
    unix_s: u64,
    /// Datagrams that found no slot, or none as long.
    lost: u64,
}

/// Takes out of a batch what did not come to the media socket. Costs a look at each train where nobody speaks TURN.
pub fn split<'b>(trains: Trains<'b>) -> (Trains<'b>, Trains<'b>) {
    if trains.iter().all(|train| train.path.via == Via::MEDIA) {
        return (trains, Trains::new());
    }
    trains.into_iter().partition(|train| train.path.via == Via::MEDIA)
}

impl<'m> Turn<'m> {
    /// The server of a shard, whose clients speak to `port`, on records that may hold allocations already.
    pub fn new(
        config: Config,
        records: TurnRecords<'m>,
        seed: [u8; 32],
        now: ServerTime,
        media: MediaPorts,
        port: u16,
        edge_key: Option<Arc<HmacSha256Key>>,
    ) -> Self {
        let server = Server::new(config, records.server, records.allocations, seed, now);
        Self::with(Some(server), media, port, edge_key)
    }

    /// No server: nobody speaks to it, and no path ends in an allocation.
    pub fn off() -> Self {
        let media = MediaPorts { shard: 0, ports: Vec::new() };
        Self::with(None, media, 0, None)
    }

    fn with(
        server: Option<Server<'m>>,
        media: MediaPorts,
        port: u16,
        edge_key: Option<Arc<HmacSha256Key>>,
    ) -> Self {
        let answer = Box::new([0; ANSWER_BYTES_MAX]);
        let (crossing, streams) = (Crossing::new(), Streams::new(edge_key));
        Self { server, media, port, crossing, streams, answer, unix_s: 0, lost: 0 }
    }

    /// What the shard is to send through: paths that end in an allocation lead to its client.
    pub const fn around<'a, E: Egress>(&'a mut self, now: Timestamp, egress: &'a mut E) -> Around<'a, 'm, E> {
        let now = self.server_time(now);
        Around::new(self, now, egress)
    }

    const fn server_time(&self, now: Timestamp) -> ServerTime {
        ServerTime { monotonic_ns: now.as_nanos(), unix_s: self.unix_s }
    }

    /// Takes what came to other sockets than the one for media; `shard` gets what is for its media port.
    pub fn handle_datagrams(
        &mut self,
        now: ServerTime,
        trains: Trains<'_>,
        shard: &mut Shard<'_>,
        egress: &mut impl Egress,
    ) {
        self.unix_s = now.unix_s;
        let mut inside = Trains::new();
        for train in trains {
            let path = train.path;
            for datagram in train.into_datagrams() {
                if let Some(slot) = path.via.relayed_slot() {
                    self.on_outside(now, slot, &path, datagram, egress);
                } else if let Some(train) = self.on_client(now, &path, datagram, egress) {
                    if inside.is_full() {
                        self.deliver(now, mem::take(&mut inside), shard, egress);
                    }
                    inside.push(train);
                }
            }
        }
        self.deliver(now, inside, shard, egress);
    }

    fn deliver(
        &mut self,
        now: ServerTime,
        trains: Trains<'_>,
        shard: &mut Shard<'_>,
        egress: &mut impl Egress,
    ) {
        if !trains.is_empty() {
            let now = Timestamp::from_nanos(now.monotonic_ns);
            shard.handle_datagrams(now, trains, &mut self.around(now, egress));
        }
    }

    /// A client spoke. Gives what of it is for this shard's media port.
    fn on_client<'b>(
        &mut self,
        now: ServerTime,
        path: &Path,
        message: &'b mut [u8],
        egress: &mut impl Egress,
    ) -> Option<Train<'b>> {
        if edge_hello::claims(message) {
            self.on_edge(now, path, message, egress);
            return None;
        }
        let port = if path.via == Via::TURN_HTTPS { HTTPS_PORT } else { self.port };
        let client = self.streams.client(path, port);
        let server = self.server.as_mut()?;
        match server.handle_client(now, &client, message, &mut *self.answer, &mut Sockets(egress)) {
            Outcome::Answer(len) => {
                if let Some(slot) = egress.reserve(RunKey::NONE, path) {
                    slot[..len].copy_from_slice(&self.answer[..len]);
                    egress.commit(len);
                }
                None
            }
            Outcome::ToPeer(to_peer) => self.send_to_peer(now, &to_peer, message, egress),
            Outcome::Silence(_) => None,
        }
    }

    /// The edge says who is behind a loopback address, or that nobody is any more.
    fn on_edge(&mut self, now: ServerTime, path: &Path, word: &[u8], egress: &mut impl Egress) {
        if let Heard::Gone(client) = self.streams.hear(path, word)
            && let Some(server) = &mut self.server
        {
            server.close_client(now, &client, &mut Sockets(egress));
        }
    }

    fn send_to_peer<'b>(
        &mut self,
        now: ServerTime,
        to_peer: &ToPeer,
        message: &'b mut [u8],
        egress: &mut impl Egress,
    ) -> Option<Train<'b>> {
        let &ToPeer { allocation, relayed, peer, reach, ref data, .. } = to_peer;
        let data = &mut message[data.clone()];
        match reach {
            Reach::Outside => {
                match self.server.as_ref().and_then(|server| server.slot_of(peer)) {
                    // Another client of this shard: the kernel need not carry it from one socket of ours to another.
                    Some(other) => self.send_to_client(now, other, peer, relayed, data, egress),
                    None => self.lost += u64::from(!outside::send(allocation, peer, data, egress)),
                }
                None
            }
            Reach::Media => match self.media.shard_of(peer.port())? {
                shard if shard == self.media.shard => {
                    let via = Via::inside(shard, narrow(allocation));
                    Some(Train::single(Path { local: peer.ip(), remote: relayed, via }, data))
                }
                shard => {
                    let head = (Towards::Media, narrow(allocation), relayed, peer);
                    self.crossing.stage(self.media.shard, shard, head, data);
                    None
                }
            },
        }
    }

    /// Somebody outside spoke to a relayed address.
    fn on_outside(&mut self, now: ServerTime, slot: u16, path: &Path, data: &[u8], egress: &mut impl Egress) {
        let slot = Slot(slot.into());
        let record = self.server.as_ref().and_then(|server| server.allocation(slot));
        let is_towards = |relayed: &SocketAddr| relayed.is_ipv4() == path.remote.is_ipv4();
        let Some(relayed) = record.and_then(|record| record.relayed().find(is_towards)) else { return };
        self.send_to_client(now, slot, relayed, path.remote, data, egress);
    }

    /// Sends data of `peer` to the client of an allocation, unless that is another one's by now or it has no permission.
    fn send_to_client(
        &mut self,
        now: ServerTime,
        slot: Slot,
        relayed: SocketAddr,
        peer: SocketAddr,
        data: &[u8],
        egress: &mut impl Egress,
    ) {
        let Some(server) = self.server.as_mut() else { return };
        let Some((client, framing)) = server.frame(now, slot, relayed, peer) else { return };
        let header_len = framing.header_len();
        let room = egress.reserve(to_client_key(slot), &way_to(&client));
        // A slot that is too short for the data and what goes around it is left alone by either.
        let framed = room.and_then(|room| {
            room.get_mut(header_len..header_len + data.len())?.copy_from_slice(data);
            framing.finish(room, data.len()).ok()
        });
        let Some(len) = framed else {
            self.lost += 1;
            return;
        };
        if server.note_to_client(now, slot, 1, data.len()) {
            egress.commit(len);
        }
    }

    /// Takes datagrams out of what came from other shards; `shard` gets those for its media port.
    pub fn handle_parcels(
        &mut self,
        now: Timestamp,
        parcels: &mut [Parcel],
        shard: &mut Shard<'_>,
        egress: &mut impl Egress,
    ) {
        let now = self.server_time(now);
        let mut inside = Trains::new();
        for parcel in parcels {
            let Content::Datagram(datagram) = &mut parcel.content else { continue };
            let Datagram { towards, allocation, relayed, media, .. } = **datagram;
            let bytes = datagram.bytes_mut();
            match towards {
                Towards::Client => {
                    self.send_to_client(now, Slot(allocation.into()), relayed, media, bytes, egress);
                }
                Towards::Media => {
                    let via = Via::inside(parcel.from as u8, allocation);
                    if inside.is_full() {
                        self.deliver(now, mem::take(&mut inside), shard, egress);
                    }
                    inside.push(Train::single(Path { local: media.ip(), remote: relayed, via }, bytes));
                }
            }
        }
        self.deliver(now, inside, shard, egress);
    }

    /// Gives what is meant for other shards to `post`, which hands back what finds no room there.
    pub fn flush_parcels(&mut self, post: impl FnMut(u32, Parcel) -> Result<(), Parcel>) {
        self.crossing.flush(post);
    }

    /// Takes a buffer of its own back from the shard that it went to.
    pub fn recycle(&mut self, datagram: Box<Datagram>) {
        self.crossing.recycle(datagram);
    }

    /// When to call [`Turn::handle_timeout`] next.
    pub fn next_deadline(&self) -> Timestamp {
        let deadline = self.server.as_ref().and_then(Server::next_deadline_ns);
        deadline.map_or(Timestamp::NEVER, Timestamp::from_nanos)
    }

    /// Ends what was not refreshed.
    pub fn handle_timeout(&mut self, now: ServerTime, egress: &mut impl Egress) {
        if let Some(server) = &mut self.server {
            server.handle_timeout(now, &mut Sockets(egress));
        }
    }

    /// Opens the sockets again that allocations had before a restart.
    pub fn reopen(&mut self, egress: &mut impl Egress) {
        if let Some(server) = &mut self.server {
            server.reopen(&mut Sockets(egress));
        }
    }

    /// What happened so far, and what is there now, by name.
    pub fn figures(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let server = self.server.as_ref();
        let of_server = server.map(|server| figures::each(server.counters(), server.gauges()));
        let dropped = [("turn_bridge_dropped", self.crossing.dropped()), ("turn_lost", self.lost)];
        of_server.into_iter().flatten().chain(dropped)
    }
}

fn narrow(slot: Slot) -> u16 {
    u16::try_from(slot.0).expect("a shard has at most ALLOCATIONS_MAX allocations")
}

/// Datagrams to one client keep their order and leave in runs. Slots of peers come first.
const fn to_client_key(slot: Slot) -> RunKey {
    RunKey(PEERS_MAX as u32 + slot.0)
}

/// As [`to_client_key`], for the way to outside peers.
const fn to_peer_key(slot: Slot) -> RunKey {
    RunKey((PEERS_MAX + ALLOCATIONS_MAX) as u32 + slot.0)
}
