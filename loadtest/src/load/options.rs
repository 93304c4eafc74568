//! The command line of `run`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::engine::Pace;
use super::relay::{BackendName, beside_us};
use super::rig::{Plan, Target};
use super::scenario::{Layer, Scenario};
use crate::failure::Failure;

/// Options of `run`.
#[derive(Args, Clone, Debug)]
pub struct RunOptions {
    /// A scenario file; flags go over what it says
    #[arg(long, value_name = "FILE")]
    pub scenario: Option<PathBuf>,
    /// What is played.
    #[command(flatten)]
    pub layer: Layer,
    /// Start this relay and go in through its control socket; without any target, the one beside this program
    #[arg(long, value_name = "PROGRAM")]
    pub relay: Option<PathBuf>,
    /// Go in through the control socket of a relay that runs
    #[arg(long, value_name = "SOCKET", conflicts_with_all = ["relay", "backend", "shards"])]
    pub direct: Option<PathBuf>,
    /// Backend of the relay that is started [default: the best it has]
    #[arg(long, value_enum)]
    pub backend: Option<BackendName>,
    /// Shards of the relay that is started
    #[arg(long, default_value_t = 1)]
    pub shards: usize,
    /// Put every session on this shard instead of one after the other on all
    #[arg(long)]
    pub shard: Option<u32>,
    /// Microseconds between two looks at the sockets while media flows: longer takes less of our core, shorter measures
    /// delays more truly. 0 looks without a pause
    #[arg(long, default_value_t = 100)]
    pub look_us: u64,
    /// Seconds for all peers to come up
    #[arg(long, default_value_t = 30.0)]
    pub setup_timeout: f64,
    /// One JSON object on stdout instead of the table
    #[arg(long)]
    pub json: bool,
    /// A line of progress on stderr every second even when that is no terminal
    #[arg(long)]
    pub progress: bool,
}

impl RunOptions {
    /// What is asked for, complete.
    ///
    /// # Errors
    /// [`Failure::Usage`] names what is impossible.
    pub fn plan(&self) -> Result<Plan, Failure> {
        let file = self.scenario.as_deref().map(Layer::read).transpose()?.unwrap_or_default();
        let scenario = Scenario::resolve(self.layer.clone().over(file))?;
        if !(0.1..=3600.0).contains(&self.setup_timeout) {
            return Err(Failure::Usage("--setup-timeout must be 0.1 to 3600 seconds".to_owned()));
        }
        if !(1..=256).contains(&self.shards) {
            return Err(Failure::Usage("--shards must be 1 to 256".to_owned()));
        }
        Ok(Plan {
            scenario,
            target: self.target()?,
            shard: self.shard,
            pace: Pace { look_ns: self.look_us * 1000 },
            setup_limit: Duration::from_secs_f64(self.setup_timeout),
        })
    }

    fn target(&self) -> Result<Target, Failure> {
        if let Some(socket) = &self.direct {
            return Ok(Target::Running(socket.clone()));
        }
        let program = match &self.relay {
            Some(program) => program.clone(),
            None => beside_us()?,
        };
        Ok(Target::Start { program, shards: self.shards, backend: self.backend })
    }

    /// Whether progress is shown.
    #[must_use]
    pub fn shows_progress(&self) -> bool {
        use std::io::IsTerminal;
        self.progress || (!self.json && std::io::stderr().is_terminal())
    }
}
