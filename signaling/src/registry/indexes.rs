//! What is known of all sessions together, without locking any of them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, Weak};

use super::{Ledger, LockWaits, SessionCell};
use crate::session::GraphDelta;

/// Called when a panic left a session half changed.
pub(super) type OnBroken = Box<dyn Fn(&str) + Send + Sync>;

/// The indexes and counters that sessions keep up to date.
pub(super) struct Indexes {
    pub(super) ledger: Ledger,
    pub(super) waits: LockWaits,
    /// The session of each endpoint, by the relay's id of its peer.
    endpoints: RwLock<HashMap<u64, Weak<SessionCell>>>,
    connections: AtomicUsize,
    participants: AtomicUsize,
    /// Bytes of the descriptions of all peers.
    texts: Arc<AtomicUsize>,
    on_broken: OnBroken,
}

impl Indexes {
    pub(super) fn new(on_broken: OnBroken) -> Self {
        Self {
            ledger: Ledger::default(),
            waits: LockWaits::default(),
            endpoints: RwLock::default(),
            connections: AtomicUsize::new(0),
            participants: AtomicUsize::new(0),
            texts: Arc::default(),
            on_broken,
        }
    }

    pub(super) fn texts(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.texts)
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    pub(super) fn participants(&self) -> usize {
        self.participants.load(Ordering::Relaxed)
    }

    pub(super) fn count_connections(&self, before: usize, now: usize) {
        count(&self.connections, before, now);
    }

    pub(super) fn count_participants(&self, before: usize, now: usize) {
        count(&self.participants, before, now);
    }

    pub(super) fn move_endpoints(&self, cell: &Arc<SessionCell>, delta: &GraphDelta) {
        if delta.added.is_empty() && delta.removed.is_empty() {
            return;
        }
        let mut endpoints = self.endpoints.write().unwrap_or_else(PoisonError::into_inner);
        for id in &delta.removed {
            endpoints.remove(id);
        }
        for id in delta.added.iter().filter(|id| !delta.removed.contains(id)) {
            endpoints.insert(*id, Arc::downgrade(cell));
        }
    }

    pub(super) fn of_endpoint(&self, peer: u64) -> Option<Arc<SessionCell>> {
        let endpoints = self.endpoints.read().unwrap_or_else(PoisonError::into_inner);
        endpoints.get(&peer)?.upgrade()
    }

    /// Gives back what a crowd of endpoints needed.
    pub(super) fn shrink(&self) {
        let mut endpoints = self.endpoints.write().unwrap_or_else(PoisonError::into_inner);
        if endpoints.len() < endpoints.capacity() / 4 {
            endpoints.shrink_to_fit();
        }
    }

    pub(super) fn give_up(&self, session: &str) {
        (self.on_broken)(session);
    }
}

fn count(counter: &AtomicUsize, before: usize, now: usize) {
    if now >= before {
        counter.fetch_add(now - before, Ordering::Relaxed);
    } else {
        counter.fetch_sub(before - now, Ordering::Relaxed);
    }
}
