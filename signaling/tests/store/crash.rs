//! kill -9 at random points: what was acknowledged as durable is there, and no session is half written.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::time::{Duration, Instant};

use millrace_signaling::store::{Embedded, Store as _};

use super::child::{AHEAD, Said, ends_session, read, session, spawn, store_file, stored_numbers};
use super::support::scratch;

#[test]
fn what_was_acknowledged_is_there_after_twenty_kills() {
    kill_and_look(20);
}

#[test]
#[ignore = "200 processes one after the other; `cargo test -p millrace-signaling --test store -- --ignored kills`"]
fn what_was_acknowledged_is_there_after_two_hundred_kills() {
    kill_and_look(200);
}

fn kill_and_look(rounds: u32) {
    let directory = scratch();
    let mut next = 1;
    let mut acknowledged = BTreeMap::new();
    let (mut acknowledgements, mut slowest) = (0, Duration::ZERO);
    for round in 0..rounds {
        let began_at = next;
        let last = run_and_kill(&directory, next, &mut acknowledged);
        acknowledgements += last + 1 - next;
        // The next process does not know what this one has submitted beyond.
        next = last + 1_000;
        let began = Instant::now();
        let mut store = Embedded::open(&store_file(&directory)).unwrap();
        slowest = slowest.max(began.elapsed());
        let stored = stored_numbers(&mut store);
        let counters = store.counters();
        assert_eq!((counters.files_set_aside(), counters.records_set_aside()), (0, 0), "round {round}");
        for (id, &number) in &acknowledged {
            let held = stored.get(id).copied();
            let is_right = match held {
                Some(held) => held == number || held > number && !ends_session(held),
                // It has ended: by this number, or by a later one that is not acknowledged.
                None => {
                    ends_session(number)
                        || (number..=last + AHEAD + 1)
                            .any(|later| session(later) == *id && ends_session(later))
                }
            };
            assert!(
                is_right,
                "round {round}, begun at {began_at}: {id} has {held:?}, acknowledged was {number}\n\
                 all that is stored: {stored:?}\nall that was acknowledged, up to {last}: {acknowledged:?}"
            );
        }
        // The next round begins with what stands there now.
        acknowledged = stored;
    }
    println!("{rounds} kills, {acknowledgements} acknowledgements, slowest opening {slowest:?}");
    std::fs::remove_dir_all(directory).unwrap();
}

/// Gives the last number that was acknowledged before the child was killed.
fn run_and_kill(directory: &Path, first: u64, acknowledged: &mut BTreeMap<String, u64>) -> u64 {
    let mut child = spawn(directory, first, 100, "");
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut last = first - 1;
    let mut note = |line: String| {
        let Some(Said::Durable(number)) = read(&line) else { return };
        acknowledged.insert(session(number), number);
        last = number;
    };
    // A random number of acknowledgements, then a random time: the disk is in the middle of anything.
    for line in lines.by_ref().take(rand::random_range(5..300)) {
        note(line.unwrap());
    }
    let point = Instant::now() + Duration::from_micros(rand::random_range(0..3_000));
    while Instant::now() < point {
        std::hint::spin_loop();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // What it had said before it died, in whole lines.
    lines.map_while(Result::ok).for_each(note);
    last
}
