//! What the streams that go out to one peer need: keys, path, extension ids, the record of what was sent. All that
//! fan-out sees of a peer.

use crate::congestion::history::{SendHistory, Settled};
use crate::congestion::pacer::Pacer;
use crate::discard::Discard;
use crate::egress::{Egress, Path, RunKey};
use crate::srtp::SealKeys;
use crate::time::Timestamp;
use crate::wire::block::Block;
use crate::wire::extension::{ExtensionMap, Kind};
use crate::wire::rtcp::twcc::Feedback;
use crate::wire::rtp::{FIXED_LEN, FixedHeader};

/// The sending side of one peer's transport.
pub struct Outbound {
    seal: Option<SealKeys>,
    path: Path,
    key: RunKey,
    extensions: ExtensionMap,
    /// Where transport-wide numbers were negotiated.
    history: Option<SendHistory>,
    pacer: Pacer,
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
    /// Its header extensions, written for this viewer's ids.
    pub block: &'a Block,
    /// Payload in the clear.
    pub payload: &'a [u8],
}

impl Outbound {
    /// No peer stands here.
    pub const VACANT: Self = Self::new(RunKey::NONE, ExtensionMap::EMPTY);

    /// The sending side of the peer whose runs have `key`.
    pub const fn new(key: RunKey, extensions: ExtensionMap) -> Self {
        Self { seal: None, path: Path::NONE, key, extensions, history: None, pacer: Pacer::UNLIMITED }
    }

    /// Keys are there: from now on it is live.
    pub fn set_keys(&mut self, seal: Option<SealKeys>) {
        self.seal = seal;
        self.keep_history();
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
    pub fn set_extensions(&mut self, extensions: ExtensionMap) {
        self.extensions = extensions;
        self.keep_history();
    }

    /// The extension ids it uses.
    #[inline]
    pub const fn extensions(&self) -> &ExtensionMap {
        &self.extensions
    }

    /// Whether anything can be sent.
    #[inline]
    pub const fn is_live(&self) -> bool {
        self.seal.is_some()
    }

    /// Whether something that can wait, such as a packet sent again, may leave now.
    pub fn admits(&self, now: Timestamp) -> bool {
        self.pacer.admits(now)
    }

    /// Takes in what the peer reports of the packets it was sent.
    pub fn handle_feedback(&mut self, now: Timestamp, feedback: &Feedback<'_>) -> Settled {
        self.history.as_mut().map_or_else(Settled::default, |history| history.handle_feedback(now, feedback))
    }

    /// Memory for what was sent is there before the first packet is, and only while there are keys.
    fn keep_history(&mut self) {
        let wanted = self.is_live() && self.extensions.id(Kind::TransportCc).is_some();
        if wanted != self.history.is_some() {
            self.history = wanted.then(|| SendHistory::new(0));
        }
    }

    /// Writes header and extensions into a send slot and seals the payload behind them, from where it is. Gives the
    /// length of the datagram.
    ///
    /// # Errors
    /// When nothing was sent: no slot, or the packet does not fit one.
    #[inline]
    pub fn send_rtp(
        &mut self,
        now: Timestamp,
        outgoing: &Outgoing<'_>,
        egress: &mut impl Egress,
    ) -> Result<usize, Discard> {
        let seal = self.seal.as_ref().ok_or(Discard::PeerNotLive)?;
        let slot = egress.reserve(self.key, &self.path).ok_or(Discard::OurEgressFull)?;
        let number = self.history.as_ref().map_or(0, SendHistory::next_number);
        let header_len = write_header(outgoing, number, slot);
        let len = seal
            .seal_rtp(outgoing.ssrc, outgoing.index, header_len, outgoing.payload, slot)
            .ok_or(Discard::PeerTooLong)?;
        egress.commit(len);
        if let Some(history) = self.history.as_mut().filter(|_| outgoing.block.is_numbered()) {
            history.note(now, len);
        }
        self.pacer.note(now, len);
        Ok(len)
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

#[inline]
fn write_header(outgoing: &Outgoing<'_>, number: u16, slot: &mut [u8]) -> usize {
    let (fixed, rest) = slot.split_at_mut(FIXED_LEN);
    outgoing.block.copy_to(rest, number);
    let header = FixedHeader {
        padding: outgoing.padding,
        extension: !outgoing.block.is_empty(),
        marker: outgoing.marker,
        payload_type: outgoing.payload_type,
        sequence: outgoing.index as u16,
        timestamp: outgoing.rtp,
        ssrc: outgoing.ssrc,
    };
    header.write(fixed) + outgoing.block.len()
}
