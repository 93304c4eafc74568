//! The report of `crowd --media`: as text, as JSON, and what is wrong.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::Memory;
use super::plan::{Plan, Shape};
use super::polls::{Answers, PATHS};
use super::restart::Restart;
use super::stats::LockWait;
use super::tally::{STEPS, Seen};
use crate::histogram::Histogram;
use crate::load::proc::{CpuTimes, MachineTime};
use crate::stand_in::Figures;

/// Share of the wanted rate that counts as held.
const RATE_HELD: f64 = 0.95;
/// Quantiles of every duration.
const QUANTILES: [(&str, f64); 3] = [("p50", 0.5), ("p99", 0.99), ("p999", 0.999)];

/// Memory of signaling.
#[derive(Clone, Copy, Debug)]
pub(super) struct MemoryFigures {
    pub(super) before: Memory,
    pub(super) full: Memory,
    /// Once everyone has left.
    pub(super) after: Option<Memory>,
}

/// CPU time in seconds while the crowd joined and stayed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CpuFigures {
    signaling: f64,
    own: f64,
    /// Everything on the machine, these two included.
    machine: f64,
    elapsed: f64,
}

/// The start of a measurement of CPU time.
pub(super) struct Cpu {
    pid: Option<u32>,
    signaling: CpuTimes,
    own: CpuTimes,
    machine: MachineTime,
    at: Instant,
}

impl Cpu {
    pub(super) fn now(pid: Option<u32>) -> Self {
        Self {
            pid,
            signaling: pid.map(CpuTimes::of).unwrap_or_default(),
            own: CpuTimes::of(std::process::id()),
            machine: MachineTime::now(),
            at: Instant::now(),
        }
    }

    pub(super) fn since(&self) -> CpuFigures {
        let now = Self::now(self.pid);
        let seconds = |now: &CpuTimes, before| now.since(before, "").all_ns as f64 / 1e9;
        CpuFigures {
            signaling: seconds(&now.signaling, &self.signaling),
            own: seconds(&now.own, &self.own),
            machine: now.machine.busy_s - self.machine.busy_s,
            elapsed: self.at.elapsed().as_secs_f64(),
        }
    }
}

/// What was seen.
#[derive(Debug)]
pub struct MediaReport {
    plan: Plan,
    pub(super) is_full: bool,
    pub(super) seen: Seen,
    pub(super) polls: Option<[Answers; PATHS.len()]>,
    pub(super) memory: MemoryFigures,
    pub(super) cpu: CpuFigures,
    pub(super) participants_of_server: u64,
    pub(super) lock_wait: Option<LockWait>,
    pub(super) stand_in: Option<Figures>,
    pub(super) restart: Option<Restart>,
    pub(super) left: u64,
    errors: Vec<String>,
}

impl MediaReport {
    pub(super) fn new(plan: &Plan, before: Memory) -> Self {
        Self {
            plan: plan.clone(),
            is_full: false,
            seen: Seen::default(),
            polls: None,
            memory: MemoryFigures { before, full: before, after: None },
            cpu: CpuFigures::default(),
            participants_of_server: 0,
            lock_wait: None,
            stand_in: None,
            restart: None,
            left: 0,
            errors: Vec::new(),
        }
    }

    /// Finds what is wrong. Latencies and memory are figures, not verdicts: they depend on the machine.
    pub(super) fn judge(&mut self) {
        let (plan, seen) = (&self.plan, &self.seen);
        let mut problems = Vec::new();
        if !self.is_full {
            problems.push(format!(
                "{} of {} joined, {} of {} publish, {} of {} subscriptions were answered",
                seen.joined,
                plan.participants(),
                seen.published,
                plan.publishers(),
                seen.watched,
                plan.subscriptions()
            ));
        }
        for (what, errors) in &seen.errors {
            problems.push(format!("{what}: {} times, the first: {}", errors.count, errors.example));
        }
        match &self.restart {
            Some(restart) => problems.extend(restart.problems()),
            None if seen.lost > 0 => problems.push(format!("{} sockets were lost", seen.lost)),
            None => {}
        }
        self.errors = problems;
    }

    /// What went wrong, whatever the speed of the machine.
    #[must_use]
    pub fn errors(&self) -> &[String] {
        &self.errors
    }

