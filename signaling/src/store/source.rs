//! The source of the writer's values, and the announcement of a change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::key::Name;
use super::operation::{Ownership, Refusal, Value};

/// Which records of a session are asked for.
#[derive(Clone, Copy, Debug)]
pub enum Selection<'a> {
    /// Every one.
    All,
    /// These.
    Named(&'a BTreeSet<Name>),
}

impl Selection<'_> {
    /// Whether it asks for that record.
    pub fn contains(&self, name: &Name) -> bool {
        match self {
            Self::All => true,
            Self::Named(names) => names.contains(name),
        }
    }
}

/// A session as it is at present.
#[derive(Clone, Debug)]
pub struct Present {
    /// Under which ownership it is written.
    pub ownership: Ownership,
    /// The records that were asked for. One that is missing here is gone, and is removed from the store.
    pub records: Vec<(Name, Value)>,
}

/// Holds the present values. The writer asks for them when it commits and not when a change is submitted, so that
/// several changes of a record are written once.
///
/// The commit thread calls this. It may lock what the submitting code locks: the writer holds no lock meanwhile. A panic
/// in it ends the process.
pub trait Source: Send {
    /// The selected records of a session, all as of one moment. `None` when the session is gone: then nothing is
    /// written, and [`Touched::ended`] has to follow.
    fn session(&self, session: &str, selection: Selection<'_>) -> Option<Present>;

    /// A record that outlives sessions, `None` when it is gone.
    fn free(&self, name: &Name) -> Option<Value>;

    /// Every session. The writer asks when the store was damaged and begins anew.
    fn sessions(&self) -> Vec<Arc<str>>;

    /// Every record that outlives sessions, for the same purpose.
    fn free_names(&self) -> Vec<Name>;

    /// The store refused a session for good: another owner has it, or a record is too large.
    fn refused(&self, session: &str, refusal: &Refusal) {
        tracing::error!(session, %refusal, "the store refuses the session");
    }
}

/// How much of a session a change has touched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// These records.
    Named(BTreeSet<Name>),
    /// It is new. The store refuses it if another owner has the id.
    Created,
    /// Everything; what the store holds is replaced.
    Whole,
    /// The session has ended under this fence.
    Ended(u64),
    /// The session has ended under this fence, and a new one has the same id.
    Again(u64),
}

/// Most records of one session that are remembered by name. With more, the whole session is written.
const NAMED_MAX: usize = 4_096;

impl Extent {
    /// The extent of this change and a later one.
    pub(super) fn then(self, later: Self) -> Self {
        match (self, later) {
            (_, ended @ Self::Ended(_)) => ended,
            (Self::Ended(fence), Self::Named(_)) => Self::Ended(fence),
            (Self::Ended(fence) | Self::Again(fence), _) | (_, Self::Again(fence)) => Self::Again(fence),
            (Self::Created, _) => Self::Created,
            (Self::Named(mut names), Self::Named(more)) => {
                names.extend(more);
                if names.len() > NAMED_MAX { Self::Whole } else { Self::Named(names) }
            }
            (Self::Named(_) | Self::Whole, _) => Self::Whole,
        }
    }
}

/// The records that a submission has touched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    pub(super) sessions: BTreeMap<Arc<str>, Extent>,
    pub(super) free: BTreeSet<Name>,
}

impl Touched {
    /// Nothing: the submission keeps its place in the order only.
    pub fn none() -> Self {
        Self::default()
    }

    /// A new session. A later submission of the same session may name its records as usual.
    pub fn created(session: impl Into<Arc<str>>) -> Self {
        Self::session(session.into(), Extent::Created)
    }

    /// Every record of a session: all are written, and others that the store holds are removed.
    /// [`Touched::created`] is cheaper for a new one.
    pub fn whole(session: impl Into<Arc<str>>) -> Self {
        Self::session(session.into(), Extent::Whole)
    }

    /// These records of a session. The name of a record that no longer exists removes it from the store.
    pub fn records(session: impl Into<Arc<str>>, names: impl IntoIterator<Item = Name>) -> Self {
        Self::session(session.into(), Extent::Named(names.into_iter().collect()))
    }

    /// A session that has ended, with all its records, under the fence it had.
    pub fn ended(session: impl Into<Arc<str>>, fence: u64) -> Self {
        Self::session(session.into(), Extent::Ended(fence))
    }

    /// Records that outlive sessions.
    pub fn free(names: impl IntoIterator<Item = Name>) -> Self {
        Self { free: names.into_iter().collect(), ..Self::default() }
    }

    /// Both.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        for (session, extent) in other.sessions {
            let before = self.sessions.remove(&session);
            let extent = match before {
                Some(before) => before.then(extent),
                None => extent,
            };
            self.sessions.insert(session, extent);
        }
        self.free.extend(other.free);
        self
    }

    /// Whether nothing was touched.
    pub fn is_none(&self) -> bool {
        self.sessions.is_empty() && self.free.is_empty()
    }

    fn session(session: Arc<str>, extent: Extent) -> Self {
        Self { sessions: BTreeMap::from([(session, extent)]), ..Self::default() }
    }
}
