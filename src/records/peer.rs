//! One browser's transport as a record.

use bytemuck::{Pod, Zeroable};

use super::ice::IceRecord;
use super::keys::KeyRecord;
use super::replay::RtcpReplayWindow;
use super::table::Record;
use crate::discard::Discard;
use crate::ids::{PeerId, PeerSlot, RoomId};
use crate::wire::extension::ExtensionMap;

/// How far a peer got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerState {
    /// Waiting for the first valid connectivity check.
    Ice,
    /// A path is valid, the handshake is under way.
    Dtls,
    /// Keys are there, media flows.
    Live,
    /// Over; signaling has been told and will remove it.
    Closed,
}

/// One peer: ICE, keys, indices.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct PeerRecord {
    /// Signaling's id; 0 is a free place.
    pub id: PeerId,
    /// Its room.
    pub room: RoomId,
    /// The fence of its room, as this shard knows it; 0 or 1 for a room that never changed its owner.
    pub fence: u64,
    /// Most that it may send us in bit/s, 0 for unlimited.
    pub receive_max_bps: u64,
    /// Credentials and paths.
    pub ice: IceRecord,
    /// SRTCP indices that have arrived, by the SSRC they came from.
    pub rtcp_sources: [RtcpSource; RTCP_SOURCES],
    /// SHA-256 of the certificate it must show.
    pub remote_fingerprint: [u8; 32],
    /// Header extensions negotiated on this transport.
    pub extensions: ExtensionMap,
    /// SRTP keys once the handshake is done.
    pub keys: KeyRecord,
    state: u8,
    /// See [`PeerRecord::DTLS_CLIENT`] and the constants beside it.
    pub flags: u8,
    reserved: [u8; 2],
    /// Next SRTCP index, 31 bits (RFC 3711 §3.4).
    pub srtcp_out_index: u32,
    /// SSRC that our RTCP to this peer comes from where no media of ours has one.
    pub rtcp_ssrc: u32,
    /// SSRCs latched so far.
    pub latched_ssrcs: u32,
}

/// SSRCs of one peer whose RTCP is told apart. A peer with more of them has the oldest forgotten.
pub const RTCP_SOURCES: usize = 16;

/// Indices of the RTCP that comes from one SSRC: each has its own (RFC 3711 §3.2.1).
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct RtcpSource {
    /// What has arrived.
    pub window: RtcpReplayWindow,
    /// The SSRC; meaningless until something has arrived.
    pub ssrc: u32,
    reserved: u32,
}

impl RtcpSource {
    const fn is(&self, ssrc: u32) -> bool {
        self.ssrc == ssrc && self.window.started != 0
    }
}

impl PeerRecord {
    /// The relay takes the client's side of DTLS.
    pub const DTLS_CLIENT: u8 = 1;
    /// `transport-cc` feedback was negotiated.
    pub const TRANSPORT_CC: u8 = 1 << 1;
    /// `goog-remb` was negotiated.
    pub const REMB: u8 = 1 << 2;

    /// Whether every bit of `flag` is set.
    pub const fn has(&self, flag: u8) -> bool {
        self.flags & flag == flag
    }

    /// Whether RTCP with this index may be opened.
    ///
    /// # Errors
    /// Seen before, or older than the window of its SSRC.
    pub fn check_rtcp(&self, ssrc: u32, index: u32) -> Result<(), Discard> {
        match self.rtcp_sources.iter().find(|source| source.is(ssrc)) {
            Some(source) => source.window.check(index),
            None => Ok(()),
        }
    }

    /// Remembers the index of RTCP that has verified. An SSRC never heard of takes the place of the oldest.
    pub fn accept_rtcp(&mut self, ssrc: u32, index: u32) {
        let known = self.rtcp_sources.iter().position(|source| source.is(ssrc));
        let place = known.unwrap_or_else(|| {
            self.rtcp_sources.rotate_right(1);
            self.rtcp_sources[0] = RtcpSource { ssrc, ..RtcpSource::zeroed() };
            0
        });
        self.rtcp_sources[place].window.accept(index);
    }

    /// How far it got.
    pub const fn state(&self) -> PeerState {
        match self.state {
            0 => PeerState::Ice,
            1 => PeerState::Dtls,
            2 => PeerState::Live,
            _ => PeerState::Closed,
        }
    }

    /// Notes how far it got.
    pub const fn set_state(&mut self, state: PeerState) {
        self.state = state as u8;
    }
}

impl Record for PeerRecord {
    type Slot = PeerSlot;
    fn is_used(&self) -> bool {
        self.id != PeerId(0)
    }
}
