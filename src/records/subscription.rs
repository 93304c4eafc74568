//! One viewer's copy of one track as a record: what every packet needs first, what was signaled behind it.

use bytemuck::{Pod, Zeroable};

use super::codec::CodecTable;
use super::table::Record;
use super::text::Text;
use super::track::MediaKind;
use crate::ids::{InboundSlot, PeerSlot, SubscriptionId, SubscriptionSlot, TrackId};
use crate::time::Timestamp;

/// One subscription.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct SubscriptionRecord {
    /// Signaling's id; 0 is a free place.
    pub id: SubscriptionId,
    /// How what comes in becomes the viewer's own stream.
    pub switch: SwitchRecord,
    /// Next index of the RTX stream (RFC 4588), roll-over counter and sequence number in one.
    pub rtx_index: u64,
    /// Packets sent, for sender reports.
    pub packets: u64,
    /// Payload bytes sent, for sender reports.
    pub octets: u64,
    /// The viewer.
    pub peer: PeerSlot,
    /// SSRC that the viewer sees.
    pub ssrc: u32,
    /// SSRC of its RTX; meaningless without [`SubscriptionRecord::RTX`].
    pub rtx_ssrc: u32,
    /// See [`SubscriptionRecord::VIDEO`] and the constants beside it.
    pub flags: u32,
    /// The track it follows, present or not.
    pub track: TrackId,
    /// The viewer's payload types.
    pub codecs: CodecTable,
    /// Value of `a=mid` of the viewer's m-section.
    pub mid: Text,
    /// CNAME for SDES.
    pub cname: Text,
}

impl SubscriptionRecord {
    /// It is video: it starts at a key frame.
    pub const VIDEO: u32 = 1;
    /// RTX was negotiated.
    pub const RTX: u32 = 1 << 1;
    /// It has ended. Its numbers are remembered as long as its viewer's keys are: should its SSRC come again, they go
    /// on from there and no nonce is used twice.
    pub const RETIRED: u32 = 1 << 2;

    /// Nothing is sent for now: fan-out does not know it.
    pub const PAUSED: u32 = 1 << 3;

    /// Whether every bit of `flag` is set.
    pub const fn has(&self, flag: u32) -> bool {
        self.flags & flag == flag
    }

    /// Audio or video.
    pub const fn kind(&self) -> MediaKind {
        if self.has(Self::VIDEO) { MediaKind::Video } else { MediaKind::Audio }
    }

    /// Whether packets of it may be asked for again now.
    pub const fn repairs(&self) -> bool {
        self.has(Self::RTX) && !self.has(Self::PAUSED)
    }

    /// The SSRC of its RTX, if it has any.
    pub const fn rtx(&self) -> Option<u32> {
        if self.has(Self::RTX) { Some(self.rtx_ssrc) } else { None }
    }

    /// The first index of `ssrc` that was never used; `None` when it is none of its SSRCs.
    pub fn next_index(&self, ssrc: u32) -> Option<u64> {
        match ssrc {
            _ if ssrc == self.ssrc => Some(self.switch.highest + u64::from(self.switch.started)),
            _ if self.rtx() == Some(ssrc) => Some(self.rtx_index),
            _ => None,
        }
    }
}

impl Record for SubscriptionRecord {
    type Slot = SubscriptionSlot;
    fn is_used(&self) -> bool {
        self.id != SubscriptionId(0)
    }
}

/// State of the source switch: `out = dense + offset` while one source lasts.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct SwitchRecord {
    /// Dense number of the first packet of this source that was forwarded; older ones are nobody's business.
    pub first_dense: u64,
    /// Added (modulo 2^64) to a dense number to give the viewer's index.
    pub offset: u64,
    /// Highest index sent: roll-over counter and sequence number in one.
    pub highest: u64,
    /// When the newest packet was forwarded.
    pub newest_at: Timestamp,
    /// The newest RTP timestamp sent.
    pub newest_rtp: u32,
    /// Added (modulo 2^32) to the publisher's RTP timestamp.
    pub rtp_offset: u32,
    /// The stream that is being forwarded.
    pub source: InboundSlot,
    /// 1 once anything was sent; before, `highest` is where numbering will start.
    pub started: u32,
}
