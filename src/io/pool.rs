//! The slots datagrams are written into before they are sent.

use super::mapping::Mapping;
use crate::egress::DATAGRAM_BYTES_MAX;
use std::io;
use std::slice;

/// Bytes from one slot to the next: [`DATAGRAM_BYTES_MAX`] rounded up to whole cache lines, and a third of a page.
const SLOT_BYTES: usize = 1536;

const _: () = assert!(SLOT_BYTES >= DATAGRAM_BYTES_MAX && SLOT_BYTES.is_multiple_of(64));

/// Number of a slot.
pub(super) type Slot = u32;

/// A fixed number of slots in one mapping.
///
/// The free list is a stack: the slot given back last is written next, so a quiet shard stays within the cache.
#[derive(Debug)]
pub(super) struct Pool {
    memory: Mapping,
    free: Vec<Slot>,
    slots: usize,
}

impl Pool {
    pub(super) fn new(slots: usize) -> io::Result<Self> {
        let memory = Mapping::anonymous(slots * SLOT_BYTES)?;
        let count = Slot::try_from(slots).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
        // Descending, so that the lowest addresses go first.
        Ok(Self { memory, free: (0..count).rev().collect(), slots })
    }

    /// The slot [`Pool::take`] is going to give.
    pub(super) fn next(&self) -> Option<Slot> {
        self.free.last().copied()
    }

    pub(super) fn take(&mut self) -> Option<Slot> {
        self.free.pop()
    }

    /// Puts a slot back that the kernel has read.
    pub(super) fn give(&mut self, slot: Slot) {
        debug_assert!(self.free.len() < self.slots, "more slots came back than went out");
        self.free.push(slot);
    }

    pub(super) fn bytes_mut(&mut self, slot: Slot) -> &mut [u8] {
        // SAFETY: `address` is in bounds and initialized for SLOT_BYTES (the mapping was zeroed); slots do not overlap,
        // and `&mut self` makes this the only slice of the pool.
        unsafe { slice::from_raw_parts_mut(self.address(slot), DATAGRAM_BYTES_MAX) }
    }

    /// Where a slot begins, for the kernel.
    pub(super) fn address(&self, slot: Slot) -> *mut u8 {
        assert!((slot as usize) < self.slots, "slot of another pool");
        // SAFETY: the mapping holds `slots` slots of SLOT_BYTES, and `slot` is one of them.
        unsafe { self.memory.address().add(slot as usize * SLOT_BYTES) }
    }

    #[cfg(test)]
    pub(super) const fn free(&self) -> usize {
        self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_do_not_overlap_and_the_last_given_goes_first() {
        let mut pool = Pool::new(4).unwrap();
        let slots: Vec<Slot> = std::iter::from_fn(|| pool.take()).collect();
        assert_eq!(slots, [0, 1, 2, 3]);
        for &slot in &slots {
            pool.bytes_mut(slot).fill(slot as u8 + 1);
        }
        for &slot in &slots {
            assert!(pool.bytes_mut(slot).iter().all(|&byte| byte == slot as u8 + 1));
        }
        pool.give(2);
        pool.give(0);
        assert_eq!((pool.next(), pool.take(), pool.take(), pool.take()), (Some(0), Some(0), Some(2), None));
    }
}
