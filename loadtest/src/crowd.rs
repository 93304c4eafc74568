//! Signaling alone: many sessions of a few participants each, without media.
//!
//! ```text
//!   sessions ─> joins, so many a second ─> everybody has heard of everybody ─> signals ─> everybody leaves ─> memory
//! ```

use std::fs;
use std::path::Path;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::failure::Failure;
use crate::histogram::Histogram;
use crate::rest::Rest;
use crate::rpc::Rpc;

/// Time for a notification that is due.
const NOTIFICATION_TIMEOUT: Duration = Duration::from_secs(20);
/// How long memory is given to come back after everybody left, and how often it is looked at.
const SETTLE: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(250);

/// Options of `crowd`.
#[derive(Args, Clone, Debug)]
pub struct CrowdOptions {
    /// Address of the server, http or https; any certificate is accepted.
    #[arg(long, default_value = "https://127.0.0.1:4443")]
    pub url: String,
    /// The server's secret.
    #[arg(long, env = "MILLRACE_SECRET")]
    pub secret: String,
    /// Sessions.
    #[arg(long, default_value_t = 500)]
    pub sessions: usize,
    /// Participants of each.
    #[arg(long, default_value_t = 4)]
    pub participants: usize,
    /// Joins a second, from the token to the answer of joinRoom.
    #[arg(long, default_value_t = 100.0, value_name = "RATE")]
    pub joins_per_second: f64,
    /// Rounds; memory is compared from the end of the first one on.
    #[arg(long, default_value_t = 2)]
    pub rounds: usize,
    /// Process id of signaling, to report its memory.
    #[arg(long)]
    pub pid: Option<u32>,
    /// Print one JSON object instead of text.
    #[arg(long)]
    pub json: bool,
}

/// What was seen.
#[derive(Debug)]
pub struct CrowdReport {
    participants: usize,
    joins: Histogram,
    join_seconds: f64,
    signals: u64,
    /// KiB before, and after each round.
    memory_kib: Vec<u64>,
    peak_kib: u64,
    problems: Vec<String>,
}

/// Plays it.
///
/// # Errors
/// When the server refuses somebody, or something that is due does not come.
pub async fn run(options: &CrowdOptions) -> Result<CrowdReport, Failure> {
    if options.sessions == 0 || options.participants == 0 || !options.joins_per_second.is_normal() {
        return Err(Failure::Usage("sessions, participants and joins a second are above 0".into()));
    }
    let rest = Rest::new(&options.url, &options.secret)?;
    let mut report = CrowdReport {
        participants: options.sessions * options.participants,
        joins: Histogram::default(),
        join_seconds: 0.0,
        signals: 0,
        memory_kib: vec![memory_kib(options.pid)],
        peak_kib: 0,
        problems: Vec::new(),
    };
    for round in 0..options.rounds.max(1) {
        eprintln!("round {}: {} sessions of {}", round + 1, options.sessions, options.participants);
        play(options, &rest, round, &mut report).await?;
        report.memory_kib.push(settled_kib(options.pid, report.memory_kib[round]).await);
    }
    report.judge(options);
    Ok(report)
}

async fn play(
    options: &CrowdOptions,
    rest: &Rest,
    round: usize,
    report: &mut CrowdReport,
) -> Result<(), Failure> {
    let began = Instant::now();
    let mut joins = JoinSet::new();
    for place in 0..options.sessions * options.participants {
        // Session by session last: everybody of one joins at another time.
        let session = format!("crowd-{round}-{}", place % options.sessions);
        let at = began + Duration::from_secs_f64(place as f64 / options.joins_per_second);
        let rest = rest.clone();
        joins.spawn(async move {
            sleep_until(at).await;
            let started = Instant::now();
            // An existing one is found again.
            rest.create_session(&session).await?;
            let token = rest.create_token(&session, "PUBLISHER").await?;
            let (rpc, joined) = Rpc::join(&token, "one of many").await?;
            Ok::<_, Failure>((started.elapsed(), Member { rpc, there: others(&joined), session }))
        });
    }
    let mut members = Vec::new();
    while let Some(joined) = joins.join_next().await {
        let (took, member) = joined.map_err(|error| Failure::Late(error.to_string()))??;
        report.joins.record(took.as_micros() as u64);
        members.push(member);
    }
    report.join_seconds += began.elapsed().as_secs_f64();
    report.peak_kib = report.peak_kib.max(memory_kib(options.pid));

    let expected = options.participants;
    let mut talks = JoinSet::new();
    for member in members {
        talks.spawn(member.meet_and_talk(expected));
    }
    let mut met = Vec::new();
    while let Some(talked) = talks.join_next().await {
        met.push(talked.map_err(|error| Failure::Late(error.to_string()))??);
    }
    report.signals += (met.len() * expected) as u64;

    let mut leaves = JoinSet::new();
    for member in met {
        leaves.spawn(async move { member.rpc.call("leaveRoom", json!({})).await.map(drop) });
    }
    while let Some(left) = leaves.join_next().await {
        left.map_err(|error| Failure::Late(error.to_string()))??;
    }
    Ok(())
}

