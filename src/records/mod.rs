//! What a call needs to go on, outside any process's heap: pointer-free, versioned layouts in one mapping a shard.
//!
//! ```text
//!   +--------+----------+-------+-------+--------+---------+---------------+------+
//!   | header | counters | peers | memos | tracks | inbound | subscriptions | TURN |   tables of fixed size, zero = free
//!   +--------+----------+-------+-------+--------+---------+---------------+------+
//! ```
//!
//! The shard borrows the tables and works in them; there is no checkpoint to take because there is no second copy.
//! Ciphers, timers and caches are not here: they are rebuilt from what is (see `shard/restore.rs`). An index advances in
//! its record before its packet is queued, so that a packet that was never sent costs a gap and never a repeated
//! nonce.

pub mod codec;
pub mod ice;
pub mod inbound;
pub mod keys;
pub mod memo;
pub mod path;
pub mod peer;
pub mod replay;
pub mod subscription;
pub mod table;
pub mod text;
pub mod track;

use bytemuck::{Pod, Zeroable};

pub use codec::{CodecKind, CodecRecord, CodecTable};
pub use inbound::InboundRecord;
pub use memo::MemoRecord;
pub use peer::PeerRecord;
pub use subscription::{SubscriptionRecord, SwitchRecord};
pub use table::{Record, Table};
pub use text::Text;
pub use track::{MediaKind, TrackRecord};

use millrace_turn::server::{AllocationRecord, ServerRecord};

use crate::limits::{ALLOCATIONS_MAX, INBOUND_MAX, PEERS_MAX, SUBSCRIPTIONS_MAX, TRACKS_MAX};
use crate::metrics::Counters;

/// First bytes of every mapping: "millrace" in ASCII.
const MAGIC: u64 = u64::from_be_bytes(*b"millrace");

/// Version of the layout. Any change of a record raises it.
pub const LAYOUT_VERSION: u32 = 4;

/// Tables start on cache lines.
const ALIGN_BYTES: usize = 64;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Header {
    magic: u64,
    version: u32,
    /// Sizes and capacities folded into one number: the same version built with other limits is another layout.
    shape: u32,
    /// One past the last place ever taken, for each table.
    high: High,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct High {
    peers: u64,
    tracks: u64,
    inbound: u64,
    subscriptions: u64,
}

/// Where each table stands.
struct Layout;

impl Layout {
    const COUNTERS: usize = align(size_of::<Header>());
    const PEERS: usize = align(Self::COUNTERS + size_of::<Counters>());
    const MEMOS: usize = align(Self::PEERS + PEERS_MAX * size_of::<PeerRecord>());
    const TRACKS: usize = align(Self::MEMOS + PEERS_MAX * size_of::<MemoRecord>());
    const INBOUND: usize = align(Self::TRACKS + TRACKS_MAX * size_of::<TrackRecord>());
    const SUBSCRIPTIONS: usize = align(Self::INBOUND + INBOUND_MAX * size_of::<InboundRecord>());
    const TURN: usize = align(Self::SUBSCRIPTIONS + SUBSCRIPTIONS_MAX * size_of::<SubscriptionRecord>());
    const ALLOCATIONS: usize = align(Self::TURN + size_of::<ServerRecord>());
    const END: usize = align(Self::ALLOCATIONS + ALLOCATIONS_MAX * size_of::<AllocationRecord>());

    /// Distinguishes layouts of one version built with other sizes or limits.
    const SHAPE: u32 = {
        let ends = [
            Self::COUNTERS,
            Self::PEERS,
            Self::MEMOS,
            Self::TRACKS,
            Self::INBOUND,
            Self::SUBSCRIPTIONS,
            Self::TURN,
            Self::ALLOCATIONS,
            Self::END,
        ];
        let mut shape = 0u32;
        let mut place = 0;
        while place < ends.len() {
            shape = shape.rotate_left(5).wrapping_mul(0x9E37_79B1) ^ (ends[place] & 0xFFFF_FFFF) as u32;
            place += 1;
        }
        shape
    };
}

const fn align(offset: usize) -> usize {
    offset.next_multiple_of(ALIGN_BYTES)
}

/// Bytes a shard's mapping must have. Untouched pages of it cost nothing.
pub const MAPPING_BYTES: usize = Layout::END;

/// Why a mapping cannot be taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttachError {
    /// Not [`MAPPING_BYTES`] long, or not on a cache line.
    #[error(
        "the mapping has {len_bytes} bytes at an alignment that this release cannot use ({MAPPING_BYTES} needed)"
    )]
    Size {
        /// Bytes it has.
        len_bytes: usize,
    },
    /// Written by a release with another layout.
    #[error("the records are of layout {version} and this release has layout {LAYOUT_VERSION}")]
    Version {
        /// The layout found.
        version: u32,
    },
}

/// The records of one shard.
pub struct Records<'m> {
    /// What it counted.
    pub counters: &'m mut Counters,
    /// Its peers.
    pub peers: Table<'m, PeerRecord>,
    /// What signaling noted with each peer, in the places of the peers' table.
    pub memos: &'m mut [MemoRecord],
    /// Its tracks.
    pub tracks: Table<'m, TrackRecord>,
    /// Its incoming streams.
    pub inbound: Table<'m, InboundRecord>,
    /// Its subscriptions.
    pub subscriptions: Table<'m, SubscriptionRecord>,
    /// Its TURN server's; taken by whoever runs that.
    pub turn: Option<TurnRecords<'m>>,
}

