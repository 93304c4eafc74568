//! The curve that `saturate` draws, and what it says of a core.

use std::fmt::Write;

use clap::ValueEnum;
use serde::Serialize;
use serde_json::{Value, json};

use super::report::LoadReport;

/// What is raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Raise {
    /// Viewers of each session.
    Viewers,
    /// Packets a second of each stream.
    Rate,
}

/// One step.
#[derive(Clone, Debug, Serialize)]
pub struct Point {
    /// Viewers of each session, or times the scenario's rate.
    pub level: f64,
    /// Packets to viewers each second, as the scenario asks for.
    pub offered_per_s: f64,
    /// Packets that reached them each second.
    pub received_per_s: f64,
    /// Bits of them each second, in 10^9.
    pub gbit_s: f64,
    /// Share of packets lost.
    pub loss: f64,
    /// One-way delay in microseconds.
    pub p50_us: f64,
    /// Likewise.
    pub p99_us: f64,
    /// CPU of the relay's shards, in cores.
    pub shard_cores: f64,
    /// What they waited for their cores while others had them, in cores.
    pub shard_waited_cores: f64,
    /// CPU of the relay's shards for each delivered packet.
    pub ns_per_packet: f64,
    /// CPU of the engine's thread, in cores.
    pub engine_cores: f64,
    /// Within the bounds.
    pub holds: bool,
    /// The engine had no core left: what broke may be the load tool.
    pub engine_full: bool,
}

/// The curve.
#[derive(Clone, Debug)]
pub struct SaturateReport {
    /// The scenario in a few words.
    pub scenario: String,
    /// The relay's backend.
    pub backend: String,
    /// What was raised.
    pub raise: Raise,
    /// The steps by level.
    pub points: Vec<Point>,
    /// Shards of the relay.
    pub shards: usize,
    /// The bounds in words.
    pub bounds: String,
    /// Why it could not be raised further, where no bound broke.
    pub ended: Option<String>,
    /// The measurement at a share of the knee, and that share.
    pub at: Option<(f64, LoadReport)>,
}

/// The highest level that held below the first that did not.
pub(super) fn knee(points: &[Point]) -> Option<f64> {
    let broken = first_broken(points).unwrap_or(f64::INFINITY);
    let held = points.iter().filter(|point| point.holds && point.level < broken).map(|point| point.level);
    held.max_by(f64::total_cmp)
}

pub(super) fn first_broken(points: &[Point]) -> Option<f64> {
    points.iter().filter(|point| !point.holds).map(|point| point.level).min_by(f64::total_cmp)
}

impl SaturateReport {
    /// The step at the knee.
    #[must_use]
    pub fn knee(&self) -> Option<&Point> {
        let level = knee(&self.points)?;
        self.points.iter().find(|point| point.level >= level)
    }

    /// What one core holds, in a sentence.
    #[must_use]
    pub fn verdict(&self) -> String {
        let Some(knee) = self.knee() else {
            return format!("not even the first step held ({})", self.bounds);
        };
        let shards = self.shards.max(1) as f64;
        let what = match self.raise {
            Raise::Viewers => format!("{:.0} viewers", knee.level),
            Raise::Rate => format!("{:.3} of the rate", knee.level),
        };
        let end = match self.points.iter().find(|point| !point.holds) {
            None => "; nothing broke, so more may be possible",
            Some(point) if point.engine_full => "; beyond it the load tool had no core left",
            Some(_) => "",
        };
        format!(
            "{what} hold ({}): {:.0} packets/s and {:.3} Gbit/s a shard at {:.0} % of its core{end}",
            self.bounds,
            knee.received_per_s / shards,
            knee.gbit_s / shards,
            knee.shard_cores / shards * 100.0
        )
    }

    /// For people.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = format!("{}, relay {}\n\n", self.scenario, self.backend);
        let _ = writeln!(text, "{}", head(self.raise));
        for point in &self.points {
            let _ = writeln!(text, "{}", row(point));
        }
        let _ = writeln!(text, "\n{}", self.verdict());
        if let Some(why) = &self.ended {
            let _ = writeln!(text, "not raised further: {why}");
        }
        if let Some((share, report)) = &self.at {
            let _ = writeln!(text, "\nat {:.0} % of that\n{}", share * 100.0, report.table());
        }
        text
    }

    /// For programs.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "ok": self.knee().is_some(),
            "scenario": self.scenario,
            "backend": self.backend,
            "raise": self.raise,
            "bounds": self.bounds,
            "points": self.points,
            "knee": self.knee(),
            "verdict": self.verdict(),
            "ended": self.ended,
            "at": self.at.as_ref().map(|(share, report)| json!({ "share": share, "report": report.json() })),
        })
    }
}

fn head(raise: Raise) -> String {
    let level = match raise {
        Raise::Viewers => "viewers",
        Raise::Rate => "x rate",
    };
    format!(
        "{level:>9}{:>12}{:>12}{:>9}{:>9}{:>9}{:>10}{:>9}{:>9}{:>9}{:>8}",
        "offered/s",
        "received/s",
        "Gbit/s",
        "loss %",
        "p50 us",
        "p99 us",
        "relay %",
        "waited %",
        "ns/pkt",
        "tool %"
    )
}

/// One step on one line.
pub(super) fn row(point: &Point) -> String {
    let level = if point.level.fract() == 0.0 && point.level >= 1.0 {
        format!("{:.0}", point.level)
    } else {
        format!("{:.3}", point.level)
    };
    let verdict = match (point.holds, point.engine_full) {
        (true, _) => "",
        (false, false) => "  breaks",
        (false, true) => "  breaks, the load tool's core is full",
    };
    format!(
        "{level:>9}{:>12.0}{:>12.0}{:>9.3}{:>9.3}{:>9.0}{:>10.0}{:>9.1}{:>9.1}{:>9.0}{:>8.1}{verdict}",
        point.offered_per_s,
        point.received_per_s,
        point.gbit_s,
        point.loss * 100.0,
        point.p50_us,
        point.p99_us,
        point.shard_cores * 100.0,
        point.shard_waited_cores * 100.0,
        point.ns_per_packet,
        point.engine_cores * 100.0
    )
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::load) fn point(level: f64, holds: bool) -> Point {
        Point {
            level,
            offered_per_s: level * 1000.0,
            received_per_s: level * 1000.0,
            gbit_s: level / 100.0,
            loss: if holds { 0.0 } else { 0.01 },
            p50_us: 50.0,
            p99_us: 100.0 + level,
            shard_cores: level / 500.0,
            shard_waited_cores: 0.0,
            ns_per_packet: 2000.0,
            engine_cores: 0.4,
            holds,
            engine_full: false,
        }
    }

    fn report(points: Vec<Point>) -> SaturateReport {
        SaturateReport {
            scenario: "s".into(),
            backend: "uring".into(),
            raise: Raise::Viewers,
            points,
            shards: 1,
            bounds: "loss <= 0".into(),
            ended: None,
            at: None,
        }
    }

    #[test]
    fn the_knee_is_below_the_first_break_however_lucky_a_later_step_was() {
        let lucky = report(vec![point(20.0, true), point(40.0, true), point(60.0, false), point(80.0, true)]);
        assert_eq!(lucky.knee().unwrap().level, 40.0);
        assert!(lucky.verdict().starts_with("40 viewers hold"), "{}", lucky.verdict());
        assert!(lucky.table().contains("breaks"));
        let never = report(vec![point(20.0, false)]);
        assert!(never.knee().is_none() && never.verdict().contains("not even"));
        let all = report(vec![point(20.0, true)]);
        assert!(all.verdict().contains("nothing broke"));
    }
}
