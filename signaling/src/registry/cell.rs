//! One session with everything that belongs to it, behind a lock of its own.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::indexes::Indexes;
use super::ledger::SESSION_WEIGHT;
use super::{Client, Liveness, Peers};
use crate::session::Session;

/// A session, its clients and what is known of its peers.
///
/// The lock is never held across an await, because its guard is not [`Send`]. When the guard is dropped, it updates
/// the ledger and the indexes outside of the session.
pub struct SessionCell {
    id: Arc<str>,
    inner: Mutex<SessionState>,
    indexes: Arc<Indexes>,
}

/// What the lock of a session guards.
pub struct SessionState {
    /// The model.
    pub session: Session,
    /// Those who have joined, by connection.
    pub clients: HashMap<String, Client>,
    /// How far its peers got in the relay.
    pub peers: Peers,
    /// Since when the recorder is its only participant.
    pub unattended_since: Option<Instant>,
    /// Whether it has ended. Nothing more happens in it.
    pub is_over: bool,
    /// What the ledger and the counters were last given.
    settled: Settled,
}

/// What a session counts for outside of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Settled {
    promised: Vec<(u32, u64)>,
    connections: usize,
    participants: usize,
}

impl SessionCell {
    pub(super) fn new(session: Session, indexes: Arc<Indexes>) -> Self {
        Self {
            id: session.id.as_str().into(),
            inner: Mutex::new(SessionState {
                session,
                clients: HashMap::new(),
                peers: Peers::sharing(indexes.texts()),
                unattended_since: None,
                is_over: false,
                settled: Settled::default(),
            }),
            indexes,
        }
    }

    /// The session's id.
    pub const fn id(&self) -> &Arc<str> {
        &self.id
    }

    /// Locks the session. `None` when it has ended.
    pub fn lock(self: &Arc<Self>) -> Option<LockedSession<'_>> {
        let locked = self.lock_any();
        (!locked.is_over).then_some(locked)
    }

    /// Locks the session, also one that has ended.
    pub fn lock_any(self: &Arc<Self>) -> LockedSession<'_> {
        let began = Instant::now();
        // A panic under this lock ends the process (see the guard's drop), so no thread uses a half-changed session.
        let state = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        self.indexes.waits.record(began.elapsed());
        LockedSession { cell: self, state }
    }
}

impl fmt::Debug for SessionCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionCell").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A session under its lock.
pub struct LockedSession<'a> {
    cell: &'a Arc<SessionCell>,
    state: MutexGuard<'a, SessionState>,
}

impl LockedSession<'_> {
    /// The session itself.
    pub const fn cell(&self) -> &Arc<SessionCell> {
        self.cell
    }
}

impl Deref for LockedSession<'_> {
    type Target = SessionState;

    fn deref(&self) -> &SessionState {
        &self.state
    }
}

impl DerefMut for LockedSession<'_> {
    fn deref_mut(&mut self) -> &mut SessionState {
        &mut self.state
    }
}

impl Drop for LockedSession<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.cell.indexes.give_up(&self.cell.id);
            return;
        }
        self.state.settle(self.cell);
    }
}

impl SessionState {
    /// Whether the client of that connection shows by its media alone that it is there, and all its media are over. A peer
    /// that is being negotiated is not over.
    pub fn media_are_over(&self, id: &str) -> bool {
        let is_by_media = self.clients.get(id).is_some_and(|client| client.liveness == Liveness::Media);
        let mut own = self.session.graph().owned_by(id).peekable();
        is_by_media && own.peek().is_some() && own.all(|endpoint| self.peers.is_over(endpoint.id()))
    }

    /// Updates the ledger, the indexes and the counters for the session.
    fn settle(&mut self, cell: &Arc<SessionCell>) {
        let indexes = &cell.indexes;
        indexes.move_endpoints(cell, &self.session.take_graph_delta());
        let now = self.count();
        if now == self.settled {
            return;
        }
        let before = std::mem::replace(&mut self.settled, now);
        // One step for each shard: another thread must not see a shard without what this session has there.
        let mut steps: BTreeMap<u32, i64> = BTreeMap::new();
        let signed = |promised: u64| i64::try_from(promised).unwrap_or(i64::MAX);
        before.promised.iter().for_each(|(shard, n)| *steps.entry(*shard).or_default() -= signed(*n));
        self.settled.promised.iter().for_each(|(shard, n)| *steps.entry(*shard).or_default() += signed(*n));
        for (shard, step) in steps.into_iter().filter(|(_, step)| *step != 0) {
            indexes.ledger.promise(shard, step);
        }
        indexes.count_connections(before.connections, self.settled.connections);
        indexes.count_participants(before.participants, self.settled.participants);
    }

    fn count(&self) -> Settled {
        if self.is_over {
            return Settled::default();
        }
        let session = &self.session;
        let mut promised: Vec<(u32, u64)> = Vec::new();
        if let Some(home) = session.shard() {
            promised.push((home, SESSION_WEIGHT));
            for (shard, endpoints) in session.graph().on_shard() {
                let (shard, endpoints) = (shard.unwrap_or(home), endpoints as u64);
                match promised.iter_mut().find(|(known, _)| *known == shard) {
                    Some((_, promised)) => *promised += endpoints,
                    None => promised.push((shard, endpoints)),
                }
            }
        }
        Settled {
            promised,
            connections: session.roster().len(),
            participants: session.roster().participants(),
        }
    }
}
