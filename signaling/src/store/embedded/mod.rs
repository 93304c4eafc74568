//! The default store: one file, no server.
//!
//! A damaged file is set aside beside the new one. The process still starts, and calls go on. Decisions and figures
//! are in `docs/decisions/store.md`.

mod file;
mod tables;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{
    Database, ReadTransaction, ReadableDatabase as _, ReadableTable as _, ReadableTableMetadata as _,
    WriteTransaction,
};

use super::key::{Name, Namespace};
use super::operation::{Operation, Outcome, StoreError, StoredSession, Value};
use super::{Aside, Store, StoreCounters};
use file::{Failure, open_file};
use tables::{ASIDE, FREE, RECORDS, Tables};

/// Memory for pages of the file, in bytes. The library's default of 1 GiB is more than the rest of the process takes.
const CACHE_LEN: usize = 1 << 20;

/// A database file of this process alone.
pub struct Embedded {
    path: PathBuf,
    /// Absent after a failure: the next use opens the file again.
    database: Option<Database>,
    /// The sessions in the file were not loaded. They are removed before anything is written: this process and its
    /// clients know nothing of them.
    is_unread: bool,
    counters: Arc<StoreCounters>,
}

/// Key of a record in the file whose value or kind does not read.
type Unreadable = (String, u8, String);

/// The readable items, and the unreadable ones.
type Read<T> = (Vec<T>, Vec<Unreadable>);

/// The library writes when it is closed, and a damaged file may make it panic then.
impl Drop for Embedded {
    fn drop(&mut self) {
        self.close();
    }
}

