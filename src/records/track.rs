//! A published stream as a record.

use bytemuck::{Pod, Zeroable};

use super::codec::CodecTable;
use super::table::Record;
use super::text::Text;
use crate::ids::{PeerSlot, TrackId, TrackSlot};

/// Audio or video.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaKind {
    /// Audio.
    Audio,
    /// Video.
    Video,
}

/// One published stream. Its peer may be gone while its subscribers wait for it to come back.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct TrackRecord {
    /// Signaling's id; 0 is a free place.
    pub id: TrackId,
    /// The publisher.
    pub peer: PeerSlot,
    /// See [`TrackRecord::VIDEO`] and the constants beside it.
    pub flags: u32,
    /// Other shards that want its packets, a bit each.
    pub demand: u64,
    /// Drawn anew whenever one of its streams ends, so that with it a place in the table of incoming streams names one
    /// stream for ever. Of a mirror: what its home said last.
    pub publication: u64,
    /// Of a mirror: the shard its publisher is on.
    pub home: u32,
    /// Zero.
    pub reserved: u32,
    /// The payload types it may use.
    pub codecs: CodecTable,
    /// Value of `a=mid`.
    pub mid: Text,
}

impl TrackRecord {
    /// It is video.
    pub const VIDEO: u32 = 1;
    /// Generic NACK was negotiated.
    pub const NACK: u32 = 1 << 1;
    /// PLI was negotiated.
    pub const PLI: u32 = 1 << 2;
    /// FIR was negotiated.
    pub const FIR: u32 = 1 << 3;
    /// Its publisher is on another shard, from where its packets come.
    pub const MIRROR: u32 = 1 << 4;

    /// Whether every bit of `flag` is set.
    pub const fn has(&self, flag: u32) -> bool {
        self.flags & flag == flag
    }

    /// The shard its publisher is on, where that is another one.
    pub const fn far_home(&self) -> Option<u32> {
        if self.has(Self::MIRROR) { Some(self.home) } else { None }
    }

    /// Audio or video.
    pub const fn kind(&self) -> MediaKind {
        if self.has(Self::VIDEO) { MediaKind::Video } else { MediaKind::Audio }
    }
}

impl Record for TrackRecord {
    type Slot = TrackSlot;
    fn is_used(&self) -> bool {
        self.id != TrackId(0)
    }
}
