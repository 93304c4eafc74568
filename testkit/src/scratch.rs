//! Directories of tests.

use std::fs::Permissions;
use std::ops::Deref;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tempfile::TempDir;

/// An empty directory, removed when it is dropped, also by a test that fails.
#[derive(Debug)]
pub struct Scratch(TempDir);

/// A new directory.
///
/// # Panics
/// When the system's directory for temporary files cannot be written to.
pub fn scratch() -> Scratch {
    // Private, as a data directory is.
    let made =
        tempfile::Builder::new().prefix("millrace-").permissions(Permissions::from_mode(0o700)).tempdir();
    Scratch(made.expect("the directory for temporary files can be written to"))
}

impl Deref for Scratch {
    type Target = Path;

    fn deref(&self) -> &Path {
        self.0.path()
    }
}

impl AsRef<Path> for Scratch {
    fn as_ref(&self) -> &Path {
        self
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn nothing_of_a_failed_test_stays_behind() {
        let (sender, receiver) = channel();
        let test = std::thread::spawn(move || {
            let dir = scratch();
            std::fs::write(dir.join("file"), "x").expect("the directory is there");
            sender.send(dir.to_path_buf()).expect("the other end waits");
            panic!("as a failed test does");
        });
        assert!(test.join().is_err());
        assert!(!receiver.recv().expect("it was sent").exists());
    }
}
