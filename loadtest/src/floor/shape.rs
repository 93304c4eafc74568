//! Who sends what to whom.

use std::ops::Range;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Algorithm};

use crate::failure::Failure;
use crate::frames::Frames;

/// Bytes of an RTP header without extensions.
pub const RTP_HEADER_LEN: usize = 12;
/// Bytes of a GCM tag.
pub const TAG_LEN: usize = 16;
/// Extension block of a viewer with MID, transport-wide number and abs-send-time: 4 + 2 + 3 + 4 bytes, padded.
pub const EXTENSION_LEN: usize = 16;
/// The same with the MID alone: 4 + 3 bytes, padded.
pub const EXTENSION_LEN_MID: usize = 8;
/// Longest header: a block may have 64 bytes.
pub(super) const HEADER_LEN_MAX: usize = RTP_HEADER_LEN + 64;
/// A payload begins with the number of its publisher.
pub(super) const PAYLOAD_LEN_MIN: u16 = 4;
const PAYLOAD_LEN_MAX: u16 = 1400;
/// Most packets of one publisher at once: what a receive batch holds.
const BURST_MAX: usize = 1000;
/// Each viewer has an address of its own in 127.0.0.0/8.
const VIEWERS_MAX: usize = 60_000;

/// Who gets whose packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Every viewer gets the packets of every publisher; publishers are no viewers.
    All {
        /// How many send.
        publishers: usize,
        /// How many receive.
        viewers: usize,
    },
    /// Everyone in a room sends, and gets the packets of all others in it.
    Rooms {
        /// How many rooms.
        rooms: usize,
        /// How many in each.
        size: usize,
    },
}

/// What each publisher sends.
#[derive(Clone, Debug)]
pub enum Traffic {
    /// Packets of one length.
    Even {
        /// Packets a second.
        rate: f64,
        /// RTP payload in bytes.
        payload_len: u16,
        /// Packets that leave together; the next ones leave when as many are due again.
        burst: u16,
    },
    /// Recorded frames, each at once, over and over.
    Frames(Arc<Frames>),
}

/// How packets are sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Cipher {
    /// `AEAD_AES_128_GCM` (RFC 7714).
    Gcm128,
    /// `AEAD_AES_256_GCM` (RFC 7714).
    Gcm256,
}

impl Cipher {
    pub(super) fn algorithm(self) -> &'static Algorithm {
        match self {
            Self::Gcm128 => &AES_128_GCM,
            Self::Gcm256 => &AES_256_GCM,
        }
    }

    /// As on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gcm128 => "gcm128",
            Self::Gcm256 => "gcm256",
        }
    }
}

/// A fan-out to be measured.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Who gets whose packets.
    pub audience: Audience,
    /// What each publisher sends.
    pub traffic: Traffic,
    /// How each copy is sealed.
    pub cipher: Cipher,
    /// Bytes of the header extension block, a multiple of 4, 0 to 64.
    pub extension_len: usize,
}

impl Shape {
    /// Checks that it can be measured.
    ///
    /// # Errors
    /// [`Failure::Usage`] says what cannot.
    pub fn check(&self) -> Result<(), Failure> {
        let fault = if self.publishers() == 0 || self.deliveries_per_packet() == 0 {
            "nobody sends or nobody watches"
        } else if self.viewers() > VIEWERS_MAX {
            "more than 60000 viewers have no addresses"
        } else if !self.extension_len.is_multiple_of(4)
            || RTP_HEADER_LEN + self.extension_len > HEADER_LEN_MAX
        {
            "the extension block must be 0 to 64 bytes, a multiple of 4"
        } else {
            match &self.traffic {
                Traffic::Even { rate, .. } if !(1.0..=1e6).contains(rate) => "the rate must be 1 to 1000000",
                Traffic::Even { payload_len, .. }
                    if !(PAYLOAD_LEN_MIN..=PAYLOAD_LEN_MAX).contains(payload_len) =>
                {
                    "the size must be 4 to 1400"
                }
                Traffic::Even { burst, .. } if !(1..=BURST_MAX).contains(&usize::from(*burst)) => {
                    "the burst must be 1 to 1000"
                }
                Traffic::Frames(frames) if !has_room(frames.len_range()) => {
                    "the frames have payloads below 4 or above 1400 bytes"
                }
                Traffic::Even { .. } | Traffic::Frames(_) => return Ok(()),
            }
        };
        Err(Failure::Usage(fault.to_owned()))
    }

