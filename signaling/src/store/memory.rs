//! A store in memory, for tests. The conformance suite runs against it too.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::key::{Name, Namespace};
use super::operation::{Change, Operation, Outcome, Ownership, Refusal, StoreError, StoredSession, Value};
use super::{Aside, Store, StoreCounters};

/// A store in memory. Clones share what it holds, so that a clone is the store after a restart.
#[derive(Clone, Default)]
pub struct Memory {
    held: Arc<Mutex<Held>>,
    counters: Arc<StoreCounters>,
}

#[derive(Default)]
struct Held {
    sessions: BTreeMap<String, (Ownership, BTreeMap<Name, Value>)>,
    free: BTreeMap<Name, Value>,
    aside: Vec<Aside>,
}

impl Memory {
    fn with<T>(&self, work: impl FnOnce(&mut Held) -> T) -> T {
        work(&mut self.held.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Held {
    fn carry_out(&mut self, operation: &Operation) -> Outcome {
        operation.check()?;
        match operation {
            Operation::Create { session, ownership, records } => {
                if let Some((owner, _)) = self.sessions.get(session) {
                    return Err(Refusal::Exists(owner.clone()));
                }
                let records = records.iter().cloned().collect();
                self.sessions.insert(session.clone(), (ownership.clone(), records));
            }
            Operation::Claim { session, seen_fence, ownership } => {
                let (owner, _) = self.sessions.get_mut(session).ok_or(Refusal::Missing)?;
                if owner.fence != *seen_fence || ownership.fence <= owner.fence {
                    return Err(Refusal::Fenced(owner.clone()));
                }
                *owner = ownership.clone();
            }
            Operation::Put { session, ownership, changes } => {
                let (owner, records) = self.sessions.get_mut(session).ok_or(Refusal::Missing)?;
                if owner.fence > ownership.fence {
                    return Err(Refusal::Fenced(owner.clone()));
                }
                *owner = ownership.clone();
                apply(records, changes);
            }
            Operation::Drop { session, fence } => {
                match self.sessions.get(session) {
                    Some((owner, _)) if owner.fence > *fence => return Err(Refusal::Fenced(owner.clone())),
                    _ => self.sessions.remove(session),
                };
            }
            Operation::Free { changes } => apply(&mut self.free, changes),
            Operation::SetSessionAside { session } => {
                let (_, records) = self.sessions.remove(session).ok_or(Refusal::Missing)?;
                for (name, value) in records {
                    self.aside.push(Aside { session: Some(session.clone()), name, value });
                }
            }
            Operation::SetAside { session, name } => {
                let from = match session {
                    Some(session) => &mut self.sessions.get_mut(session).ok_or(Refusal::Missing)?.1,
                    None => &mut self.free,
                };
                let value = from.remove(name).ok_or(Refusal::Missing)?;
                self.aside.push(Aside { session: session.clone(), name: name.clone(), value });
            }
        }
        Ok(())
    }
}

fn apply(records: &mut BTreeMap<Name, Value>, changes: &[Change]) {
    for (name, value) in changes {
        match value {
            Some(value) => records.insert(name.clone(), value.clone()),
            None => records.remove(name),
        };
    }
}

fn stored(id: &str, (ownership, records): &(Ownership, BTreeMap<Name, Value>)) -> StoredSession {
    let records = records.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    StoredSession { id: id.to_owned(), ownership: ownership.clone(), records }
}

impl Store for Memory {
    fn commit(&mut self, operations: &[Operation]) -> Result<Vec<Outcome>, StoreError> {
        let (outcomes, aside) = self.with(|held| {
            let outcomes = operations.iter().map(|operation| held.carry_out(operation)).collect();
            (outcomes, held.aside.len())
        });
        self.counters.set_records_aside(aside);
        Ok(outcomes)
    }

    fn load(&mut self) -> Result<Vec<StoredSession>, StoreError> {
        Ok(self.with(|held| held.sessions.iter().map(|(id, session)| stored(id, session)).collect()))
    }

    fn load_session(&mut self, session: &str) -> Result<Option<StoredSession>, StoreError> {
        Ok(self.with(|held| held.sessions.get(session).map(|found| stored(session, found))))
    }

    fn load_free(&mut self, namespace: Namespace) -> Result<Vec<(Name, Value)>, StoreError> {
        let of_kind = |(name, value): (&Name, &Value)| {
            (name.namespace == namespace).then(|| (name.clone(), value.clone()))
        };
        Ok(self.with(|held| held.free.iter().filter_map(of_kind).collect()))
    }

    fn load_aside(&mut self) -> Result<Vec<Aside>, StoreError> {
        Ok(self.with(|held| held.aside.clone()))
    }

    fn counters(&self) -> Arc<StoreCounters> {
        Arc::clone(&self.counters)
    }
}

#[cfg(test)]
mod tests {
    use super::super::conformance::{self, Testee};
    use super::*;

    impl Testee for Memory {
        fn reopen(&mut self) -> Box<dyn Store> {
            Box::new(self.clone())
        }
    }

    #[test]
    fn memory_conforms() {
        conformance::run(&mut Memory::default);
    }
}
