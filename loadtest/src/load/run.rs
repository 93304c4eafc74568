//! `run`: one scenario, measured once.

use std::future::Future;
use std::io::Write;

use tokio::signal::ctrl_c;
use tokio::signal::unix::{SignalKind, signal};

use super::measurement::{JoinFigures, Measurement, Second};
use super::options::RunOptions;
use super::report::{LoadReport, progress};
use super::rig::{Plan, Rig};
use super::scenario::Cast;
use crate::failure::Failure;

/// Runs what the options ask for.
///
/// # Errors
/// Impossible options, a relay that does not start, peers that do not come up. What is missed later is in the report.
pub fn run(options: &RunOptions) -> Result<LoadReport, Failure> {
    let plan = options.plan()?;
    play(async {
        let mut rig = bring_up(plan).await?;
        let (warm_up, duration) = (rig.plan.scenario.warm_up, rig.plan.scenario.duration);
        let shows = options.shows_progress();
        let measurement = rig.measure(warm_up, duration, |second| show(shows, second)).await?;
        rig.close().await;
        Ok(report(&rig, measurement))
    })
}

/// Plays `work` to its end, or until somebody ends the program: then too it is dropped in order, and the relays that it
/// started end with it.
pub(super) fn play<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    // Before anything is pinned.
    let _ = super::relay::all_cores();
    // One thread, so that it stays on the cores its rig moves it to.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut ended = signal(SignalKind::terminate())?;
        tokio::select! {
            done = work => done,
            _ = ctrl_c() => Err(Failure::Late("interrupted".to_owned())),
            _ = ended.recv() => Err(Failure::Late("ended".to_owned())),
        }
    })
}

/// Builds a rig and brings up everybody who is to be there from the beginning.
pub(super) async fn bring_up(plan: Plan) -> Result<Rig, Failure> {
    let mut rig = Rig::build(plan).await?;
    let early = rig.early();
    rig.join(early).await?;
    Ok(rig)
}

pub(super) fn show(shows: bool, second: &Second) {
    if shows {
        // Nobody may be reading any more.
        let _ = writeln!(std::io::stderr().lock(), "{}", progress(second));
    }
}

/// The report of one measurement on a rig.
pub(super) fn report(rig: &Rig, measurement: Measurement) -> LoadReport {
    let mut notes = Vec::new();
    if rig.shares_cores {
        notes.push("the relay's shards have every core: the load tool shares them with it".to_owned());
    }
    let mut scenario = rig.plan.scenario.clone();
    if let Cast::Stage { publishers, .. } = scenario.cast {
        // Of those who were to come, as many as came.
        scenario.cast = Cast::Stage { publishers, viewers: rig.viewers() };
    }
    LoadReport {
        scenario: scenario.summary(),
        backend: rig.backend.clone(),
        joins: JoinFigures::of(&rig.joins),
        join_records: rig.joins.clone(),
        knows_relay: rig.pid != 0,
        empty_bytes: rig.empty_bytes,
        peers: rig.joins.len(),
        look_us: rig.plan.pace.look_ns / 1000,
        measurement,
        notes,
    }
}
