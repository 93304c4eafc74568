//! Runs other programs. Their output passes through; the output of test runners is read on the way.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::report::Outcome;

/// The root folder of the workspace.
pub(crate) fn root() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().expect("xtask lies inside the workspace").to_path_buf()
}

/// A command that runs a program in a folder of the workspace, with an empty standard input.
pub(crate) fn program(name: &str, arguments: &[&str], folder: &str) -> Command {
    let mut command = Command::new(name);
    command.args(arguments).current_dir(root().join(folder)).stdin(Stdio::null());
    command
}

/// The same, killed after `limit_s` seconds, so that a check that hangs fails.
pub(crate) fn program_within(limit_s: u32, name: &str, arguments: &[&str], folder: &str) -> Command {
    let limit = limit_s.to_string();
    let words = [&["--kill-after=10", &limit, name], arguments].concat();
    program("timeout", &words, folder)
}

/// A command of the cargo that runs this program.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let name = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let mut command = program(&name, arguments, "");
    // Cargo sets these variables for this program. Other crates would be built again because of them.
    for (key, _) in
        std::env::vars().filter(|(key, _)| key.starts_with("CARGO_PKG_") || key == "CARGO_MANIFEST_DIR")
    {
        command.env_remove(key);
    }
    command
}

/// Whether PATH has such a program.
pub(crate) fn exists(name: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    // On Debian these two are in the PATH of root only.
    std::env::split_paths(&paths)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .any(|folder: PathBuf| folder.join(name).is_file())
}

/// Runs a program. It passes where it exits with 0.
pub(crate) fn run(command: &mut Command) -> Outcome {
    match command.status() {
        Ok(status) if status.success() => Outcome::Passed,
        Ok(status) => Outcome::Failed(format!("{} ended with {status}", shown(command))),
        Err(error) => Outcome::Failed(format!("{} could not be started: {error}", shown(command))),
    }
}

/// Runs a test runner and adds up what `count` reads from each line: `(passed, failed)`.
pub(crate) fn run_tests(command: &mut Command, count: fn(&str) -> Option<(u64, u64)>) -> Outcome {
    let mut child = match command.stdout(Stdio::piped()).spawn() {
        Ok(child) => child,
        Err(error) => return Outcome::Failed(format!("{} could not be started: {error}", shown(command))),
    };
    let stdout = child.stdout.take().expect("stdout was asked to be a pipe");
    let (mut passed, mut failed) = (0, 0);
    for line in BufReader::new(stdout).split(b'\n') {
        let Ok(line) = line else { break };
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        if let Some((more_passed, more_failed)) = count(&line) {
            passed += more_passed;
            failed += more_failed;
        }
    }
    match child.wait() {
        Ok(status) if status.success() && passed + failed == 0 => Outcome::Failed("no test ran".into()),
        Ok(status) if status.success() => Outcome::Counted { passed, failed },
        // It did not build, or it was killed.
        Ok(_) => Outcome::Counted { passed, failed: failed.max(1) },
        Err(error) => Outcome::Failed(format!("the end of {} is unknown: {error}", shown(command))),
    }
}

/// Reads `test result: ok. 3 passed; 0 failed; …`, which each test program of cargo prints.
pub(crate) fn cargo_counts(line: &str) -> Option<(u64, u64)> {
    let counts = line.trim().strip_prefix("test result: ")?;
    let number = |word: &str| {
        let before = counts.split(word).next()?;
        before.rsplit(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
    };
    Some((number(" passed")?, number(" failed")?))
}

/// Reads `# pass 3`, `# fail 0` and the like from node's TAP report.
pub(crate) fn node_counts(line: &str) -> Option<(u64, u64)> {
    let mut words = line.strip_prefix("# ")?.split(' ');
    let (word, count) = (words.next()?, words.next()?.parse().ok()?);
    match word {
        "pass" => Some((count, 0)),
        "fail" | "cancelled" => Some((0, count)),
        _ => None,
    }
}

/// The same, but a skipped test counts as failed.
pub(crate) fn node_counts_strictly(line: &str) -> Option<(u64, u64)> {
    let skipped = line.strip_prefix("# skipped ").and_then(|count| count.parse().ok());
    skipped.map(|count| (0, count)).or_else(|| node_counts(line))
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_cargo() {
        let line = "test result: FAILED. 31 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.20s";
        assert_eq!(cargo_counts(line), Some((31, 2)));
        assert_eq!(cargo_counts("test tests::reads_cargo ... ok"), None);
    }

    #[test]
    fn reads_node() {
        assert_eq!(node_counts("# pass 12"), Some((12, 0)));
        assert_eq!(node_counts("# fail 1"), Some((0, 1)));
        assert_eq!(node_counts("# tests 13"), None);
        assert_eq!(node_counts("ok 1 - pass 12"), None);
        assert_eq!(node_counts("# skipped 2"), None);
        assert_eq!(node_counts_strictly("# skipped 2"), Some((0, 2)));
        assert_eq!(node_counts_strictly("# pass 12"), Some((12, 0)));
    }

    #[test]
    fn a_program_that_hangs_is_ended() {
        let outcome = run(&mut program_within(1, "sleep", &["60"], ""));
        assert!(matches!(outcome, Outcome::Failed(_)), "{outcome:?}");
    }

    #[test]
    fn a_runner_that_fails_without_a_count_still_fails() {
        let mut command = program("sh", &["-c", "exit 3"], "");
        assert_eq!(run_tests(&mut command, cargo_counts), Outcome::Counted { passed: 0, failed: 1 });
        let mut command = program("sh", &["-c", "echo '# pass 2'; exit 0"], "");
        assert_eq!(run_tests(&mut command, node_counts), Outcome::Counted { passed: 2, failed: 0 });
        let mut command = program("true", &[], "");
        assert_eq!(run_tests(&mut command, node_counts), Outcome::Failed("no test ran".into()));
    }
}
