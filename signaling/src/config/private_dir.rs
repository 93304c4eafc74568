//! A directory that only its owner may enter.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;

/// Rights of the owner alone.
const OWNER_ONLY: u32 = 0o700;
/// Rights of the group and of everybody else.
const OTHERS: u32 = 0o077;
/// The bit of shared directories such as `/tmp`.
const STICKY: u32 = 0o1000;

/// Files that show that a directory is a data directory of ours.
const OURS: [&str; 4] = ["relay.lock", "secret", "dtls.certificate", "signaling.redb"];

/// Creates `dir` with mode 0700. If it exists, others lose their rights to it.
///
/// A directory that does not look like a data directory keeps its mode, with a warning: it may be a home directory or
/// `/tmp`, which others need.
///
/// # Errors
/// When the directory cannot be created or read.
pub(super) fn make(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(OWNER_ONLY).create(dir)?;
    let mode = fs::metadata(dir)?.permissions().mode();
    if mode & OTHERS == 0 {
        return Ok(());
    }
    let shown = dir.display();
    if mode & STICKY != 0 || !is_ours(dir)? {
        tracing::warn!(
            "other users may list the data directory {shown}; it has other files, so its mode stays"
        );
        return Ok(());
    }
    match fs::set_permissions(dir, Permissions::from_mode(OWNER_ONLY)) {
        Ok(()) => tracing::warn!("other users could list the data directory {shown}; its mode is 0700 now"),
        Err(error) => {
            tracing::warn!(%error, "other users may list the data directory {shown}; run chmod 0700")
        }
    }
    Ok(())
}

/// Whether the directory is empty or has files that only we write.
fn is_ours(dir: &Path) -> io::Result<bool> {
    Ok(fs::read_dir(dir)?.next().is_none() || OURS.iter().any(|name| dir.join(name).exists()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(dir: &Path) -> u32 {
        fs::metadata(dir).unwrap().permissions().mode() & 0o7777
    }

    fn open_dir(parent: &Path, name: &str) -> std::path::PathBuf {
        let dir = parent.join(name);
        fs::create_dir(&dir).unwrap();
        fs::set_permissions(&dir, Permissions::from_mode(0o755)).unwrap();
        dir
    }

    #[test]
    fn a_new_directory_is_for_its_owner_only() {
        let scratch = millrace_testkit::scratch();
        let dir = scratch.join("a/b");
        make(&dir).unwrap();
        assert_eq!(mode(&dir), 0o700);
    }

    #[test]
    fn an_older_data_directory_is_tightened_and_a_foreign_one_is_not() {
        let scratch = millrace_testkit::scratch();
        let (empty, older, foreign) =
            (open_dir(&scratch, "empty"), open_dir(&scratch, "older"), open_dir(&scratch, "foreign"));
        fs::write(older.join("secret"), "x").unwrap();
        fs::write(foreign.join("letter.txt"), "x").unwrap();
        for dir in [&empty, &older, &foreign] {
            make(dir).unwrap();
        }
        assert_eq!((mode(&empty), mode(&older), mode(&foreign)), (0o700, 0o700, 0o755));

        fs::set_permissions(&older, Permissions::from_mode(0o1777)).unwrap();
        make(&older).unwrap();
        assert_eq!(mode(&older), 0o1777, "a shared directory stays shared");
    }
}