    /// What went wrong, and a rate of joins that was not held.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let (rate, wanted) = (self.rate(), self.plan.rate);
        let too_slow = (rate < wanted * RATE_HELD).then(|| format!("{rate:.1} joins/s instead of {wanted}"));
        self.errors.iter().cloned().chain(too_slow).collect()
    }

    /// Participants that joined, published streams, and subscriptions.
    #[must_use]
    pub const fn counts(&self) -> (u64, u64, u64) {
        (self.seen.joined, self.seen.published, self.seen.watched)
    }

    /// Participants that left with leaveRoom.
    #[must_use]
    pub const fn left(&self) -> u64 {
        self.left
    }

    /// The wanted rate where there are too few joins to tell.
    fn rate(&self) -> f64 {
        self.seen.join_rate().unwrap_or(self.plan.rate)
    }

    /// KiB of signaling's resident memory for each participant.
    fn kib_each(&self) -> f64 {
        let grown = self.memory.full.resident_kib.saturating_sub(self.memory.before.resident_kib);
        grown as f64 / self.plan.participants() as f64
    }

    fn is_memory_known(&self) -> bool {
        self.memory.before.resident_kib > 0
    }

    /// How much more memory signaling has after everyone left than before, in percent.
    fn kept_percent(&self) -> Option<f64> {
        let after = self.memory.after.filter(|_| self.is_memory_known())?;
        Some((after.resident_kib as f64 / self.memory.before.resident_kib as f64 - 1.0) * 100.0)
    }

    /// As one object.
    #[must_use]
    pub fn json(&self) -> Value {
        let steps: Map<String, Value> = STEPS
            .iter()
            .map(|(step, name)| ((*name).to_owned(), duration_json(self.seen.durations(*step))))
            .collect();
        let errors: Map<String, Value> =
            self.seen.errors.iter().map(|(what, errors)| (what.clone(), errors.count.into())).collect();
        json!({
            "ok": self.problems().is_empty(),
            "participants": self.plan.participants(),
            "rooms": self.plan.rooms(),
            "joined": self.seen.joined,
            "published": self.seen.published,
            "watched": self.seen.watched,
            "left": self.left,
            "joins_per_second": self.rate(),
            "ms": steps,
            "polls": self.polls.as_ref().map(polls_json),
            "memory_kib": self.memory_json(),
            "cpu_s": {"signaling": self.cpu.signaling, "loadtest": self.cpu.own, "machine": self.cpu.machine,
                      "elapsed": self.cpu.elapsed},
            "lock_wait_us": self.lock_wait.map(|wait| json!({"p50": wait.p50, "p99": wait.p99, "p999": wait.p999,
                                                             "max": wait.max})),
            "sockets_lost": self.seen.lost,
            "asked_back": self.seen.asked_back,
            "evicted": self.seen.evicted,
            "restart": self.restart.map(|restart| restart.json()),
            "errors": errors,
            "problems": self.problems(),
        })
    }

    fn memory_json(&self) -> Value {
        if !self.is_memory_known() {
            return Value::Null;
        }
        json!({
            "before": self.memory.before.resident_kib,
            "full": self.memory.full.resident_kib,
            "after": self.memory.after.map(|after| after.resident_kib),
            "full_anonymous": self.memory.full.anonymous_kib,
            "each": self.kib_each(),
            "kept_percent": self.kept_percent(),
        })
    }

    /// As text.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = String::new();
        self.write(&mut text).expect("writing to a String does not fail");
        text
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        let plan = &self.plan;
        let rooms = match plan.shape {
            Shape::Rooms { rooms, size } => format!("in {rooms} rooms of {size}"),
            Shape::Lecture { viewers } => format!("in a lecture of {viewers} viewers"),
        };
        writeln!(
            text,
            "participants       {} {rooms}; {} of them on the server at the end of the hold",
            plan.participants(),
            self.participants_of_server
        )?;
        writeln!(
            text,
            "streams            {} published, {} watched",
            self.seen.published, self.seen.watched
        )?;
        writeln!(text, "joins              {:.1} a second held of {}", self.rate(), plan.rate)?;
        writeln!(text, "\nms                      p50      p99    p99.9      max    count")?;
        for (step, name) in STEPS {
            write_duration(text, name, self.seen.durations(step))?;
        }
        if let Some(polls) = &self.polls {
            for (path, answers) in PATHS.iter().zip(polls) {
                write_duration(text, &format!("GET {path}"), &answers.durations)?;
                let mib = answers.longest as f64 / f64::from(1 << 20);
                writeln!(text, "{:24}longest answer {mib:.1} MiB, {} failed", "", answers.failures)?;
            }
        }
        match self.lock_wait {
            Some(LockWait { p50, p99, p999, max }) => {
                let ms = |us: u64| us as f64 / 1e3;
                let (p50, p99, p999, max) = (ms(p50), ms(p99), ms(p999), ms(max));
                writeln!(text, "{:16}{p50:>11.2}{p99:>9.2}{p999:>9.2}{max:>9.2}", "waits for locks")?;
            }
            None => writeln!(text, "waits for locks    not reported by this server")?,
        }
        writeln!(text)?;
        self.write_resources(text)?;
        if let Some(restart) = &self.restart {
            restart.write(text)?;
        }
        for problem in self.problems() {
            writeln!(text, "FAILED {problem}")?;
        }
        Ok(())
    }

    fn write_resources(&self, text: &mut String) -> std::fmt::Result {
        let mib = |memory: Memory| memory.resident_kib as f64 / 1024.0;
        let MemoryFigures { before, full, after } = self.memory;
        if self.is_memory_known() {
            writeln!(
                text,
                "signaling memory   {:.1} MiB before, {:.1} full: {:.1} KiB a participant",
                mib(before),
                mib(full),
                self.kib_each()
            )?;
        } else {
            writeln!(text, "signaling memory   unknown: its process is not on this machine")?;
        }
        if let (Some(after), Some(kept)) = (after, self.kept_percent()) {
            writeln!(
                text,
                "after leaving      {:.1} MiB, {kept:+.0} % of before; {} left",
                mib(after),
                self.left
            )?;
        }
        let CpuFigures { signaling, own, machine, elapsed } = self.cpu;
        writeln!(
            text,
            "CPU                signaling {signaling:.1} s, loadtest {own:.1} s, all processes {machine:.1} s \
                        in {elapsed:.1} s"
        )?;
        if let Some(held) = self.stand_in {
            writeln!(
                text,
                "stand-in           {} peers, {} tracks, {} subscriptions; {} commands so far",
                held.peers, held.tracks, held.subscriptions, held.commands
            )?;
        }
        Ok(())
    }
}

