//! The file: its rights, its earlier layout, and every way in which it may be damaged.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicU32, Ordering};

use redb::TableDefinition;

use super::super::conformance::{self, Testee};
use super::super::{Ownership, whole};
use super::*;

/// An empty directory, removed at the end unless the test has failed.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("millrace-embedded-{}-{number}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    fn file(&self) -> PathBuf {
        self.0.join("test.redb")
    }

    fn open(&self) -> Embedded {
        Embedded::open(&self.file()).unwrap()
    }

    /// Damaged files beside it.
    fn broken(&self) -> usize {
        let names = std::fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().starts_with("test.redb.broken-")).count()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

impl Testee for Scratch {
    fn reopen(&mut self) -> Box<dyn Store> {
        Box::new(self.open())
    }
}

#[test]
fn the_file_conforms() {
    conformance::run(&mut Scratch::new);
}

#[test]
fn one_process_at_a_time() {
    let scratch = Scratch::new();
    let store = scratch.open();
    assert!(matches!(Embedded::open(&scratch.file()), Err(StoreError::Unavailable(_))));
    assert_eq!(scratch.broken(), 0, "a file in use is not damaged");
    drop(store);
    scratch.open();
}

#[test]
fn the_file_is_its_owners_only() {
    let scratch = Scratch::new();
    let mode = || std::fs::metadata(scratch.file()).unwrap().permissions().mode() & 0o777;
    drop(scratch.open());
    assert_eq!(mode(), 0o600);
    std::fs::set_permissions(scratch.file(), Permissions::from_mode(0o644)).unwrap();
    drop(scratch.open());
    assert_eq!(mode(), 0o600, "one from before is tightened");
}

#[test]
fn a_place_where_no_file_can_be_is_named_and_is_for_the_operator() {
    let scratch = Scratch::new();
    std::fs::create_dir(scratch.file()).unwrap();
    let Err(error) = Embedded::open(&scratch.file()) else { panic!("a directory was opened") };
    assert!(matches!(&error, StoreError::Denied(text) if text.contains("test.redb")), "{error}");
}

/// What the release before records has written, by its own code.
fn write_old(path: &Path, sessions: &[(&str, &[u8])]) {
    const SESSIONS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("sessions-1");
    let database = Database::builder().create_file(open_file(path).unwrap()).unwrap();
    let transaction = database.begin_write().unwrap();
    {
        let mut table = transaction.open_table(SESSIONS).unwrap();
        for (id, value) in sessions {
            table.insert(*id, *value).unwrap();
        }
    }
    transaction.commit().unwrap();
}

#[test]
fn sessions_of_the_last_release_are_taken_over() {
    let scratch = Scratch::new();
    let large = vec![b'x'; 3 * super::super::VALUE_LEN_MAX + 1];
    write_old(&scratch.file(), &[("ses_a", b"{}"), ("ses_b", &large)]);
    for _ in 0..2 {
        let mut store = scratch.open();
        let mut sessions = whole::load(&mut store).unwrap();
        assert_eq!(sessions.pop(), Some(("ses_b".to_owned(), large.clone())));
        assert_eq!(sessions, [("ses_a".to_owned(), b"{}".to_vec())]);
        assert_eq!(store.load_session("ses_a").unwrap().unwrap().ownership, Ownership::single());
    }
    // After a downgrade and an upgrade, the records of the old program are the newer ones.
    write_old(&scratch.file(), &[("ses_a", b"{1}")]);
    let sessions = whole::load(&mut scratch.open()).unwrap();
    assert_eq!(sessions, [("ses_a".to_owned(), b"{1}".to_vec()), ("ses_b".to_owned(), large)]);
    assert_eq!(scratch.broken(), 0);
}

fn con(id: &str) -> Name {
    Name::new(Namespace::Connection, id)
}

fn fill(store: &mut Embedded, sessions: usize) {
    for number in 0..sessions {
        let records = (0..10).map(|at| (con(&format!("con_{at}")), Value::new(1, vec![b'v'; 200]))).collect();
        let session = format!("ses_{number}");
        store.create(&session, &Ownership::single(), records).unwrap().unwrap();
    }
}

