//! The one source switch: whatever comes in becomes the viewer's own stream.
//!
//! A viewer sees one SSRC with sequence numbers, timestamps and roll-over counter that never break, whichever stream
//! feeds it: the first key frame, a publisher that reconnected on another transport, later another layer. While one
//! source lasts the viewer's index is `dense + offset`, so a late packet finds its own number and nothing has to be
//! remembered about packets sent.

use std::time::Duration;

use crate::ids::InboundSlot;
use crate::records::SwitchRecord;
use crate::time::Timestamp;

/// A source that has been silent this long may be replaced by another stream of the same track without being asked.
const SILENT_AFTER: Duration = Duration::from_secs(1);

/// What the switch has to know of a packet.
#[derive(Clone, Copy, Debug)]
pub struct Incoming {
    /// The stream it came on.
    pub source: InboundSlot,
    /// Its dense number there.
    pub dense: u64,
    /// Its RTP timestamp.
    pub rtp: u32,
    /// RTP clock in Hz.
    pub clock_rate_hz: u32,
    /// Whether a viewer may start or change over here: the first packet of a key frame, or any audio packet.
    pub switch_point: bool,
}

/// What the packet is in the viewer's stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// Roll-over counter and sequence number in one.
    pub index: u64,
    /// RTP timestamp.
    pub rtp: u32,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is sent on.
    Forward(Rewrite),
    /// The viewer waits for a switch point of this source.
    Waits,
    /// It is older than the point where the viewer came to this source.
    Drop,
}

impl SwitchRecord {
    /// A switch that has sent nothing. `first` is the index of its first packet: random, but with the sequence
    /// number below 2^15 so that a receiver never guesses the roll-over counter wrong (RFC 3711 §3.3.1).
    pub const fn new(first: u16) -> Self {
        Self {
            first_dense: 0,
            offset: 0,
            highest: (first & 0x7FFF) as u64,
            newest_at: Timestamp::ZERO,
            newest_rtp: 0,
            rtp_offset: 0,
            source: InboundSlot::NONE,
            started: 0,
        }
    }

    /// Begins at `index` or later, because that is where an earlier stream of the same SSRC ended; `old` is its switch,
    /// whose timestamps go on too where there are any.
    pub fn continue_at(&mut self, index: u64, old: &Self) {
        let next = self.highest + u64::from(self.started);
        if self.started == 0 || index > next {
            self.highest = index.saturating_sub(1);
            self.started = 1;
            (self.newest_at, self.newest_rtp) = (old.newest_at, old.newest_rtp);
        }
    }

    /// Decides about one packet, and advances.
    #[inline]
    pub fn forward(&mut self, now: Timestamp, incoming: &Incoming) -> Verdict {
        if self.source != incoming.source {
            if self.is_fed(now) {
                return Verdict::Drop;
            }
            if !incoming.switch_point {
                return Verdict::Waits;
            }
            self.change_over(now, incoming);
        }
        if incoming.dense < self.first_dense {
            return Verdict::Drop;
        }
        let index = incoming.dense.wrapping_add(self.offset);
        let rtp = incoming.rtp.wrapping_add(self.rtp_offset);
        if index >= self.highest {
            self.highest = index;
            self.newest_rtp = rtp;
            self.newest_at = now;
        }
        Verdict::Forward(Rewrite { index, rtp })
    }

    /// Forgets its source: the next switch point of any source is where the viewer goes on.
    pub const fn detach(&mut self) {
        self.source = InboundSlot::NONE;
    }

    /// The dense number that was sent under `sequence`, the newest packet of that number being meant; `None` for what
    /// this source never sent.
    pub fn dense_of(&self, sequence: u16) -> Option<u64> {
        let behind = (self.highest as u16).wrapping_sub(sequence);
        let index = self.highest.checked_sub(u64::from(behind))?;
        let first = self.first_dense.wrapping_add(self.offset);
        (!self.source.is_none() && index >= first).then(|| index.wrapping_sub(self.offset))
    }

    /// Whether its source still sends: a track with several streams feeds a viewer from one at a time.
    fn is_fed(&self, now: Timestamp) -> bool {
        !self.source.is_none() && now.since(self.newest_at) < SILENT_AFTER
    }

    fn change_over(&mut self, now: Timestamp, incoming: &Incoming) {
        // One past the highest ever sent: no index is used twice under one key, whatever the sources did.
        let index = self.highest + u64::from(self.started);
        // Time goes on at the source's own clock, at least one tick, so that a new frame never shares a timestamp.
        let rtp = if self.started == 0 {
            incoming.rtp
        } else {
            self.newest_rtp.wrapping_add(ticks(now, self.newest_at, incoming.clock_rate_hz).max(1))
        };
        self.source = incoming.source;
        self.first_dense = incoming.dense;
        self.offset = index.wrapping_sub(incoming.dense);
        self.rtp_offset = rtp.wrapping_sub(incoming.rtp);
        self.started = 1;
    }
}

