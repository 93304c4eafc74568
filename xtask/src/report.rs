//! What passed, what failed, and how long it took.

use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How a step ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A single thing that was checked, and held.
    Passed,
    /// A test runner's own count.
    Counted {
        /// Tests that passed.
        passed: u64,
        /// Tests that failed, or 1 when the runner failed without saying which.
        failed: u64,
    },
    /// Not run here, and why.
    Skipped(String),
    /// A single thing that did not hold, or could not be run.
    Failed(String),
}

/// Collects the steps of one run.
pub(crate) struct Report {
    start: Instant,
    passed: u64,
    failed: u64,
    failures: Vec<String>,
    skipped: Vec<String>,
}

impl Report {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now(), passed: 0, failed: 0, failures: Vec::new(), skipped: Vec::new() }
    }

    /// Runs one step under a header. Returns whether later steps that need it may run.
    pub(crate) fn step(&mut self, name: &str, work: impl FnOnce() -> Outcome) -> bool {
        println!("\n=== {name}");
        let start = Instant::now();
        let outcome = work();
        let time = seconds(start.elapsed());
        let good = !matches!(outcome, Outcome::Failed(_) | Outcome::Counted { failed: 1.., .. });
        match &outcome {
            Outcome::Passed => println!("--- {name}: ok, {time}"),
            Outcome::Counted { passed, failed } => {
                println!("--- {name}: {passed} passed, {failed} failed, {time}")
            }
            Outcome::Skipped(why) => println!("--- {name}: skipped ({why})"),
            Outcome::Failed(why) => println!("--- {name}: FAILED, {time}: {why}"),
        }
        self.count(name, outcome);
        good
    }

    fn count(&mut self, name: &str, outcome: Outcome) {
        match outcome {
            Outcome::Passed => self.passed += 1,
            Outcome::Counted { passed, failed } => {
                self.passed += passed;
                self.failed += failed;
                if failed > 0 {
                    self.failures.push(format!("{name}: {failed} failed"));
                }
            }
            Outcome::Skipped(why) => self.skipped.push(format!("{name}: {why}")),
            Outcome::Failed(why) => {
                self.failed += 1;
                self.failures.push(format!("{name}: {why}"));
            }
        }
    }

    /// Prints the closing lines; the last one is `N passed, N failed`.
    pub(crate) fn close(self) -> ExitCode {
        println!();
        for line in &self.skipped {
            println!("skipped  {line}");
        }
        for line in &self.failures {
            println!("FAILED   {line}");
        }
        println!("time {}", seconds(self.start.elapsed()));
        println!("{} passed, {} failed", self.passed, self.failed);
        if self.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

fn seconds(time: Duration) -> String {
    let whole = time.as_secs();
    if whole < 60 {
        format!("{:.1} s", time.as_secs_f32())
    } else {
        format!("{} min {:02} s", whole / 60, whole % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_steps_and_runners() {
        let mut report = Report::new();
        assert!(report.step("a", || Outcome::Passed));
        assert!(report.step("b", || Outcome::Counted { passed: 7, failed: 0 }));
        assert!(!report.step("c", || Outcome::Counted { passed: 1, failed: 2 }));
        assert!(report.step("d", || Outcome::Skipped("not here".into())));
        assert!(!report.step("e", || Outcome::Failed("broken".into())));
        assert_eq!((report.passed, report.failed), (9, 3));
        assert_eq!(report.failures.len(), 2);
        assert_eq!(report.skipped.len(), 1);
    }

    #[test]
    fn tells_time_in_minutes_from_one_minute_on() {
        assert_eq!(seconds(Duration::from_millis(1500)), "1.5 s");
        assert_eq!(seconds(Duration::from_secs(125)), "2 min 05 s");
    }
}
