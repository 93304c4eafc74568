//! A whole load run against the relay's own program: few packets, no demand on speed.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::path::{Path, PathBuf};

use clap::Parser;
use millrace_loadtest::load::options::RunOptions;
use millrace_loadtest::load::run::run;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    run: RunOptions,
}

/// The relay's program, which the workspace's tests build too.
fn relay() -> PathBuf {
    let deps = std::env::current_exe().unwrap();
    let relay = deps.ancestors().nth(2).unwrap().join("millrace-relay");
    assert!(relay.exists(), "no {}; build it with cargo build --bin millrace-relay", relay.display());
    relay
}

fn options(relay: &Path, words: &str) -> RunOptions {
    let relay = relay.display().to_string();
    let fixed = ["x", "--relay", &relay, "--duration", "1", "--warm-up", "0.2", "--sample", "4"];
    Cli::parse_from(fixed.into_iter().chain(words.split_ascii_whitespace())).run
}

#[test]
fn every_packet_of_a_small_run_is_accounted_for() {
    let relay = relay();
    for words in [
        "--publishers 2 --viewers 3 --audio --rate 200 --burst 4 --size 500",
        "--sessions 2 --room 3 --audio only --profile gcm256 --backend mmsg",
        "--viewers 2 --rate 50 --profile cm --bystander",
    ] {
        let report = run(&options(&relay, words)).unwrap();
        assert_eq!(report.problems(), Vec::<String>::new(), "{words}\n{}", report.table());
        let figures = &report.measurement;
        let tracks = figures.crowd.tracks + figures.bystander.as_ref().map_or(0, |group| group.tracks);
        assert!(tracks > 0 && figures.sent > 0 && figures.crowd.sampled > 0, "{words}");
        // Each publisher's packets reach each of its viewers.
        let unique = figures.crowd.packets.unique;
        let copies: u64 = match words {
            _ if words.contains("--room") => 2,
            _ if words.contains("--publishers") => 3,
            _ => 1,
        };
        let bystander = figures.bystander.as_ref().map_or(0, |group| group.packets.unique);
        let expected = if bystander > 0 { (figures.sent - bystander) * 2 } else { figures.sent * copies };
        assert_eq!(unique, expected, "{words}\n{}", report.table());
        assert_eq!(report.joins.peers, report.peers);
    }
}

#[test]
fn viewers_come_up_in_a_storm_while_the_clock_runs() {
    let relay = relay();
    let words = "--viewers 20 --rate 50 --storm --bystander --joins-per-second 100";
    let report = run(&options(&relay, words)).unwrap();
    assert_eq!(report.problems(), Vec::<String>::new(), "{}", report.table());
    let figures = &report.measurement;
    assert_eq!((figures.crowd.tracks, figures.crowd.silent), (20, 0));
    assert!(figures.bystander.as_ref().unwrap().packets.unique > 0);
    let storm = figures.storm.as_ref().unwrap();
    assert!(storm.peers == 20 && storm.seconds > 0.0 && storm.bystander_us.count > 0);
    assert_eq!((report.joins.peers, report.joins.first_packet_ms.count), (23, 21));
}

#[test]
fn what_cannot_be_started_is_said_in_words() {
    let nowhere = Path::new("/nowhere/millrace-relay");
    let error = run(&options(nowhere, "")).unwrap_err().to_string();
    assert!(error.contains("/nowhere/millrace-relay"), "{error}");
}