fn ticks(now: Timestamp, earlier: Timestamp, clock_rate_hz: u32) -> u32 {
    let nanos = now.since(earlier).as_nanos();
    // Whatever is longer than the timestamp's own range wraps as the timestamp does.
    (nanos * u128::from(clock_rate_hz) / 1_000_000_000) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::time::Duration;

    const FIRST: InboundSlot = InboundSlot(1);
    const SECOND: InboundSlot = InboundSlot(2);

    fn video(source: InboundSlot, dense: u64, rtp: u32, switch_point: bool) -> Incoming {
        Incoming { source, dense, rtp, clock_rate_hz: 90_000, switch_point }
    }

    fn at(millis: u64) -> Timestamp {
        Timestamp::ZERO + Duration::from_millis(millis)
    }

    fn rewrite(verdict: Verdict) -> Rewrite {
        match verdict {
            Verdict::Forward(rewrite) => rewrite,
            other => panic!("expected a packet to be forwarded, got {other:?}"),
        }
    }

    #[test]
    fn a_viewer_starts_at_a_key_frame() {
        let mut switch = SwitchRecord::new(100);
        assert_eq!(switch.forward(at(0), &video(FIRST, 7, 900, false)), Verdict::Waits);
        assert_eq!(
            rewrite(switch.forward(at(1), &video(FIRST, 8, 1000, true))),
            Rewrite { index: 100, rtp: 1000 }
        );
        assert_eq!(switch.forward(at(2), &video(FIRST, 7, 900, false)), Verdict::Drop);
        assert_eq!(rewrite(switch.forward(at(3), &video(FIRST, 9, 1000, false))).index, 101);
    }

    #[test]
    fn a_publisher_that_reconnects_goes_on_in_the_same_stream() {
        let mut switch = SwitchRecord::new(100);
        rewrite(switch.forward(at(1000), &video(FIRST, 500, 10_000, true)));
        rewrite(switch.forward(at(1000), &video(FIRST, 501, 10_000, false)));
        switch.detach();
        assert_eq!(switch.forward(at(3000), &video(SECOND, 40_000, 77, false)), Verdict::Waits);
        let first = rewrite(switch.forward(at(3000), &video(SECOND, 40_001, 77, true)));
        assert_eq!(first, Rewrite { index: 102, rtp: 10_000 + 2 * 90_000 });
    }

    #[test]
    fn a_late_packet_keeps_its_number_across_the_sequence_wrap() {
        let mut switch = SwitchRecord::new(0x7FFF);
        for dense in 0..0x8000 {
            rewrite(switch.forward(at(0), &video(FIRST, dense, 0, dense == 0)));
        }
        let before = rewrite(switch.forward(at(0), &video(FIRST, 0x8002, 0, false)));
        let late = rewrite(switch.forward(at(0), &video(FIRST, 0x8000, 0, false)));
        assert_eq!((late.index, before.index), (0xFFFF, 0x1_0001));
        assert_eq!(switch.dense_of(0xFFFF), Some(0x8000));
        assert_eq!(switch.dense_of(1), Some(0x8002));
        assert_eq!(switch.dense_of(2), None, "not sent yet");
    }

    #[test]
    fn another_stream_of_the_track_takes_over_only_when_the_first_is_silent() {
        let mut switch = SwitchRecord::new(100);
        rewrite(switch.forward(at(1000), &video(FIRST, 5, 0, true)));
        assert_eq!(switch.forward(at(1010), &video(SECOND, 5, 0, true)), Verdict::Drop);
        assert_eq!(rewrite(switch.forward(at(2500), &video(SECOND, 9, 0, true))).index, 101);
    }

    proptest::proptest! {
        /// Whatever the sources do, no index is given twice and none comes from before the last change-over.
        #[test]
        fn an_index_is_never_used_twice(
            steps in proptest::collection::vec((1u32..4, 0u64..64, proptest::bool::ANY), 1..400)
        ) {
            let mut switch = SwitchRecord::new(0);
            let mut arrived = BTreeSet::new();
            let mut used = BTreeSet::new();
            for (source, dense, switch_point) in steps {
                // A source brings each dense number once; a source that is left is a new one when it comes back.
                if !arrived.insert((source, dense)) {
                    continue;
                }
                let incoming = video(InboundSlot(source), dense, 0, switch_point);
                if switch_point && switch.source != incoming.source {
                    switch.detach();
                }
                if let Verdict::Forward(rewrite) = switch.forward(at(0), &incoming) {
                    proptest::prop_assert!(used.insert(rewrite.index));
                }
            }
        }
    }
}
