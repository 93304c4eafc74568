//! Counts the instructions of the packet path under callgrind, and compares them with recorded counts.
//!
//! A count does not depend on the load of the machine. Instructions of the cipher and of the C library are left out: they
//! differ between processors.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::report::Outcome;
use crate::server::binary;
use crate::shell::{cargo, exists, root, run};
use crate::steps::RELEASE_BUILD;

/// The recorded counts. Each line has the name of a shape and its instructions for 100 delivered packets.
const RECORD: &str = "benches/instructions.txt";
/// Allowed difference in per cent. A lower count must be recorded too, or a later loss of the gain would pass.
const TOLERANCE_PERCENT: u64 = 2;

/// Counts each shape, then compares or records the counts.
pub(crate) fn check(record: bool) -> Outcome {
    if !exists("valgrind") {
        return Outcome::Failed("valgrind is missing: cargo xtask setup".into());
    }
    match count_all() {
        Err(why) => Outcome::Failed(why),
        Ok(counted) if record => write(&counted),
        Ok(counted) => compare(&counted, &fs::read_to_string(root().join(RECORD)).unwrap_or_default()),
    }
}

fn count_all() -> Result<Vec<(String, u64)>, String> {
    let program = built()?;
    let shapes = output_of(&mut Command::new(&program))?;
    let mut counted = Vec::new();
    let scratch = millrace_testkit::scratch();
    for line in shapes.lines() {
        let (name, packets) =
            line.split_once(' ').ok_or("the program printed a shape without its packets")?;
        let packets: u64 = packets.parse().map_err(|_| "the program printed a shape without its packets")?;
        let counts = scratch.join(name);
        let mut valgrind = Command::new("valgrind");
        valgrind.args(["--quiet", "--tool=callgrind", "--collect-atstart=no"]);
        valgrind.arg("--toggle-collect=instructions::counted*");
        valgrind.arg(format!("--callgrind-out-file={}", counts.display())).arg(&program).arg(name);
        output_of(&mut valgrind)?;
        let text = fs::read_to_string(&counts).map_err(|error| format!("{}: {error}", counts.display()))?;
        counted.push((name.to_owned(), own_cost(&text) * 100 / packets));
    }
    Ok(counted)
}

/// Builds the program. The call names the same packages as the release build, so that cargo chooses the same features of
/// dependencies and has nothing to compile after it.
fn built() -> Result<PathBuf, String> {
    match run(&mut cargo(&RELEASE_BUILD)) {
        Outcome::Failed(why) => Err(why),
        _ => Ok(binary("instructions")),
    }
}

fn output_of(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)));
    }
    String::from_utf8(output.stdout).map_err(|error| error.to_string())
}

/// Adds up the self costs of Rust functions in callgrind's file.
///
/// A name of Rust has `::`; functions of C and of assembly have not. The release build has no line tables of the cipher, so
/// its files cannot tell. The file spells a name out once and then only gives its number. The line after `calls=` is the
/// cost of a called function, which is counted at that function's own lines.
fn own_cost(text: &str) -> u64 {
    let mut names: HashMap<&str, &str> = HashMap::new();
    let (mut function, mut sum, mut of_a_call) = ("", 0, false);
    for line in text.lines() {
        if let Some((key @ ("fn" | "cfn"), value)) = line.split_once("=(") {
            let (number, name) = value.split_once(')').unwrap_or((value, ""));
            if let Some(name) = name.strip_prefix(' ') {
                names.insert(number, name);
            }
            if key == "fn" {
                function = names.get(number).copied().unwrap_or_default();
            }
        } else if line.starts_with("calls=") {
            of_a_call = true;
        } else if let Some(cost) = cost_of(line) {
            if function.contains("::") && !of_a_call {
                sum += cost;
            }
            of_a_call = false;
        }
    }
    sum
}

/// Reads a position and its cost: `16 400`, `+3 4`, `* 7`.
fn cost_of(line: &str) -> Option<u64> {
    let (place, cost) = line.split_once(' ')?;
    let is_place = place.starts_with(|first: char| first.is_ascii_digit() || "+-*".contains(first));
    cost.parse().ok().filter(|_| is_place)
}

fn write(counted: &[(String, u64)]) -> Outcome {
    let lines: String = counted.iter().map(|(name, count)| format!("{name} {count}\n")).collect();
    print!("{lines}");
    match fs::write(root().join(RECORD), lines) {
        Ok(()) => Outcome::Passed,
        Err(error) => Outcome::Failed(format!("{RECORD}: {error}")),
    }
}

fn compare(counted: &[(String, u64)], record: &str) -> Outcome {
    let recorded: HashMap<&str, u64> = record
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(name, count)| Some((name, count.parse().ok()?)))
        .collect();
    let mut wrong = Vec::new();
    for (name, count) in counted {
        let before = recorded.get(name.as_str()).copied().unwrap_or_default();
        println!("{name}: {count} instructions for 100 packets, {before} recorded");
        if count.abs_diff(before) * 100 > before * TOLERANCE_PERCENT {
            wrong.push(format!("{name} {before} -> {count}"));
        }
    }
    if wrong.is_empty() {
        return Outcome::Passed;
    }
    let remedy = "if the change is intended: cargo xtask instructions --record";
    Outcome::Failed(format!("more than {TOLERANCE_PERCENT} % off: {}; {remedy}", wrong.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNTS: &str = "events: Ir\n\nob=(1) /x/instructions\nfl=(1) src/fanout.rs\nfn=(1) shard::forward\n16 400\n+2 4\n\
        cob=(2) /lib/libc.so.6\ncfi=(2) memcpy.S\ncfn=(2) memcpy\ncalls=3 0\n* 5000\n* 6\n\
        fi=(3) core/option.rs\n9 70\nfe=(1)\n20 30\n\nfl=(4) ???\nfn=(3) aes_gcm_encrypt\n1 70000\n\n\
        ob=(2)\nfl=(2)\nfn=(2)\n1 5000\n\nfl=(1)\nfn=(1)\n1 7\n\nsummary: 75517\n";

    #[test]
    fn our_instructions_are_counted_once() {
        assert_eq!(own_cost(COUNTS), 400 + 4 + 6 + 70 + 30 + 7);
    }

    #[test]
    fn a_higher_a_lower_and_a_missing_count_fail() {
        let counted = [("a".to_owned(), 1_000), ("b".to_owned(), 1_020)];
        assert_eq!(compare(&counted, "a 1000\nb 1000\n"), Outcome::Passed);
        for record in ["a 1000\n", "a 1000\nb 990\n", "a 1050\nb 1020\n", ""] {
            assert!(matches!(compare(&counted, record), Outcome::Failed(_)), "{record}");
        }
    }
}
