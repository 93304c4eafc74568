//! The default store: one file, no server.

use std::fmt::Display;
use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};

use super::{Change, Store, StoreError};

/// Sessions by id. The name carries the version of the values.
const SESSIONS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("sessions-1");

/// Mode of the file.
const MODE: u32 = 0o600;

/// A database file of this process alone.
pub struct Embedded {
    path: PathBuf,
    /// Absent after a failure: the next use opens the file anew.
    database: Option<Database>,
}

impl Embedded {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// When it is no database, cannot be made, or another process has it open.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let mut store = Self { path: path.to_owned(), database: None };
        store.database()?;
        Ok(store)
    }

    fn database(&mut self) -> Result<&Database, StoreError> {
        if self.database.is_none() {
            let cannot =
                |error: &dyn Display| StoreError(format!("cannot open {}: {error}", self.path.display()));
            let file = open_private(&self.path).map_err(|error| cannot(&error))?;
            let database = Database::builder().create_file(file).map_err(|error| cannot(&error))?;
            return Ok(self.database.insert(database));
        }
        Ok(self.database.as_ref().expect("it was found just now"))
    }

    fn write(&mut self, changes: &[Change]) -> Result<(), redb::Error> {
        let database = self.database().map_err(|error| redb::Error::Corrupted(error.0))?;
        let transaction = database.begin_write()?;
        {
            let mut table = transaction.open_table(SESSIONS)?;
            for (id, value) in changes {
                match value {
                    Some(value) => table.insert(id.as_str(), value.as_slice())?,
                    None => table.remove(id.as_str())?,
                };
            }
        }
        transaction.commit()?;
        Ok(())
    }

    fn read(&mut self) -> Result<Vec<(String, Vec<u8>)>, redb::Error> {
        let database = self.database().map_err(|error| redb::Error::Corrupted(error.0))?;
        let table = match database.begin_read()?.open_table(SESSIONS) {
            Ok(table) => table,
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let mut sessions = Vec::new();
        for entry in table.iter()? {
            let (id, value) = entry?;
            sessions.push((id.value().to_owned(), value.value().to_owned()));
        }
        Ok(sessions)
    }
}

/// Opens the file, or makes it, for its owner only: tokens are in it.
fn open_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(false).mode(MODE).open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(MODE))?;
    }
    Ok(file)
}

impl Store for Embedded {
    fn load(&mut self) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        self.read().map_err(|error| StoreError(error.to_string()))
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        self.write(changes).map_err(|error| {
            // After an IO error the library refuses further work on the same handle.
            self.database = None;
            StoreError(error.to_string())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("millrace-store-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        dir.join("test.redb")
    }

    #[test]
    fn what_was_committed_is_there_after_reopening() {
        let path = scratch("reopen");
        let mut store = Embedded::open(&path).unwrap();
        assert_eq!(store.load().unwrap(), []);
        store.commit(&[("a".into(), Some(vec![1])), ("b".into(), Some(vec![2]))]).unwrap();
        store.commit(&[("a".into(), None), ("b".into(), Some(vec![3])), ("c".into(), None)]).unwrap();
        assert!(Embedded::open(&path).is_err(), "one process at a time");
        drop(store);
        let mut store = Embedded::open(&path).unwrap();
        assert_eq!(store.load().unwrap(), [("b".to_owned(), vec![3])]);
    }

    #[test]
    fn the_file_is_its_owners_only() {
        let path = scratch("mode");
        let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        drop(Embedded::open(&path).unwrap());
        assert_eq!(mode(), 0o600);
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        drop(Embedded::open(&path).unwrap());
        assert_eq!(mode(), 0o600, "one from before is tightened");
    }

    #[test]
    fn a_file_that_is_no_database_is_named() {
        let path = scratch("garbage");
        std::fs::write(&path, [7; 8192]).unwrap();
        let Err(error) = Embedded::open(&path) else { panic!("garbage was opened") };
        assert!(error.to_string().contains("test.redb"), "{error}");
    }
}
