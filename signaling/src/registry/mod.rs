//! Every session there is, and what is known of all of them together.
//!
//! ```text
//!   Registry ── by id ─────────► SessionCell (lock) ── Session, clients, peers
//!      │     ── by resume key ─►      ▲     │ guard dropped: endpoints, promises and counts are brought up to date
//!      │     ── by endpoint ──────────┘     ▼
//!      └──── Ledger (shards), LockWaits, counters
//! ```
//!
//! A session has a lock of its own, so that no session waits for another. Locks are taken in this order: a session, then one of
//! the registry's own. Nothing locks a session while it holds a lock of the registry, and nothing locks two sessions.

mod cell;
mod client;
mod copier;
mod indexes;
mod ledger;
mod lock_wait;
mod owner;
mod peers;
mod queue;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

pub use cell::{LockedSession, SessionCell, SessionState};
pub use client::{Client, Liveness, NegotiationLock};
pub use copier::Copier;
use indexes::Indexes;
pub use ledger::{Account, Ledger};
pub use lock_wait::LockWaits;
pub use peers::{PeerNote, Peers, Texts};
pub use queue::Queue;

use crate::session::{Refusal, Session};

/// Where a client takes up its place again.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its session.
    pub cell: Arc<SessionCell>,
    /// Its connection.
    pub connection: String,
}

/// Every session, and the indexes over them.
pub struct Registry {
    cells: RwLock<BTreeMap<Arc<str>, Arc<SessionCell>>>,
    places: RwLock<HashMap<String, Place>>,
    indexes: Arc<Indexes>,
    /// Peers of viewers that a relay lost, by the relay's id.
    pub lost: Queue<u64>,
    /// Peers that a relay would not take back, and why.
    pub refused: Queue<(u64, String)>,
    /// Publishers, by session and connection, whose new cap the relay does not have yet.
    pub capped: Queue<(Arc<str>, String)>,
    /// Participants, by session and connection, whose client shows by its media alone that it is there, and whose
    /// peers have all ended.
    pub ended: Queue<(Arc<str>, String)>,
    /// Sessions whose only participant is the recorder.
    pub unattended: Queue<Arc<str>>,
    /// Epoch of the relay at the last comparison of each shard. The notes on its peers are about that relay.
    epochs: Mutex<BTreeMap<u32, u64>>,
    rebuilds: AtomicU64,
}

impl Registry {
    /// Makes an empty registry. `on_broken` gets the id of a session that a panic left half changed. It must end the
    /// process.
    pub fn new(on_broken: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self {
            cells: RwLock::default(),
            places: RwLock::default(),
            indexes: Arc::new(Indexes::new(Box::new(on_broken))),
            lost: Queue::default(),
            refused: Queue::default(),
            capped: Queue::default(),
            ended: Queue::default(),
            unattended: Queue::default(),
            epochs: Mutex::default(),
            rebuilds: AtomicU64::new(0),
        }
    }

    /// Adds a session. At most `max` of them may be there.
    ///
    /// # Errors
    /// When there is one of that id already ([`Refusal::SessionExists`]), or there are too many.
    pub fn insert(&self, session: Session, max: usize) -> Result<Arc<SessionCell>, Refusal> {
        let cell = self.cell(session);
        self.publish(&cell, max)?;
        Ok(cell)
    }

    /// A cell for a session that no look-up finds yet.
    pub fn cell(&self, session: Session) -> Arc<SessionCell> {
        Arc::new(SessionCell::new(session, Arc::clone(&self.indexes)))
    }

    /// Makes a session known, so that look-ups find it. The caller may hold its lock: then others wait for it.
    ///
    /// # Errors
    /// As for [`Self::insert`].
    pub fn publish(&self, cell: &Arc<SessionCell>, max: usize) -> Result<(), Refusal> {
        let began = Instant::now();
        let mut cells = self.cells.write().unwrap_or_else(PoisonError::into_inner);
        self.indexes.waits.record(began.elapsed());
        if cells.contains_key(cell.id()) {
            return Err(Refusal::SessionExists);
        }
        if cells.len() >= max {
            return Err(Refusal::Limit("sessions"));
        }
        cells.insert(Arc::clone(cell.id()), Arc::clone(cell));
        Ok(())
    }

