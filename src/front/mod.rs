//! The front command: starts both processes, waits until they are ready, reports it, and keeps them running.
//!
//! Each child is the same program with a hidden first argument. It ends when its standard input ends, so no child outlives
//! the front command, even after SIGKILL.

mod child;
mod config;
mod import;
mod options;
mod ready;

use std::ffi::OsString;
use std::io::{self, IsTerminal as _, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded, select, tick};
use millrace_settings::Settings;
use millrace_signaling::config::ConfigError;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::relay::secret::{self, Secret};
use child::Child;
pub use options::Options;
use ready::{RelayReady, SignalingReady};

/// Interval between two looks at the children. No call waits for this.
const CARE_INTERVAL: Duration = Duration::from_millis(20);

/// Why the front command ends.
#[derive(Debug, thiserror::Error)]
pub enum FrontError {
    /// The data directory cannot be used.
    #[error(transparent)]
    Settings(#[from] ConfigError),
    /// A file in the data directory cannot be used.
    #[error("{path}: {error}; choose another place with --data-dir")]
    Data {
        /// The directory.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// A process could not be started, or ended before it was ready.
    #[error("{name} {what}; its log is above")]
    Child {
        /// `relay` or `signaling`.
        name: &'static str,
        /// What happened.
        what: String,
    },
    /// A process refuses its settings. Another start would fail in the same way.
    #[error("{name} refuses its settings; its log is above")]
    Refused {
        /// `relay` or `signaling`.
        name: &'static str,
    },
    /// Signals or standard output cannot be used.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Runs the program: the front command, or one of its children.
pub fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let program = arguments.next().unwrap_or_default();
    match std::env::args().nth(1).as_deref() {
        Some(child::RELAY) => {
            child::follow_stdin();
            match millrace_settings::parse::<crate::config::Config>(
                std::iter::once(program).chain(arguments.skip(1)),
            ) {
                Ok((config, _)) => crate::relay::main(&config),
                Err(failure) => failure.report("millrace relay"),
            }
        }
        Some(child::SIGNALING) => {
            child::follow_stdin();
            match millrace_settings::parse::<millrace_signaling::Config>(
                std::iter::once(program).chain(arguments.skip(1)),
            ) {
                Ok((config, _)) => {
                    config.log.start();
                    millrace_signaling::run_to_the_end(config)
                }
                Err(failure) => failure.report("millrace signaling"),
            }
        }
        Some(config::NAME) => config::main(arguments),
        _ => front(std::iter::once(program).chain(arguments)),
    }
}

fn front(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let (options, settings) = match millrace_settings::parse::<Options>(arguments) {
        Ok(parsed) => parsed,
        Err(failure) => return failure.report("millrace"),
    };
    // Checked before anything runs: settings that a child would refuse end the front command too.
    let faults = config::faults(&settings);
    if !faults.0.is_empty() {
        return millrace_settings::Failure::Settings(faults).report("millrace");
    }
    match run(&options, &settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("millrace: {error}");
            let is_set_wrong = matches!(error, FrontError::Refused { .. } | FrontError::Settings(_));
            if is_set_wrong { ExitCode::from(millrace_settings::EXIT_CONFIG) } else { ExitCode::FAILURE }
        }
    }
}

fn run(options: &Options, settings: &Settings) -> Result<(), FrontError> {
    options.relay.log.start();
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    // Children inherit it. Shells give 1 024, which a thousand WebSockets use up.
    if let Err(error) = crate::io::descriptors::raise_limit() {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
    let stop = stop_signals()?;
    let server = &options.relay.server;
    server.make_data_dir()?;
    let data = |error| FrontError::Data { path: server.data_dir.clone(), error };
    let secret =
        secret::load_or_make(&server.data_dir, secret::REST, options.signaling.rest.secret.as_deref())
            .map_err(data)?;
    let turn_secret =
        secret::load_or_make(&server.data_dir, secret::TURN, options.relay.turn.secret.as_deref())
            .map_err(data)?;

    let mut relay = Child::relay(options, settings, &turn_secret.text);
    let Some(relay_ready) = ready::wait::<RelayReady>(&mut relay, &stop)? else { return Ok(()) };
    // Clients find a restarted process on the same ports.
    relay.pin_port("--https-port", relay_ready.https_port);
    relay.pin_port("--turn-port", relay_ready.turn_port);
    let mut signaling = Child::signaling(options, settings, &secret.text, &turn_secret.text);
    signaling.pin_port("--https-port", relay_ready.https_port);
    signaling.pin_port("--turn-port", relay_ready.turn_port);
    let Some(signaling_ready) = ready::wait::<SignalingReady>(&mut signaling, &stop)? else { return Ok(()) };
    signaling.pin_port("--http-port", signaling_ready.http_port);

    announce(options, &secret, &relay_ready, &signaling_ready)?;
    look_after([relay, signaling], &stop)
}

/// The signals to obey. In a terminal SIGHUP ends the program; elsewhere it means to read the certificate again.
fn stop_signals() -> io::Result<Receiver<i32>> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    if !io::stdin().is_terminal() {
        signals.handle().add_signal(SIGHUP)?;
    }
    let (sender, receiver) = bounded(1);
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            // A reload that already waits serves this one too. A stop waits for its turn: it must not be lost.
            if signal == SIGHUP {
                let _ = sender.try_send(signal);
            } else {
                let _ = sender.send(signal);
            }
        }
    })?;
    Ok(receiver)
}

