//! Removal of unused sessions.

use clap::Args;

// A doc comment on a group of options would become the description of the whole program.
#[derive(Clone, Debug, Args)]
#[allow(missing_docs, reason = "see above")]
pub struct Garbage {
    /// Seconds between two searches for sessions that no client ever joined. 0 turns the search off.
    #[arg(id = "garbage_interval_s", long = "garbage-interval-s", value_name = "S", default_value_t = 900)]
    pub interval_s: u64,

    /// Minimum age in seconds of a session that the search removes.
    #[arg(
        id = "garbage_threshold_s",
        long = "garbage-threshold-s",
        value_name = "S",
        default_value_t = 3_600
    )]
    pub threshold_s: u64,
}