/// Somebody who has joined.
struct Member {
    rpc: Rpc,
    /// Others that were there already.
    there: usize,
    session: String,
}

impl Member {
    /// Hears of everybody else, says something to all, and hears what each has said.
    async fn meet_and_talk(mut self, expected: usize) -> Result<Self, Failure> {
        let message = json!({"to": [], "type": "signal:hello", "data": self.session}).to_string();
        let (mut joined, mut heard, mut said) = (self.there + 1, 0, false);
        while joined < expected || heard < expected {
            if joined == expected && !said {
                said = true;
                self.rpc.call("sendMessage", json!({"message": message})).await?;
            }
            let late = || Failure::Late(format!("{joined} joined and {heard} signals of {expected} came"));
            let told = timeout(NOTIFICATION_TIMEOUT, self.rpc.notification()).await.map_err(|_| late())?;
            let told = told.ok_or_else(late)?;
            match told.method.as_str() {
                "participantJoined" => joined += 1,
                "sendMessage" if told.params["data"] == self.session => heard += 1,
                other => return Err(Failure::Late(format!("an unexpected {other}: {}", told.params))),
            }
        }
        Ok(self)
    }
}

fn others(joined: &Value) -> usize {
    joined["value"].as_array().map_or(0, Vec::len)
}

/// Resident memory of a process; 0 when it cannot be read.
fn memory_kib(pid: Option<u32>) -> u64 {
    let Some(pid) = pid else { return 0 };
    let status =
        fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// The same once it is back where it was, or has had its time.
async fn settled_kib(pid: Option<u32>, before: u64) -> u64 {
    let until = Instant::now() + SETTLE;
    loop {
        let now = memory_kib(pid);
        if now <= before || Instant::now() >= until || pid.is_none() {
            return now;
        }
        sleep(LOOK).await;
    }
}

impl CrowdReport {
    fn judge(&mut self, options: &CrowdOptions) {
        let rate = self.joins.count() as f64 / self.join_seconds;
        if rate < options.joins_per_second * 0.95 {
            self.problems.push(format!("{rate:.0} joins/s instead of {}", options.joins_per_second));
        }
        if let [.., before, after] = self.memory_kib[..]
            && self.memory_kib.len() > 2
            && after as f64 > before as f64 * 1.1
        {
            self.problems.push(format!("memory went from {before} to {after} KiB in the last round"));
        }
    }

    /// What is wrong.
    #[must_use]
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// As one object.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "ok": self.problems.is_empty(),
            "participants": self.participants,
            "joins": self.joins.count(),
            "joins_per_second": self.joins.count() as f64 / self.join_seconds,
            "join_ms": {"p50": self.join_ms(0.5), "p90": self.join_ms(0.9), "p99": self.join_ms(0.99),
                        "max": self.joins.max() as f64 / 1e3},
            "signals": self.signals,
            "memory_kib": self.memory_kib,
            "peak_kib": self.peak_kib,
            "problems": self.problems,
        })
    }

    /// As text.
    #[must_use]
    pub fn table(&self) -> String {
        let rate = self.joins.count() as f64 / self.join_seconds;
        let memory: Vec<String> =
            self.memory_kib.iter().map(|kib| format!("{:.1}", *kib as f64 / 1024.0)).collect();
        let mut text = format!(
            "joins              {} at {rate:.1} a second\njoin ms            p50 {:.1}  p90 {:.1}  p99 {:.1}  max {:.1}\n\
             signals            {} heard\nsignaling memory   {} MiB before and after each round, {:.1} at most\n",
            self.joins.count(),
            self.join_ms(0.5),
            self.join_ms(0.9),
            self.join_ms(0.99),
            self.joins.max() as f64 / 1e3,
            self.signals,
            memory.join(", "),
            self.peak_kib as f64 / 1024.0,
        );
        for problem in &self.problems {
            text += &format!("PROBLEM            {problem}\n");
        }
        text
    }

    fn join_ms(&self, share: f64) -> f64 {
        self.joins.quantile(share) as f64 / 1e3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_grows_from_round_to_round_is_a_problem() {
        let options = |rate| CrowdOptions {
            url: String::new(),
            secret: String::new(),
            sessions: 1,
            participants: 1,
            joins_per_second: rate,
            rounds: 2,
            pid: None,
            json: false,
        };
        let report = |memory: &[u64]| CrowdReport {
            participants: 1,
            joins: {
                let mut joins = Histogram::default();
                joins.record(1_000);
                joins
            },
            join_seconds: 1.0,
            signals: 1,
            memory_kib: memory.to_vec(),
            peak_kib: 0,
            problems: Vec::new(),
        };
        let judged = |memory: &[u64], rate| {
            let mut report = report(memory);
            report.judge(&options(rate));
            report.problems().len()
        };
        assert_eq!(judged(&[10, 100, 105], 1.0), 0, "the first round fills caches");
        assert_eq!(judged(&[10, 100, 120], 1.0), 1);
        assert_eq!(judged(&[10, 100, 100], 2.0), 1, "one a second is not two");
    }
}
