//! `saturate`: the load is raised until a bound breaks; the curve on the way and what the relay held at its knee.

use std::fmt::Write;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::{Value, json};

use super::engine::Stage;
use super::measurement::{Measurement, ratio};
use super::options::RunOptions;
use super::report::LoadReport;
use super::rig::{Plan, Rig};
use super::run::{bring_up, report, runtime};
use super::scenario::{Cast, PEERS_MAX};
use crate::failure::Failure;

/// More steps than any curve needs: doubling gets from one viewer to all there can be in sixteen.
const STEPS_MAX: usize = 64;
/// A step at which the engine has this little of its core left says nothing of the relay.
const ENGINE_FULL: f64 = 0.95;

/// What is raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Raise {
    /// Viewers of each session.
    Viewers,
    /// Packets a second of each stream.
    Rate,
}

/// Options of `saturate`.
#[derive(Args, Clone, Debug)]
pub struct SaturateOptions {
    /// Everything of `run`.
    #[command(flatten)]
    pub run: RunOptions,
    /// What is raised
    #[arg(long, value_enum, default_value = "viewers")]
    pub raise: Raise,
    /// Where it begins: viewers, or times the scenario's rate [default: 20 viewers, 0.25 of the rate]
    #[arg(long)]
    pub from: Option<f64>,
    /// How much each step adds to the one before, as a factor
    #[arg(long, default_value_t = 1.3)]
    pub factor: f64,
    /// Steps by halves between the last that held and the first that did not
    #[arg(long, default_value_t = 3)]
    pub refine: u32,
    /// Seconds measured of each step
    #[arg(long, default_value_t = 3.0, value_name = "SECONDS")]
    pub step: f64,
    /// Share of packets that may be lost
    #[arg(long, default_value_t = 0.0)]
    pub loss_max: f64,
    /// Bound of the 99th percentile of the one-way delay, in milliseconds
    #[arg(long, default_value_t = 5.0)]
    pub p99_max_ms: f64,
    /// Then measure for the scenario's duration at this share of the knee
    #[arg(long, value_name = "SHARE")]
    pub at: Option<f64>,
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

/// Raises the load until a bound breaks.
///
/// # Errors
/// Impossible options, a relay that does not start, peers that do not come up.
pub fn run(options: &SaturateOptions) -> Result<SaturateReport, Failure> {
    options.check()?;
    let plan = options.run.plan()?;
    runtime()?.block_on(async {
        let mut climb = Climb { options, plan, rig: None, points: Vec::new(), ended: None };
        climb.up().await?;
        climb.refine().await?;
        let at = climb.stay().await?;
        climb.points.sort_by(|a, b| a.level.total_cmp(&b.level));
        let rig = climb.rig.as_ref().ok_or_else(|| Failure::Late("nothing was measured".to_owned()))?;
        Ok(SaturateReport {
            scenario: summary(&climb.plan, options.raise),
            backend: rig.backend.clone(),
            raise: options.raise,
            points: climb.points,
            shards: rig.shards,
            bounds: format!("loss <= {}, p99 <= {} ms", options.loss_max, options.p99_max_ms),
            ended: climb.ended,
            at,
        })
    })
}

impl SaturateOptions {
    fn check(&self) -> Result<(), Failure> {
        let usage = |why: &str| Err(Failure::Usage(why.to_owned()));
        if !(1.01..=10.0).contains(&self.factor) {
            return usage("--factor must be 1.01 to 10");
        }
        if !(0.1..=3600.0).contains(&self.step) {
            return usage("--step must be 0.1 to 3600 seconds");
        }
        if !(0.0..1.0).contains(&self.loss_max) || self.p99_max_ms <= 0.0 {
            return usage("--loss-max is a share below 1, --p99-max-ms is above 0");
        }
        if self.at.is_some_and(|share| !(0.01..=1.0).contains(&share)) {
            return usage("--at is a share from 0.01 to 1");
        }
        if self.from.is_some_and(|from| from <= 0.0) {
            return usage("--from must be above 0");
        }
        if self.run.pairs.is_some() {
            return usage("saturate knows no --pairs");
        }
        let given = &self.run.layer;
        if self.raise == Raise::Viewers && (given.viewers.is_some() || given.room.is_some()) {
            return usage("saturate raises viewers by itself, on a stage; see --from and --raise rate");
        }
        if given.storm == Some(true) {
            return usage("saturate knows no --storm");
        }
        Ok(())
    }

    fn first(&self) -> f64 {
        self.from.unwrap_or(match self.raise {
            Raise::Viewers => 20.0,
            Raise::Rate => 0.25,
        })
    }
}

struct Climb<'o> {
    options: &'o SaturateOptions,
    plan: Plan,
    rig: Option<Rig>,
    points: Vec<Point>,
    ended: Option<String>,
}

