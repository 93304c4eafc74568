//! The operations of a store, and their outcomes.

use super::key::{ID_LEN_MAX, Name};

/// Longest value of a record, in bytes. A longer one would hold up every other client of a shared store.
pub const VALUE_LEN_MAX: usize = 64 << 10;

/// The content of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// Version of the encoding of `bytes`. Each namespace counts its own. A reader that does not know it calls
    /// [`Operation::SetAside`].
    pub format: u8,
    /// At most [`VALUE_LEN_MAX`] bytes.
    pub bytes: Vec<u8>,
}

impl Value {
    /// A value in version `format` of its namespace's encoding.
    pub fn new(format: u8, bytes: impl Into<Vec<u8>>) -> Self {
        Self { format, bytes: bytes.into() }
    }
}

/// Who may write a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ownership {
    /// Node id of the owner.
    pub owner: String,
    /// Grows with each owner. The store refuses a fence that is lower than its own. It accepts a higher one as a
    /// repair, because the claim that introduced it was lost.
    pub fence: u64,
    /// How long, in ms of an observer's own clock, the owner must be silent before another node may claim the session.
    /// The store keeps it and does not act on it. With 0, no other node claims the session.
    pub lease_ms: u64,
}

impl Ownership {
    /// The owner where there is one node only.
    pub fn single() -> Self {
        Self { owner: "local".to_owned(), fence: 1, lease_ms: 0 }
    }
}

/// A session as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSession {
    /// Its id.
    pub id: String,
    /// Who may write it.
    pub ownership: Ownership,
    /// Its records, in the order of their names.
    pub records: Vec<(Name, Value)>,
}

/// The new value of a record, or `None` to remove it.
pub type Change = (Name, Option<Value>);

/// One step of a commit. Each is accepted or refused by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Makes a session. Refused when it exists.
    Create {
        /// Its id, 1 to [`ID_LEN_MAX`] bytes.
        session: String,
        /// Its first owner.
        ownership: Ownership,
        /// All its records.
        records: Vec<(Name, Value)>,
    },
    /// Gives a session to another owner. Refused unless the stored fence is `seen_fence` and the new one is higher.
    Claim {
        /// Its id.
        session: String,
        /// The fence that the claimant has read.
        seen_fence: u64,
        /// The new owner.
        ownership: Ownership,
    },
    /// Changes records of a session. Refused when the session is not there or its fence is higher.
    Put {
        /// Its id.
        session: String,
        /// The writer. The store notes it as the owner.
        ownership: Ownership,
        /// The changes.
        changes: Vec<Change>,
    },
    /// Removes a session with all its records. Accepted when it is not there; refused when its fence is higher.
    Drop {
        /// Its id.
        session: String,
        /// The fence of the writer.
        fence: u64,
    },
    /// Changes records of kinds that outlive sessions.
    Free {
        /// The changes.
        changes: Vec<Change>,
    },
    /// Sets a session aside: nothing reads it again, and its id is free. The records are kept for a person to look at.
    SetSessionAside {
        /// Its id.
        session: String,
    },
    /// Sets one record aside.
    SetAside {
        /// Its session, `None` for a kind that outlives sessions.
        session: Option<String>,
        /// Its name.
        name: Name,
    },
}

/// Whether an operation was accepted.
pub type Outcome = Result<(), Refusal>;

/// Why an operation was refused. The other operations of the same commit are not affected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The session to create exists already.
    #[error("the session exists and belongs to {} (fence {})", .0.owner, .0.fence)]
    Exists(Ownership),
    /// The session does not exist.
    #[error("the session is not in the store")]
    Missing,
    /// Another owner has it.
    #[error("the session belongs to {} (fence {})", .0.owner, .0.fence)]
    Fenced(Ownership),
    /// No store can take it; the text says why.
    #[error("{0}")]
    Unfit(&'static str),
}

/// Why a store did nothing at all.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Its configuration does not work. A restart does not change that.
    #[error("the store cannot be used: {0}")]
    Denied(String),
    /// It does not work at present. Try again.
    #[error("the store failed: {0}")]
    Unavailable(String),
    /// The store lost its content and is empty. The caller must write everything again.
    #[error("the store was damaged and begins anew: {0}")]
    Emptied(String),
}

impl Operation {
    /// Refuses what no store takes: see [`Refusal::Unfit`].
    pub(super) fn check(&self) -> Outcome {
        match self {
            Self::Create { session, records, .. } => {
                check_session(session)?;
                records.iter().try_for_each(|(name, value)| check(name, Some(value), true))
            }
            Self::Put { session, changes, .. } => {
                check_session(session)?;
                changes.iter().try_for_each(|(name, value)| check(name, value.as_ref(), true))
            }
            Self::Free { changes } => {
                changes.iter().try_for_each(|(name, value)| check(name, value.as_ref(), false))
            }
            Self::Claim { session, .. } | Self::Drop { session, .. } | Self::SetSessionAside { session } => {
                check_session(session)
            }
            Self::SetAside { session, name } => {
                session.iter().try_for_each(|session| check_session(session))?;
                check(name, None, session.is_some())
            }
        }
    }
}

fn check_session(id: &str) -> Outcome {
    let fits = (1..=ID_LEN_MAX).contains(&id.len());
    if fits { Ok(()) } else { Err(Refusal::Unfit("the id of a session has 1 to 1024 bytes")) }
}

fn check(name: &Name, value: Option<&Value>, in_session: bool) -> Outcome {
    if name.namespace.belongs_to_session() != in_session {
        return Err(Refusal::Unfit("the namespace does not belong there"));
    }
    if name.id.len() > ID_LEN_MAX {
        return Err(Refusal::Unfit("the id of a record has 1024 bytes at most"));
    }
    if value.is_some_and(|value| value.bytes.len() > VALUE_LEN_MAX) {
        return Err(Refusal::Unfit("the value of a record has 65536 bytes at most"));
    }
    Ok(())
}
