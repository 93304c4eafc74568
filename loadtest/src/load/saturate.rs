//! `saturate`: the load is raised until a bound breaks; the curve on the way and what the relay held at its knee.

use std::time::Duration;

use clap::Args;

use super::curve::{Point, Raise, SaturateReport, first_broken, knee, row};
use super::engine::Stage;
use super::measurement::{Measurement, ratio};
use super::options::RunOptions;
use super::report::LoadReport;
use super::rig::{Plan, Rig};
use super::run::{bring_up, play, report};
use super::scenario::{Cast, PEERS_MAX};
use crate::failure::Failure;

/// More steps than any curve needs: doubling gets from one viewer to all there can be in sixteen.
const STEPS_MAX: usize = 64;
/// A step at which the engine has this little of its core left says nothing of the relay.
const ENGINE_FULL: f64 = 0.95;

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

/// Raises the load until a bound breaks.
///
/// # Errors
/// Impossible options, a relay that does not start, peers that do not come up.
pub fn run(options: &SaturateOptions) -> Result<SaturateReport, Failure> {
    options.check()?;
    let plan = options.run.plan()?;
    play(async {
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
