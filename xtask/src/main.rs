//! Developer commands: `cargo xtask test` installs what it needs, builds and checks everything.
//!
//! ```text
//! cargo xtask setup            install Debian packages and npm packages that are missing
//! cargo xtask test             all checks
//! cargo xtask test --full      the same, with the load test at its full length
//! cargo xtask test --only X    one group of them: lint, unit, smoke, network or browser
//! cargo xtask web [--check]    build the call page's bundle, or compare it
//! cargo xtask instructions     count the hot path's instructions and compare; --record keeps the new counts
//! cargo xtask screenshot       take docs/call.png anew
//! cargo xtask ci               `test` as the build server runs it
//! ```
//!
//! Every step prints a header and the time it took; what a tool prints passes through as it comes. The last line
//! of a test run is `N passed, N failed`: tests of cargo and node, and one for every step that is not a test run.
// A command-line tool for people speaks on stdout.
#![allow(clippy::print_stdout)]

mod api;
mod instructions;
mod netns;
mod report;
mod server;
mod setup;
mod shell;
mod steps;
mod uclient;
mod units;

use std::process::ExitCode;

use report::Report;
use steps::{Effort, Group};

const USAGE: &str = "usage: cargo xtask setup | test [--full | --only lint|unit|smoke|network|browser] | web [--check] | instructions [--record] | screenshot | ci";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut report = Report::new();
    match words.as_slice() {
        ["setup"] => setup::everything(&mut report),
        ["test"] | ["ci"] => steps::test(&mut report, &Group::ALL, Effort::Brief),
        ["test", "--full"] => steps::test(&mut report, &Group::ALL, Effort::Full),
        ["test", "--only", group] => match Group::named(group) {
            Some(group) => steps::test(&mut report, &[group], Effort::Brief),
            None => return misused(),
        },
        ["web"] => steps::web(&mut report, false),
        ["web", "--check"] => steps::web(&mut report, true),
        ["instructions"] => drop(report.step("instructions", || instructions::check(false))),
        ["instructions", "--record"] => drop(report.step("instructions", || instructions::check(true))),
        ["screenshot"] => steps::screenshot(&mut report),
        _ => return misused(),
    }
    report.close()
}

fn misused() -> ExitCode {
    println!("{USAGE}");
    ExitCode::from(2)
}
