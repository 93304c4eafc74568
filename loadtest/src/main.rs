//! `millrace-loadtest`: simulated peers against a running server.

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use millrace_loadtest::crowd::{self, CrowdOptions};
use millrace_loadtest::failure::Failure;
use millrace_loadtest::flood::{self, FloodOptions};
use millrace_loadtest::floor;
use millrace_loadtest::floor::options::FloorOptions;
use millrace_loadtest::load::options::RunOptions;
use millrace_loadtest::load::saturate::{self, SaturateOptions};
use millrace_loadtest::load::{compare, html, run};
use millrace_loadtest::options::SmokeOptions;
use millrace_loadtest::rivals;
use millrace_loadtest::rivals::options::{JanusOptions, Rival};
use millrace_loadtest::smoke;
use millrace_loadtest::stand_in::{self, StandInOptions};
use millrace_loadtest::turn;
use millrace_loadtest::turn::options::{CoturnOptions, TurnOptions};
use serde_json::json;

/// Simulated publishers and viewers on a WebRTC stack of their own.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Numbered packets from publishers to viewers; fails unless every one arrives decrypted, once, in order.
    Smoke(SmokeOptions),
    /// Load: as many peers as one core can play, counted packet by packet, with the relay's CPU time for each.
    Run(Box<RunOptions>),
    /// Load raised until packets are lost or late: the curve, and what one core holds.
    Saturate(Box<SaturateOptions>),
    /// Signaling alone: many sessions that fill, talk and empty, without packets; with --media all publish and watch.
    Crowd(Box<CrowdOptions>),
    /// A stand-in of the relay: speaks its control contract, holds what signaling tells it, and forwards nothing.
    StandIn(StandInOptions),
    /// A call, and strangers at every port of the server beside it; fails unless the call loses nothing and they leave nothing.
    Flood(Box<FloodOptions>),
    /// What a delivered packet costs a bare loop on this machine: the least any relay can reach.
    Floor(FloorOptions),
    /// Relayed packets: what TURN costs the relay, beside a loop that only receives and sends.
    Turn(TurnOptions),
    /// Our relay beside another server, in one run and under the same load.
    #[command(subcommand)]
    Compare(Rival),
}

/// Text for stdout, and whether all is well.
type Shown = (String, bool);

fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let (as_json, shown) = match Cli::parse().command {
        Command::Smoke(options) => (options.json, play_smoke(options)),
        Command::Run(options) => (options.json, play_load(&options)),
        Command::Saturate(options) => (options.run.json, play_saturate(&options)),
        Command::Crowd(options) => (options.json, play_crowd(&options)),
        Command::StandIn(options) => (false, run_stand_in(&options)),
        Command::Flood(options) => (options.smoke.json, play_flood(*options)),
        Command::Floor(options) => (options.json, play_floor(&options)),
        Command::Turn(options) => (options.json, play_turn(&options)),
        Command::Compare(Rival::Janus(options)) => (options.json, compare_janus(&options)),
        Command::Compare(Rival::Coturn(options)) => (options.turn.json, compare_coturn(&options)),
    };
    let (text, good) = match shown {
        Ok(shown) => shown,
        Err(failure) if as_json => {
            (json!({ "ok": false, "problems": [failure.to_string()] }).to_string(), false)
        }
        Err(failure) => (format!("FAILED {failure}"), false),
    };
    let written = writeln!(std::io::stdout().lock(), "{}", text.trim_end());
    if good && written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn play_smoke(options: SmokeOptions) -> Result<Shown, Failure> {
    let as_json = options.json;
    let report = tokio::runtime::Runtime::new()?.block_on(smoke::run(options))?;
    let text = if as_json { report.json().to_string() } else { report.table() };
    Ok((text, report.problems().is_empty()))
}

fn play_flood(options: FloodOptions) -> Result<Shown, Failure> {
    let as_json = options.smoke.json;
    let report = tokio::runtime::Runtime::new()?.block_on(flood::run(options))?;
    let text = if as_json { report.json().to_string() } else { report.table() };
    Ok((text, report.problems().is_empty()))
}

fn run_stand_in(options: &StandInOptions) -> Result<Shown, Failure> {
    stand_in::run(options)?;
    Ok((String::new(), true))
}

fn play_crowd(options: &CrowdOptions) -> Result<Shown, Failure> {
    if options.media.media {
        let report = tokio::runtime::Runtime::new()?.block_on(crowd::media::run(options))?;
        let text = if options.json { report.json().to_string() } else { report.table() };
        return Ok((text, report.problems().is_empty()));
    }
    let report = tokio::runtime::Runtime::new()?.block_on(crowd::run(options))?;
    let text = if options.json { report.json().to_string() } else { report.table() };
    Ok((text, report.problems().is_empty()))
}

fn play_load(options: &RunOptions) -> Result<Shown, Failure> {
    if let Some(rounds) = options.pairs {
        let report = compare::run(options, rounds)?;
        save_page(options, || report.html())?;
        let text = if options.json { report.json().to_string() } else { report.table() };
        return Ok((text, true));
    }
    let report = run::run(options)?;
    save_page(options, || report.html())?;
    let text = if options.json { report.json().to_string() } else { report.table() };
    Ok((text, report.problems().is_empty()))
}

fn save_page(options: &RunOptions, page: impl FnOnce() -> String) -> Result<(), Failure> {
    options.html.as_deref().map_or(Ok(()), |path| html::save(path, &page()))
}

fn play_saturate(options: &SaturateOptions) -> Result<Shown, Failure> {
    let report = saturate::run(options)?;
    save_page(&options.run, || report.html())?;
    let text = if options.run.json { report.json().to_string() } else { report.table() };
    Ok((text, report.knee().is_some()))
}

fn play_floor(options: &FloorOptions) -> Result<Shown, Failure> {
    let report = floor::run(options)?;
    let text = if options.json { report.json().to_string() } else { report.table() };
    // A loss makes the figure doubtful, not wrong: it is shown.
    Ok((text, true))
}

fn compare_janus(options: &JanusOptions) -> Result<Shown, Failure> {
    let report = rivals::janus(options)?;
    let text = if options.json { report.json().to_string() } else { report.table() };
    Ok((text, true))
}

fn play_turn(options: &TurnOptions) -> Result<Shown, Failure> {
    Ok(show_turn(&turn::run(options)?, options))
}

fn compare_coturn(options: &CoturnOptions) -> Result<Shown, Failure> {
    Ok(show_turn(&turn::beside_coturn(options)?, &options.turn))
}

fn show_turn(report: &turn::report::Report, options: &TurnOptions) -> Shown {
    let problems = report.problems(options.lossless);
    let mut text = if options.json { report.json().to_string() } else { report.table() };
    if !options.json {
        problems.iter().for_each(|problem| text.push_str(&format!("\nFAILED {problem}")));
    }
    (text, problems.is_empty())
}
