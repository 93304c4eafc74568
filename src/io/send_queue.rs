//! Gathers the datagrams of a cycle into runs: one send each, cut into datagrams by the kernel (GSO, udp(7)).
//!
//! A run has one destination and one local address, datagrams of one length except a shorter last one, at most
//! [`RUN_SEGMENTS_MAX`] of them and [`RUN_BYTES_MAX`] bytes. Each datagram lies in a slot of its own, for the queue
//! cannot know how long a run becomes; the kernel gets a list of slots.
//!
//! Runs leave in the order they began, and a key has one open run at most, so datagrams of one key keep their order.

use super::pool::{Pool, Slot};
use crate::egress::{DATAGRAM_BYTES_MAX, Path, RunKey};
use std::io;

/// Most datagrams in a run: UDP_MAX_SEGMENTS of kernels before 6.9. Beyond 16 the gain is flat.
pub(super) const RUN_SEGMENTS_MAX: usize = 64;

/// Most bytes in a run: an IP packet of 65 535 bytes less the IPv6 and UDP headers.
const RUN_BYTES_MAX: usize = 65_535 - 40 - 8;

/// Datagrams that wait before the queue is flushed in the middle of a cycle: 72 KiB of slots, which the kernel then
/// copies out of the processor's cache and the next datagrams use again. A large fan-out is sent while it is made.
const EARLY_DATAGRAMS: usize = 48;

/// After a refusal this many datagrams of the key go one by one, before a run is tried again. A path whose MTU is below
/// the segment length refuses every run; then one send in a thousand is wasted.
const REST_DATAGRAMS: u16 = 1000;

/// No run, no slot.
const NONE: u32 = u32::MAX;

/// How large a send queue is.
#[derive(Clone, Copy, Debug)]
pub struct QueueSize {
    /// Slots of 1536 bytes. More fan-out than this in one cycle leaves in several sends; nothing is lost.
    pub slots: usize,
    /// Keys below this can form runs; a datagram under any other key leaves by itself.
    pub keys: usize,
}

impl QueueSize {
    /// Room for `keys` peers, and the slots that one cycle of a busy shard fills (2.3 MiB).
    pub const fn for_keys(keys: usize) -> Self {
        let frame_to_viewers = 64 * 16; // one video frame of 16 packets to 64 viewers
        let answers = super::RECEIVE_BATCH_MAX; // at most one STUN, DTLS or RTCP answer to each datagram of a batch
        let reports = 256; // what timers send: RTCP reports, DTLS repeats
        let waiting = 128; // sends that wait for room in the socket (io_uring)
        Self { slots: frame_to_viewers + answers + reports + waiting, keys }
    }
}

/// Datagrams that leave in one send.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub(super) path: Path,
    key: RunKey,
    first: Slot,
    last: Slot,
    /// Datagrams in it.
    pub(super) count: u16,
    /// Length of each but the last.
    pub(super) segment_len: u16,
    /// Their sum.
    pub(super) bytes: u32,
}

/// What `reserve` learned, for `commit`.
#[derive(Clone, Copy, Debug)]
struct Reservation {
    key: RunKey,
    path: Path,
}

/// Slots, the runs made of them, and the reservation in progress.
#[derive(Debug)]
pub(super) struct SendQueue {
    pool: Pool,
    /// By slot: the next one of its run, and how many bytes it holds.
    links: Vec<Link>,
    /// In the order they leave.
    runs: Vec<Run>,
    /// By key: its open run, or [`NONE`].
    open: Vec<u32>,
    /// By key: datagrams that still go one by one.
    resting: Vec<u16>,
    reserved: Option<Reservation>,
    /// Datagrams in `runs`.
    waiting: usize,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    next: Slot,
    len: u16,
}

impl SendQueue {
    pub(super) fn new(size: QueueSize) -> io::Result<Self> {
        Ok(Self {
            pool: Pool::new(size.slots)?,
            links: vec![Link { next: NONE, len: 0 }; size.slots],
            runs: Vec::with_capacity(size.slots),
            open: vec![NONE; size.keys],
            resting: vec![0; size.keys],
            reserved: None,
            waiting: 0,
        })
    }

    /// True when `reserve` is going to succeed.
    pub(super) fn has_slot(&self) -> bool {
        self.pool.next().is_some()
    }

    /// True when enough waits for a flush to pay, and a datagram under `key` would not join what was queued last.
    pub(super) fn is_due_before(&self, key: RunKey) -> bool {
        self.waiting >= EARLY_DATAGRAMS && self.runs.last().is_some_and(|run| run.key != key)
    }

    pub(super) fn reserve(&mut self, key: RunKey, path: &Path) -> Option<&mut [u8]> {
        // The slot stays on the free list until the commit: a reservation that never comes to it costs nothing.
        let slot = self.pool.next()?;
        self.reserved = Some(Reservation { key, path: *path });
        Some(self.pool.bytes_mut(slot))
    }