/// Opens a file that may be damaged and uses it. The store must start, give no value that was not written, and work.
fn start_and_use(scratch: &Scratch) -> usize {
    let mut store = scratch.open();
    let sessions = store.load().unwrap();
    for (name, value) in sessions.iter().flat_map(|session| &session.records) {
        assert_eq!(value, &Value::new(1, vec![b'v'; 200]), "{name:?}");
    }
    let operation = Operation::Create {
        session: "ses_new".to_owned(),
        ownership: Ownership::single(),
        records: vec![(con("con_0"), Value::new(1, vec![b'v'; 200]))],
    };
    // Some damage shows only when the store writes. Then the file is set aside, and the next attempt uses a new file.
    let outcome = store.commit(std::slice::from_ref(&operation)).or_else(|error| {
        assert!(matches!(error, StoreError::Emptied(_)), "{error}");
        store.commit(&[operation])
    });
    assert_eq!(outcome.unwrap(), [Ok(())]);
    assert_eq!(store.counters().files_set_aside(), scratch.broken());
    drop(store);
    let mut store = scratch.open();
    assert!(store.load_session("ses_new").unwrap().is_some());
    sessions.len()
}

#[test]
fn a_file_of_random_bytes_is_set_aside() {
    let scratch = Scratch::new();
    for round in 1..=5 {
        let bytes: Vec<u8> = (0..64 << 10).map(|_| rand::random()).collect();
        std::fs::write(scratch.file(), &bytes).unwrap();
        assert_eq!(start_and_use(&scratch), 0);
        assert_eq!(scratch.broken(), round.min(3), "the newest are kept");
    }
}

#[test]
fn a_truncated_file_is_set_aside() {
    for numerator in [0, 1, 40, 90, 99] {
        let scratch = Scratch::new();
        fill(&mut scratch.open(), 50);
        let len = std::fs::metadata(scratch.file()).unwrap().len();
        let file = std::fs::OpenOptions::new().write(true).open(scratch.file()).unwrap();
        file.set_len(len * numerator / 100).unwrap();
        drop(file);
        let sessions = start_and_use(&scratch);
        // An empty file is a new one.
        assert!(numerator == 0 || scratch.broken() == 1 || sessions == 50, "at {numerator} %");
    }
}

#[test]
fn flipped_bytes_never_stop_the_start_and_never_come_out_as_a_value() {
    let scratch = Scratch::new();
    fill(&mut scratch.open(), 50);
    let whole = std::fs::read(scratch.file()).unwrap();
    let used: Vec<usize> = (0..whole.len()).filter(|&at| whole[at] != 0).collect();
    let mut damaged_records = 0;
    for round in 0..60 {
        let scratch = Scratch::new();
        let mut bytes = whole.clone();
        for _ in 0..=round / 20 {
            let at = used[rand::random_range(0..used.len())];
            bytes[at] ^= 1 << rand::random_range(0..8);
        }
        std::fs::write(scratch.file(), &bytes).unwrap();
        start_and_use(&scratch);
        damaged_records += scratch.open().counters().records_set_aside();
    }
    assert!(damaged_records > 0, "most bytes are values: some of the damage must have been found in them");
}

#[test]
fn a_record_that_does_not_read_is_reported_once_and_kept() {
    let scratch = Scratch::new();
    fill(&mut scratch.open(), 2);
    // A kind of a later version, and a value whose checksum is wrong.
    let database = Database::builder().create_file(open_file(&scratch.file()).unwrap()).unwrap();
    let transaction = database.begin_write().unwrap();
    {
        let mut records = transaction.open_table(RECORDS).unwrap();
        records.insert(("ses_1", 99, "later"), [1; 20].as_slice()).unwrap();
        records.insert(("ses_1", 2, "con_0"), [1; 20].as_slice()).unwrap();
    }
    transaction.commit().unwrap();
    drop(database);
    let mut store = scratch.open();
    let lens: Vec<usize> = store.load().unwrap().iter().map(|session| session.records.len()).collect();
    assert_eq!((lens, store.counters().records_set_aside()), (vec![10, 9], 2));
    drop(store);
    let mut store = scratch.open();
    assert_eq!(store.counters().records_set_aside(), 2, "they are still counted");
    let (sessions, unreadable) = store.read(read_sessions).unwrap();
    assert_eq!((sessions.len(), unreadable.len()), (2, 0), "and not found again");
    assert_eq!(scratch.broken(), 0);
}

