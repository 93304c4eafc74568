//! Keeps sessions, and records that outlive sessions, across a restart.
//!
//! The store holds small records and knows nothing of what is in them. A record has a [`Name`] (a [`Namespace`] and an
//! id) and a [`Value`] (bytes, with the version of their encoding). Records of a session are kept together with its
//! [`Ownership`]; records of the other namespaces stand by themselves.
//!
//! * [`Store`] is what an engine has to do. [`Embedded`] is a file, [`Memory`] is for tests. Each new engine has to pass
//!   `conformance.rs`.
//! * [`Source`] is what the model implements: it gives the present value of records.
//! * [`Writer`] writes behind. The model says which records it has touched and what happens after they are durable.
//!   Everything that happens after happens in the order of submission, and none of it waits for a disk longer than
//!   [`Pace::deadline`].
//! * [`whole`] reads what releases up to 0.1 stored: a whole session in one value.
//!
//! # Example
//!
//! ```
//! use std::sync::{Arc, mpsc};
//!
//! use millrace_signaling::store::*;
//! use millrace_signaling::supervise::Parts;
//!
//! /// A model whose sessions have one record.
//! struct Model;
//!
//! impl Source for Model {
//!     fn session(&self, session: &str, selection: Selection<'_>) -> Option<Present> {
//!         // Under the lock of this session: copy the selected records.
//!         let name = Name::new(Namespace::Connection, "con_A");
//!         let records = vec![(name, Value::new(1, session.as_bytes()))];
//!         let records = records.into_iter().filter(|(name, _)| selection.contains(name)).collect();
//!         Some(Present { ownership: Ownership::single(), records })
//!     }
//!     fn free(&self, _name: &Name) -> Option<Value> { None }
//!     fn sessions(&self) -> Vec<Arc<str>> { vec!["ses_1".into()] }
//!     fn free_names(&self) -> Vec<Name> { Vec::new() }
//! }
//!
//! let mut store = Memory::default();
//! assert!(store.load()?.is_empty());
//! let after_a_restart = store.clone();
//! let writer = Writer::start(Box::new(store), Box::new(Model), Pace::default(), &Parts::default())?;
//!
//! // Under the lock of the session, right after the change:
//! let (answer, answered) = mpsc::channel();
//! writer.submit(Touched::created("ses_1"), 0, move |durability| answer.send(durability).expect("it waits below"));
//! let con = Name::new(Namespace::Connection, "con_A");
//! writer.submit(Touched::records("ses_1", [con]), 0, |_| ());
//! assert_eq!(answered.recv()?, Durability::Durable);
//! drop(writer);
//!
//! let session = after_a_restart.clone().load_session("ses_1")?.expect("it was acknowledged as durable");
//! assert_eq!(session.records[0].1, Value::new(1, b"ses_1"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[cfg(test)]
mod conformance;
mod embedded;
mod key;
mod memory;
mod operation;
mod source;
pub mod whole;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

pub use embedded::Embedded;
pub use key::{ID_LEN_MAX, Name, Namespace};
pub use memory::Memory;
pub use operation::{
    Change, Operation, Outcome, Ownership, Refusal, StoreError, StoredSession, VALUE_LEN_MAX, Value,
};
pub use source::{Present, Selection, Source, Touched};
pub use writer::{Durability, Pace, Writer, WriterStats};

/// An engine that keeps records.
///
/// The calls by parts (`create`, `claim`, `put`, …) are commits of one operation.
pub trait Store: Send {
    /// Carries out `operations` in their order, and is durable when it returns. An operation that is refused changes
    /// nothing and does not touch the others.
    ///
    /// # Errors
    /// When the store fails. As far as the engine knows, it has carried out nothing. The caller must commit
    /// everything again.
    fn commit(&mut self, operations: &[Operation]) -> Result<Vec<Outcome>, StoreError>;

    /// Every session with its records.
    ///
    /// # Errors
    /// When it cannot be read.
    fn load(&mut self) -> Result<Vec<StoredSession>, StoreError>;

    /// One session, `None` when it is not there.
    ///
    /// # Errors
    /// When it cannot be read.
    fn load_session(&mut self, session: &str) -> Result<Option<StoredSession>, StoreError>;