    /// The slot of the reservation.
    pub(super) fn reserved(&mut self) -> &mut [u8] {
        let slot = self.pool.next().filter(|_| self.reserved.is_some()).expect("a slot is reserved");
        self.pool.bytes_mut(slot)
    }

    pub(super) fn commit(&mut self, len: usize) {
        let Reservation { key, path } = self.reserved.take().expect("commit follows reserve");
        assert!(len > 0 && len <= DATAGRAM_BYTES_MAX, "a datagram of {len} bytes does not fit its slot");
        let slot = self.pool.take().expect("the slot reserved is still free");
        let len = len as u16;
        self.links[slot as usize] = Link { next: NONE, len };
        self.waiting += 1;
        if self.extend(key, &path, slot, len) {
            return;
        }
        let run =
            Run { path, key, first: slot, last: slot, count: 1, segment_len: len, bytes: u32::from(len) };
        let place = self.runs.len() as u32;
        self.runs.push(run);
        let index = key.0 as usize;
        if let (Some(open), Some(resting)) = (self.open.get_mut(index), self.resting.get_mut(index)) {
            *open = if *resting == 0 { place } else { NONE };
            *resting = resting.saturating_sub(1);
        }
    }

    /// Appends `slot` to the open run of `key` if it fits there; a shorter datagram closes the run.
    fn extend(&mut self, key: RunKey, path: &Path, slot: Slot, len: u16) -> bool {
        let Some(open) = self.open.get_mut(key.0 as usize) else { return false };
        let Some(run) = self.runs.get_mut(*open as usize) else { return false };
        let has_room = usize::from(run.count) < RUN_SEGMENTS_MAX
            && run.bytes as usize + usize::from(len) <= RUN_BYTES_MAX;
        if !has_room || len > run.segment_len || run.path != *path {
            return false;
        }
        if len < run.segment_len {
            *open = NONE;
        }
        self.links[run.last as usize].next = slot;
        run.last = slot;
        run.count += 1;
        run.bytes += u32::from(len);
        true
    }

    /// Takes back a reservation that was never committed.
    pub(super) const fn forget(&mut self) {
        self.reserved = None;
    }

    /// How many runs wait.
    pub(super) const fn len(&self) -> usize {
        self.runs.len()
    }

    /// The run at `place`, in the order they leave. From now on its owner is the caller, who [releases] it.
    ///
    /// [releases]: SendQueue::release
    pub(super) fn run(&self, place: usize) -> Run {
        self.runs[place]
    }

    /// Forgets the runs, every one of which has been taken over by [`SendQueue::run`], and opens no more of them.
    pub(super) fn clear(&mut self) {
        self.waiting = 0;
        for run in self.runs.drain(..) {
            if let Some(open) = self.open.get_mut(run.key.0 as usize) {
                *open = NONE;
            }
        }
    }

    /// Slot address and length of each datagram in a run.
    pub(super) fn segments(&self, run: &Run) -> impl Iterator<Item = libc::iovec> {
        let mut slot = run.first;
        (0..run.count).map(move |_| {
            let Link { next, len } = self.links[slot as usize];
            let address = self.pool.address(slot).cast();
            slot = next;
            libc::iovec { iov_base: address, iov_len: usize::from(len) }
        })
    }

    /// Gives the slots of a run back, once the kernel has read them.
    pub(super) fn release(&mut self, run: &Run) {
        let mut slot = run.first;
        for _ in 0..run.count {
            let next = self.links[slot as usize].next;
            self.pool.give(slot);
            slot = next;
        }
    }

    /// The kernel would not cut a run of this destination: its next datagrams go one by one.
    pub(super) fn rest(&mut self, run: &Run) {
        if let Some(resting) = self.resting.get_mut(run.key.0 as usize) {
            *resting = REST_DATAGRAMS;
        }
    }

