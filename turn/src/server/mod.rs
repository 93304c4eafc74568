//! The TURN server (RFC 8656), without sockets and without a clock.
//!
//! ```text
//!            handle_client(now, client, bytes)                        frame(now, slot, relayed, peer)
//!   client ─────────────► Server ──► ToPeer { relayed, peer, data } ──► peer ─────► Server ─► ChannelData or Data ─► client
//!          ◄── Answer ──┘   │  │                                                      │
//!                           │  └─ Relay::open/close: sockets for outside peers        └─ note_to_client(bandwidth)
//!                           └──── records that the caller owns: allocations, permissions, channels, keys, counters
//! ```
//!
//! One loop drives it: each datagram (or each message of a stream, see [`crate::stream`]) from a client goes to
//! [`Server::handle_client`]; what comes from a peer to a relayed address is framed by what [`Server::frame`] says; at
//! [`Server::next_deadline_ns`] comes [`Server::handle_timeout`]. Nothing else is remembered between calls.
//!
//! - **A stranger costs a hash.** Until a request has proved that its sender knows a password, nothing is kept of it,
//!   and answers are short and few: what a source address may have is bounded, past that there is silence.
//! - **By default an allocation reaches the media addresses of the policy and nothing else**, each by its address and
//!   port, on every packet. See [`PeerPolicy`].
//! - **The state is the caller's.** A server made anew on the same records goes on. See [`AllocationRecord`].
//!
//! `examples/udp.rs` is a whole server on the standard library's sockets.
//!
//! Left out on purpose: ports in pairs (EVEN-PORT that reserves, RESERVATION-TOKEN: 508), TCP allocations (442, and silence for RFC 6062's
//! methods), mobility (its attribute is optional, so that it is passed over), RFC 5780, RFC 3489.
//!
//! ```
//! use bytemuck::Zeroable;
//! use millrace_turn::server::*;
//! use millrace_turn::{Method, TransactionId, Writer};
//!
//! struct NoSockets;
//! impl Relay for NoSockets {
//!     fn open(&mut self, _: Slot, _: std::net::SocketAddr) -> Result<(), OpenFailed> {
//!         Err(OpenFailed)
//!     }
//!     fn close(&mut self, _: Slot, _: std::net::SocketAddr) {}
//! }
//!
//! let credentials = Credentials {
//!     realm: "example.org".into(),
//!     secrets: vec![b"the secret that signaling knows too".to_vec()],
//!     static_users: vec![],
//! };
//! let mut config = Config::new(credentials, (Some([203, 0, 113, 5].into()), None));
//! config.policy.media.push("203.0.113.5:7000".parse()?);
//!
//! let (mut record, mut allocations) = (ServerRecord::zeroed(), vec![AllocationRecord::zeroed(); 100]);
//! let now = Now { monotonic_ns: 1, unix_s: 1_700_000_000 };
//! let mut server = Server::new(config, &mut record, &mut allocations, [7; 32], now);
//!
//! let client = Client {
//!     transport: Transport::Udp,
//!     remote: "198.51.100.9:40000".parse()?,
//!     local: "203.0.113.5:3478".parse()?,
//!     via: 0,
//! };
//! let mut slot = [0; 20];
//! let len = Writer::request(&mut slot, Method::BINDING, TransactionId([5; 12])).finish()?;
//!
//! let mut answer = [0; 1500];
//! match server.handle_client(now, &client, &slot[..len], &mut answer, &mut NoSockets) {
//!     Outcome::Answer(len) => assert_eq!(len, 32, "what Bindings are answered with"),
//!     Outcome::ToPeer(to) => println!("send bytes {:?} of the message to {}", to.data, to.peer),
//!     Outcome::Silence(reason) => println!("nothing to do: {}", reason.name()),
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod answers;
mod authenticate;
mod base64;
mod channels;
mod cidr;
mod config;
mod counters;
mod credentials;
mod framing;
mod nonce;
mod permissions;
mod policy;
mod ports;
mod record;
mod requests;
mod seeded;
mod special;
mod table;
mod types;
mod users;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;

use crate::allowance::Allowance;
use crate::message::{Class, Message, Method, TransactionId, Verdict};

pub use cidr::{Cidr, NotACidr};
pub use config::{
    BadConfig, CHANNEL_LIFETIME_S, Config, LIFETIME_DEFAULT_S, LIFETIME_MAX_S, Limits, PERMISSION_LIFETIME_S,
    Quota,
};
pub use counters::{Counters, Gauges, REFUSALS};
pub use credentials::{Credentials, REALM_BYTES_MAX, USERNAME_BYTES_MAX, shared_secret_password};
pub use framing::{CHANNEL_HEADER_BYTES, FRAMING_HEADER_BYTES_MAX, FRAMING_PADDING_BYTES_MAX, Framing};
pub use nonce::NONCE_LIFETIME_S;
pub use policy::{Forbidden, PeerPolicy, Reach};
pub use record::{AllocationRecord, CHANNELS_MAX, PERMISSIONS_MAX, ServerRecord};
pub use types::{Client, Now, OpenFailed, Outcome, Reason, Relay, Slot, ToPeer, Transport};