    /// The records of a kind that outlives sessions, in the order of their ids.
    ///
    /// # Errors
    /// When they cannot be read.
    fn load_free(&mut self, namespace: Namespace) -> Result<Vec<(Name, Value)>, StoreError>;

    /// What was set aside.
    ///
    /// # Errors
    /// When it cannot be read.
    fn load_aside(&mut self) -> Result<Vec<Aside>, StoreError>;

    /// What it counts. The same counters for as long as the store lives.
    fn counters(&self) -> Arc<StoreCounters>;

    /// See [`Operation::Create`].
    ///
    /// # Errors
    /// When the store fails; the outcome says whether it was refused.
    fn create(
        &mut self,
        session: &str,
        ownership: &Ownership,
        records: Vec<(Name, Value)>,
    ) -> Result<Outcome, StoreError> {
        self.one(Operation::Create { session: session.to_owned(), ownership: ownership.clone(), records })
    }

    /// See [`Operation::Claim`].
    ///
    /// # Errors
    /// When the store fails; the outcome says whether it was refused.
    fn claim(
        &mut self,
        session: &str,
        seen_fence: u64,
        ownership: &Ownership,
    ) -> Result<Outcome, StoreError> {
        self.one(Operation::Claim { session: session.to_owned(), seen_fence, ownership: ownership.clone() })
    }

    /// See [`Operation::Put`].
    ///
    /// # Errors
    /// When the store fails; the outcome says whether it was refused.
    fn put(
        &mut self,
        session: &str,
        ownership: &Ownership,
        changes: Vec<Change>,
    ) -> Result<Outcome, StoreError> {
        self.one(Operation::Put { session: session.to_owned(), ownership: ownership.clone(), changes })
    }

    /// See [`Operation::Drop`].
    ///
    /// # Errors
    /// When the store fails; the outcome says whether it was refused.
    fn drop_session(&mut self, session: &str, fence: u64) -> Result<Outcome, StoreError> {
        self.one(Operation::Drop { session: session.to_owned(), fence })
    }

    /// Writes a record of a kind that outlives sessions.
    ///
    /// # Errors
    /// When the store fails; the outcome says whether it was refused.
    fn put_free(&mut self, name: Name, value: Value) -> Result<Outcome, StoreError> {
        self.one(Operation::Free { changes: vec![(name, Some(value))] })
    }

    /// Removes such a record. One that is not there is fine.
    ///
    /// # Errors
    /// When the store fails; the outcome says whether it was refused.
    fn remove_free(&mut self, name: Name) -> Result<Outcome, StoreError> {
        self.one(Operation::Free { changes: vec![(name, None)] })
    }

    /// Commits one operation.
    ///
    /// # Errors
    /// When the store fails; the outcome says whether it was refused.
    fn one(&mut self, operation: Operation) -> Result<Outcome, StoreError> {
        let outcomes = self.commit(std::slice::from_ref(&operation))?;
        outcomes.into_iter().next().ok_or_else(|| StoreError::Unavailable("it gave no outcome".to_owned()))
    }
}

/// A record that this version cannot read: it is damaged or of a later version. It is reported when it is set aside.
/// After that it is only counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aside {
    /// Its session, `None` for a kind that outlives sessions.
    pub session: Option<String>,
    /// Its name. A record of a kind that this version does not know has no name, so it is only counted.
    pub name: Name,
    /// What is in it.
    pub value: Value,
}

/// What a store counts.
#[derive(Debug, Default)]
pub struct StoreCounters {
    files_set_aside: AtomicUsize,
    records_set_aside: AtomicUsize,
}

impl StoreCounters {
    /// Damaged files that were set aside and are still there.
    pub fn files_set_aside(&self) -> usize {
        self.files_set_aside.load(Ordering::Relaxed)
    }

    /// Records that were set aside and are still there.
    pub fn records_set_aside(&self) -> usize {
        self.records_set_aside.load(Ordering::Relaxed)
    }

    fn set_files_set_aside(&self, count: usize) {
        self.files_set_aside.store(count, Ordering::Relaxed);
    }

    fn set_records_aside(&self, count: usize) {
        self.records_set_aside.store(count, Ordering::Relaxed);
    }
}
