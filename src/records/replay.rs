//! Which packet indices have been received, as it stands in a record. What one does with it is in `srtp/replay.rs`.

use bytemuck::{Pod, Zeroable};

/// Width of the RTP window in packets: 1 s of a busy video stream may arrive late and still count once.
pub const RTP_WINDOW_PACKETS: u64 = 1024;
/// Width of the SRTCP window in packets (at least 64, RFC 3711 §3.3.2).
pub const RTCP_WINDOW_PACKETS: u64 = 128;

/// Received indices of one SSRC's RTP: the highest, and which of the 1 024 below it have been seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct ReplayWindow {
    /// Highest authenticated index: ROC in bits 16..48, sequence number below.
    pub highest: u64,
    /// Bit `index % 1024` is set when that index has been seen.
    pub seen: [u64; 16],
    /// 1 once a packet has been authenticated.
    pub started: u8,
    /// 1 from a restart until the next authenticated packet.
    pub restored: u8,
    /// Zero.
    pub reserved: [u8; 6],
}

/// Received indices of one SSRC's SRTCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct RtcpReplayWindow {
    /// Bit `index % 128` is set when that index has been seen.
    pub seen: [u64; 2],
    /// Highest authenticated index, 31 bits.
    pub highest: u32,
    /// 1 once a packet has been authenticated.
    pub started: u8,
    /// Zero.
    pub reserved: [u8; 3],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_does_not_move() {
        assert_eq!(size_of::<ReplayWindow>(), 144);
        assert_eq!(size_of::<RtcpReplayWindow>(), 24);
        assert_eq!(size_of::<[u64; 16]>() as u64 * 8, RTP_WINDOW_PACKETS);
        assert_eq!(size_of::<[u64; 2]>() as u64 * 8, RTCP_WINDOW_PACKETS);
    }
}
