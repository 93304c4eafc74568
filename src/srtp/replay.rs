//! What one does with a replay window: guess an index, refuse what was seen, remember what was authenticated.

use crate::discard::Discard;
use crate::records::replay::{RTCP_WINDOW_PACKETS, RTP_WINDOW_PACKETS, ReplayWindow, RtcpReplayWindow};

/// Half the range of sequence numbers: the guess is right for packets nearer than this to the highest.
const SEQ_HALF: u64 = 1 << 15;
/// One turn of the roll-over counter.
const SEQ_TURN: u64 = 1 << 16;

impl ReplayWindow {
    /// The index of the packet with this sequence number, if it lies within 2^15 of the highest (RFC 3711 §3.3.1 and
    /// appendix A). The first packet of a source is taken to be in the first turn.
    pub fn estimate(&self, seq: u16) -> u64 {
        let seq = u64::from(seq);
        if self.started == 0 {
            return seq;
        }
        let index = (self.highest & !(SEQ_TURN - 1)) | seq;
        if index + SEQ_HALF < self.highest {
            index + SEQ_TURN
        } else if index > self.highest + SEQ_HALF && index >= SEQ_TURN {
            index - SEQ_TURN
        } else {
            index
        }
    }

    /// The highest index that has arrived, `None` before the first.
    pub const fn newest(&self) -> Option<u64> {
        if self.started == 0 { None } else { Some(self.highest) }
    }

    /// Whether a packet with this index may be opened.
    ///
    /// # Errors
    /// Seen before, or older than the window.
    pub fn check(&self, index: u64) -> Result<(), Discard> {
        if self.started == 0 {
            return Ok(());
        }
        check(&self.seen, self.highest, index, RTP_WINDOW_PACKETS)
    }

    /// Remembers the index of a packet whose tag has verified. Never before: a forged index far ahead would silence
    /// the source for good.
    pub fn accept(&mut self, index: u64) {
        if self.started == 0 {
            self.seen = [0; 16];
            self.highest = index;
            self.started = 1;
        }
        self.highest = accept(&mut self.seen, self.highest, index, RTP_WINDOW_PACKETS);
        self.restored = 0;
    }

    /// After a restart nothing at or below the recorded index is taken again: it may have arrived since the record was
    /// written, and would go out once more under one nonce. The next packet is opened with
    /// [`candidates`](Self::candidates).
    pub fn mark_restored(&mut self) {
        self.seen = [u64::MAX; 16];
        self.restored = 1;
    }

    /// Whether the roll-over counter is in doubt, from [`mark_restored`](Self::mark_restored) to the next packet.
    pub fn is_restored(&self) -> bool {
        self.restored != 0
    }

    /// Indices to try for the first packet after a restart: the recorded roll-over counter, one more, one less, as far
    /// as [`check`](Self::check) lets them pass. Of a source never heard before: the first two turns.
    pub fn candidates(self, seq: u16) -> impl Iterator<Item = u64> {
        let turn = if self.started == 0 { 0 } else { self.highest & !(SEQ_TURN - 1) };
        let here = turn | u64::from(seq);
        [Some(here), Some(here + SEQ_TURN), here.checked_sub(SEQ_TURN)]
            .into_iter()
            .flatten()
            .filter(move |&index| self.check(index).is_ok())
    }
}

impl RtcpReplayWindow {
    /// Whether a packet with this index may be opened.
    ///
    /// # Errors
    /// Seen before, or older than the window.
    pub fn check(&self, index: u32) -> Result<(), Discard> {
        if self.started == 0 {
            return Ok(());
        }
        check(&self.seen, u64::from(self.highest), u64::from(index), RTCP_WINDOW_PACKETS)
    }

    /// Remembers the index of a packet whose tag has verified.
    pub fn accept(&mut self, index: u32) {
        if self.started == 0 {
            self.seen = [0; 2];
            self.highest = index;
            self.started = 1;
        }
        accept(&mut self.seen, u64::from(self.highest), u64::from(index), RTCP_WINDOW_PACKETS);
        self.highest = self.highest.max(index);
    }

    /// After a restart nothing at or below the recorded index is taken again.
    pub fn mark_restored(&mut self) {
        self.seen = [u64::MAX; 2];
    }
}

fn check(seen: &[u64], highest: u64, index: u64, window: u64) -> Result<(), Discard> {
    if index > highest {
        return Ok(());
    }
    if highest - index >= window {
        return Err(Discard::NetworkTooOld);
    }
    let (word, bit) = place(index, window);
    if seen[word] & bit != 0 { Err(Discard::NetworkReplayed) } else { Ok(()) }
}

/// Marks `index` and returns the new highest; what falls out of the window is forgotten.
fn accept(seen: &mut [u64], highest: u64, index: u64, window: u64) -> u64 {
    if index > highest {
        if index - highest >= window {
            seen.fill(0);
        } else {
            for skipped in highest + 1..index {
                let (word, bit) = place(skipped, window);
                seen[word] &= !bit;
            }
        }
    } else if highest - index >= window {
        return highest;
    }
    let (word, bit) = place(index, window);
    seen[word] |= bit;
    highest.max(index)
}

