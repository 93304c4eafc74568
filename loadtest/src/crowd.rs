//! Signaling alone: many sessions of a few participants each, without packets.
//!
//! ```text
//!   sessions ─> joins at a fixed rate ─> every participant sees all others ─> signals ─> all leave ─> memory
//! ```
//!
//! That is the crowd without media, in this file. With `--media` every participant publishes and watches the others by
//! real SDP: see [`media`].

mod api;
mod figures;
mod line;
pub mod media;
mod member;
mod plan;
mod polls;
mod restart;
mod server;
mod stats;
mod tally;

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
use media::MediaOptions;

/// Time for a notification that is due.
const NOTIFICATION_TIMEOUT: Duration = Duration::from_secs(20);
/// How long memory is given to come back after everybody left, at least and at most, and how often it is looked at.
const SETTLE_MIN: Duration = Duration::from_secs(3);
const SETTLE: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(250);
/// What memory may have grown by and still be where it was.
const SLACK: f64 = 1.1;

/// Options of `crowd`.
#[derive(Args, Clone, Debug)]
pub struct CrowdOptions {
    /// Address of the server, http or https; any certificate is accepted.
    #[arg(long, default_value = "https://127.0.0.1:4443")]
    pub url: String,
    /// The server's secret.
    #[arg(long, env = "MILLRACE_SECRET", hide_env_values = true, required_unless_present = "stand_in")]
    pub secret: Option<String>,
    /// Participants in all rooms together; a multiple of --room-size.
    #[arg(long, default_value_t = 2_000)]
    pub participants: usize,
    /// Participants of each room.
    #[arg(long, default_value_t = 4)]
    pub room_size: usize,
    /// Joins that begin each second. A join lasts from the request for a token to the answer of joinRoom.
    #[arg(long, default_value_t = 100.0)]
    pub rate: f64,
    /// Rounds; memory is compared from the end of the first one on.
    #[arg(long, default_value_t = 2)]
    pub rounds: usize,
    /// Fill and empty one session first, of which nothing is reported: what signaling then takes is what it takes in use.
    #[arg(long)]
    pub warm_up: bool,
    /// Process id of signaling, to report its memory.
    #[arg(long)]
    pub pid: Option<u32>,
    /// Print one JSON object instead of text.
    #[arg(long)]
    pub json: bool,
    /// Participants with media.
    #[command(flatten)]
    pub media: MediaOptions,
}

impl CrowdOptions {
    /// Rooms of the same size.
    fn rooms(&self) -> Result<usize, Failure> {
        let usage = |text: &str| Err(Failure::Usage(text.into()));
        match (self.participants, self.room_size) {
            (0, _) | (_, 0) => usage("--participants and --room-size must be above 0"),
            _ if !self.rate.is_normal() || self.rate < 0.0 => usage("--rate must be above 0"),
            (all, size) if all % size != 0 => usage("--participants must be a multiple of --room-size"),
            (all, size) => Ok(all / size),
        }
    }
}

/// What was seen.
#[derive(Debug)]
pub struct CrowdReport {
    participants: usize,
    joins: Histogram,
    join_seconds: f64,
    signals: u64,
    /// Before, and after each round.
    memory: Vec<Memory>,
    peak: Memory,
    problems: Vec<String>,
}

/// Plays it.
///
/// # Errors
/// When the server refuses somebody, or something that is due does not come.
pub async fn run(options: &CrowdOptions) -> Result<CrowdReport, Failure> {
    let rooms = options.rooms()?;
    let rest = Rest::new(&options.url, options.secret.as_deref().unwrap_or_default())?;
    if options.warm_up {
        let one = CrowdOptions { participants: options.room_size, ..options.clone() };
        play(&one, &rest, "warm-up", &mut CrowdReport::of(&one)).await?;
    }
    let mut report = CrowdReport::of(options);
    for round in 0..options.rounds.max(1) {
        eprintln!("round {}: {rooms} sessions of {}", round + 1, options.room_size);
        play(options, &rest, &round.to_string(), &mut report).await?;
        report.memory.push(settled(options.pid, report.memory[0]).await);
    }
    report.judge(options);
    Ok(report)
}

