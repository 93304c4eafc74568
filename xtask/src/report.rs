//! What passed, what failed, and how long it took.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::skips::{self, Policy};

/// How a step ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A single check, which held.
    Passed,
    /// A test runner's own count.
    Counted {
        /// Tests that passed.
        passed: u64,
        /// Tests that failed, or 1 when the runner failed without a count.
        failed: u64,
    },
    /// It did not run, for this reason.
    Skipped(String),
    /// A single check that did not hold or could not run, for this reason.
    Failed(String),
}

impl Outcome {
    const fn passed(&self) -> u64 {
        match self {
            Self::Passed => 1,
            Self::Counted { passed, .. } => *passed,
            Self::Skipped(_) | Self::Failed(_) => 0,
        }
    }

    const fn failed(&self) -> u64 {
        match self {
            Self::Failed(_) => 1,
            Self::Counted { failed, .. } => *failed,
            Self::Passed | Self::Skipped(_) => 0,
        }
    }

    /// One word or two, for the table.
    fn brief(&self) -> String {
        match self {
            Self::Passed => "ok".into(),
            Self::Counted { passed, failed: 0 } => format!("{passed} passed"),
            Self::Counted { passed, failed } => format!("{passed} passed, {failed} FAILED"),
            Self::Skipped(_) => "skipped".into(),
            Self::Failed(_) => "FAILED".into(),
        }
    }

    /// Why it did not pass.
    fn why(&self) -> Option<&str> {
        match self {
            Self::Passed | Self::Counted { .. } => None,
            Self::Skipped(why) | Self::Failed(why) => Some(why),
        }
    }
}

/// One step of a run.
struct Step {
    name: String,
    outcome: Outcome,
    time: Duration,
}

impl Step {
    /// What the closing lines say of a step that was skipped or failed.
    fn remark(&self) -> Option<String> {
        let name = &self.name;
        match &self.outcome {
            Outcome::Passed | Outcome::Counted { failed: 0, .. } => None,
            Outcome::Counted { failed, .. } => Some(format!("FAILED   {name}: {failed} failed")),
            Outcome::Failed(why) => Some(format!("FAILED   {name}: {why}")),
            Outcome::Skipped(why) => {
                let allowed = skips::reason(name).map(|reason| format!(" (CI may skip it: {reason})"));
                Some(format!("skipped  {name}: {why}{}", allowed.unwrap_or_default()))
            }
        }
    }
}

/// Collects the steps of one run.
pub(crate) struct Report {
    start: Instant,
    skips: Policy,
    steps: Vec<Step>,
}

impl Report {
    /// An empty report. `skips` says which steps may be skipped.
    pub(crate) fn new(skips: Policy) -> Self {
        Self { start: Instant::now(), skips, steps: Vec::new() }
    }

    /// Which steps may be skipped.
    pub(crate) const fn skips(&self) -> Policy {
        self.skips
    }

    /// Runs one step under a header. Returns whether later steps that need it may run.
    pub(crate) fn step(&mut self, name: &str, work: impl FnOnce() -> Outcome) -> bool {
        println!("\n=== {name}");
        let start = Instant::now();
        let outcome = match work() {
            Outcome::Skipped(why) if !self.skips.allows(name) => {
                Outcome::Failed(format!("skipped, and xtask/src/skips.rs does not list it: {why}"))
            }
            outcome => outcome,
        };
        let time = start.elapsed();
        let why = outcome.why().map(|why| format!(": {why}")).unwrap_or_default();
        println!("--- {name}: {}, {}{why}", outcome.brief(), shown(time));
        let good = outcome.failed() == 0;
        self.steps.push(Step { name: name.to_owned(), outcome, time });
        good
    }

    /// Prints the closing lines; the last one is `N passed, N failed`.
    pub(crate) fn close(self) -> ExitCode {
        println!("\n{}", self.table());
        for remark in self.steps.iter().filter_map(Step::remark) {
            println!("{remark}");
        }
        let (passed, failed) = self.sums();
        println!("{passed} passed, {failed} failed");
        if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    /// A line for each step: name, result, time; and the time of all.
    fn table(&self) -> String {
        let width = |text: &dyn Fn(&Step) -> usize| self.steps.iter().map(text).max().unwrap_or_default();
        let name_width = width(&|step| step.name.chars().count());
        let result_width = width(&|step| step.outcome.brief().len());
        let line = |name: &str, result: &str, time: Duration| {
            format!("{name:name_width$}  {result:result_width$}  {:>12}\n", shown(time))
        };
        let steps = self.steps.iter().map(|step| line(&step.name, &step.outcome.brief(), step.time));
        steps.chain([line("all", "", self.start.elapsed())]).collect()
    }

    /// What passed and what failed.
    fn sums(&self) -> (u64, u64) {
        let sum = |count: fn(&Outcome) -> u64| self.steps.iter().map(|step| count(&step.outcome)).sum();
        (sum(Outcome::passed), sum(Outcome::failed))
    }
}

fn shown(time: Duration) -> String {
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

    fn skipped(policy: Policy, name: &str) -> (u64, u64) {
        let mut report = Report::new(policy);
        report.step(name, || Outcome::Skipped("not here".into()));
        report.sums()
    }

    #[test]
    fn sums_steps_and_runners() {
        let mut report = Report::new(Policy::Lenient);
        assert!(report.step("a", || Outcome::Passed));
        assert!(report.step("b", || Outcome::Counted { passed: 7, failed: 0 }));
        assert!(!report.step("c", || Outcome::Counted { passed: 1, failed: 2 }));
        assert!(report.step("d", || Outcome::Skipped("not here".into())));
        assert!(!report.step("e", || Outcome::Failed("broken".into())));
        assert_eq!(report.sums(), (9, 3));
        let remarks: Vec<String> = report.steps.iter().filter_map(Step::remark).collect();
        assert_eq!(remarks, ["FAILED   c: 2 failed", "skipped  d: not here", "FAILED   e: broken"]);
    }

    #[test]
    fn a_skip_fails_ci_unless_it_is_listed() {
        assert_eq!(skipped(Policy::Lenient, "clippy"), (0, 0));
        assert_eq!(skipped(Policy::Strict, "clippy"), (0, 1));
        assert_eq!(skipped(Policy::Strict, "advisories"), (0, 0));
    }

    #[test]
    fn the_table_has_a_line_for_each_step_and_one_for_all() {
        let mut report = Report::new(Policy::Lenient);
        report.step("formatting", || Outcome::Passed);
        report.step("unit tests", || Outcome::Counted { passed: 31, failed: 2 });
        report.steps[1].time = Duration::from_secs(125);
        let table = report.table();
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines[0].starts_with("formatting  ok "), "{table}");
        assert_eq!(lines[1], "unit tests  31 passed, 2 FAILED    2 min 05 s");
        assert!(lines[2].starts_with("all "), "{table}");
    }

    #[test]
    fn shows_time_in_minutes_from_one_minute_on() {
        assert_eq!(shown(Duration::from_millis(1500)), "1.5 s");
        assert_eq!(shown(Duration::from_secs(125)), "2 min 05 s");
    }
}
