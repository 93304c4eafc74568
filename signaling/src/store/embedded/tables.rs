//! The layout of the file.
//!
//! The number behind a table's name is the version of its layout. A value is `format, checksum, bytes`: the checksum is
//! ours since the library checks its own only after a crash without quick repair.

use aws_lc_rs::digest;
use redb::{
    ReadTransaction, ReadableTable as _, ReadableTableMetadata as _, Table, TableDefinition, TableError,
    WriteTransaction,
};

use super::super::key::{Name, Namespace};
use super::super::operation::{Change, Operation, Outcome, Ownership, Refusal, Value};
use super::super::whole;

/// Sessions: version of the header, fence, lease in ms, owner.
const OWNERS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("owners-2");

/// Records by session, kind and id.
pub(super) const RECORDS: TableDefinition<'_, RecordKey<'_>, &[u8]> = TableDefinition::new("records-2");

/// Records that outlive sessions, by kind and id.
pub(super) const FREE: TableDefinition<'_, (u8, &str), &[u8]> = TableDefinition::new("free-2");

/// Unreadable records, by session (empty for records that outlive sessions), kind and id.
pub(super) const ASIDE: TableDefinition<'_, RecordKey<'_>, &[u8]> = TableDefinition::new("aside-2");

/// Whole sessions as JSON, of releases before records.
const SESSIONS_1: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("sessions-1");

type RecordKey<'a> = (&'a str, u8, &'a str);
type Records<'a> = Table<'a, RecordKey<'static>, &'static [u8]>;
type Error = redb::Error;

/// Version of the header in `OWNERS`.
const HEADER_VERSION: u8 = 1;

/// Bytes of the checksum.
const SUM_LEN: usize = 8;

/// The tables, open for writing.
pub(super) struct Tables<'a> {
    owners: Table<'a, &'static str, &'static [u8]>,
    records: Records<'a>,
    free: Table<'a, (u8, &'static str), &'static [u8]>,
    aside: Records<'a>,
}

impl<'a> Tables<'a> {
    pub(super) fn open(transaction: &'a WriteTransaction) -> Result<Self, Error> {
        Ok(Self {
            owners: transaction.open_table(OWNERS)?,
            records: transaction.open_table(RECORDS)?,
            free: transaction.open_table(FREE)?,
            aside: transaction.open_table(ASIDE)?,
        })
    }

    /// Records that are set aside.
    pub(super) fn aside_len(&self) -> Result<u64, Error> {
        Ok(self.aside.len()?)
    }

    pub(super) fn carry_out(&mut self, operation: &Operation) -> Result<Outcome, Error> {
        if let Err(refusal) = operation.check() {
            return Ok(Err(refusal));
        }
        match operation {
            Operation::Create { session, ownership, records } => {
                if let Some(owner) = self.owner(session)? {
                    return Ok(Err(Refusal::Exists(owner)));
                }
                self.set_owner(session, ownership)?;
                for (name, value) in records {
                    self.put(session, name, Some(value))?;
                }
            }
            Operation::Claim { session, seen_fence, ownership } => {
                let Some(owner) = self.owner(session)? else { return Ok(Err(Refusal::Missing)) };
                if owner.fence != *seen_fence || ownership.fence <= owner.fence {
                    return Ok(Err(Refusal::Fenced(owner)));
                }
                self.set_owner(session, ownership)?;
            }
            Operation::Put { session, ownership, changes } => {
                let Some(owner) = self.owner(session)? else { return Ok(Err(Refusal::Missing)) };
                if owner.fence > ownership.fence {
                    return Ok(Err(Refusal::Fenced(owner)));
                }
                if owner != *ownership {
                    self.set_owner(session, ownership)?;
                }
                for (name, value) in changes {
                    self.put(session, name, value.as_ref())?;
                }
            }
            Operation::Drop { session, fence } => match self.owner(session)? {
                Some(owner) if owner.fence > *fence => return Ok(Err(Refusal::Fenced(owner))),
                _ => self.remove(session)?,
            },
            Operation::Free { changes } => self.change_free(changes)?,
            Operation::SetSessionAside { session } => {
                if self.owner(session)?.is_none() {
                    return Ok(Err(Refusal::Missing));
                }
                for record in self.records.range(of_session(session))? {
                    let (key, value) = record?;
                    self.aside.insert(key.value(), value.value())?;
                }
                self.remove(session)?;
            }
            Operation::SetAside { session, name } => {
                let key = (session.as_deref().unwrap_or_default(), name.namespace.code(), &*name.id);
                return Ok(if self.set_aside(key)? { Ok(()) } else { Err(Refusal::Missing) });
            }
        }
        Ok(Ok(()))
    }

    /// Sets one record aside; gives whether it is there.
    pub(super) fn set_aside(&mut self, key: RecordKey<'_>) -> Result<bool, Error> {
        let found = match key {
            ("", kind, id) => self.free.remove((kind, id))?,
            key => self.records.remove(key)?,
        };
        let Some(value) = found else { return Ok(false) };
        self.aside.insert(key, value.value())?;
        Ok(true)
    }

    /// Removes every session. What outlives sessions stays.
    pub(super) fn remove_sessions(&mut self) -> Result<(), Error> {
        self.owners.retain(|_, _| false)?;
        self.records.retain(|_, _| false)?;
        Ok(())
    }

    fn remove(&mut self, session: &str) -> Result<(), Error> {
        self.owners.remove(session)?;
        self.records.retain_in(of_session(session), |_, _| false)?;
        Ok(())
    }

    fn owner(&self, session: &str) -> Result<Option<Ownership>, Error> {
        self.owners.get(session)?.map(|header| read_header(header.value())).transpose()
    }

