//! The signaling process.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

fn main() -> std::process::ExitCode {
    let filter = EnvFilter::try_from_env("MILLRACE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let ansi = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(ansi).init();
    let (config, settings) = match millrace_settings::parse(std::env::args_os()) {
        Ok(parsed) => parsed,
        Err(failure) => return failure.report("millrace-signaling"),
    };
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    millrace_signaling::run_to_the_end(config)
}