async fn play(
    options: &CrowdOptions,
    rest: &Rest,
    round: &str,
    report: &mut CrowdReport,
) -> Result<(), Failure> {
    let rooms = options.rooms()?;
    let began = Instant::now();
    let mut joins = JoinSet::new();
    for place in 0..options.participants {
        // Session by session last: everybody of one joins at another time.
        let session = format!("crowd-{round}-{}", place % rooms);
        let at = began + Duration::from_secs_f64(place as f64 / options.rate);
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
    let now = Memory::of(options.pid);
    if now.resident_kib > report.peak.resident_kib {
        report.peak = now;
    }

    let expected = options.room_size;
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

/// Memory of a process; 0 when it cannot be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// What of it lies in memory, its program's pages included.
    pub resident_kib: u64,
    /// What of that is its own: heap and stacks. The rest is read from the program's file as it is used.
    pub anonymous_kib: u64,
}

impl Memory {
    fn of(pid: Option<u32>) -> Self {
        let Some(pid) = pid else { return Self::default() };
        let status =
            fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status")).unwrap_or_default();
        let kib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
        };
        Self { resident_kib: kib("VmRSS:"), anonymous_kib: kib("RssAnon:") }
    }
}

/// The same once it is back about where it was, or has had its time.
async fn settled(pid: Option<u32>, before: Memory) -> Memory {
    if pid.is_none() {
        return before;
    }
    let until = Instant::now() + SETTLE;
    sleep(SETTLE_MIN).await;
    loop {
        let now = Memory::of(pid);
        if now.resident_kib as f64 <= before.resident_kib as f64 * SLACK || Instant::now() >= until {
            return now;
        }
        sleep(LOOK).await;
    }
}

impl CrowdReport {
    /// Of nothing but the memory before.
    fn of(options: &CrowdOptions) -> Self {
        Self {
            participants: options.participants,
            joins: Histogram::default(),
            join_seconds: 0.0,
            signals: 0,
            memory: vec![Memory::of(options.pid)],
            peak: Memory::default(),
            problems: Vec::new(),
        }
    }

    fn judge(&mut self, options: &CrowdOptions) {
        let rate = self.joins.count() as f64 / self.join_seconds;
        if rate < options.rate * 0.95 {
            self.problems.push(format!("{rate:.0} joins/s instead of {}", options.rate));
        }
        if let [_, .., before, after] = self.resident_kib()[..]
            && after as f64 > before as f64 * SLACK
        {
            self.problems.push(format!("memory went from {before} to {after} KiB in the last round"));
        }
    }

    fn resident_kib(&self) -> Vec<u64> {
        self.memory.iter().map(|memory| memory.resident_kib).collect()
    }

    fn anonymous_kib(&self) -> Vec<u64> {
        self.memory.iter().map(|memory| memory.anonymous_kib).collect()
    }

    /// Memory of signaling before, and after each round.
    #[must_use]
    pub fn memory(&self) -> &[Memory] {
        &self.memory
    }

    /// The most of it, with everybody there.
    #[must_use]
    pub const fn peak(&self) -> Memory {
        self.peak
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
            "memory_kib": self.resident_kib(),
            "anonymous_kib": self.anonymous_kib(),
            "peak_kib": self.peak.resident_kib,
            "problems": self.problems,
        })
    }

    /// As text.
    #[must_use]
    pub fn table(&self) -> String {
        let rate = self.joins.count() as f64 / self.join_seconds;
        let mib = |kib: Vec<u64>| {
            let texts: Vec<String> = kib.iter().map(|kib| format!("{:.1}", *kib as f64 / 1024.0)).collect();
            texts.join(", ")
        };
        let mut text = format!(
            "joins              {} at {rate:.1} a second\njoin ms            p50 {:.1}  p90 {:.1}  p99 {:.1}  max {:.1}\n\
             signals            {} heard\nsignaling memory   {} MiB before and after each round, {:.1} at most\n\
             of it its own      {} MiB\n",
            self.joins.count(),
            self.join_ms(0.5),
            self.join_ms(0.9),
            self.join_ms(0.99),
            self.joins.max() as f64 / 1e3,
            self.signals,
            mib(self.resident_kib()),
            self.peak.resident_kib as f64 / 1024.0,
            mib(self.anonymous_kib()),
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
            secret: None,
            participants: 1,
            room_size: 1,
            rate,
            rounds: 2,
            warm_up: false,
            pid: None,
            json: false,
            media: MediaOptions::default(),
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
            memory: memory.iter().map(|&kib| Memory { resident_kib: kib, anonymous_kib: 0 }).collect(),
            peak: Memory::default(),
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
