//! What one shard hands to another: a packet in the clear for all of its viewers there, and the few words that steer that.
//!
//! ```text
//!   home: the shard of the publisher                     mirror: another shard with viewers of the track
//!     Packet, Report, Published          ──────────►       its own fan-out, cache, sender reports
//!     one demand a shard, one request    ◄──────────       Demand, Keyframe, Missing
//! ```
//!
//! Any parcel may be lost. A demand and a report are repeated by the clock, a key frame request as long as somebody
//! waits, and a lost packet is a gap that viewers ask for.

use std::net::SocketAddr;

use super::cache::{Facts, Kept};
use super::fanout::Arrival;
use crate::egress::{DATAGRAM_BYTES_MAX, Path};
use crate::feedback::report::PublisherReport;
use crate::ids::{InboundSlot, TrackId};
use crate::wire::carried::Carried;

/// Something on its way from one shard to another.
pub struct Parcel {
    /// The shard it comes from.
    pub from: u32,
    /// The track it is about; none with a datagram.
    pub track: TrackId,
    /// What it says.
    pub content: Content,
}

/// What a [`Parcel`] says.
pub enum Content {
    /// From home: a packet for the viewers.
    Packet(Box<Packet>),
    /// From or to a TURN client whose allocation is on one shard and whose peer is the media port of the other.
    Datagram(Box<Datagram>),
    /// From home: the publisher's last sender report on a stream.
    Report {
        /// The stream.
        stream: FarStream,
        /// The report. All shards go by one clock.
        report: PublisherReport,
    },
    /// From home, to every shard: the track has a publisher now, who wants it?
    Published,
    /// To home: the track is wanted, or wanted no longer.
    Demand(bool),
    /// To home: somebody waits for a key frame.
    Keyframe,
    /// To home: a packet that viewers miss and the mirror never had.
    Missing {
        /// Its stream.
        stream: FarStream,
        /// Its number there.
        dense: u64,
    },
}

impl Content {
    /// Whether it is a buffer of the shard it came from, which goes back there.
    pub const fn is_buffer(&self) -> bool {
        matches!(self, Self::Packet(_) | Self::Datagram(_))
    }
}

/// A datagram as it is on the wire, between an allocation and a media port that are on different shards.
#[derive(Debug)]
pub struct Datagram {
    /// Which way it goes.
    pub towards: Towards,
    /// Slot of the allocation on its shard.
    pub allocation: u16,
    /// Its relayed address, which tells whether the slot is still the same one's.
    pub relayed: SocketAddr,
    /// The media address.
    pub media: SocketAddr,
    len: usize,
    bytes: [u8; DATAGRAM_BYTES_MAX],
}

/// Which end a [`Datagram`] is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Towards {
    /// The media port.
    Media,
    /// The client of the allocation.
    Client,
}

impl Datagram {
    /// A buffer to fill.
    pub const EMPTY: Self = Self {
        towards: Towards::Media,
        allocation: 0,
        relayed: Path::NONE.remote,
        media: Path::NONE.remote,
        len: 0,
        bytes: [0; DATAGRAM_BYTES_MAX],
    };

    /// Room for its bytes; [`Self::set_len`] says how many there are.
    pub const fn room(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// The first `len` bytes of the room are it.
    ///
    /// # Panics
    /// When that is more than there is room for.
    pub fn set_len(&mut self, len: usize) {
        assert!(len <= self.bytes.len());
        self.len = len;
    }

    /// Its bytes.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len]
    }
}

/// Names one stream of a track for ever, also when its place at home is taken by another one later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FarStream {
    /// [`TrackRecord::publication`](crate::records::TrackRecord::publication) at home.
    pub publication: u64,
    /// Its place in its home's table.
    pub place: InboundSlot,
}

/// A packet in the clear with all that fan-out has to know of it; a buffer that is used again and again.
pub struct Packet {
    /// The stream it came on.
    pub stream: FarStream,
    /// It was asked for: nobody but who asks again gets it.
    pub repair: bool,
    dense: u64,
    rtp: u32,
    clock_rate_hz: u32,
    format: u32,
    marker: bool,
    padding: bool,
    switch_point: bool,
    keep: bool,
    carried: Carried,
    payload_len: usize,
    payload: [u8; DATAGRAM_BYTES_MAX],
}

impl Packet {
    /// A buffer to [write](Self::write) into.
    pub const EMPTY: Self = Self {
        stream: FarStream { publication: 0, place: InboundSlot::NONE },
        repair: false,
        dense: 0,
        rtp: 0,
        clock_rate_hz: 0,
        format: 0,
        marker: false,
        padding: false,
        switch_point: false,
        keep: false,
        carried: Carried::EMPTY,
        payload_len: 0,
        payload: [0; DATAGRAM_BYTES_MAX],
    };

