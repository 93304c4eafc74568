//! STUN: a peer's connectivity checks, and the plain Bindings of whoever wants to know its own address.

use millrace_control::CloseCause;
use millrace_turn::{Message, answer_binding};

use super::timers::Timer;
use super::{Shard, on_dtls};
use crate::discard::Discard;
use crate::egress::{Egress, Path, RunKey};
use crate::ice::{self, Effect, Handled};
use crate::ids::PeerSlot;
use crate::records::peer::PeerState;
use crate::time::Timestamp;

impl Shard<'_> {
    pub(super) fn on_stun(
        &mut self,
        now: Timestamp,
        path: &Path,
        datagram: &[u8],
        egress: &mut impl Egress,
    ) -> Result<(), Discard> {
        let message = Message::parse(datagram).map_err(|_| Discard::PeerStunMalformed)?;
        match ice::username_local_ufrag(&message) {
            Some(ufrag) => {
                let peer = self.routes.by_ufrag.get(ufrag).copied().ok_or(Discard::PeerStunUnknownUser)?;
                self.on_check(now, peer, path, &message, egress)
            }
            None => self.on_binding(now, path, &message, egress),
        }
    }

    fn on_check(
        &mut self,
        now: Timestamp,
        slot: PeerSlot,
        path: &Path,
        check: &Message<'_>,
        egress: &mut impl Egress,
    ) -> Result<(), Discard> {
        let peer = self.peers[slot.index()].as_mut().ok_or(Discard::PeerNotLive)?;
        let record = &mut self.records.peers[slot];
        if record.state() == PeerState::Closed {
            return Err(Discard::PeerNotLive);
        }
        let response = egress.reserve(RunKey(slot.0), path).ok_or(Discard::OurEgressFull)?;
        let handled = peer.agent.handle_binding(&mut record.ice, now, path, check, response)?;
        let Handled { response_len, effect, forgotten } = handled;
        egress.commit(response_len);
        self.records.counters.stun_checks += 1;
        if let Some(forgotten) = forgotten {
            self.forget_path(slot, &forgotten);
        }
        self.follow(now, slot, path, effect, egress);
        Ok(())
    }

    /// What a check did to a peer's paths becomes routes and the path media is sent along.
    fn follow(
        &mut self,
        now: Timestamp,
        slot: PeerSlot,
        path: &Path,
        effect: Effect,
        egress: &mut impl Egress,
    ) {
        match effect {
            Effect::None => {
                // The route may have gone to another peer that spoke from here, or with that one's end. A check that
                // was refused has no say.
                if ice::is_validated(&self.records.peers[slot].ice, path) {
                    self.routes.by_path.insert(*path, slot);
                }
                return;
            }
            Effect::PathValidated => {}
            Effect::Selected(selected) | Effect::Migrated(selected) => {
                self.outbound[slot.index()].set_path(selected);
            }
        }
        // Whoever authenticated last from an address is who speaks there now.
        self.routes.by_path.insert(*path, slot);
        self.timers.arm(Timer::Ice(slot.0), ice::next_deadline(&self.records.peers[slot].ice));
        if matches!(effect, Effect::Selected(_)) && self.records.peers[slot].state() == PeerState::Ice {
            self.set_state(slot, PeerState::Dtls);
            on_dtls::start(self, now, slot, egress);
        }
    }

    /// A path that lapsed, unless it meanwhile belongs to another peer.
    pub(super) fn forget_path(&mut self, slot: PeerSlot, path: &Path) {
        if self.routes.by_path.get(path) == Some(&slot) {
            self.routes.by_path.remove(path);
        }
    }

    /// Consent: a peer that stopped asking is no longer sent to (RFC 7675).
    pub(super) fn on_consent_timer(&mut self, now: Timestamp, slot: PeerSlot) {
        let mut lapsed = Vec::new();
        let record = &mut self.records.peers[slot];
        let lapse = ice::handle_timeout(&mut record.ice, now, |path| lapsed.push(path));
        let deadline = ice::next_deadline(&record.ice);
        for path in &lapsed {
            self.forget_path(slot, path);
        }
        match lapse {
            ice::Lapse::None => {}
            ice::Lapse::Migrated(path) => self.outbound[slot.index()].set_path(path),
            ice::Lapse::Expired => {
                self.records.counters.consent_expired += 1;
                let words = "consent expired: no connectivity check for 30 s";
                self.close_peer(slot, CloseCause::ConsentExpired, words);
                return;
            }
        }
        self.timers.arm(Timer::Ice(slot.0), deadline);
    }

    /// Ends a peer's transport. Its tracks and subscriptions stay until signaling removes them.
    pub(super) fn close_peer(&mut self, slot: PeerSlot, cause: CloseCause, reason: &str) {
        self.forget_transport(slot);
        self.disarm_peer(slot);
        if let Some(peer) = self.peers[slot.index()].as_mut() {
            peer.open = None;
            peer.handshake = None;
        }
        self.watch.forget(slot);
        self.records.peers[slot].set_state(PeerState::Closed);
        self.tell_peer(slot, cause, reason);
    }

    fn on_binding(
        &mut self,
        now: Timestamp,
        path: &Path,
        message: &Message<'_>,
        egress: &mut impl Egress,
    ) -> Result<(), Discard> {
        if !self.bindings.admit(now.as_nanos(), path.remote.ip()) {
            return Err(Discard::PeerRateLimited);
        }
        let response = egress.reserve(RunKey::NONE, path).ok_or(Discard::OurEgressFull)?;
        let len = answer_binding(message, path.remote, response).ok_or(Discard::PeerStunMalformed)?;
        egress.commit(len);
        self.records.counters.stun_bindings += 1;
        Ok(())
    }
}
