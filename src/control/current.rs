//! The connection that speaks for signaling.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use millrace_control::{CloseCause, Event, EventKind, GivenUp, IceState, PeerEvent, PeerState};

use super::lanes::Lanes;

/// The connection that greeted last: events go there, and only it gives commands. Cheap to clone.
#[derive(Clone, Default)]
pub struct Current {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    connection: Mutex<Option<Greeted>>,
    draining: AtomicBool,
}

/// A connection that has greeted.
#[derive(Clone)]
pub struct Greeted {
    /// Its number: no two connections of this process share one.
    pub number: u64,
    /// The version of the contract that it speaks.
    pub version: u32,
    /// Where its frames wait.
    pub lanes: Lanes,
}

impl Current {
    /// Tells signaling, if it is connected. Never waits for it.
    pub fn send_event(&self, mut event: Event) {
        let Some(Greeted { version, lanes, .. }) = self.lock().clone() else { return };
        if let Some(EventKind::Load(load)) = &mut event.kind {
            load.draining = self.is_draining();
        }
        for event in for_version(version, event) {
            lanes.event(event);
        }
    }

    /// `greeted` takes the place of the connection before it, which ends.
    pub(super) fn take_over(&self, greeted: Greeted) {
        let mut current = self.lock();
        if let Some(previous) = current.take_if(|previous| previous.number != greeted.number) {
            previous.lanes.end();
        }
        *current = Some(greeted);
    }

    /// Does `act` if connection `number` is the one that speaks for signaling, before another one can take its place.
    pub(super) fn act_as<T>(&self, number: u64, act: impl FnOnce() -> T) -> Option<T> {
        let current = self.lock();
        current.as_ref().is_some_and(|greeted| greeted.number == number).then(act)
    }

    /// Whether the relay drains.
    pub fn is_draining(&self) -> bool {
        self.shared.draining.load(Ordering::Relaxed)
    }

    pub(super) fn set_draining(&self, on: bool) {
        self.shared.draining.store(on, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Option<Greeted>> {
        self.shared.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The same news in the words of a version of the contract.
fn for_version(version: u32, event: Event) -> Vec<Event> {
    match (version, event.kind) {
        (1, Some(EventKind::Load(_))) => Vec::new(),
        (1, Some(EventKind::GivenUp(GivenUp { peers }))) => {
            let closed = |peer| Event { shard: event.shard, kind: Some(EventKind::Peer(given_up(peer))) };
            peers.into_iter().map(closed).collect()
        }
        (_, kind) => vec![Event { kind, ..event }],
    }
}

fn given_up(peer: u64) -> PeerEvent {
    PeerEvent {
        peer,
        state: PeerState::Closed.into(),
        remote: String::new(),
        reason: "the shard panicked again and again; its calls are given up".into(),
        ice: IceState::Closed.into(),
        flow: None,
        cause: CloseCause::Unknown.into(),
    }
}

#[cfg(test)]
mod tests {
    use millrace_control::Load;

    use super::*;

    #[test]
    fn version_1_hears_of_calls_that_are_given_up_as_ends_of_peers() {
        let event = |kind| Event { shard: 3, kind: Some(kind) };
        let gone = event(EventKind::GivenUp(GivenUp { peers: vec![5, 6] }));
        let closed = [5, 6].map(|peer| event(EventKind::Peer(given_up(peer))));
        assert_eq!(for_version(1, gone.clone()), closed);
        assert_eq!(for_version(2, gone.clone()), [gone]);
        assert_eq!(for_version(1, event(EventKind::Load(Load::default()))), []);
    }
}
