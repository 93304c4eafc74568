//! Running other programs: their output passes through, and is read on the way.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::report::Outcome;

/// The workspace's root.
pub(crate) fn root() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().expect("xtask lies inside the workspace").to_path_buf()
}

/// A program to be run in a folder of the workspace, without a standard input to wait for.
pub(crate) fn program(name: &str, arguments: &[&str], folder: &str) -> Command {
    let mut command = Command::new(name);
    command.args(arguments).current_dir(root().join(folder)).stdin(Stdio::null());
    command
}

/// The same, ended when it takes longer than `limit_s`: a test that hangs is a test that failed.
pub(crate) fn program_within(limit_s: u32, name: &str, arguments: &[&str], folder: &str) -> Command {
    let limit = limit_s.to_string();
    let words = [&["--kill-after=10", &limit, name], arguments].concat();
    program("timeout", &words, folder)
}

/// The same cargo that runs us.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let name = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let mut command = program(&name, arguments, "");
    // Cargo sets these for us, its child. Passed on, they would be part of what other crates are built with.
    for (key, _) in
        std::env::vars().filter(|(key, _)| key.starts_with("CARGO_PKG_") || key == "CARGO_MANIFEST_DIR")
    {
        command.env_remove(key);
    }
    command
}

/// Is there such a program in PATH?
pub(crate) fn exists(name: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    // Debian keeps administrators' tools out of other people's PATH.
    std::env::split_paths(&paths)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .any(|folder: PathBuf| folder.join(name).is_file())
}

/// Runs a program; its exit status is the result.
pub(crate) fn run(command: &mut Command) -> Outcome {
    match command.status() {
        Ok(status) if status.success() => Outcome::Passed,
        Ok(status) => Outcome::Failed(format!("{} ended with {status}", shown(command))),
        Err(error) => Outcome::Failed(format!("{} could not be started: {error}", shown(command))),
    }
}

/// Runs a test runner and adds up the counts that `count` finds in its lines as `(passed, failed)`.
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
        Ok(status) if status.success() && passed + failed == 0 => Outcome::Failed("it ran no test".into()),
        Ok(status) if status.success() => Outcome::Counted { passed, failed },
        // It did not build, or it was killed: that is a failure too.
        Ok(_) => Outcome::Counted { passed, failed: failed.max(1) },
        Err(error) => Outcome::Failed(format!("{} was lost: {error}", shown(command))),
    }
}

/// `test result: ok. 3 passed; 0 failed; …` of cargo's test harness.
pub(crate) fn cargo_counts(line: &str) -> Option<(u64, u64)> {
    let counts = line.trim().strip_prefix("test result: ")?;
    let number = |word: &str| {
        let before = counts.split(word).next()?;
        before.rsplit(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
    };
    Some((number(" passed")?, number(" failed")?))
}

/// `# pass 3` and `# fail 0` of node's TAP report.
pub(crate) fn node_counts(line: &str) -> Option<(u64, u64)> {
    let mut words = line.strip_prefix("# ")?.split(' ');
    let (word, count) = (words.next()?, words.next()?.parse().ok()?);
    match word {
        "pass" => Some((count, 0)),
        "fail" | "cancelled" => Some((0, count)),
        _ => None,
    }
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
        assert_eq!(run_tests(&mut command, node_counts), Outcome::Failed("it ran no test".into()));
    }
}
