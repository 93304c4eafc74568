//! What the streams that go out to one peer need: keys, path, extension ids. All that fan-out sees of a peer.

use crate::discard::Discard;
use crate::egress::{Egress, Path, RunKey};
use crate::srtp::SealKeys;
use crate::wire::carried::{Carried, ENTRIES_MAX};
use crate::wire::extension::{Entry, ExtensionMap, write_block};
use crate::wire::rtp::FixedHeader;

/// The sending side of one peer's transport.
pub struct Outbound {
    seal: Option<SealKeys>,
    path: Path,
    key: RunKey,
    extensions: ExtensionMap,
}

/// One packet as a viewer is to see it, before it is sealed.
pub struct Outgoing<'a> {
    /// Marker bit.
    pub marker: bool,
    /// The payload ends in padding.
    pub padding: bool,
    /// Payload type.
    pub payload_type: u8,
    /// RTP timestamp.
    pub rtp: u32,
    /// SSRC.
    pub ssrc: u32,
    /// Roll-over counter and sequence number in one; used once.
    pub index: u64,
    /// The viewer's MID.
    pub mid: &'a [u8],
    /// Extensions that travel with the packet.
    pub carried: &'a Carried,
    /// Payload in the clear.
    pub payload: &'a [u8],
}

impl Outbound {
    /// No peer stands here.
    pub const VACANT: Self =
        Self { seal: None, path: Path::NONE, key: RunKey::NONE, extensions: ExtensionMap::EMPTY };

    /// The sending side of the peer whose runs have `key`.
    pub const fn new(key: RunKey, extensions: ExtensionMap) -> Self {
        Self { seal: None, path: Path::NONE, key, extensions }
    }

    /// Keys are there: from now on it is live.
    pub fn set_keys(&mut self, seal: Option<SealKeys>) {
        self.seal = seal;
    }

    /// Sends along `path` from now on.
    pub const fn set_path(&mut self, path: Path) {
        self.path = path;
    }

    /// The path it sends along.
    pub const fn path(&self) -> &Path {
        &self.path
    }

    /// Uses these extension ids from now on.
    pub const fn set_extensions(&mut self, extensions: ExtensionMap) {
        self.extensions = extensions;
    }

    /// Whether anything can be sent.
    #[inline]
    pub const fn is_live(&self) -> bool {
        self.seal.is_some()
    }

    /// Writes header and extensions into a send slot and seals the payload behind them, from where it is. Gives the
    /// length of the datagram.
    ///
    /// # Errors
    /// When nothing was sent: no slot, or the packet does not fit one.
    #[inline]
    pub fn send_rtp(&self, outgoing: &Outgoing<'_>, egress: &mut impl Egress) -> Result<usize, Discard> {
        let seal = self.seal.as_ref().ok_or(Discard::PeerNotLive)?;
        let slot = egress.reserve(self.key, &self.path).ok_or(Discard::OurEgressFull)?;
        let header_len = self.write_header(outgoing, slot);
        let len = seal
            .seal_rtp(outgoing.ssrc, outgoing.index, header_len, outgoing.payload, slot)
            .ok_or(Discard::PeerTooLong)?;
        egress.commit(len);
        Ok(len)
    }

    #[inline]
    fn write_header(&self, outgoing: &Outgoing<'_>, slot: &mut [u8]) -> usize {
        let mut entries = [Entry::NONE; ENTRIES_MAX];
        let filled = outgoing.carried.entries(&self.extensions, outgoing.mid, &mut entries);
        let (fixed, rest) = slot.split_at_mut(crate::wire::rtp::FIXED_LEN);
        let block_len = write_block(rest, &entries[..filled]);
        let header = FixedHeader {
            padding: outgoing.padding,
            extension: block_len > 0,
            marker: outgoing.marker,
            payload_type: outgoing.payload_type,
            sequence: outgoing.index as u16,
            timestamp: outgoing.rtp,
            ssrc: outgoing.ssrc,
        };
        header.write(fixed) + block_len
    }

    /// Seals one compound RTCP packet that `write` puts into a send slot (it gives the length, 0 for nothing to
    /// send). `ssrc` is the first one in the packet, `index` is used once.
    ///
    /// # Errors
    /// When nothing was sent.
    pub fn send_rtcp(
        &self,
        ssrc: u32,
        index: u32,
        egress: &mut impl Egress,
        write: impl FnOnce(&mut [u8]) -> usize,
    ) -> Result<usize, Discard> {
        let seal = self.seal.as_ref().ok_or(Discard::PeerNotLive)?;
        let slot = egress.reserve(self.key, &self.path).ok_or(Discard::OurEgressFull)?;
        let len = write(slot);
        if len == 0 {
            return Ok(0);
        }
        let len = seal.seal_rtcp(ssrc, index, slot, len).ok_or(Discard::PeerTooLong)?;
        egress.commit(len);
        Ok(len)
    }
}
