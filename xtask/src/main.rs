//! The commands of a Millrace developer: `cargo xtask help` prints them.
//!
//! Each step prints a header, passes the output of its tools through, and prints its result and its time. At the end
//! a table repeats all results. The last line is `N passed, N failed`: it counts each test of cargo and node, and 1 for
//! each other step.
// A command-line tool for people speaks on stdout.
#![allow(clippy::print_stdout)]

mod api;
mod deny;
mod instructions;
mod load;
mod netns;
mod python;
mod report;
mod server;
mod setup;
mod shell;
mod size;
mod skips;
mod steps;
mod uclient;
mod units;

use std::process::ExitCode;

use report::Report;
use steps::{Effort, Group};

const HELP: &str = "\
Commands for developers of Millrace. `cargo xtask test` is the one that matters: it is what CI runs.

  cargo xtask test                   install what is missing, build everything, run all checks
  cargo xtask test --only GROUP      run one group of checks
  cargo xtask test --full            run all checks, and the load test for 30 s instead of 10 s
  cargo xtask setup                  only install what is missing (Debian packages need root)
  cargo xtask web                    build the call page into web/dist
  cargo xtask web --check            compare web/dist with what its sources build
  cargo xtask instructions           count the instructions of the packet path, compare with benches/instructions.txt
  cargo xtask instructions --record  count them and write that file
  cargo xtask screenshot             take docs/call.png again
  cargo xtask help                   print this text

Groups:
";

const AFTER_GROUPS: &str = "
A run ends with a table of all steps and their times, and with the line `N passed, N failed`.
A check that cannot run on this machine is skipped, with a reason. With CI=true in the environment a skipped check
fails, unless xtask/src/skips.rs lists it.
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut report = Report::new(skips::Policy::of_environment());
    match words.as_slice() {
        ["setup"] => setup::everything(&mut report),
        ["test"] => steps::test(&mut report, &Group::ALL, Effort::Brief),
        ["test", "--full"] => steps::test(&mut report, &Group::ALL, Effort::Full),
        ["test", "--only", name] => match Group::named(name) {
            Some(group) => steps::test(&mut report, &[group], Effort::Brief),
            None => return misused(&format!("there is no group {name}")),
        },
        ["web"] => steps::web(&mut report, false),
        ["web", "--check"] => steps::web(&mut report, true),
        ["instructions"] => drop(report.step("instructions", || instructions::check(false))),
        ["instructions", "--record"] => drop(report.step("instructions", || instructions::check(true))),
        ["screenshot"] => steps::screenshot(&mut report),
        ["help" | "--help" | "-h"] => {
            print!("{}", help());
            return ExitCode::SUCCESS;
        }
        [] => return misused("a command is missing"),
        _ => return misused(&format!("there is no command `{}`", words.join(" "))),
    }
    report.close()
}

fn help() -> String {
    let groups: String =
        Group::ALL.iter().map(|group| format!("  {:<8} {}\n", group.name(), group.about())).collect();
    [HELP, &groups, AFTER_GROUPS].concat()
}

fn misused(why: &str) -> ExitCode {
    println!("{why}\n\n{}", help());
    ExitCode::from(2)
}