impl Climb<'_> {
    /// By factors until a bound breaks.
    async fn up(&mut self) -> Result<(), Failure> {
        let mut level = self.options.first();
        for _ in 0..STEPS_MAX {
            let level_now = self.whole(level);
            if self.options.raise == Raise::Viewers && self.peers(level_now) > PEERS_MAX {
                return Ok(());
            }
            match self.step(level_now).await {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                // Such as a relay that is full: what held so far is known.
                Err(failure) if !self.points.is_empty() => {
                    self.ended = Some(failure.to_string());
                    return Ok(());
                }
                Err(failure) => return Err(failure),
            }
            level = (level * self.options.factor).max(level + self.grain());
        }
        Ok(())
    }

    /// By halves between the last level that held and the first that did not.
    async fn refine(&mut self) -> Result<(), Failure> {
        for _ in 0..self.options.refine {
            let (Some(good), Some(bad)) = (knee(&self.points), first_broken(&self.points)) else {
                return Ok(());
            };
            let middle = self.whole(f64::midpoint(good, bad));
            if middle <= good || middle >= bad {
                return Ok(());
            }
            self.step(middle).await?;
        }
        Ok(())
    }

    /// A long measurement at a share of the knee.
    async fn stay(&mut self) -> Result<Option<(f64, LoadReport)>, Failure> {
        let (Some(share), Some(knee)) = (self.options.at, knee(&self.points)) else { return Ok(None) };
        let level = self.whole(knee * share).max(self.grain());
        self.go_to(level).await?;
        let Some(rig) = &mut self.rig else { return Ok(None) };
        let scenario = &rig.plan.scenario;
        let (warm_up, duration) = (scenario.warm_up, scenario.duration);
        let measurement = rig.measure(warm_up, duration, |_| {}).await?;
        Ok(Some((share, report(rig, measurement))))
    }

    fn grain(&self) -> f64 {
        match self.options.raise {
            Raise::Viewers => 1.0,
            Raise::Rate => 0.001,
        }
    }

    fn whole(&self, level: f64) -> f64 {
        (level / self.grain()).round() * self.grain()
    }

    fn peers(&self, viewers: f64) -> usize {
        let publishers = match self.plan.scenario.cast {
            Cast::Stage { publishers, .. } => publishers,
            Cast::Room(_) => 0,
        };
        self.plan.scenario.sessions * (publishers + viewers as usize)
    }

    /// Measures one level; gives whether it held.
    async fn step(&mut self, level: f64) -> Result<bool, Failure> {
        self.go_to(level).await?;
        let Some(rig) = &mut self.rig else { return Ok(false) };
        let duration = Duration::from_secs_f64(self.options.step);
        let warm_up = rig.plan.scenario.warm_up;
        let measured = rig.measure(warm_up, duration, |_| {}).await?;
        let speed = if self.options.raise == Raise::Rate { level } else { 1.0 };
        let offered = rig.offered_per_s() * speed;
        let point = self.options.judge(level, offered, &measured);
        if self.options.run.shows_progress() {
            use std::io::Write as _;
            // Nobody may be reading any more.
            let _ = writeln!(std::io::stderr().lock(), "{}", row(&point));
        }
        let holds = point.holds;
        self.points.push(point);
        Ok(holds)
    }

    /// Brings the relay to a level. Viewers join what is there; with fewer of them a fresh relay is taken.
    async fn go_to(&mut self, level: f64) -> Result<(), Failure> {
        if self.options.raise == Raise::Rate {
            if self.rig.is_none() {
                self.rig = Some(bring_up(self.plan.clone()).await?);
            }
            if let Some(rig) = &self.rig {
                rig.set_speed(level);
            }
            return Ok(());
        }
        let viewers = level as usize;
        if self.rig.as_ref().is_none_or(|rig| rig.viewers() > viewers) {
            // The old one first: the core belongs to one relay.
            self.rig = None;
            let mut plan = self.plan.clone();
            let publishers = match plan.scenario.cast {
                Cast::Stage { publishers, .. } => publishers,
                Cast::Room(_) => 1,
            };
            let most = PEERS_MAX / plan.scenario.sessions - publishers;
            plan.scenario.cast = Cast::Stage { publishers, viewers: most };
            self.rig = Some(Rig::build(plan).await?);
        }
        let Some(rig) = &mut self.rig else { return Ok(()) };
        rig.stage(Stage::Join)?;
        rig.join_viewers(viewers).await
    }
}

impl SaturateOptions {
    fn judge(&self, level: f64, offered_per_s: f64, measured: &Measurement) -> Point {
        let counts = &measured.crowd.packets;
        let loss = ratio(counts.lost as f64, (counts.lost + counts.unique) as f64);
        let delay = &measured.crowd.delay_us;
        Point {
            level,
            offered_per_s,
            received_per_s: measured.received_per_s,
            gbit_s: measured.gbit_s,
            loss,
            p50_us: delay.p50,
            p99_us: delay.p99,
            shard_cores: measured.cpu.shard_cores,
            shard_waited_cores: measured.cpu.shard_waited_cores,
            ns_per_packet: measured.cpu.ns_per_packet,
            engine_cores: measured.cpu.engine_cores,
            holds: loss <= self.loss_max && delay.p99 <= self.p99_max_ms * 1000.0,
            engine_full: measured.cpu.engine_cores > ENGINE_FULL,
        }
    }
}

/// The highest level that held below the first that did not.
fn knee(points: &[Point]) -> Option<f64> {
    let broken = first_broken(points).unwrap_or(f64::INFINITY);
    let held = points.iter().filter(|point| point.holds && point.level < broken).map(|point| point.level);
    held.max_by(f64::total_cmp)
}

fn first_broken(points: &[Point]) -> Option<f64> {
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

/// The scenario, with a letter for what is raised.
fn summary(plan: &Plan, raise: Raise) -> String {
    let scenario = &plan.scenario;
    match (scenario.cast, raise) {
        (Cast::Stage { publishers, viewers }, Raise::Viewers) => {
            let cast = format!("{publishers} -> ");
            scenario.summary().replacen(&format!("{cast}{viewers},"), &format!("{cast}n,"), 1)
        }
        _ => format!("{}, times n", scenario.summary()),
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

fn row(point: &Point) -> String {
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
