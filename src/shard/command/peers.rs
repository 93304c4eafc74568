//! `PutPeer`, `RemovePeer` and `RemovePeers`.

use bytemuck::Zeroable;
use millrace_control as contract;

use super::{Refusal, Shard};
use crate::egress::RunKey;
use crate::ice;
use crate::ids::{PeerId, PeerSlot, RoomId, SubscriptionSlot, TrackSlot};
use crate::limits::MEMO_BYTES_MAX;
use crate::peer::Peer;
use crate::peer::outbound::Outbound;
use crate::records::PeerRecord;
use crate::records::ice::{CredentialsRecord, GenerationRecord, IceRecord};
use crate::records::peer::PeerState;
use crate::shard::timers::Timer;
use crate::wire::extension::{ExtensionMap, Kind};

impl Shard<'_> {
    pub(super) fn put_peer(&mut self, put: &contract::PutPeer) -> Result<(), Refusal> {
        let wanted = checked(put)?;
        let known = self.routes.by_peer.get(&PeerId(put.peer)).copied();
        let owner = self.routes.by_ufrag.get(put.local_ufrag.as_bytes()).copied();
        if owner.is_some() && owner != known {
            return Err(Refusal::invalid(format!("the user fragment {} is taken", put.local_ufrag)));
        }
        let slot = match known {
            Some(slot) => self.update_peer(slot, &wanted)?,
            None => self.create_peer(wanted)?,
        };
        self.note_memo(slot, &put.memo);
        Ok(())
    }

    fn create_peer(&mut self, wanted: PeerRecord) -> Result<PeerSlot, Refusal> {
        let mut record = wanted;
        record.rtcp_ssrc = self.random.next_u32() | 1;
        let slot = self.records.peers.insert(record).ok_or_else(|| Refusal::full("peers"))?;
        self.install_peer(slot);
        Ok(slot)
    }

    /// Keeps a memo, whose length is checked. An empty one takes no memory.
    fn note_memo(&mut self, slot: PeerSlot, memo: &[u8]) {
        let place = &mut self.records.memos[slot.index()];
        if !memo.is_empty() || !place.is_empty() {
            place.set(memo);
        }
    }

    /// Makes what a peer has besides its record; also after a restart, from the record alone.
    pub(crate) fn install_peer(&mut self, slot: PeerSlot) {
        self.watch.forget(slot);
        let record = &self.records.peers[slot];
        let agent = ice::Agent::restore(&record.ice);
        self.routes.by_peer.insert(record.id, slot);
        // The user fragment of a closed peer leads nowhere, and another peer may have it by now.
        if record.state() != PeerState::Closed {
            for ufrag in record.ice.local_ufrags() {
                self.routes.by_ufrag.insert(ufrag.into(), slot);
            }
        }
        self.outbound[slot.index()] = Outbound::new(RunKey(slot.0), record.extensions);
        self.timers.arm(Timer::Ice(slot.0), ice::next_deadline(&record.ice));
        self.peers[slot.index()] = Some(Box::new(Peer::new(agent)));
    }

    fn update_peer(&mut self, slot: PeerSlot, wanted: &PeerRecord) -> Result<PeerSlot, Refusal> {
        let record = &mut self.records.peers[slot];
        let same_far_end = (record.remote_fingerprint, record.flags & PeerRecord::DTLS_CLIENT)
            == (wanted.remote_fingerprint, wanted.flags & PeerRecord::DTLS_CLIENT);
        if !same_far_end {
            let message = "a peer keeps its certificate and DTLS role; a new PeerConnection is a new peer";
            return Err(Refusal::invalid(message));
        }
        if record.state() == PeerState::Closed && record.ice.current != wanted.ice.current {
            return Err(Refusal::unknown("this peer is closed; remove it and make a new one"));
        }
        record.room = wanted.room;
        record.receive_max_bps = wanted.receive_max_bps;
        record.extensions = wanted.extensions;
        record.flags = wanted.flags;
        self.outbound[slot.index()].set_extensions(wanted.extensions);
        if record.ice.current != wanted.ice.current {
            self.restart_ice(slot, wanted.ice.current);
        }
        Ok(slot)
    }

    /// RFC 8445 §9: new credentials on the same transport; media goes on along the old path meanwhile.
    fn restart_ice(&mut self, slot: PeerSlot, wanted: GenerationRecord) {
        let Some(peer) = self.peers[slot.index()].as_mut() else { return };
        let record = &mut self.records.peers[slot];
        for ufrag in record.ice.local_ufrags() {
            self.routes.by_ufrag.remove(ufrag);
        }
        peer.agent.restart(&mut record.ice, wanted.local, wanted.remote);
        for ufrag in record.ice.local_ufrags() {
            self.routes.by_ufrag.insert(ufrag.into(), slot);
        }
    }

    pub(super) fn remove_peers(&mut self, remove: &contract::RemovePeers) -> Result<(), Refusal> {
        if remove.peers.len() > contract::REMOVED_PEERS_MAX {
            let count = remove.peers.len();
            let message = format!("{count} peers; at most {} in one command", contract::REMOVED_PEERS_MAX);
            return Err(Refusal::invalid(message));
        }
        remove.peers.iter().try_for_each(|peer| self.remove_peer(PeerId(*peer)))
    }

    pub(super) fn remove_peer(&mut self, id: PeerId) -> Result<(), Refusal> {
        let Some(slot) = self.routes.by_peer.get(&id).copied() else { return Ok(()) };
        let (tracks, subscriptions): (Vec<TrackSlot>, Vec<SubscriptionSlot>) = match &self.peers[slot.index()]
        {
            Some(peer) => (peer.tracks.clone(), peer.subscriptions.clone()),
            None => Default::default(),
        };
        tracks.into_iter().for_each(|track| self.unpublish(track));
        subscriptions.into_iter().for_each(|subscription| self.unsubscribe(subscription));
        self.forget_retired(slot, |_| true);
        self.forget_transport(slot);
        self.routes.by_peer.remove(&id);
        self.disarm_peer(slot);
        self.handshakes.forget(slot);
        self.peers[slot.index()] = None;
        self.note_memo(slot, &[]);
        self.records.peers.remove(slot);
        Ok(())
    }

    /// Nothing is due for this peer any more.
    pub(crate) fn disarm_peer(&mut self, slot: PeerSlot) {
        for timer in [Timer::Feedback, Timer::SenderReports, Timer::Handshake, Timer::Ice] {
            self.timers.disarm(timer(slot.0));
        }
    }

    /// Takes a peer off the network: no route leads to it, nothing is sent to it.
    pub(crate) fn forget_transport(&mut self, slot: PeerSlot) {
        let record = &self.records.peers[slot];
        for ufrag in record.ice.local_ufrags() {
            if self.routes.by_ufrag.get(ufrag) == Some(&slot) {
                self.routes.by_ufrag.remove(ufrag);
            }
        }
        for path in record.ice.paths.iter().filter_map(|valid| valid.path.get()) {
            // What meanwhile belongs to another peer stays with that one.
            if self.routes.by_path.get(&path) == Some(&slot) {
                self.routes.by_path.remove(&path);
            }
        }
        self.outbound[slot.index()] = Outbound::VACANT;
    }
}