    /// Takes a packet up as it came; false when it is longer than any packet of ours.
    #[inline]
    pub fn write(&mut self, stream: FarStream, arrival: &Arrival<'_>) -> bool {
        (self.stream, self.repair) = (stream, false);
        (self.dense, self.rtp, self.clock_rate_hz) = (arrival.dense, arrival.rtp, arrival.clock_rate_hz);
        (self.format, self.marker, self.padding) = (arrival.format, arrival.marker, arrival.padding);
        (self.switch_point, self.keep) = (arrival.switch_point, arrival.keep);
        self.fill(&arrival.carried, arrival.payload())
    }

    /// Takes a packet up from the cache; false when it is longer than any packet of ours.
    pub fn write_repair(&mut self, stream: FarStream, dense: u64, kept: &Kept) -> bool {
        (self.stream, self.repair) = (stream, true);
        (self.dense, self.rtp, self.format, self.marker) = (dense, kept.rtp, kept.format, kept.marker);
        self.fill(&kept.carried, kept.payload())
    }

    #[inline]
    fn fill(&mut self, carried: &Carried, payload: &[u8]) -> bool {
        let Some(room) = self.payload.get_mut(..payload.len()) else { return false };
        room.copy_from_slice(payload);
        self.payload_len = payload.len();
        self.carried.clone_from(carried);
        true
    }

    /// The packet as it arrives on another shard, where its stream is `source`.
    #[inline]
    pub fn arrival(&mut self, source: InboundSlot) -> Arrival<'_> {
        Arrival {
            source,
            dense: self.dense,
            rtp: self.rtp,
            clock_rate_hz: self.clock_rate_hz,
            format: self.format,
            marker: self.marker,
            padding: self.padding,
            switch_point: self.switch_point,
            keep: self.keep,
            carried: self.carried,
            bytes: &mut self.payload,
            payload_len: self.payload_len,
            run_padding: 0,
        }
    }

    /// What the cache keeps of it besides its payload.
    pub const fn facts(&self) -> Facts {
        Facts { rtp: self.rtp, format: self.format, marker: self.marker }
    }

    /// Its number among the packets that viewers see.
    pub const fn dense(&self) -> u64 {
        self.dense
    }

    /// Extensions that travel with it.
    pub const fn carried(&self) -> &Carried {
        &self.carried
    }

    /// RTP clock in Hz.
    pub const fn clock_rate_hz(&self) -> u32 {
        self.clock_rate_hz
    }

    /// Whether a viewer may start here.
    pub const fn is_switch_point(&self) -> bool {
        self.switch_point
    }

    /// Payload in the clear.
    pub fn payload(&self) -> &[u8] {
        &self.payload[..self.payload_len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::cache::Cache;

    const STREAM: FarStream = FarStream { publication: 7, place: InboundSlot(3) };

    fn arrival(payload: &mut [u8]) -> Arrival<'_> {
        Arrival {
            source: STREAM.place,
            dense: 70_000,
            rtp: 90_000,
            clock_rate_hz: 48_000,
            format: 5,
            marker: true,
            padding: false,
            switch_point: true,
            keep: true,
            carried: Carried::EMPTY,
            payload_len: payload.len(),
            bytes: payload,
            run_padding: 0,
        }
    }

    #[test]
    fn a_packet_arrives_as_it_left_whatever_the_buffer_held() {
        let mut packet = Box::new(Packet::EMPTY);
        assert!(packet.write(STREAM, &arrival(&mut [0xEE; DATAGRAM_BYTES_MAX])));
        assert!(packet.write(STREAM, &arrival(&mut b"payload".clone())));
        let there = packet.arrival(InboundSlot(9));
        assert_eq!((there.source, there.dense, there.rtp), (InboundSlot(9), 70_000, 90_000));
        assert_eq!((there.clock_rate_hz, there.format, there.payload()), (48_000, 5, &b"payload"[..]));
        assert!(there.marker && !there.padding && there.switch_point && there.keep);
        assert!(!packet.repair);
        assert!(!packet.write(STREAM, &arrival(&mut [0; DATAGRAM_BYTES_MAX + 1])));
    }

    #[test]
    fn a_repair_is_what_the_cache_kept() {
        let mut cache = Cache::new();
        cache.keep(STREAM.place, 8, Facts { rtp: 1, format: 2, marker: true }, &Carried::EMPTY, b"kept");
        let mut packet = Box::new(Packet::EMPTY);
        assert!(packet.write_repair(STREAM, 8, cache.get(STREAM.place, 8).unwrap()));
        assert_eq!((packet.dense(), packet.payload(), packet.repair), (8, &b"kept"[..], true));
        assert_eq!((packet.facts().rtp, packet.facts().format, packet.facts().marker), (1, 2, true));
    }
}