fn duration_json(durations: &Histogram) -> Value {
    let mut object: Map<String, Value> = QUANTILES
        .iter()
        .map(|(name, share)| ((*name).into(), ms(durations.quantile(*share)).into()))
        .collect();
    object.insert("max".into(), ms(durations.max()).into());
    object.insert("count".into(), durations.count().into());
    Value::Object(object)
}

fn polls_json(polls: &[Answers; PATHS.len()]) -> Value {
    let answers = |(path, answers): (&&str, &Answers)| {
        let mut object = duration_json(&answers.durations);
        object["failures"] = answers.failures.into();
        object["longest_bytes"] = answers.longest.into();
        ((*path).to_owned(), object)
    };
    Value::Object(PATHS.iter().zip(polls).map(answers).collect())
}

fn write_duration(text: &mut String, name: &str, durations: &Histogram) -> std::fmt::Result {
    if durations.count() == 0 {
        return Ok(());
    }
    let [p50, p99, p999] = QUANTILES.map(|(_, share)| ms(durations.quantile(share)));
    let max = ms(durations.max());
    // A long name has a line of its own.
    let indent = if name.len() > 15 { format!("{name}\n{:16}", "") } else { format!("{name:16}") };
    writeln!(text, "{indent}{p50:>11.1}{p99:>9.1}{p999:>9.1}{max:>9.1}{:>9}", durations.count())
}

fn ms(us: u64) -> f64 {
    us as f64 / 1e3
}