impl Embedded {
    /// Opens the file, or makes it. A file that is damaged is set aside and a new one made. Where no file can be made
    /// at present (the disk is full), the store begins without one and makes it later.
    ///
    /// # Errors
    /// When another process has the file open, or this one has no right to it.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let mut store =
            Self { path: path.to_owned(), database: None, is_unread: false, counters: Arc::default() };
        store.counters.set_files_set_aside(file::set_aside_len(path));
        match store.database() {
            Ok(_) => {}
            Err(Failure::Locked) => return Err(StoreError::Unavailable(store.named(&Failure::Locked))),
            Err(failure @ Failure::Denied(_)) => return Err(StoreError::Denied(store.named(&failure))),
            Err(failure) => store.begin_anew(&failure),
        }
        if let Ok(aside) = store.read(|transaction| Ok(transaction.open_table(ASIDE)?.len()?)) {
            store.counters.set_records_aside(usize::try_from(aside).unwrap_or(usize::MAX));
        }
        Ok(store)
    }

    /// The open database. Opens it when the last use has failed.
    fn database(&mut self) -> Result<&Database, Failure> {
        if self.database.is_none() {
            let path = self.path.clone();
            let database = survive(|| {
                let database =
                    Database::builder().set_cache_size(CACHE_LEN).create_file(open_file(&path)?)?;
                prepare(&database)?;
                Ok(database)
            })?;
            return Ok(self.database.insert(database));
        }
        Ok(self.database.as_ref().expect("it was found just now"))
    }

    /// Uses the database. After a failure it is closed: the library refuses further work on the same handle.
    fn using<T>(&mut self, work: impl FnOnce(&Database) -> Result<T, Failure>) -> Result<T, Failure> {
        let database = self.database()?;
        let outcome = survive(|| work(database));
        if outcome.is_err() {
            self.close();
        }
        outcome
    }

    fn read<T>(
        &mut self,
        work: impl FnOnce(&ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, Failure> {
        self.using(|database| Ok(work(&database.begin_read()?)?))
    }

    fn write<T>(
        &mut self,
        work: impl FnOnce(&mut Tables<'_>) -> Result<T, redb::Error>,
    ) -> Result<T, Failure> {
        let is_unread = self.is_unread;
        let counters = Arc::clone(&self.counters);
        let outcome = self.using(|database| {
            let transaction = begin(database)?;
            let mut tables = Tables::open(&transaction)?;
            if is_unread {
                tables.remove_sessions()?;
            }
            let outcome = work(&mut tables)?;
            let aside = tables.aside_len()?;
            drop(tables);
            transaction.commit()?;
            counters.set_records_aside(usize::try_from(aside).unwrap_or(usize::MAX));
            Ok(outcome)
        })?;
        self.is_unread = false;
        Ok(outcome)
    }

    fn close(&mut self) {
        let database = self.database.take();
        // After a panic within the library its locks may be poisoned, and closing may panic again.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(database)));
    }

    /// Sets a file aside that cannot be used, and makes a new one. The calls go on even if neither works.
    fn begin_anew(&mut self, failure: &Failure) {
        self.close();
        if file::has_content(&self.path) {
            match file::set_aside(&self.path) {
                Ok(to) => tracing::error!(
                    "{}; it is kept as {} and the store begins empty. Sessions of before the start are lost",
                    self.named(failure),
                    to.display()
                ),
                Err(error) => {
                    self.is_unread = true;
                    tracing::error!("{}, and it cannot be set aside: {error}", self.named(failure));
                }
            }
            self.counters.set_files_set_aside(file::set_aside_len(&self.path));
        }
        if let Err(failure) = self.database().map(|_| ()) {
            tracing::error!("{}; nothing is stored until it works again", self.named(&failure));
        }
    }

    fn named(&self, failure: &Failure) -> String {
        format!("{}: {failure}", self.path.display())
    }

    /// Turns a failure into the error for the caller.
    fn failed(&mut self, failure: &Failure) -> StoreError {
        if matches!(failure, Failure::Broken(_)) {
            let text = self.named(failure);
            self.begin_anew(failure);
            return StoreError::Emptied(text);
        }
        StoreError::Unavailable(self.named(failure))
    }

    /// Reads all sessions, and sets aside what does not read.
    fn load_sessions(&mut self) -> Result<Vec<StoredSession>, Failure> {
        let (sessions, unreadable) = self.read(read_sessions)?;
        self.set_aside(&unreadable);
        Ok(sessions)
    }

    /// Sets records aside and says so once: the next start does not find them any more.
    fn set_aside(&mut self, unreadable: &[Unreadable]) {
        let records = unreadable.len();
        if records == 0 {
            return;
        }
        let set_aside = self.write(|tables| {
            unreadable
                .iter()
                .try_for_each(|(session, kind, id)| tables.set_aside((session, *kind, id)).map(drop))
        });
        match set_aside {
            Ok(()) => tracing::error!(records, "records of the store do not read: they are set aside"),
            Err(failure) => {
                tracing::error!(
                    records,
                    "records of the store do not read and cannot be set aside: {failure}"
                );
            }
        }
    }
}

/// A transaction whose file opens at once after a crash. Without it the whole file is walked first.
fn begin(database: &Database) -> Result<WriteTransaction, Failure> {
    let mut transaction = database.begin_write()?;
    transaction.set_quick_repair(true);
    Ok(transaction)
}

/// Makes the tables, and takes over those of earlier releases.
fn prepare(database: &Database) -> Result<(), Failure> {
    if tables::is_current(&database.begin_read()?)? {
        return Ok(());
    }
    let transaction = begin(database)?;
    let moved = tables::migrate(&transaction)?;
    transaction.commit()?;
    if moved > 0 {
        tracing::info!(
            sessions = moved,
            "the store has a new layout: sessions of the last release are taken over"
        );
    }
    Ok(())
}

/// Does work that a damaged file may turn into a panic of the library.
fn survive<T>(work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(Failure::Broken("the library panicked over it".to_owned())))
}

fn read_sessions(transaction: &ReadTransaction) -> Result<Read<StoredSession>, redb::Error> {
    let stored = |(id, ownership)| StoredSession { id, ownership, records: Vec::new() };
    let mut sessions: Vec<StoredSession> = tables::owners(transaction)?.into_iter().map(stored).collect();
    let mut unreadable = Vec::new();
    let mut at = 0;
    // Both tables are in the order of the session's id.
    for record in transaction.open_table(RECORDS)?.iter()? {
        let (key, encoded) = record?;
        let (session, kind, id) = key.value();
        while sessions.get(at).is_some_and(|found| found.id.as_str() < session) {
            at += 1;
        }
        let owner = sessions.get_mut(at).filter(|found| found.id == session);
        let value = tables::decode(key.value(), encoded.value());
        match (owner, tables::name(kind, id), value) {
            (Some(owner), Some(name), Some(value)) => owner.records.push((name, value)),
            _ => unreadable.push((session.to_owned(), kind, id.to_owned())),
        }
    }
    Ok((sessions, unreadable))
}

fn read_session(transaction: &ReadTransaction, id: &str) -> Result<Option<StoredSession>, redb::Error> {
    let Some(ownership) = tables::owner(transaction, id)? else { return Ok(None) };
    let mut records = Vec::new();
    for record in transaction.open_table(RECORDS)?.range(tables::of_session(id))? {
        let (key, encoded) = record?;
        let (_, kind, record_id) = key.value();
        let name = tables::name(kind, record_id);
        records.extend(name.zip(tables::decode(key.value(), encoded.value())));
    }
    Ok(Some(StoredSession { id: id.to_owned(), ownership, records }))
}

fn read_free(
    transaction: &ReadTransaction,
    namespace: Namespace,
) -> Result<Read<(Name, Value)>, redb::Error> {
    let kind = namespace.code();
    let (mut records, mut unreadable) = (Vec::new(), Vec::new());
    for record in transaction.open_table(FREE)?.range((kind, "")..(kind + 1, ""))? {
        let (key, encoded) = record?;
        let (_, id) = key.value();
        match tables::decode(("", kind, id), encoded.value()) {
            Some(value) => records.push((Name::new(namespace, id), value)),
            None => unreadable.push((String::new(), kind, id.to_owned())),
        }
    }
    Ok((records, unreadable))
}

fn read_aside(transaction: &ReadTransaction) -> Result<Vec<Aside>, redb::Error> {
    let mut aside = Vec::new();
    for record in transaction.open_table(ASIDE)?.iter()? {
        let (key, encoded) = record?;
        let (session, kind, id) = key.value();
        let found = tables::name(kind, id).zip(tables::decode(key.value(), encoded.value()));
        aside.extend(found.map(|(name, value)| Aside {
            session: (!session.is_empty()).then(|| session.to_owned()),
            name,
            value,
        }));
    }
    Ok(aside)
}

impl Store for Embedded {
    fn commit(&mut self, operations: &[Operation]) -> Result<Vec<Outcome>, StoreError> {
        let outcomes =
            self.write(|tables| operations.iter().map(|operation| tables.carry_out(operation)).collect());
        outcomes.map_err(|failure| self.failed(&failure))
    }

    /// Gives no error: a file that cannot be read is set aside, and the store begins empty.
    fn load(&mut self) -> Result<Vec<StoredSession>, StoreError> {
        if self.is_unread || self.database.is_none() {
            return Ok(Vec::new());
        }
        Ok(self.load_sessions().unwrap_or_else(|failure| {
            self.begin_anew(&failure);
            Vec::new()
        }))
    }

    fn load_session(&mut self, session: &str) -> Result<Option<StoredSession>, StoreError> {
        self.read(|transaction| read_session(transaction, session)).map_err(|failure| self.failed(&failure))
    }

    fn load_free(&mut self, namespace: Namespace) -> Result<Vec<(Name, Value)>, StoreError> {
        let read = self.read(|transaction| read_free(transaction, namespace));
        let (records, unreadable) = read.map_err(|failure| self.failed(&failure))?;
        self.set_aside(&unreadable);
        Ok(records)
    }

    fn load_aside(&mut self) -> Result<Vec<Aside>, StoreError> {
        self.read(read_aside).map_err(|failure| self.failed(&failure))
    }

    fn counters(&self) -> Arc<StoreCounters> {
        Arc::clone(&self.counters)
    }
}

#[cfg(test)]
mod tests;