use credentials::Keyring;
use nonce::Nonces;
use policy::canonical;
use record::AddressRecord;
use seeded::{Dice, Seed};
use table::Table;

/// Nanoseconds in a second.
const SECOND_NS: u64 = 1_000_000_000;

/// A TURN server on records that the caller owns.
pub struct Server<'m> {
    config: Config,
    keyring: Keyring,
    nonces: Nonces,
    allowance: Allowance,
    dice: Dice,
    record: &'m mut ServerRecord,
    table: Table<'m>,
}

/// A message that is being handled: when, from whom, what.
#[derive(Clone, Copy)]
struct Call<'a> {
    now: Now,
    client: &'a Client,
    message: &'a Message<'a>,
}

impl<'m> Server<'m> {
    /// A server that goes on with what stands in the records; records of zeros are a fresh start. One allocation is had
    /// for each of `allocations`. The seed is random and secret; a fresh `record` gets its nonce key from it.
    ///
    /// The configuration had better be one that [`Config::check`] finds good.
    ///
    /// Allocations that ended meanwhile, or whose relayed address this configuration does not give out, are freed. The
    /// caller then has [`Self::reopen`] open the sockets of the others.
    pub fn new(
        mut config: Config,
        record: &'m mut ServerRecord,
        allocations: &'m mut [AllocationRecord],
        seed: [u8; 32],
        now: Now,
    ) -> Self {
        let seed = Seed::new(&seed);
        let relayed = [0, 1].into_iter().filter_map(|family| config.relayed_ip(family));
        let relayed: Vec<_> = relayed.collect();
        config.policy.host.extend(relayed);
        config.lifetime_max_s = config.lifetime_max_s.max(LIFETIME_DEFAULT_S);
        if record.nonce_key == [0; 32] {
            record.nonce_key = seed.bytes(b"nonces");
        }
        let keyring = Keyring::new(&config.credentials);
        Self {
            table: Table::new(&config, &keyring, allocations, record.allocations_high, &seed, now),
            keyring,
            nonces: Nonces::new(&record.nonce_key, config.offer_sha256),
            allowance: Allowance::new(seed.words(b"allowance")),
            dice: Dice::new(seed.words(b"transactions")[0]),
            record,
            config,
        }
    }

    /// Opens the sockets towards outside peers that the records say are open. Where that fails, the next permission or
    /// channel for such a peer tries again.
    pub fn reopen(&mut self, relay: &mut impl Relay) {
        self.table.reopen(relay);
    }

    /// Takes one message from a client: a datagram, or what [`crate::stream::message_len`] cut from a stream. An answer is
    /// written into `answer`, for which 1500 bytes are enough.
    ///
    /// ChannelData costs one look-up of the client and allocates nothing.
    pub fn handle_client(
        &mut self,
        now: Now,
        client: &Client,
        message: &[u8],
        answer: &mut [u8],
        relay: &mut impl Relay,
    ) -> Outcome {
        let outcome = match message.first() {
            Some(0x40..=0x7f) => self.channel_data(now, client, message),
            Some(0..=0x3f) => self.stun(now, client, message, answer, relay),
            _ => Outcome::Silence(Reason::Foreign),
        };
        if let Outcome::Silence(reason) = outcome {
            self.record.counters.silence(reason);
        }
        outcome
    }

    fn stun(
        &mut self,
        now: Now,
        client: &Client,
        bytes: &[u8],
        answer: &mut [u8],
        relay: &mut impl Relay,
    ) -> Outcome {
        let Ok(message) = Message::parse(bytes) else { return Outcome::Silence(Reason::Malformed) };
        let call = Call { now, client, message: &message };
        match (message.class(), message.method()) {
            (Class::Indication, Method::SEND) => self.send(&call),
            (Class::Request, Method::BINDING) => self.binding(&call, answer),
            (
                Class::Request,
                Method::ALLOCATE | Method::REFRESH | Method::CREATE_PERMISSION | Method::CHANNEL_BIND,
            ) => {
                if message.fingerprint() == Verdict::Invalid {
                    return Outcome::Silence(Reason::Malformed);
                }
                self.handle_timeout(now, relay);
                self.request(&call, answer, relay)
            }
            (Class::Request, _) => Outcome::Silence(Reason::Method),
            _ => Outcome::Silence(Reason::Class),
        }
    }

    /// How data that came from `peer` to `relayed` goes to the client of this allocation, if it may. `None` is counted;
    /// so it is when the slot has been given away and `relayed` is no longer its address.
    ///
    /// The answer holds for every datagram from this peer that is at hand: a run needs one call. What is sent is told to
    /// [`Self::note_to_client`].
    pub fn frame(
        &mut self,
        now: Now,
        allocation: Slot,
        relayed: SocketAddr,
        peer: SocketAddr,
    ) -> Option<(Client, Framing)> {
        match self.try_frame(now, allocation, canonical(relayed), canonical(peer)) {
            Ok(framed) => Some(framed),
            Err(reason) => {
                self.record.counters.silence(reason);
                None
            }
        }
    }

