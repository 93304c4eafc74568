//! A full disk: nobody waits, it is counted, and what was missed is written once there is room.
//!
//! The limit on the size of a file (RLIMIT_FSIZE) stands for the disk: it needs no rights, and is lifted from outside.

use std::io::{BufRead as _, BufReader};
use std::process::Command;

use millrace_signaling::store::{Embedded, Store as _};

use super::child::{Said, ends_session, read, session, spawn, store_file, stored_numbers};
use super::support::scratch;

/// Enough for a new file, not for seven sessions of three records of 60 000 bytes. In blocks of 512 bytes.
const LIMIT: &str = "trap '' XFSZ; ulimit -S -f 2200;";

#[test]
fn a_full_disk_stops_nobody_and_is_made_up_for() {
    let directory = scratch();
    let mut child = spawn(&directory, 1, 60_000, LIMIT);
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut next = || said.find_map(|line| read(&line)).expect("the child goes on");
    // Submissions go on while nothing can be written: many more than may wait at a time.
    let mut failed = 0;
    while failed < 500 {
        failed += u32::from(matches!(next(), Said::Failed(_)));
    }
    let lift = ["--pid", &child.id().to_string(), "--fsize=unlimited:unlimited"];
    assert!(Command::new("prlimit").args(lift).status().expect("util-linux is there").success());
    let durable = loop {
        if let Said::Durable(number) = next() {
            break number;
        }
    };
    child.kill().unwrap();
    child.wait().unwrap();
    let mut store = Embedded::open(&store_file(&directory)).unwrap();
    assert_eq!(store.counters().files_set_aside(), 0, "a full disk is no damage");
    let stored = stored_numbers(&mut store);
    // Every session, though most of their last changes had failed at first.
    for number in durable - 6..=durable {
        let held = stored.get(&session(number)).copied();
        assert!(ends_session(number) || held.is_none() || held >= Some(number), "{number}: {held:?}");
    }
    assert!(!stored.is_empty());
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn a_store_begins_without_a_file_when_there_is_no_room_for_one() {
    let directory = scratch();
    let mut child = spawn(&directory, 1, 100, "trap '' XFSZ; ulimit -S -f 8;");
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut next = || said.find_map(|line| read(&line)).expect("the child goes on");
    assert!(matches!(next(), Said::Failed(_)));
    let lift = ["--pid", &child.id().to_string(), "--fsize=unlimited:unlimited"];
    assert!(Command::new("prlimit").args(lift).status().expect("util-linux is there").success());
    while !matches!(next(), Said::Durable(_)) {}
    child.kill().unwrap();
    child.wait().unwrap();
    let mut store = Embedded::open(&store_file(&directory)).unwrap();
    assert!(!stored_numbers(&mut store).is_empty());
    std::fs::remove_dir_all(directory).unwrap();
}
