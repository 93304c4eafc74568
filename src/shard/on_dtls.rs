//! DTLS: handshake datagrams wait until media has been served; a finished handshake makes a peer live.

use millrace_control::CloseCause;

use super::Shard;
use super::timers::Timer;
use crate::discard::Discard;
use crate::dtls::{Fingerprint, Handshake, Output, Role, SrtpKeys};
use crate::egress::{DATAGRAM_BYTES_MAX, Egress, Path, RunKey};
use crate::ids::PeerSlot;
use crate::records::PeerRecord;
use crate::records::peer::PeerState;
use crate::srtp::{OpenKeys, SealKeys};
use crate::time::Timestamp;

/// Begins the handshake of a peer whose first path is valid. Nothing of DTLS exists before that.
pub(super) fn start(shard: &mut Shard<'_>, now: Timestamp, slot: PeerSlot, egress: &mut impl Egress) {
    let record = &shard.records.peers[slot];
    let role = if record.has(PeerRecord::DTLS_CLIENT) { Role::Client } else { Role::Server };
    let expected = Fingerprint(record.remote_fingerprint);
    let handshake = Box::new(Handshake::new(role, &shard.config.dtls, expected, shard.config.epoch, now));
    if let Some(peer) = shard.peers[slot.index()].as_mut() {
        peer.handshake = Some(handshake);
    }
    shard.drive_handshake(now, slot, egress);
}

impl Shard<'_> {
    pub(super) fn on_dtls(&mut self, path: &Path, datagram: &[u8]) -> Result<(), Discard> {
        let slot = *self.routes.by_path.get(path).ok_or(Discard::PeerUnknownSource)?;
        let peer = self.peers[slot.index()].as_ref().ok_or(Discard::PeerNotLive)?;
        if peer.handshake.is_none() {
            return Err(Discard::PeerDtlsUnexpected);
        }
        self.handshakes.push(slot, datagram)
    }

    /// A bounded number of handshake datagrams, after media.
    pub fn handle_deferred(&mut self, now: Timestamp, egress: &mut impl Egress) {
        for (slot, datagram) in self.handshakes.take() {
            let Some(peer) = self.peers[slot.index()].as_mut() else { continue };
            let Some(handshake) = peer.handshake.as_mut() else { continue };
            if let Err(reason) = handshake.handle_datagram(now, &datagram) {
                self.records.counters.discard(reason);
            }
            self.drive_handshake(now, slot, egress);
        }
    }

    pub(super) fn on_handshake_timer(&mut self, now: Timestamp, slot: PeerSlot, egress: &mut impl Egress) {
        self.resume_handshake(now, slot, egress);
        if let Some(handshake) = self.peers[slot.index()].as_mut().and_then(|peer| peer.handshake.as_mut()) {
            handshake.handle_timeout(now);
            self.drive_handshake(now, slot, egress);
        }
    }

    /// Sends what the handshake has to say, until it waits.
    fn drive_handshake(&mut self, now: Timestamp, slot: PeerSlot, egress: &mut impl Egress) {
        loop {
            let Some(handshake) = self.peers[slot.index()].as_mut().and_then(|peer| peer.handshake.as_mut())
            else {
                return;
            };
            let mut datagram = [0; DATAGRAM_BYTES_MAX];
            match handshake.poll_output(&mut datagram) {
                Output::Datagram(len) => self.send_handshake(slot, &datagram[..len], egress),
                Output::Timeout(deadline) => {
                    self.timers.arm(Timer::Handshake(slot.0), deadline);
                    return;
                }
                Output::Connected(keys) => self.go_live(now, slot, &keys),
                Output::Failed(error) => {
                    self.records.counters.dtls_failed += 1;
                    return self.close_peer(slot, CloseCause::HandshakeFailed, &error.to_string());
                }
                Output::Closed => {
                    return self.close_peer(slot, CloseCause::ClosedByPeer, "closed by the browser");
                }
            }
        }
    }

    fn send_handshake(&mut self, slot: PeerSlot, datagram: &[u8], egress: &mut impl Egress) {
        let path = *self.outbound[slot.index()].path();
        match egress.reserve(RunKey(slot.0), &path) {
            Some(place) => {
                place[..datagram.len()].copy_from_slice(datagram);
                egress.commit(datagram.len());
            }
            None => self.records.counters.discard(Discard::OurEgressFull),
        }
    }

    fn go_live(&mut self, now: Timestamp, slot: PeerSlot, keys: &SrtpKeys) {
        self.records.peers[slot].keys = *keys.record();
        self.records.counters.dtls_connected += 1;
        self.install_keys(slot);
        self.set_state(slot, PeerState::Live);
        let Some(peer) = self.peers[slot.index()].as_ref() else { return };
        let (published, watched) = (peer.tracks.clone(), peer.subscriptions.clone());
        for subscription in watched {
            self.start_viewing(now, subscription);
        }
        // The browser may have been ready before us, and its first packets were undecipherable.
        for track in published {
            if self.records.tracks[track].has(crate::records::TrackRecord::VIDEO)
                && !self.tracks[track.index()].subscribers.is_empty()
            {
                self.want_keyframe(now, track);
            }
        }
    }

    /// Makes the ciphers that a peer's record has keys for; also after a restart.
    pub(crate) fn install_keys(&mut self, slot: PeerSlot) {
        let keys = &self.records.peers[slot].keys;
        self.outbound[slot.index()].set_keys(SealKeys::from_record(keys));
        if let Some(peer) = self.peers[slot.index()].as_mut() {
            peer.open = OpenKeys::from_record(keys);
        }
    }
}