impl Restart {
    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.back < self.sockets {
            problems.push(format!("{} of {} sockets came back", self.back, self.sockets));
        }
        for (count, what) in [
            (self.evicted, "participants were put out or refused although they came back in time"),
            (self.live_peers_removed, "live peers were removed from the relay"),
            (self.live_media_removed, "tracks and subscriptions of live peers were removed from the relay"),
            (self.asked_back, "viewers with a live peer were asked for a new PeerConnection"),
        ] {
            if count > 0 {
                problems.push(format!("restart: {count} {what}"));
            }
        }
        problems
    }

    fn json(&self) -> Value {
        json!({
            "ready_s": self.ready.as_secs_f64(),
            "sockets": self.sockets,
            "back": self.back,
            "all_back_s": self.all_back.as_secs_f64(),
            "evicted": self.evicted,
            "participants": self.participants,
            "live_peers_removed": self.live_peers_removed,
            "live_media_removed": self.live_media_removed,
            "asked_back": self.asked_back,
        })
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        writeln!(
            text,
            "restart            ready after {:.2} s; {} of {} sockets back after {:.1} s",
            self.ready.as_secs_f64(),
            self.back,
            self.sockets,
            self.all_back.as_secs_f64()
        )?;
        writeln!(
            text,
            "                   {} put out; {} participants once the grace was over",
            self.evicted, self.participants
        )?;
        writeln!(
            text,
            "                   live peers removed {}, of their media {}; viewers asked back {}",
            self.live_peers_removed, self.live_media_removed, self.asked_back
        )
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::super::tally::Step;
    use super::super::tally::Tally;
    use super::*;

    const MIB: u64 = 1024;

    fn memory(mib: u64) -> Memory {
        Memory { resident_kib: mib * MIB, anonymous_kib: 0 }
    }

    /// Ten participants of two rooms, all of whom watch all, at ten joins a second.
    fn report() -> MediaReport {
        let plan = Plan { name: "x".into(), shape: Shape::Rooms { rooms: 2, size: 5 }, rate: 10.0 };
        let (tally, now) = (Tally::default(), Instant::now());
        for number in 0..10 {
            tally.change(|seen| seen.count_join(now + Duration::from_millis(100 * number)));
            tally.took(Step::Join, Duration::from_millis(20));
        }
        tally.change(|seen| (seen.published, seen.watched) = (10, 40));
        let mut report = MediaReport::new(&plan, memory(20));
        report.is_full = true;
        report.seen = tally.seen();
        report.memory.full = memory(21);
        report.memory.after = Some(memory(22));
        report
    }

    #[test]
    fn a_crowd_that_is_complete_has_no_problems() {
        let mut report = report();
        report.judge();
        assert_eq!(report.problems(), Vec::<String>::new());
        let json = report.json();
        assert_eq!(json["joins_per_second"], 10.0);
        assert_eq!(
            (json["memory_kib"]["each"].as_f64(), json["ms"]["join"]["p99"].as_f64()),
            (Some(102.4), Some(20.0))
        );
        let table = report.table();
        assert!(table.contains("102.4 KiB a participant") && table.contains("+10 % of before"), "{table}");
        assert!(table.contains("not reported by this server"), "{table}");
    }

    #[test]
    fn what_is_missing_or_failed_is_named() {
        let mut report = report();
        report.is_full = false;
        report.seen.watched = 39;
        let tally = Tally::default();
        tally.failed("publishVideo 900".into(), "no media node");
        tally.failed("publishVideo 900".into(), "another text");
        report.seen.errors = tally.seen().errors;
        report.seen.lost = 1;
        report.judge();
        let problems = report.problems().join("\n");
        for wanted in [
            "39 of 40 subscriptions",
            "publishVideo 900: 2 times, the first: no media node",
            "1 sockets were lost",
        ] {
            assert!(problems.contains(wanted), "{wanted} is not in\n{problems}");
        }
    }

    #[test]
    fn a_rate_that_is_not_held_is_a_problem_and_no_error() {
        let mut report = report();
        report.plan.rate = 20.0;
        report.judge();
        assert_eq!((report.problems().len(), report.errors().len()), (1, 0));
    }

    #[test]
    fn a_restart_that_costs_somebody_something_is_a_problem() {
        let mut report = report();
        let fine = Restart { sockets: 10, back: 10, participants: 10, ..Restart::default() };
        for (restart, problems) in [
            (fine, 0),
            (Restart { back: 9, ..fine }, 1),
            (Restart { evicted: 1, live_peers_removed: 2, live_media_removed: 3, asked_back: 4, ..fine }, 4),
        ] {
            report.restart = Some(restart);
            report.judge();
            assert_eq!(report.problems().len(), problems, "{restart:?}");
        }
    }
}