    /// How many send.
    #[must_use]
    pub const fn publishers(&self) -> usize {
        match self.audience {
            Audience::All { publishers, .. } => publishers,
            Audience::Rooms { rooms, size } => rooms * size,
        }
    }

    /// How many receive.
    #[must_use]
    pub const fn viewers(&self) -> usize {
        match self.audience {
            Audience::All { viewers, .. } => viewers,
            Audience::Rooms { rooms, size } => rooms * size,
        }
    }

    /// How many get one packet.
    #[must_use]
    pub const fn deliveries_per_packet(&self) -> usize {
        match self.audience {
            Audience::All { viewers, .. } => viewers,
            Audience::Rooms { size, .. } => size.saturating_sub(1),
        }
    }

    /// Packets a second that all publishers send together.
    #[must_use]
    pub fn packet_rate(&self) -> f64 {
        let each = match &self.traffic {
            Traffic::Even { rate, .. } => *rate,
            Traffic::Frames(frames) => frames.packet_rate(),
        };
        each * self.publishers() as f64
    }

    /// Bytes of a header with its extensions.
    #[must_use]
    pub const fn header_len(&self) -> usize {
        RTP_HEADER_LEN + self.extension_len
    }

    /// Which audience a publisher has.
    #[inline]
    pub(super) const fn room(&self, publisher: usize) -> usize {
        match self.audience {
            Audience::All { .. } => 0,
            Audience::Rooms { size, .. } => publisher / size,
        }
    }

    /// The viewers of an audience; a publisher who is among them does not get its own packets.
    #[inline]
    pub(super) const fn viewers_of(&self, room: usize) -> Range<usize> {
        match self.audience {
            Audience::All { viewers, .. } => 0..viewers,
            Audience::Rooms { size, .. } => room * size..(room + 1) * size,
        }
    }

    /// True when a viewer is the publisher itself.
    #[inline]
    pub(super) const fn is_own(&self, publisher: usize, viewer: usize) -> bool {
        matches!(self.audience, Audience::Rooms { .. }) && publisher == viewer
    }
}

fn has_room((shortest, longest): (u16, u16)) -> bool {
    shortest >= PAYLOAD_LEN_MIN && longest <= PAYLOAD_LEN_MAX
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn even(audience: Audience, rate: f64, payload_len: u16, burst: u16) -> Shape {
        let traffic = Traffic::Even { rate, payload_len, burst };
        Shape { audience, traffic, cipher: Cipher::Gcm128, extension_len: 8 }
    }

    #[test]
    fn everyone_or_the_others_of_the_room() {
        let all = even(Audience::All { publishers: 2, viewers: 5 }, 100.0, 100, 1);
        assert_eq!((all.publishers(), all.viewers(), all.deliveries_per_packet()), (2, 5, 5));
        assert_eq!((all.viewers_of(all.room(1)), all.is_own(1, 1)), (0..5, false));
        assert_eq!(all.packet_rate(), 200.0);
        let rooms = even(Audience::Rooms { rooms: 3, size: 4 }, 50.0, 100, 1);
        assert_eq!((rooms.publishers(), rooms.viewers(), rooms.deliveries_per_packet()), (12, 12, 3));
        assert_eq!((rooms.viewers_of(rooms.room(7)), rooms.is_own(7, 7)), (4..8, true));
    }

    #[test]
    fn what_cannot_be_measured_is_refused() {
        let good = Audience::All { publishers: 1, viewers: 1 };
        assert!(even(good, 1.0, 4, 1).check().is_ok());
        for (audience, rate, len, burst) in [
            (Audience::All { publishers: 1, viewers: 0 }, 1.0, 100, 1),
            (Audience::All { publishers: 1, viewers: 60_001 }, 1.0, 100, 1),
            (Audience::Rooms { rooms: 3, size: 1 }, 1.0, 100, 1),
            (good, 0.0, 100, 1),
            (good, 1.0, 3, 1),
            (good, 1.0, 1401, 1),
            (good, 1.0, 100, 0),
        ] {
            assert!(even(audience, rate, len, burst).check().is_err(), "{audience:?} {rate} {len} {burst}");
        }
        let shape = Shape { extension_len: 6, ..even(good, 1.0, 100, 1) };
        assert!(shape.check().is_err());
    }
}