/// The records of one shard's TURN server, which has a table of its own.
pub struct TurnRecords<'m> {
    /// Key of its nonces, and what it counted.
    pub server: &'m mut ServerRecord,
    /// Its allocations.
    pub allocations: &'m mut [AllocationRecord],
}

impl<'m> Records<'m> {
    /// Takes over a mapping: a fresh one (all zeroes) is marked as ours, one of ours is taken as it is.
    ///
    /// # Errors
    /// When the mapping has another size or another layout.
    pub fn attach(mapping: &'m mut [u8]) -> Result<Self, AttachError> {
        let len_bytes = mapping.len();
        if len_bytes != MAPPING_BYTES || !mapping.as_ptr().addr().is_multiple_of(ALIGN_BYTES) {
            return Err(AttachError::Size { len_bytes });
        }
        let (header, rest) = mapping.split_at_mut(Layout::COUNTERS);
        let header: &mut Header = bytemuck::from_bytes_mut(&mut header[..size_of::<Header>()]);
        Self::claim(header)?;
        let high = &mut header.high;
        let (counters, rest) = rest.split_at_mut(Layout::PEERS - Layout::COUNTERS);
        let (peers, rest) = rest.split_at_mut(Layout::MEMOS - Layout::PEERS);
        let (memos, rest) = rest.split_at_mut(Layout::TRACKS - Layout::MEMOS);
        let (tracks, rest) = rest.split_at_mut(Layout::INBOUND - Layout::TRACKS);
        let (inbound, rest) = rest.split_at_mut(Layout::SUBSCRIPTIONS - Layout::INBOUND);
        let (subscriptions, rest) = rest.split_at_mut(Layout::TURN - Layout::SUBSCRIPTIONS);
        let (server, allocations) = rest.split_at_mut(Layout::ALLOCATIONS - Layout::TURN);
        Ok(Self {
            counters: bytemuck::from_bytes_mut(&mut counters[..size_of::<Counters>()]),
            peers: table(peers, PEERS_MAX, &mut high.peers),
            memos: bytemuck::cast_slice_mut(&mut memos[..PEERS_MAX * size_of::<MemoRecord>()]),
            tracks: table(tracks, TRACKS_MAX, &mut high.tracks),
            inbound: table(inbound, INBOUND_MAX, &mut high.inbound),
            subscriptions: table(subscriptions, SUBSCRIPTIONS_MAX, &mut high.subscriptions),
            turn: Some(TurnRecords {
                server: bytemuck::from_bytes_mut(&mut server[..size_of::<ServerRecord>()]),
                allocations: bytemuck::cast_slice_mut(
                    &mut allocations[..ALLOCATIONS_MAX * size_of::<AllocationRecord>()],
                ),
            }),
        })
    }

    fn claim(header: &mut Header) -> Result<(), AttachError> {
        if header.magic == 0 {
            *header =
                Header { magic: MAGIC, version: LAYOUT_VERSION, shape: Layout::SHAPE, high: High::zeroed() };
        }
        if (header.magic, header.version, header.shape) != (MAGIC, LAYOUT_VERSION, Layout::SHAPE) {
            return Err(AttachError::Version { version: header.version });
        }
        Ok(())
    }
}

fn table<'m, R: Record>(bytes: &'m mut [u8], capacity: usize, high: &'m mut u64) -> Table<'m, R> {
    Table::attach(bytemuck::cast_slice_mut(&mut bytes[..capacity * size_of::<R>()]), high)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::TrackId;

    /// Memory with room to find a cache line in.
    fn mapping() -> Vec<u64> {
        vec![0; (MAPPING_BYTES + ALIGN_BYTES) / 8]
    }

    fn aligned(memory: &mut [u64]) -> &mut [u8] {
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(memory);
        let skip = bytes.as_ptr().align_offset(ALIGN_BYTES);
        &mut bytes[skip..skip + MAPPING_BYTES]
    }

    #[test]
    fn what_one_process_wrote_the_next_one_reads() {
        let mut memory = mapping();
        let mut records = Records::attach(aligned(&mut memory)).unwrap();
        let track = TrackRecord { id: TrackId(5), ..TrackRecord::zeroed() };
        let slot = records.tracks.insert(track).unwrap();
        records.counters.rtp_in = 9;
        let records = Records::attach(aligned(&mut memory)).unwrap();
        assert_eq!((records.tracks[slot].id, records.counters.rtp_in), (TrackId(5), 9));
    }

    #[test]
    fn another_layout_is_refused_and_left_alone() {
        let mut memory = mapping();
        let bytes = aligned(&mut memory);
        Records::attach(bytes).unwrap();
        bytes[8] ^= 0x80;
        let before = bytes[..32].to_vec();
        assert!(matches!(Records::attach(bytes), Err(AttachError::Version { .. })));
        assert_eq!(bytes[..32], before[..]);
    }

    #[test]
    fn a_short_mapping_is_refused() {
        let mut memory = mapping();
        assert!(matches!(Records::attach(&mut aligned(&mut memory)[..4096]), Err(AttachError::Size { .. })));
    }
}
