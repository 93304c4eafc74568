//! Where the simulated shard writes what it sends.

use std::ops::Range;

use crate::egress::{DATAGRAM_BYTES_MAX, Egress, Path, RunKey};

/// Room that is there from the start, so that measuring a shard's allocations never measures this.
const ARENA_BYTES: usize = 1 << 20;
const DATAGRAMS: usize = 4096;

/// Send slots in memory. What lies in a fresh slot is rubbish, as in the real ones.
pub(crate) struct Outbox {
    slot: Box<[u8; DATAGRAM_BYTES_MAX]>,
    reserved: Option<Path>,
    arena: Vec<u8>,
    queued: Vec<(Path, Range<usize>)>,
    /// Datagrams it takes before it is full.
    pub(crate) room: usize,
    /// Reservations until it breaks, as a bug in the middle of a fan-out would.
    pub(crate) fuse: Option<usize>,
}

impl Outbox {
    pub(crate) fn new() -> Self {
        Self {
            slot: Box::new([0; DATAGRAM_BYTES_MAX]),
            reserved: None,
            arena: Vec::with_capacity(ARENA_BYTES),
            queued: Vec::with_capacity(DATAGRAMS),
            room: usize::MAX,
            fuse: None,
        }
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.queued.len()
    }

    /// What waits, in order.
    pub(crate) fn datagrams(&self) -> impl Iterator<Item = (&Path, &[u8])> {
        self.queued.iter().map(|(path, range)| (path, &self.arena[range.clone()]))
    }

    /// Sent, or thrown away.
    pub(crate) fn clear(&mut self) {
        self.queued.clear();
        self.arena.clear();
    }
}

impl Egress for Outbox {
    fn reserve(&mut self, _: RunKey, path: &Path) -> Option<&mut [u8]> {
        if self.queued.len() >= self.room {
            return None;
        }
        assert_ne!(*path, Path::NONE, "a datagram to nowhere");
        if let Some(fuse) = self.fuse.as_mut() {
            // As a panic, but without a word on the terminal.
            let blow = || std::panic::resume_unwind(Box::new("injected: in the middle of a packet"));
            *fuse = fuse.checked_sub(1).unwrap_or_else(blow);
        }
        self.reserved = Some(*path);
        self.slot.fill(0xA5);
        Some(&mut self.slot[..])
    }

    fn commit(&mut self, len: usize) {
        let path = self.reserved.take().expect("reserved before it is committed");
        assert!((1..=DATAGRAM_BYTES_MAX).contains(&len));
        let start = self.arena.len();
        self.arena.extend_from_slice(&self.slot[..len]);
        self.queued.push((path, start..start + len));
    }

    fn reserved(&mut self) -> &mut [u8] {
        assert!(self.reserved.is_some());
        &mut self.slot[..]
    }
}
