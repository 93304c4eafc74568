//! One incoming SSRC as a record.

use bytemuck::{Pod, Zeroable};

use super::replay::ReplayWindow;
use super::table::Record;
use super::text::Text;
use crate::ids::{InboundSlot, PeerSlot, TrackSlot};

/// One stream that a peer sends: media, or the RTX that repairs it.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct InboundRecord {
    /// Which indices have arrived (RFC 3711 §3.3.2).
    pub replay: ReplayWindow,
    /// How its packets are numbered without those that carry only padding.
    pub dense: DenseRecord,
    /// Its sender; [`PeerSlot::NONE`] for a stream of a mirror.
    pub peer: PeerSlot,
    /// What it belongs to.
    pub track: TrackSlot,
    /// Its SSRC; for a stream of a mirror its place in its home's table.
    pub ssrc: u32,
    /// For RTX the stream it repairs, else [`InboundSlot::NONE`].
    pub repairs: InboundSlot,
    /// 1 when the place is taken.
    pub used: u32,
    /// 1 when the SSRC was latched by MID or RID, 0 when it was signaled.
    pub latched: u32,
    /// Value of the RID extension it was latched by, empty without.
    pub rid: Text,
}

impl Record for InboundRecord {
    type Slot = InboundSlot;
    fn is_used(&self) -> bool {
        self.used != 0
    }
}

/// Places of [`DenseRecord::holes`].
pub const HOLES: usize = 16;

/// Padding-only packets vanish; this remembers where they stood, so that what is left has numbers without gaps and a
/// late packet still gets the number that was kept for it.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct DenseRecord {
    /// Padding-only packets that vanished so far.
    pub dropped: u64,
    /// The last of them, oldest overwritten first.
    pub holes: [Hole; HOLES],
    /// Holes ever made; the next one goes to this modulo [`HOLES`].
    pub made: u64,
}

/// One run of vanished packets.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct Hole {
    /// Index of the last packet of the run.
    pub last: u64,
    /// Packets vanished up to and with it.
    pub dropped: u64,
}