/// Restarts children that end, until a signal arrives or a child refuses its settings. Then ends all of them.
fn look_after(mut children: [Child; 2], stop: &Receiver<i32>) -> Result<(), FrontError> {
    let care = tick(CARE_INTERVAL);
    let ended = 'care: loop {
        select! {
            recv(stop) -> signal => match signal {
                Ok(SIGHUP) => children.iter_mut().for_each(Child::reload),
                _ => break Ok(()),
            },
            recv(care) -> _ => {
                for child in &mut children {
                    if let Err(error) = child.restart_if_ended() {
                        break 'care Err(error);
                    }
                }
            }
        }
    };
    // Signaling first, so that no new client joins.
    for child in children.iter_mut().rev() {
        child.stop();
    }
    ended
}

fn announce(
    options: &Options,
    secret: &Secret,
    relay: &RelayReady,
    signaling: &SignalingReady,
) -> Result<(), FrontError> {
    let url = format!("https://127.0.0.1:{}", relay.https_port);
    let http_url = format!("http://localhost:{}", signaling.http_port);
    let mut out = io::stdout().lock();
    if options.json {
        let line = serde_json::json!({
            "url": url,
            "http_url": http_url,
            "secret": secret.text,
            "backend": relay.backend,
            "shards": relay.shards,
            "pids": {"relay": relay.pid, "signaling": signaling.pid},
        });
        writeln!(out, "{line}")?;
    } else {
        let ports: Vec<_> = relay.shards.iter().map(|shard| shard.port.to_string()).collect();
        let others =
            ready::reachable_address(options).map_or_else(|| "127.0.0.1".into(), |ip| ip.to_string());
        writeln!(out, "\nMillrace is ready.\n")?;
        let is_shown = secret.is_new || io::stdout().is_terminal();
        let fragment = if is_shown { format!("#secret={}", secret.text) } else { String::new() };
        writeln!(out, "  Open     {http_url}/{fragment}")?;
        writeln!(
            out,
            "           https://{others}:{}/   (from other machines; self-signed certificate)",
            relay.https_port
        )?;
        // Output that does not go to a terminal may be stored where more people can read it, for example in the journal.
        match options.signaling.rest.secret {
            _ if is_shown => writeln!(out, "  Secret   {}", secret.text)?,
            Some(_) => writeln!(out, "  Secret   as set (not shown; --json shows it)")?,
            None => {
                let file = options.relay.server.data_dir.join(secret::REST);
                writeln!(out, "  Secret   in the file {}", file.display())?;
            }
        }
        writeln!(
            out,
            "  Media    UDP {} ({} shards, {})",
            ports.join(" "),
            relay.shards.len(),
            relay.backend
        )?;
        writeln!(out, "  Data     {}", options.relay.server.data_dir.display())?;
        writeln!(out, "\nCtrl-C ends it.")?;
    }
    out.flush()?;
    Ok(())
}
