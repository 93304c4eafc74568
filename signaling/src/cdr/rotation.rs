//! Files of lines: the current one, and older ones.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Name of the current file.
pub(super) const CURRENT: &str = "CDR.log";

/// Start and end of the names of older files. Between them is the time at which the file was closed, in ms since 1970.
const OLD: (&str, &str) = ("CDR-", ".log");

/// Mode of the files. They name participants and their addresses.
const MODE: u32 = 0o600;

/// Writes lines to files of a bounded length and number.
pub(super) struct Rotation {
    dir: PathBuf,
    len_max: u64,
    /// Most older files that are kept.
    old_max: usize,
    /// Absent before the first write and after a failure.
    current: Option<(File, u64)>,
}

impl Rotation {
    /// Opens the current file. Makes it and the directory if they are not there.
    pub(super) fn open(dir: &Path, len_max: u64, old_max: usize) -> io::Result<Self> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let mut rotation = Self { dir: dir.to_owned(), len_max, old_max, current: None };
        rotation.current = Some(rotation.open_current()?);
        Ok(rotation)
    }

    /// Writes one whole line. A failure does not stop later lines.
    pub(super) fn write(&mut self, line: &[u8], now_ms: u64) -> io::Result<()> {
        let (mut file, mut len) = match self.current.take() {
            Some(current) => current,
            None => self.open_current()?,
        };
        let line_len = line.len() as u64;
        if len > 0 && len.saturating_add(line_len) > self.len_max {
            self.turn(now_ms)?;
            (file, len) = self.open_current()?;
        }
        file.write_all(line)?;
        self.current = Some((file, len + line_len));
        Ok(())
    }

    fn open_current(&self) -> io::Result<(File, u64)> {
        let mut options = OpenOptions::new();
        let mut file =
            options.read(true).append(true).create(true).mode(MODE).open(self.dir.join(CURRENT))?;
        let len = file.metadata()?.len();
        // A full disk or a crash may have cut the last line short. The next one must not be appended to it.
        let mut last = [b'\n'];
        if len > 0 {
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
        }
        if last == [b'\n'] {
            return Ok((file, len));
        }
        file.write_all(b"\n")?;
        Ok((file, len + 1))
    }

    /// Renames the current file, and removes the oldest files beyond `old_max`.
    fn turn(&self, now_ms: u64) -> io::Result<()> {
        let mut old = old_files(&self.dir)?;
        // Names stay in the order of the files when two close in one millisecond, or the clock is set back.
        let at_ms = old.last().map_or(now_ms, |(last_ms, _)| now_ms.max(last_ms.saturating_add(1)));
        let name = format!("{}{at_ms}{}", OLD.0, OLD.1);
        std::fs::rename(self.dir.join(CURRENT), self.dir.join(&name))?;
        old.push((at_ms, name));
        let too_many = old.len().saturating_sub(self.old_max);
        for (_, name) in &old[..too_many] {
            std::fs::remove_file(self.dir.join(name))?;
        }
        Ok(())
    }
}

/// Names of all record files in `dir`, the oldest first.
pub(crate) fn names(dir: &Path) -> io::Result<Vec<String>> {
    let mut names: Vec<String> = old_files(dir)?.into_iter().map(|(_, name)| name).collect();
    if dir.join(CURRENT).exists() {
        names.push(CURRENT.to_owned());
    }
    Ok(names)
}

/// Whether a record file may have this name. Such a name holds no path separator.
pub(crate) fn is_ours(name: &str) -> bool {
    name == CURRENT || closed_at_ms(name).is_some()
}

fn old_files(dir: &Path) -> io::Result<Vec<(u64, String)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let Ok(name) = entry?.file_name().into_string() else { continue };
        found.extend(closed_at_ms(&name).map(|at_ms| (at_ms, name)));
    }
    found.sort_unstable();
    Ok(found)
}

fn closed_at_ms(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(OLD.0)?.strip_suffix(OLD.1)?;
    let only_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| only_digits)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use millrace_testkit::scratch;

    use super::*;

    fn text(dir: &Path, name: &str) -> String {
        std::fs::read_to_string(dir.join(name)).unwrap()
    }

    #[test]
    fn lines_go_to_files_of_a_bounded_length_and_number() {
        let scratch = scratch();
        let dir = scratch.join("deep");
        let mut files = Rotation::open(&dir, 8, 2).unwrap();
        assert_eq!(names(&dir).unwrap(), [CURRENT]);
        for line in ["1\n", "22\n", "333\n", "a line longer than a file\n", "4\n", "5\n", "6\n", "7\n", "8\n"]
        {
            files.write(line.as_bytes(), 700).unwrap();
        }
        // 1 22 | 333 | the long one | 4 5 6 7 | 8, of which two old ones are kept. The clock stood still.
        assert_eq!(names(&dir).unwrap(), ["CDR-702.log", "CDR-703.log", CURRENT]);
        assert_eq!(text(&dir, "CDR-702.log"), "a line longer than a file\n");
        assert_eq!(text(&dir, "CDR-703.log"), "4\n5\n6\n7\n");
        assert_eq!(text(&dir, CURRENT), "8\n");
        // The next process goes on where this one ends.
        drop(files);
        let mut files = Rotation::open(&dir, 8, 2).unwrap();
        files.write(b"9\n", 900).unwrap();
        assert_eq!(text(&dir, CURRENT), "8\n9\n");
        files.write(b"10 11\n", 900).unwrap();
        assert_eq!(names(&dir).unwrap(), ["CDR-703.log", "CDR-900.log", CURRENT]);
    }

    #[test]
    fn a_line_that_was_cut_does_not_swallow_the_next() {
        let scratch = scratch();
        let dir = scratch.join("deep");
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join(CURRENT), "{\"a\":1}\n{\"b").unwrap();
        Rotation::open(&dir, 100, 1).unwrap().write(b"{}\n", 0).unwrap();
        assert_eq!(text(&dir, CURRENT), "{\"a\":1}\n{\"b\n{}\n");
    }

    #[test]
    fn without_its_directory_a_line_fails_and_the_next_after_it_is_back_does_not() {
        let scratch = scratch();
        let dir = scratch.join("deep");
        let mut files = Rotation::open(&dir, 4, 1).unwrap();
        files.write(b"1234\n", 0).unwrap();
        std::fs::remove_dir_all(&dir).unwrap();
        assert!(files.write(b"5\n", 0).is_err());
        std::fs::create_dir(&dir).unwrap();
        files.write(b"6\n", 0).unwrap();
        assert_eq!(text(&dir, CURRENT), "6\n");
        let mode = std::fs::metadata(dir.join(CURRENT)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn only_names_of_ours_are_ours() {
        assert!(is_ours("CDR.log") && is_ours("CDR-1767000000000.log"));
        for other in ["", "CDR-.log", "CDR-+1.log", "CDR-1.log/..", "../CDR.log", "CDR.log.gz", "cdr.log"] {
            assert!(!is_ours(other), "{other}");
        }
    }
}