#[test]
fn a_file_that_is_damaged_while_it_is_used_is_set_aside_and_the_caller_writes_everything_again() {
    let scratch = Scratch::new();
    let mut store = scratch.open();
    fill(&mut store, 3);
    // The library closes the file after an error, and finds garbage in its place when it opens it again.
    store.close();
    std::fs::write(scratch.file(), [7; 8_192]).unwrap();
    let operation = Operation::Drop { session: "ses_0".to_owned(), fence: 1 };
    let error = store.commit(std::slice::from_ref(&operation)).unwrap_err();
    assert!(matches!(error, StoreError::Emptied(_)), "{error}");
    assert_eq!(store.commit(&[operation]).unwrap(), [Ok(())]);
    assert_eq!((store.load().unwrap().len(), store.counters().files_set_aside()), (0, 1));
}

#[test]
fn sessions_that_were_not_loaded_do_not_come_back() {
    let scratch = Scratch::new();
    let mut store = scratch.open();
    fill(&mut store, 3);
    let recording = Name::new(Namespace::Recording, "r");
    store.put_free(recording.clone(), Value::new(1, "r")).unwrap().unwrap();
    // The process began without the file, and the file works again.
    store.is_unread = true;
    assert_eq!(store.load().unwrap(), []);
    store.create("ses_0", &Ownership::single(), vec![]).unwrap().unwrap();
    assert_eq!(store.load().unwrap().len(), 1);
    assert_eq!(store.load_free(Namespace::Recording).unwrap(), [(recording, Value::new(1, "r"))]);
}

/// Figures for `docs/decisions/store.md`: commits, and the opening after a crash, with quick repair and without.
#[test]
#[ignore = "a measurement: `cargo test -p millrace-signaling --lib -- --ignored --nocapture quick_repair`"]
fn quick_repair_costs_and_saves() {
    use std::time::Instant;
    const RECORDS_LEN: u64 = 250_000;
    for quick in [false, true] {
        let scratch = Scratch::new();
        let database = Database::builder()
            .set_cache_size(CACHE_LEN)
            .create_file(open_file(&scratch.file()).unwrap())
            .unwrap();
        let commit = |numbers: std::ops::Range<u64>| {
            let mut transaction = database.begin_write().unwrap();
            transaction.set_quick_repair(quick);
            let mut records = transaction.open_table(RECORDS).unwrap();
            for number in numbers {
                let (session, id) = (format!("ses_{}", number % 10_000), format!("con_{number}"));
                records.insert((session.as_str(), 2, id.as_str()), [7; 900].as_slice()).unwrap();
            }
            drop(records);
            transaction.commit().unwrap();
        };
        for first in (0..RECORDS_LEN).step_by(10_000) {
            commit(first..first + 10_000);
        }
        let mut times: Vec<_> = (0..200)
            .map(|number| {
                let began = Instant::now();
                commit(number * 1_000..number * 1_000 + 10);
                began.elapsed()
            })
            .collect();
        times.sort();
        // A copy of the open file is what a crash leaves.
        let copy = scratch.0.join("copy.redb");
        let len = std::fs::copy(scratch.file(), &copy).unwrap();
        std::fs::File::open(&copy).unwrap().sync_all().unwrap();
        let began = Instant::now();
        let reopened =
            Database::builder().set_cache_size(CACHE_LEN).create_file(open_file(&copy).unwrap()).unwrap();
        let opening = began.elapsed();
        drop(reopened);
        println!(
            "quick {quick}: {} MB, commit p50 {:?} p99 {:?}, opening {opening:?}",
            len >> 20,
            times[100],
            times[198]
        );
    }
}
