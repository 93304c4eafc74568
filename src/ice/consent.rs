//! The table of valid paths and the one that is sent on: how they come, change and lapse (RFC 7675).

use std::time::Duration;

use crate::egress::Path;
use crate::records::ice::{IceRecord, ValidPathRecord};
use crate::records::path::PathRecord;
use crate::time::Timestamp;

/// Time after which a path without a check is forgotten (RFC 7675 §5.1). The peer's checks are its consent: while it
/// asks for answers on a path, it wants to be sent to there.
pub const CONSENT_TIMEOUT: Duration = Duration::from_secs(30);

const FREE: ValidPathRecord = ValidPathRecord { path: PathRecord::NONE, last_check: Timestamp::ZERO };

/// What the passing of time did to a peer's paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Lapse {
    /// What is sent goes where it went.
    None,
    /// The path that was sent on lapsed; this one, checked last, takes its place.
    Migrated(Path),
    /// No path is left: the peer is gone.
    Expired,
}

/// The path to send on, or `None` before the first valid check and after the last consent.
pub fn selected(record: &IceRecord) -> Option<Path> {
    record.selected.get()
}

/// Whether DTLS, SRTP and SRTCP from this path may be listened to.
pub fn is_validated(record: &IceRecord, path: &Path) -> bool {
    let path = PathRecord::from(path);
    record.paths.iter().any(|valid| valid.path == path)
}

/// When [`handle_timeout`] is due: [`Timestamp::NEVER`] without a valid path. Giving up on a peer that never came is
/// up to who waits for it.
pub fn next_deadline(record: &IceRecord) -> Timestamp {
    let checks = record.paths.iter().filter(|valid| !valid.path.is_none()).map(|valid| valid.last_check);
    checks.min().map_or(Timestamp::NEVER, |oldest| oldest + CONSENT_TIMEOUT)
}

/// Forgets the paths whose consent lapsed, each told to `forgotten`, and replaces the one that was sent on.
pub fn handle_timeout(record: &mut IceRecord, now: Timestamp, mut forgotten: impl FnMut(Path)) -> Lapse {
    for valid in &mut record.paths {
        if !valid.path.is_none() && now >= valid.last_check + CONSENT_TIMEOUT {
            let lapsed = std::mem::replace(valid, FREE);
            lapsed.path.get().into_iter().for_each(&mut forgotten);
        }
    }
    let selected = record.selected;
    if selected.is_none() || record.paths.iter().any(|valid| valid.path == selected) {
        return Lapse::None;
    }
    let left = record.paths.iter().filter(|valid| !valid.path.is_none());
    record.selected = left.max_by_key(|valid| valid.last_check).map_or(PathRecord::NONE, |valid| valid.path);
    record.selected.get().map_or(Lapse::Expired, Lapse::Migrated)
}

/// What became of the table when a check came.
pub(super) struct Touched {
    /// The path was not in it before.
    pub(super) is_new: bool,
    /// The path that had to make room.
    pub(super) evicted: Option<Path>,
}

/// Notes a fresh check on a path. A full table forgets the path whose check is oldest, but never the selected one.
pub(super) fn touch(record: &mut IceRecord, path: PathRecord, now: Timestamp) -> Touched {
    record.last_check = now;
    if let Some(valid) = record.paths.iter_mut().find(|valid| valid.path == path) {
        valid.last_check = now;
        return Touched { is_new: false, evicted: None };
    }
    let selected = record.selected;
    let place = record
        .paths
        .iter_mut()
        .filter(|valid| valid.path.is_none() || valid.path != selected)
        // Free places read as checked at the beginning of time, so they come first.
        .min_by_key(|valid| (!valid.path.is_none(), valid.last_check))
        .expect("one path is selected and the table has more places than one");
    let evicted = std::mem::replace(place, ValidPathRecord { path, last_check: now });
    Touched { is_new: true, evicted: evicted.path.get() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::ice::VALID_PATHS_MAX;
    use bytemuck::Zeroable;

    fn path(port: u16) -> Path {
        Path { local: "192.0.2.1".parse().unwrap(), remote: ([198, 51, 100, 7], port).into(), ..Path::NONE }
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::ZERO + Duration::from_secs(1_000 + seconds)
    }

    fn touched(record: &mut IceRecord, port: u16, now: Timestamp) -> Option<Path> {
        touch(record, (&path(port)).into(), now).evicted
    }

    fn lapse(record: &mut IceRecord, now: Timestamp) -> (Lapse, Vec<Path>) {
        let mut forgotten = Vec::new();
        let lapse = handle_timeout(record, now, |path| forgotten.push(path));
        (lapse, forgotten)
    }

    #[test]
    fn a_path_lapses_thirty_seconds_after_its_last_check_and_not_before() {
        let mut record = IceRecord::zeroed();
        assert_eq!(next_deadline(&record), Timestamp::NEVER);
        touched(&mut record, 1, at(0));
        record.selected = (&path(1)).into();
        touched(&mut record, 1, at(5));
        assert_eq!(next_deadline(&record), at(35));
        assert_eq!(lapse(&mut record, at(34)), (Lapse::None, vec![]));
        assert!(is_validated(&record, &path(1)));
        assert_eq!(lapse(&mut record, at(35)), (Lapse::Expired, vec![path(1)]));
        assert!(!is_validated(&record, &path(1)));
        assert_eq!(selected(&record), None);
        assert_eq!(next_deadline(&record), Timestamp::NEVER);
        assert_eq!(lapse(&mut record, at(99)), (Lapse::None, vec![]), "told once");
    }

    #[test]
    fn the_path_checked_last_takes_the_place_of_a_lapsed_one() {
        let mut record = IceRecord::zeroed();
        touched(&mut record, 1, at(0));
        record.selected = (&path(1)).into();
        touched(&mut record, 2, at(12));
        touched(&mut record, 3, at(11));
        assert_eq!(lapse(&mut record, at(30)), (Lapse::Migrated(path(2)), vec![path(1)]));
        assert_eq!(lapse(&mut record, at(41)), (Lapse::None, vec![path(3)]));
        assert_eq!(lapse(&mut record, at(42)), (Lapse::Expired, vec![path(2)]));
    }

    #[test]
    fn a_full_table_forgets_the_oldest_but_never_the_selected() {
        let mut record = IceRecord::zeroed();
        let last = u16::try_from(VALID_PATHS_MAX).unwrap();
        for port in 1..=last {
            assert_eq!(touched(&mut record, port, at(u64::from(port))), None);
        }
        record.selected = (&path(1)).into();
        assert_eq!(touched(&mut record, 100, at(20)), Some(path(2)));
        assert_eq!(touched(&mut record, 101, at(21)), Some(path(3)));
        assert!(is_validated(&record, &path(1)) && is_validated(&record, &path(100)));
        assert!(!is_validated(&record, &path(2)));
    }
}
