//! `millrace-loadtest`: simulated peers against a running server.

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use millrace_loadtest::options::SmokeOptions;
use millrace_loadtest::report::Report;
use millrace_loadtest::smoke;
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
}

#[tokio::main]
async fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let Command::Smoke(options) = Cli::parse().command;
    let as_json = options.json;
    let (text, good) = match smoke::run(options).await {
        Ok(report) => render(&report, as_json),
        Err(failure) if as_json => {
            (json!({ "ok": false, "problems": [failure.to_string()] }).to_string(), false)
        }
        Err(failure) => (format!("FAILED {failure}"), false),
    };
    let written = writeln!(std::io::stdout().lock(), "{}", text.trim_end());
    if good && written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn render(report: &Report, as_json: bool) -> (String, bool) {
    let text = if as_json { report.json().to_string() } else { report.table() };
    (text, report.problems().is_empty())
}
