//! The signaling process.

use millrace_signaling::config::Config;
use millrace_signaling::server;

fn main() -> std::process::ExitCode {
    let (config, settings) = match millrace_settings::parse::<Config>(std::env::args_os()) {
        Ok(parsed) => parsed,
        Err(failure) => return failure.report("millrace-signaling"),
    };
    config.log.start();
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    std::thread::sleep(millrace_settings::wait_before_start(&config.server.data_dir, "signaling"));
    server::run_to_the_end(config)
}
