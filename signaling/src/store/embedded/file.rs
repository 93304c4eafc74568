//! The file: its rights, what its failures mean, and how it is set aside.

use std::fmt;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use redb::{CommitError, DatabaseError, StorageError, TableError, TransactionError};

use crate::clock;

/// Mode of the file. Only its owner may read it, because it contains tokens.
const MODE: u32 = 0o600;

/// Damaged files that are kept. Older ones are removed, so that a failing disk is not filled up.
const KEPT: usize = 3;

/// What a failure means.
#[derive(Debug)]
pub(super) enum Failure {
    /// Another process has the file open.
    Locked,
    /// This process has no right to it.
    Denied(io::Error),
    /// It is damaged.
    Broken(String),
    /// It does not work now: the disk is full, or gives an error.
    Unavailable(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Locked => f.write_str("another process has the file open"),
            Self::Denied(error) => write!(f, "{error}"),
            Self::Broken(text) => write!(f, "the file is damaged: {text}"),
            Self::Unavailable(text) => f.write_str(text),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::PermissionDenied
            | ErrorKind::ReadOnlyFilesystem
            | ErrorKind::NotFound
            | ErrorKind::NotADirectory
            | ErrorKind::IsADirectory => Self::Denied(error),
            ErrorKind::UnexpectedEof | ErrorKind::InvalidData | ErrorKind::InvalidInput => {
                Self::Broken(error.to_string())
            }
            _ => Self::Unavailable(error.to_string()),
        }
    }
}

impl From<redb::Error> for Failure {
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::DatabaseAlreadyOpen => Self::Locked,
            redb::Error::Io(error) => error.into(),
            // A table of another type than the layout says, or an impossible value.
            redb::Error::Corrupted(_)
            | redb::Error::UpgradeRequired(_)
            | redb::Error::RepairAborted
            | redb::Error::ValueTooLarge(_)
            | redb::Error::LockPoisoned(_)
            | redb::Error::TableIsMultimap(_)
            | redb::Error::TableIsNotMultimap(_)
            | redb::Error::TableTypeMismatch { .. }
            | redb::Error::TypeDefinitionChanged { .. }
            | redb::Error::TableDoesNotExist(_) => Self::Broken(error.to_string()),
            error => Self::Unavailable(error.to_string()),
        }
    }
}

macro_rules! through_the_common_error {
    ($($error:ty),*) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                redb::Error::from(error).into()
            }
        })*
    };
}
through_the_common_error!(CommitError, DatabaseError, StorageError, TableError, TransactionError);

/// Opens the file, or makes it, for its owner only.
pub(super) fn open_file(path: &Path) -> Result<File, Failure> {
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(false).mode(MODE).open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(MODE))?;
    }
    Ok(file)
}

/// Whether the file has content that could be lost.
pub(super) fn has_content(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|file| file.len() > 0)
}

/// Renames the file to `NAME.broken-MS` and gives the new path. Removes the oldest of such files.
pub(super) fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".broken-{:013}", clock::now_ms()));
    let to = PathBuf::from(name);
    std::fs::rename(path, &to)?;
    let kept = all_set_aside(path);
    for old in kept.iter().take(kept.len().saturating_sub(KEPT)) {
        std::fs::remove_file(old)?;
    }
    Ok(to)
}

/// How many damaged files there are.
pub(super) fn set_aside_len(path: &Path) -> usize {
    all_set_aside(path).len()
}

/// The damaged files, oldest first.
fn all_set_aside(path: &Path) -> Vec<PathBuf> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str()))
    else {
        return Vec::new();
    };
    let prefix = format!("{name}.broken-");
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let is_broken = |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().starts_with(&prefix);
    let mut found: Vec<PathBuf> = entries.filter(is_broken).map(|entry| entry.path()).collect();
    found.sort();
    found
}
