//! A wait before a start that soon follows the one before.
//!
//! The units restart a process after 100 ms, because calls depend on it. A process that fails at every start, for example
//! because another program has its port, would be started ten times a second for ever. systemd before 254 cannot make its
//! own wait longer (`RestartSteps=`), so the process itself waits, longer each time.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

/// A process that ran at least this long starts again without a wait.
const STEADY_AFTER: Duration = Duration::from_secs(5);
/// The wait before the second start in a row. It doubles with each further one.
const WAIT_MIN: Duration = Duration::from_millis(100);
/// The wait when the number of starts cannot be written.
const WAIT_WITHOUT_COUNT: Duration = Duration::from_secs(1);
/// The longest wait.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// Notes a start of the program `name` in the directory `dir`, and gives the time to wait before it. Without a directory
/// that can be written there is no wait.
pub fn wait_before_start(dir: &Path, name: &str) -> Duration {
    let path = dir.join(format!("{name}.starts"));
    let in_a_row = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
    let Ok(since) = touch(&path) else { return Duration::ZERO };
    let (in_a_row, wait) = next(in_a_row, since);
    match fs::write(&path, format!("{in_a_row}\n")) {
        Ok(()) => wait,
        // A full disk takes an empty file and no number.
        Err(_) => WAIT_WITHOUT_COUNT,
    }
}

/// Writes the file, and gives the time since it was last written, `None` if it is new or the clock went back.
fn touch(path: &Path) -> io::Result<Option<Duration>> {
    let before = fs::metadata(path).and_then(|file| file.modified());
    fs::write(path, "")?;
    let after = fs::metadata(path)?.modified()?;
    Ok(before.ok().and_then(|before| after.duration_since(before).ok()))
}

/// The number of starts in a row with this one, and the wait before it. `since` is the time since the last start.
fn next(in_a_row: u32, since: Option<Duration>) -> (u32, Duration) {
    let last_wait = wait(in_a_row);
    if since.is_none_or(|since| since >= STEADY_AFTER + last_wait) {
        return (1, Duration::ZERO);
    }
    let in_a_row = in_a_row.saturating_add(1);
    (in_a_row, wait(in_a_row))
}

/// The wait before the start of that number in a row.
fn wait(in_a_row: u32) -> Duration {
    match in_a_row {
        0 | 1 => Duration::ZERO,
        more => WAIT_MIN.saturating_mul(1 << (more - 2).min(16)).min(WAIT_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_program_that_fails_at_every_start_waits_longer_each_time() {
        let mut waits = Vec::new();
        let mut in_a_row = 0;
        let mut since = None;
        for _ in 0..9 {
            let (next, wait) = next(in_a_row, since);
            waits.push(wait.as_millis());
            in_a_row = next;
            since = Some(wait + 150 * MS);
        }
        assert_eq!(waits, [0, 100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
    }

    #[test]
    fn a_program_that_ran_for_a_while_starts_at_once() {
        assert_eq!(next(1, Some(STEADY_AFTER)), (1, Duration::ZERO));
        assert_eq!(next(9, Some(STEADY_AFTER + WAIT_MAX)), (1, Duration::ZERO));
        assert_eq!(next(9, Some(STEADY_AFTER)).0, 10, "it only waited");
        assert_eq!(next(u32::MAX, Some(MS)).1, WAIT_MAX);
    }

    #[test]
    fn starts_are_noted_and_a_missing_directory_is_no_reason_to_wait() {
        let dir = millrace_testkit::scratch();
        let waits: Vec<Duration> = (0..3).map(|_| wait_before_start(&dir, "relay")).collect();
        assert_eq!(waits, [Duration::ZERO, WAIT_MIN, 2 * WAIT_MIN]);
        assert_eq!(wait_before_start(&dir, "signaling"), Duration::ZERO, "each has its own");
        fs::write(dir.join("relay.starts"), "damaged").unwrap();
        assert_eq!(wait_before_start(&dir, "relay"), Duration::ZERO);
        let missing = dir.join("missing");
        assert_eq!([(); 2].map(|()| wait_before_start(&missing, "relay")), [Duration::ZERO; 2]);
    }
}