/// Word and bit of an index; the window is a power of two, so the modulo is a mask.
fn place(index: u64, window: u64) -> (usize, u64) {
    let place = index % window;
    ((place / 64) as usize, 1 << (place % 64))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use bytemuck::Zeroable;
    use proptest::prelude::*;

    use super::*;

    fn at(highest: u64) -> ReplayWindow {
        let mut window = ReplayWindow::zeroed();
        window.accept(highest);
        window
    }

    #[test]
    fn the_first_packet_is_in_the_first_turn() {
        let window = ReplayWindow::zeroed();
        assert_eq!(window.estimate(65_535), 65_535);
        assert_eq!(window.check(0), Ok(()));
    }

    #[test]
    fn the_guess_follows_the_wrap_both_ways() {
        assert_eq!(at(65_535).estimate(0), 65_536);
        assert_eq!(at(65_535).estimate(65_530), 65_530);
        assert_eq!(at(65_537).estimate(65_535), 65_535);
        assert_eq!(at(3 << 16).estimate(65_535), (3 << 16) - 1);
        // There is no turn before the first: a jump ahead is all it can be.
        assert_eq!(at(10).estimate(65_000), 65_000);
    }

    #[test]
    fn seen_late_and_too_old() {
        let mut window = at(5_000);
        assert_eq!(window.check(5_000), Err(Discard::NetworkReplayed));
        assert_eq!(window.check(5_000 - 1023), Ok(()));
        assert_eq!(window.check(5_000 - 1024), Err(Discard::NetworkTooOld));
        window.accept(5_000 - 1023);
        assert_eq!(window.check(5_000 - 1023), Err(Discard::NetworkReplayed));
        // One step ahead, and the oldest leaves the window and its bit is free for the newest.
        window.accept(5_001);
        assert_eq!(window.check(5_000 - 1023), Err(Discard::NetworkTooOld));
        assert_eq!(window.check(5_002), Ok(()));
        window.accept(5_000 + 10_000);
        assert_eq!(window.check(14_999), Ok(()));
        assert_eq!(window.check(5_001), Err(Discard::NetworkTooOld));
    }

    #[test]
    fn after_a_restart_only_what_is_new_is_taken() {
        let mut window = at((2 << 16) | 65_000);
        window.mark_restored();
        assert!(window.is_restored());
        for old in 0..2_000 {
            assert!(window.check(window.highest - old).is_err());
        }
        // Behind a wrap the sequence number is small: the recorded turn would be old, the next one fits.
        assert_eq!(window.candidates(20).collect::<Vec<_>>(), [(3 << 16) | 20]);
        assert_eq!(window.candidates(65_100).collect::<Vec<_>>(), [(2 << 16) | 65_100, (3 << 16) | 65_100],);
        window.accept((3 << 16) | 20);
        assert!(!window.is_restored());
        assert_eq!(window.check((3 << 16) | 19), Ok(()));
        assert_eq!(window.check((2 << 16) | 65_000), Err(Discard::NetworkReplayed));
    }

    #[test]
    fn a_source_new_after_a_restart_may_be_in_its_second_turn() {
        let mut window = ReplayWindow::zeroed();
        window.mark_restored();
        assert_eq!(window.candidates(7).collect::<Vec<_>>(), [7, 65_543]);
        window.accept(65_543);
        assert_eq!(window.check(65_542), Ok(()));
    }

    #[test]
    fn rtcp_has_a_window_of_128() {
        let mut window = RtcpReplayWindow::zeroed();
        assert_eq!(window.check(0), Ok(()));
        window.accept(500);
        assert_eq!(window.check(500), Err(Discard::NetworkReplayed));
        assert_eq!(window.check(500 - 127), Ok(()));
        assert_eq!(window.check(500 - 128), Err(Discard::NetworkTooOld));
        window.accept(499);
        assert_eq!(window.check(499), Err(Discard::NetworkReplayed));
        window.mark_restored();
        assert_eq!(window.check(450), Err(Discard::NetworkReplayed));
        window.accept(501);
        assert_eq!(window.check(502), Ok(()));
        assert_eq!(window.check(450), Err(Discard::NetworkReplayed));
    }

    proptest! {
        #[test]
        fn the_guess_is_right_within_half_a_turn(highest in 0_u64..1 << 47, offset in -32_767_i64..32_768) {
            let index = highest.checked_add_signed(offset);
            if let Some(index) = index {
                prop_assert_eq!(at(highest).estimate((index & 0xffff) as u16), index);
            }
        }

        #[test]
        fn the_window_agrees_with_a_set(steps in prop::collection::vec(-1_200_i64..1_200, 1..400)) {
            let (mut window, mut model, mut highest) = (at(100_000), BTreeSet::from([100_000_u64]), 100_000_u64);
            for step in steps {
                let index = highest.saturating_add_signed(step);
                let wanted = if highest.saturating_sub(index) >= RTP_WINDOW_PACKETS {
                    Err(Discard::NetworkTooOld)
                } else if model.contains(&index) {
                    Err(Discard::NetworkReplayed)
                } else {
                    Ok(())
                };
                prop_assert_eq!(window.check(index), wanted);
                if wanted.is_ok() {
                    window.accept(index);
                    model.insert(index);
                    highest = highest.max(index);
                }
                prop_assert_eq!(window.highest, highest);
            }
        }
    }
}