fn checked(put: &contract::PutPeer) -> Result<PeerRecord, Refusal> {
    let remote_fingerprint = <[u8; 32]>::try_from(put.remote_fingerprint.as_slice())
        .map_err(|_| Refusal::invalid("a peer needs a SHA-256 fingerprint of 32 bytes"))?;
    if put.peer == 0 {
        return Err(Refusal::invalid("0 is no peer id"));
    }
    if put.memo.len() > MEMO_BYTES_MAX {
        let len = put.memo.len();
        return Err(Refusal::invalid(format!("a memo of {len} bytes; {MEMO_BYTES_MAX} is the most")));
    }
    let credentials = |ufrag: &str, pwd: &str| {
        CredentialsRecord::new(ufrag, pwd).map_err(|error| Refusal::invalid(error.to_string()))
    };
    let ice = IceRecord::new(
        credentials(&put.local_ufrag, &put.local_pwd)?,
        credentials(&put.remote_ufrag, &put.remote_pwd)?,
    );
    let mut extensions = ExtensionMap::EMPTY;
    for extension in &put.extensions {
        let kind = u8::try_from(extension.kind).ok().and_then(Kind::from_number);
        let bound =
            kind.zip(u8::try_from(extension.id).ok()).is_some_and(|(kind, id)| extensions.insert(kind, id));
        if !bound {
            return Err(Refusal::invalid(format!(
                "header extension {} cannot have id {}",
                extension.kind, extension.id
            )));
        }
    }
    let flag = |given: bool, flag: u8| if given { flag } else { 0 };
    let mut record = PeerRecord::zeroed();
    record.id = PeerId(put.peer);
    record.room = RoomId(put.room);
    record.receive_max_bps = put.receive_max_bps;
    record.ice = ice;
    record.remote_fingerprint = remote_fingerprint;
    record.extensions = extensions;
    record.flags = flag(put.dtls_role() == contract::DtlsRole::Client, PeerRecord::DTLS_CLIENT)
        | flag(put.transport_cc, PeerRecord::TRANSPORT_CC)
        | flag(put.remb, PeerRecord::REMB);
    record.set_state(PeerState::Ice);
    Ok(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_extensions_are_numbered_as_in_the_contract() {
        for kind in Kind::ALL {
            let in_contract = contract::ExtensionKind::try_from(i32::from(kind as u8)).unwrap();
            assert_eq!(format!("{in_contract:?}"), format!("{kind:?}"));
        }
        assert!(contract::ExtensionKind::try_from(Kind::ALL.len() as i32 + 1).is_err());
    }
}
