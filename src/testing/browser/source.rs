//! One stream that a simulated browser publishes.

use std::time::Duration;

use crate::testing::media::Codec;
use crate::time::Timestamp;

/// One packet that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) index: u64,
    pub(crate) rtp: u32,
    pub(crate) marker: bool,
    /// First packet of a key frame.
    pub(crate) key: bool,
    /// Empty for padding.
    pub(crate) payload: Vec<u8>,
}

#[derive(Clone)]
pub(crate) struct Source {
    pub(crate) codec: Codec,
    pub(crate) ssrc: u32,
    pub(crate) rtx_ssrc: u32,
    pub(crate) payload_type: u8,
    /// Written into each packet unless empty.
    pub(crate) mid: String,
    /// Index of the next packet.
    pub(crate) next: u64,
    pub(crate) rtx_next: u64,
    pub(crate) rtp: u32,
    pub(crate) sent: Vec<Sent>,
    /// [`Timestamp::NEVER`] while it rests.
    pub(crate) next_frame_at: Timestamp,
    pub(crate) packets_per_frame: usize,
    /// The next frame is a key frame.
    pub(crate) key_due: bool,
    /// Whether it answers PLI and FIR.
    pub(crate) obeys: bool,
    number: u32,
}

impl Source {
    pub(crate) fn new(codec: Codec, ssrc: u32, payload_type: u8) -> Self {
        Self {
            codec,
            ssrc,
            rtx_ssrc: ssrc ^ 0x8000_0000,
            payload_type,
            mid: String::new(),
            next: u64::from(ssrc % 0x7000),
            rtx_next: 1,
            rtp: ssrc.wrapping_mul(2_654_435_761),
            sent: Vec::new(),
            next_frame_at: Timestamp::NEVER,
            packets_per_frame: if codec.is_video() { 3 } else { 1 },
            key_due: true,
            obeys: true,
            number: ssrc << 16,
        }
    }

    /// The packets of the next frame, noted as sent; the clock of its media moves on.
    pub(crate) fn frame(&mut self) -> Vec<Sent> {
        let key = std::mem::take(&mut self.key_due);
        let last = self.packets_per_frame - 1;
        let packets: Vec<_> = (0..self.packets_per_frame)
            .map(|place| {
                let (first, marker) = (place == 0, place == last);
                self.number += 1;
                let payload = self.codec.payload(key, first, self.number);
                self.next += 1;
                Sent { index: self.next - 1, rtp: self.rtp, marker, key: key && first, payload }
            })
            .collect();
        self.sent.extend_from_slice(&packets);
        self.pass(self.codec.frame_time());
        packets
    }

    /// A packet that is only padding.
    pub(crate) fn padding(&mut self) -> Sent {
        self.next += 1;
        let sent =
            Sent { index: self.next - 1, rtp: self.rtp, marker: false, key: false, payload: Vec::new() };
        self.sent.push(sent.clone());
        sent
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.rtp = self.rtp.wrapping_add(self.ticks(time));
    }

    /// What its media's clock says, before its next frame.
    pub(crate) fn clock_at(&self, now: Timestamp) -> u32 {
        self.rtp.wrapping_sub(self.ticks(self.next_frame_at.since(now)))
    }

    pub(crate) fn ticks(&self, time: Duration) -> u32 {
        (time.as_nanos() * u128::from(self.codec.clock_rate_hz()) / 1_000_000_000) as u32
    }

    /// The newest packet sent under that number.
    pub(crate) fn find(&self, sequence: u16) -> Option<&Sent> {
        self.sent.iter().rev().find(|sent| sent.index as u16 == sequence)
    }

    /// Payloads of everything that is media, in order.
    pub(crate) fn media(&self) -> impl Iterator<Item = &Sent> {
        self.sent.iter().filter(|sent| !sent.payload.is_empty())
    }
}
