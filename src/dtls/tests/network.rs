//! Two handshakes and the network between them. Same seed, same run.

use std::time::Duration;

use crate::crypto::digest::Fingerprint;
use crate::dtls::{Certificate, Handshake, HandshakeError, Output, Role, Settings, SrtpKeys, Version};
use crate::time::Timestamp;

pub(super) const SERVER: usize = 0;
pub(super) const CLIENT: usize = 1;

/// A small generator (xorshift64*), so that a seed is a run.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `bound`.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }
}

/// What the network does to a datagram on its way: gives what arrives and how much later than usual.
type Fate = dyn FnMut(usize, Vec<u8>) -> Vec<(Vec<u8>, Duration)>;

/// One handshake and what it has said.
pub(super) struct Side {
    pub(super) handshake: Handshake,
    pub(super) keys: Option<SrtpKeys>,
    pub(super) failed: Option<HandshakeError>,
    pub(super) closed: bool,
    pub(super) sent: usize,
    deadline: Timestamp,
}

pub(super) struct World {
    pub(super) now: Timestamp,
    pub(super) sides: [Side; 2],
    fate: Box<Fate>,
    in_flight: Vec<(Timestamp, usize, Vec<u8>)>,
}

pub(super) const ONE_WAY: Duration = Duration::from_millis(10);

impl World {
    /// Both expect each other.
    pub(super) fn new(version: Version) -> Self {
        let certificates = [Certificate::generate(), Certificate::generate()];
        let expected = [certificates[CLIENT].fingerprint(), certificates[SERVER].fingerprint()];
        Self::expecting(version, &certificates, expected)
    }

    /// Each side expects the fingerprint at its place.
    pub(super) fn expecting(
        version: Version,
        certificates: &[Certificate; 2],
        expected: [Fingerprint; 2],
    ) -> Self {
        let now = Timestamp::from_nanos(1_000_000_000);
        let epoch = ground::epoch(now);
        let side = |role: Role, place: usize| Side {
            handshake: Handshake::new(
                role,
                &Settings::seeded(&certificates[place], version, place as u64),
                expected[place],
                epoch,
                now,
            ),
            keys: None,
            failed: None,
            closed: false,
            sent: 0,
            deadline: Timestamp::ZERO,
        };
        Self {
            now,
            sides: [side(Role::Server, SERVER), side(Role::Client, CLIENT)],
            fate: Box::new(|_, datagram| vec![(datagram, Duration::ZERO)]),
            in_flight: Vec::new(),
        }
    }

    pub(super) fn with_fate(
        mut self,
        fate: impl FnMut(usize, Vec<u8>) -> Vec<(Vec<u8>, Duration)> + 'static,
    ) -> Self {
        self.fate = Box::new(fate);
        self
    }

    /// Hands `datagram` to a side now, past the network.
    pub(super) fn inject(&mut self, to: usize, datagram: &[u8]) -> Result<(), crate::discard::Discard> {
        let taken = self.sides[to].handshake.handle_datagram(self.now, datagram);
        self.poll(to);
        taken
    }

    /// Polls a side until it has nothing more to say.
    pub(super) fn poll(&mut self, place: usize) {
        let mut out = [0; 1472];
        for _ in 0..1_000 {
            let side = &mut self.sides[place];
            match side.handshake.poll_output(&mut out) {
                Output::Datagram(len) => {
                    assert!(len <= 1150, "{len} bytes");
                    side.sent += 1;
                    for (datagram, late) in (self.fate)(place, out[..len].to_vec()) {
                        self.in_flight.push((self.now + ONE_WAY + late, 1 - place, datagram));
                    }
                }
                Output::Timeout(at) => {
                    side.deadline = at;
                    return;
                }
                Output::Connected(keys) => assert_eq!(side.keys.replace(keys), None, "connected twice"),
                Output::Failed(error) => assert_eq!(side.failed.replace(error), None, "failed twice"),
                Output::Closed => assert!(!std::mem::replace(&mut side.closed, true), "closed twice"),
            }
        }
        panic!("a side that never rests");
    }

    /// Runs to the next event, if there is one before `until`.
    fn step(&mut self, until: Timestamp) -> bool {
        let arrival = self.in_flight.iter().enumerate().min_by_key(|(_, (at, ..))| *at).map(|(at, _)| at);
        let arrival_at = arrival.map_or(Timestamp::NEVER, |place| self.in_flight[place].0);
        let (due, due_at) = if self.sides[0].deadline <= self.sides[1].deadline {
            (0, self.sides[0].deadline)
        } else {
            (1, self.sides[1].deadline)
        };
        let next = arrival_at.min(due_at);
        if next > until {
            self.now = until;
            return false;
        }
        self.now = self.now.max(next);
        match arrival.filter(|_| arrival_at <= due_at) {
            Some(place) => {
                let (_, to, datagram) = self.in_flight.remove(place);
                let _ = self.inject(to, &datagram);
            }
            None => {
                self.sides[due].handshake.handle_timeout(self.now);
                self.poll(due);
            }
        }
        true
    }

    /// Runs that long, or until both are connected.
    pub(super) fn run(&mut self, time: Duration) {
        let until = self.now + time;
        self.poll(SERVER);
        self.poll(CLIENT);
        for _ in 0..20_000 {
            if self.sides.iter().all(|side| side.keys.is_some()) || !self.step(until) {
                return;
            }
        }
        panic!(
            "too many events: somebody spins at {:?}: {:?}",
            self.now,
            self.sides.each_ref().map(|side| (side.deadline, &side.handshake))
        );
    }

    /// Runs that long, whatever happens.
    pub(super) fn settle(&mut self, time: Duration) {
        let until = self.now + time;
        self.poll(SERVER);
        self.poll(CLIENT);
        for _ in 0..20_000 {
            if !self.step(until) {
                return;
            }
        }
        panic!(
            "too many events: somebody spins at {:?}: {:?}",
            self.now,
            self.sides.each_ref().map(|side| (side.deadline, &side.handshake))
        );
    }

    /// Both are connected, with the same keys in opposite directions.
    pub(super) fn assert_connected(&self, what: &str) {
        let keys = |place: usize| {
            let side: &Side = &self.sides[place];
            *side.keys.unwrap_or_else(|| panic!("{what}: side {place}, {:?}", side.failed)).record()
        };
        let (server, client) = (keys(SERVER), keys(CLIENT));
        assert!(server.profile().is_some());
        assert_eq!(server.inbound(), client.outbound(), "{what}");
        assert_eq!(server.outbound(), client.inbound(), "{what}");
        assert_ne!(server.inbound(), server.outbound(), "{what}");
    }
}

/// Virtual time needs some [`Instant`](std::time::Instant) to stand on, and there is no other way to get one.
#[cfg(test)]
mod ground {
    use std::time::Instant;

    use crate::time::{Epoch, Timestamp};

    pub(super) fn epoch(now: Timestamp) -> Epoch {
        Epoch::new(Instant::now(), now)
    }
}