    fn set_owner(&mut self, session: &str, ownership: &Ownership) -> Result<(), Error> {
        self.owners.insert(session, header(ownership).as_slice())?;
        Ok(())
    }

    fn put(&mut self, session: &str, name: &Name, value: Option<&Value>) -> Result<(), Error> {
        let key = (session, name.namespace.code(), &*name.id);
        match value {
            Some(value) => self.records.insert(key, encode(key, value).as_slice())?,
            None => self.records.remove(key)?,
        };
        Ok(())
    }

    fn change_free(&mut self, changes: &[Change]) -> Result<(), Error> {
        for (name, value) in changes {
            let key = (name.namespace.code(), &*name.id);
            match value {
                Some(value) => {
                    self.free.insert(key, encode(("", key.0, key.1), value).as_slice())?;
                }
                None => drop(self.free.remove(key)?),
            }
        }
        Ok(())
    }
}

/// Whether the file has the present layout and nothing of an earlier one.
pub(super) fn is_current(transaction: &ReadTransaction) -> Result<bool, Error> {
    let is_there = |error: Option<TableError>| match error {
        None => Ok(true),
        Some(TableError::TableDoesNotExist(_)) => Ok(false),
        Some(error) => Err(Error::from(error)),
    };
    let has_old = is_there(transaction.open_table(SESSIONS_1).err())?;
    Ok(!has_old && is_there(transaction.open_table(ASIDE).err())?)
}

/// Brings the file to the present layout.
pub(super) fn migrate(transaction: &WriteTransaction) -> Result<usize, Error> {
    let mut tables = Tables::open(transaction)?;
    let mut moved = 0;
    {
        let old = transaction.open_table(SESSIONS_1)?;
        for entry in old.iter()? {
            let (session, value) = entry?;
            let session = session.value();
            // An old program may have run in between: what it wrote is newer.
            tables.remove(session)?;
            tables.set_owner(session, &Ownership::single())?;
            for (name, piece) in whole::pieces(value.value()) {
                tables.put(session, &name, Some(&piece))?;
            }
            moved += 1;
        }
    }
    drop(tables);
    transaction.delete_table(SESSIONS_1)?;
    Ok(moved)
}

/// Every session and its owner, in the order of the ids.
pub(super) fn owners(transaction: &ReadTransaction) -> Result<Vec<(String, Ownership)>, Error> {
    let mut owners = Vec::new();
    for entry in transaction.open_table(OWNERS)?.iter()? {
        let (session, header) = entry?;
        owners.push((session.value().to_owned(), read_header(header.value())?));
    }
    Ok(owners)
}

/// The owner of one session.
pub(super) fn owner(transaction: &ReadTransaction, session: &str) -> Result<Option<Ownership>, Error> {
    transaction.open_table(OWNERS)?.get(session)?.map(|header| read_header(header.value())).transpose()
}

/// The keys of all records of a session. No kind has the number 255.
pub(super) const fn of_session(session: &str) -> std::ops::Range<RecordKey<'_>> {
    (session, 0, "")..(session, u8::MAX, "")
}

fn header(ownership: &Ownership) -> Vec<u8> {
    let mut header = vec![HEADER_VERSION];
    header.extend_from_slice(&ownership.fence.to_le_bytes());
    header.extend_from_slice(&ownership.lease_ms.to_le_bytes());
    header.extend_from_slice(ownership.owner.as_bytes());
    header
}

/// Reads a header. A header that does not read counts as damage, because the file is of no use without owners.
fn read_header(header: &[u8]) -> Result<Ownership, Error> {
    let read = || {
        let (&version, rest) = header.split_first()?;
        let (&fence, rest) = rest.split_first_chunk()?;
        let (&lease_ms, owner) = rest.split_first_chunk()?;
        let owner = str::from_utf8(owner).ok()?.to_owned();
        (version == HEADER_VERSION).then_some(Ownership {
            owner,
            fence: u64::from_le_bytes(fence),
            lease_ms: u64::from_le_bytes(lease_ms),
        })
    };
    read().ok_or_else(|| Error::Corrupted("the header of a session does not read".to_owned()))
}

fn encode(key: RecordKey<'_>, value: &Value) -> Vec<u8> {
    let mut encoded = Vec::with_capacity(1 + SUM_LEN + value.bytes.len());
    encoded.push(value.format);
    encoded.extend_from_slice(&sum(key, value.format, &value.bytes));
    encoded.extend_from_slice(&value.bytes);
    encoded
}

/// Reads a value; `None` when it is damaged.
pub(super) fn decode(key: RecordKey<'_>, encoded: &[u8]) -> Option<Value> {
    let (&format, rest) = encoded.split_first()?;
    let (expected, bytes) = rest.split_first_chunk::<SUM_LEN>()?;
    (sum(key, format, bytes) == *expected).then(|| Value::new(format, bytes))
}

/// The name of a record, `None` when a later version made its kind.
pub(super) fn name(kind: u8, id: &str) -> Option<Name> {
    Namespace::of(kind).map(|namespace| Name::new(namespace, id))
}

/// The first bytes of the SHA-256 of a record and its key.
fn sum((session, kind, id): RecordKey<'_>, format: u8, bytes: &[u8]) -> [u8; SUM_LEN] {
    let mut context = digest::Context::new(&digest::SHA256);
    for text in [session, id] {
        context.update(&text.len().to_le_bytes());
        context.update(text.as_bytes());
    }
    context.update(&[kind, format]);
    context.update(bytes);
    let digest = context.finish();
    *digest.as_ref().first_chunk().expect("SHA-256 has 32 bytes")
}