    fn try_frame(
        &mut self,
        now: Now,
        allocation: Slot,
        relayed: SocketAddr,
        peer: SocketAddr,
    ) -> Result<(Client, Framing), Reason> {
        let (record, _) = self.table.split(allocation).ok_or(Reason::NoAllocation)?;
        let is_its_own = record.relayed_towards(peer) == Some(relayed);
        if !is_its_own || record.expires_at_ns <= now.monotonic_ns {
            return Err(Reason::NoAllocation);
        }
        let peer_record = AddressRecord::new(peer);
        if !record.permits(&peer_record, now.monotonic_ns) {
            return Err(Reason::NoPermission);
        }
        let client = record.client().ok_or(Reason::NoAllocation)?;
        let framing = match record.channel_of(&peer_record, now.monotonic_ns) {
            Some(number) => Framing::Channel { number, padded: client.transport.is_stream() },
            None => Framing::Indication { peer, transaction: self.transaction() },
        };
        Ok((client, framing))
    }

    fn transaction(&mut self) -> TransactionId {
        let mut id = [0; 12];
        id[..8].copy_from_slice(&self.dice.roll().to_be_bytes());
        id[8..].copy_from_slice(&self.dice.roll().to_be_bytes()[..4]);
        TransactionId(id)
    }

    /// Before data goes to the client: so many packets with so many bytes of data together. Whether they may, or are to
    /// be dropped because the user or all together are over their bandwidth; counted either way.
    pub fn note_to_client(&mut self, now: Now, allocation: Slot, packets: u32, bytes: usize) -> bool {
        let counters = &mut self.record.counters;
        let Some((record, users)) = self.table.split(allocation) else { return false };
        if !users.admit(record.user_at, now.monotonic_ns, bytes) {
            counters.silence(Reason::OverBandwidth);
            return false;
        }
        let (packets, bytes) = (u64::from(packets), bytes as u64);
        record.to_client_packets += packets;
        record.to_client_bytes += bytes;
        counters.to_client_packets += packets;
        counters.to_client_bytes += bytes;
        true
    }

    /// When [`Self::handle_timeout`] is due, in nanoseconds of the monotonic clock.
    pub fn next_deadline_ns(&self) -> Option<u64> {
        self.table.next_deadline_ns()
    }

    /// Ends whatever is over. Being late is no harm: what is over is refused in any case, it only takes its place.
    pub fn handle_timeout(&mut self, now: Now, relay: &mut impl Relay) {
        while let Some(slot) = self.table.due(now) {
            if self.table.get(slot).is_some_and(|record| record.expires_at_ns > now.monotonic_ns) {
                self.table.sweep(slot, now);
            } else {
                self.table.close(slot, now, relay);
                self.record.counters.allocations_expired += 1;
            }
        }
    }

    /// The client's connection ended: its allocation goes with it. For streams; `false` when it had none, or has another
    /// `via` by now: the good-bye of an earlier connection does not end a later one.
    pub fn close_client(&mut self, now: Now, client: &Client, relay: &mut impl Relay) -> bool {
        let Some(slot) = self.table.find(&client.key()) else { return false };
        if self.table.get(slot).is_none_or(|record| record.via != client.via) {
            return false;
        }
        self.abandon(slot, now, relay);
        true
    }

    /// Every connection ended, as they do with the process that holds them. Allocations of datagrams stay.
    pub fn close_streams(&mut self, now: Now, relay: &mut impl Relay) {
        for slot in self.table.slots() {
            let client = self.table.get(slot).and_then(AllocationRecord::client);
            if client.is_some_and(|client| client.transport.is_stream()) {
                self.abandon(slot, now, relay);
            }
        }
    }

    fn abandon(&mut self, slot: Slot, now: Now, relay: &mut impl Relay) {
        self.table.close(slot, now, relay);
        self.record.counters.allocations_abandoned += 1;
    }

    /// The allocation that has this relayed address.
    pub fn slot_of(&self, relayed: SocketAddr) -> Option<Slot> {
        let relayed = canonical(relayed);
        let slot = self.table.at_port(relayed.port())?;
        let record = self.table.get(slot)?;
        (record.relayed_towards(relayed) == Some(relayed)).then_some(slot)
    }

    /// The record of an allocation that lives.
    pub fn allocation(&self, slot: Slot) -> Option<&AllocationRecord> {
        self.table.get(slot)
    }

    /// What happened so far.
    pub const fn counters(&self) -> &Counters {
        &self.record.counters
    }

    /// What is there now.
    pub fn gauges(&self) -> Gauges {
        self.table.gauges()
    }
}
