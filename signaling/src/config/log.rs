//! Logging.

use std::io::{self, IsTerminal as _};

use clap::Args;
use tracing_subscriber::EnvFilter;

/// The option of all programs.
#[derive(Clone, Debug, Args)]
#[allow(missing_docs, reason = "see the group of garbage")]
pub struct Log {
    /// What is logged, on standard error: error, warn, info, debug or trace, for everything or by module, such as
    /// info,millrace=debug. A value replaces the whole default, which silences the DTLS library (dimpl): it warns about
    /// invalid packets from unknown senders.
    #[arg(long, default_value = "info,dimpl=off", value_name = "FILTER", value_parser = filter)]
    pub log: String,
}

impl Log {
    /// Starts logging to standard error.
    pub fn start(&self) {
        let filter = EnvFilter::new(&self.log);
        let ansi = io::stderr().is_terminal();
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(ansi).init();
    }
}

fn filter(text: &str) -> Result<String, String> {
    EnvFilter::try_new(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::Config;

    #[test]
    fn only_a_filter_is_taken() {
        for good in ["info", "debug", "info,millrace=trace", "warn,millrace_signaling::http=debug"] {
            assert_eq!(Config::try_parse_from(["x", "--log", good]).unwrap().log.log, good);
        }
        for bad in ["info,millrace=loud", "a=b=c"] {
            assert!(Config::try_parse_from(["x", "--log", bad]).is_err(), "{bad}");
        }
    }
}