    /// The session of that id.
    pub fn get(&self, id: &str) -> Option<Arc<SessionCell>> {
        let began = Instant::now();
        let cells = self.cells.read().unwrap_or_else(PoisonError::into_inner);
        self.indexes.waits.record(began.elapsed());
        cells.get(id).cloned()
    }

    /// Removes a session that has ended. The caller holds its lock and has marked it as over.
    pub fn remove(&self, id: &str) {
        let mut cells = self.cells.write().unwrap_or_else(PoisonError::into_inner);
        cells.remove(id);
    }

    /// Every session at this moment, by id. The caller locks each one by itself.
    pub fn all(&self) -> Vec<Arc<SessionCell>> {
        self.cells.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// How many sessions there are.
    pub fn len(&self) -> usize {
        self.cells.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether there is no session.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The session that an endpoint is in, by the relay's id of its peer.
    pub fn of_endpoint(&self, peer: u64) -> Option<Arc<SessionCell>> {
        self.indexes.of_endpoint(peer)
    }

    /// Where the client with that resume key has its place.
    pub fn place_of(&self, resume_key: &str) -> Option<Place> {
        self.places.read().unwrap_or_else(PoisonError::into_inner).get(resume_key).cloned()
    }

    /// A client has joined.
    pub fn add_place(&self, resume_key: String, place: Place) {
        self.places.write().unwrap_or_else(PoisonError::into_inner).insert(resume_key, place);
    }

    /// A client is gone.
    pub fn remove_place(&self, resume_key: &str) {
        self.places.write().unwrap_or_else(PoisonError::into_inner).remove(resume_key);
    }

    /// How many participants there are.
    pub fn participants(&self) -> usize {
        self.indexes.participants()
    }

    /// How many connections wait to be used.
    pub fn pending(&self) -> usize {
        self.indexes.connections().saturating_sub(self.indexes.participants())
    }

    /// The shards.
    pub fn ledger(&self) -> &Ledger {
        &self.indexes.ledger
    }

    /// How long threads waited for a session's lock or the registry's.
    pub fn waits(&self) -> &LockWaits {
        &self.indexes.waits
    }

    /// Times that a shard was rebuilt after a panic.
    pub fn rebuilds(&self) -> u64 {
        self.rebuilds.load(Ordering::Relaxed)
    }

    /// Gives back the memory of indexes that a crowd has left nearly empty.
    pub fn shrink(&self) {
        let mut places = self.places.write().unwrap_or_else(PoisonError::into_inner);
        if places.len() < places.capacity() / 4 {
            places.shrink_to_fit();
        }
        drop(places);
        self.indexes.shrink();
    }

    /// The shard that a session is on, or else the one that is next. `None` when no shard takes it.
    pub fn shard_for(&self, session: &Session) -> Option<u32> {
        session.shard().filter(|&shard| self.ledger().exists(shard)).or_else(|| self.ledger().choose())
    }

    /// Gives a session a shard that exists, if it has none. `None` as in [`Self::shard_for`].
    pub fn place(&self, session: &mut Session) -> Option<u32> {
        let shard = self.shard_for(session)?;
        session.move_to(shard);
        Some(shard)
    }

    /// The shard for one more viewer of a session. At most `at_home_max` viewers go to the session's own shard, and 0
    /// is unlimited. Further viewers go to other shards if the relay can bridge, and so do all viewers when the own
    /// shard is full.
    pub fn shard_for_viewer(&self, session: &Session, bridges: bool, at_home_max: usize) -> Option<u32> {
        let home = self.shard_for(session)?;
        let has_room = at_home_max == 0 || session.graph().viewing_at_home() < at_home_max;
        if !bridges || has_room && self.ledger().takes_more(home) {
            return Some(home);
        }
        self.ledger().choose().or(Some(home))
    }
}