    #[cfg(test)]
    pub(super) fn free_slots(&self) -> usize {
        self.pool.free()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: usize = 4;

    fn queue() -> SendQueue {
        SendQueue::new(QueueSize { slots: 256, keys: KEYS }).unwrap()
    }

    fn path(port: u16) -> Path {
        Path { local: [127, 0, 0, 1].into(), remote: ([127, 0, 0, 1], port).into(), ..Path::NONE }
    }

    fn put(queue: &mut SendQueue, key: u32, port: u16, len: usize) {
        queue.reserve(RunKey(key), &path(port)).unwrap()[..len].fill(len as u8);
        queue.commit(len);
    }

    /// Lengths of the datagrams of each run.
    fn runs(queue: &SendQueue) -> Vec<Vec<usize>> {
        let lens = |place| queue.segments(&queue.run(place)).map(|segment| segment.iov_len).collect();
        (0..queue.len()).map(lens).collect()
    }

    fn finish(queue: &mut SendQueue) {
        for place in 0..queue.len() {
            let run = queue.run(place);
            queue.release(&run);
        }
        queue.clear();
    }

    #[test]
    fn equal_lengths_and_a_shorter_last_one_make_one_run() {
        let mut queue = queue();
        for len in [1000, 1000, 1000, 200, 1000, 1000] {
            put(&mut queue, 1, 9, len);
        }
        assert_eq!(runs(&queue), [vec![1000, 1000, 1000, 200], vec![1000, 1000]]);
    }

    #[test]
    fn a_longer_one_begins_a_run_and_keys_do_not_mix() {
        let mut queue = queue();
        for (key, len) in [(0, 100), (1, 100), (0, 200), (1, 100), (0, 200)] {
            put(&mut queue, key, 9, len);
        }
        assert_eq!(runs(&queue), [vec![100], vec![100, 100], vec![200, 200]]);
    }

    #[test]
    fn a_new_path_begins_a_run() {
        let mut queue = queue();
        put(&mut queue, 0, 9, 100);
        put(&mut queue, 0, 10, 100);
        put(&mut queue, 0, 10, 100);
        assert_eq!(runs(&queue), [vec![100], vec![100, 100]]);
        assert_eq!(queue.run(1).path, path(10));
    }

    #[test]
    fn datagrams_without_a_key_leave_by_themselves() {
        let mut queue = queue();
        put(&mut queue, RunKey::NONE.0, 9, 100);
        put(&mut queue, RunKey::NONE.0, 9, 100);
        put(&mut queue, KEYS as u32, 9, 100);
        put(&mut queue, KEYS as u32, 9, 100);
        assert_eq!(runs(&queue).len(), 4);
    }

    #[test]
    fn a_run_ends_at_64_segments_and_at_64_kib() {
        let mut queue = queue();
        for _ in 0..RUN_SEGMENTS_MAX + 1 {
            put(&mut queue, 0, 9, 100);
        }
        for _ in 0..60 {
            put(&mut queue, 1, 9, 1200);
        }
        let lens: Vec<usize> = runs(&queue).iter().map(Vec::len).collect();
        assert_eq!(lens, [64, 1, 54, 6]);
    }

    #[test]
    fn an_uncommitted_reservation_leaves_no_trace() {
        let mut queue = queue();
        queue.reserve(RunKey(0), &path(9)).unwrap();
        put(&mut queue, 1, 10, 100);
        queue.reserve(RunKey(0), &path(9)).unwrap();
        queue.forget();
        assert_eq!(runs(&queue), [vec![100]]);
        assert_eq!((queue.run(0).path, queue.free_slots()), (path(10), 255));
    }

    #[test]
    fn slots_come_back_and_open_runs_end_with_the_flush() {
        let mut queue = queue();
        for round in 0..10 {
            for _ in 0..256 {
                put(&mut queue, round % 3, 9, 700);
            }
            assert!(!queue.has_slot() && queue.reserve(RunKey(0), &path(9)).is_none());
            finish(&mut queue);
            assert_eq!(queue.free_slots(), 256);
        }
    }

    #[test]
    fn a_refused_key_goes_one_by_one_for_a_while() {
        let mut queue = queue();
        put(&mut queue, 0, 9, 100);
        put(&mut queue, 0, 9, 100);
        let refused = queue.run(0);
        queue.rest(&refused);
        finish(&mut queue);
        for _ in 0..REST_DATAGRAMS {
            put(&mut queue, 0, 9, 100);
            assert_eq!(runs(&queue).len(), queue.run(0).count as usize * queue.len());
            if queue.len() == 200 {
                assert!(runs(&queue).iter().all(|run| run.len() == 1));
                finish(&mut queue);
            }
        }
        finish(&mut queue);
        put(&mut queue, 0, 9, 100);
        put(&mut queue, 0, 9, 100);
        assert_eq!(runs(&queue), [vec![100, 100]]);
    }

    #[test]
    fn a_large_fan_out_is_due_between_two_keys() {
        let mut queue = queue();
        for datagram in 0..EARLY_DATAGRAMS {
            assert!(!queue.is_due_before(RunKey(2)), "{datagram} wait");
            put(&mut queue, 1, 1, 100);
        }
        assert!(queue.is_due_before(RunKey(2)) && !queue.is_due_before(RunKey(1)), "a run stays whole");
        finish(&mut queue);
        assert!(!queue.is_due_before(RunKey(2)));
    }

    #[test]
    #[should_panic(expected = "commit follows reserve")]
    fn a_commit_without_a_reservation_is_a_bug() {
        queue().commit(1);
    }

    #[test]
    #[should_panic(expected = "does not fit")]
    fn a_commit_beyond_the_slot_is_a_bug() {
        let mut queue = queue();
        queue.reserve(RunKey(0), &path(9)).unwrap();
        queue.commit(DATAGRAM_BYTES_MAX + 1);
    }
}
