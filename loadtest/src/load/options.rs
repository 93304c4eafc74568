//! The command line of `run`.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::engine::Pace;
use super::relay::{BackendName, beside_us};
use super::rig::Plan;
use super::scenario::{Layer, Scenario};
use super::way::Target;
use crate::failure::Failure;
use crate::floor::Method;
use crate::kernel::priority::prefer_strictly;

/// Options of `run`.
#[derive(Args, Clone, Debug)]
pub struct RunOptions {
    /// A scenario file; flags go over what it says
    #[arg(long, value_name = "FILE")]
    pub scenario: Option<PathBuf>,
    /// What is played.
    #[command(flatten)]
    pub layer: Layer,
    /// Start this relay and go in through its control socket; without any target, the one beside this program. Several
    /// are compared by --pairs
    #[arg(long, value_name = "PROGRAM")]
    pub relay: Vec<PathBuf>,
    /// Go in through the control socket of a relay that runs by itself: a signaling process would be sent away
    #[arg(long, value_name = "SOCKET", conflicts_with_all = ["relay", "backend", "backends"])]
    pub direct: Option<PathBuf>,
    /// Go in through a server's front door, http or https; any certificate is accepted
    #[arg(long, conflicts_with_all = ["relay", "direct", "backend", "backends", "shard"], requires = "secret")]
    pub url: Option<String>,
    /// The server's secret
    #[arg(long, env = "MILLRACE_SECRET", hide_env_values = true)]
    pub secret: Option<String>,
    /// With --url: connect to this one of the announced addresses
    #[arg(long, value_name = "IP", requires = "url")]
    pub candidate: Option<IpAddr>,
    /// Backend of the relay that is started [default: the best it has]
    #[arg(long, value_enum)]
    pub backend: Option<BackendName>,
    /// Measure so many rounds of short stretches, all contenders in turns, and give the median of the ratios to the last
    #[arg(long, value_name = "ROUNDS")]
    pub pairs: Option<u32>,
    /// With --pairs: the same relay on each of these backends
    #[arg(long, value_enum, value_delimiter = ',', conflicts_with = "backend", requires = "pairs")]
    pub backends: Vec<BackendName>,
    /// Publishers come through the TURN server of the relay that is started. With --pairs: through it, and without it
    #[arg(long, conflicts_with_all = ["direct", "url"])]
    pub relayed: bool,
    /// With --pairs: a bare loop of the same shape is the last contender
    #[arg(long, requires = "pairs")]
    pub against_floor: bool,
    /// How that loop receives and sends [default: as the relay does, with GSO]
    #[arg(long, value_enum, requires = "against_floor")]
    pub floor_method: Option<Method>,
    /// Shards of the relay that is started
    #[arg(long, default_value_t = 1)]
    pub shards: usize,
    /// Put every session on this shard instead of one after the other on all
    #[arg(long)]
    pub shard: Option<u32>,
    /// Microseconds between two looks at the sockets while media flows: longer takes less of our core, shorter measures
    /// delays more truly. 0 looks without a pause [default: 100; 1000 with --pairs, as the floor does]
    #[arg(long)]
    pub look_us: Option<u64>,
    /// On a machine that others use: while relay and load tool can run nobody else has their cores (SCHED_FIFO; needs
    /// CAP_SYS_NICE). Without it they are only preferred
    #[arg(long)]
    pub realtime: bool,
    /// Seconds for all peers to come up
    #[arg(long, default_value_t = 30.0)]
    pub setup_timeout: f64,
    /// One JSON object on stdout instead of the table
    #[arg(long)]
    pub json: bool,
    /// A page of figures and plots, in one file that opens offline
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// A line of progress on stderr every second even when that is no terminal
    #[arg(long)]
    pub progress: bool,
}

impl RunOptions {
    /// What is asked for, complete, where there is one relay.
    ///
    /// # Errors
    /// [`Failure::Usage`] names what is impossible.
    pub fn plan(&self) -> Result<Plan, Failure> {
        let mut plans = self.plans()?;
        match plans.pop() {
            Some(plan) if plans.is_empty() => Ok(plan),
            _ => Err(Failure::Usage("several relays or backends are compared by --pairs".to_owned())),
        }
    }

    /// What is asked for, complete, for each relay and backend.
    ///
    /// # Errors
    /// [`Failure::Usage`] names what is impossible.
    pub fn plans(&self) -> Result<Vec<Plan>, Failure> {
        let file = self.scenario.as_deref().map(Layer::read).transpose()?.unwrap_or_default();
        let scenario = Scenario::resolve(self.layer.clone().over(file))?;
        if !(0.1..=3600.0).contains(&self.setup_timeout) {
            return Err(Failure::Usage("--setup-timeout must be 0.1 to 3600 seconds".to_owned()));
        }
        if let Some(path) = &self.html {
            // Now rather than after a long run.
            let failed = |error| Failure::Usage(format!("--html {}: {error}", path.display()));
            std::fs::OpenOptions::new().append(true).create(true).open(path).map_err(failed)?;
        }
        if self.realtime {
            if self.look_us == Some(0) {
                let why = "--realtime leaves others nothing beside --look-us 0, and the kernel takes it back";
                return Err(Failure::Usage(why.to_owned()));
            }
            prefer_strictly();
        }
        if self.pairs == Some(0) {
            return Err(Failure::Usage("--pairs must be at least 1".to_owned()));
        }
        let look_us = self.look_us.unwrap_or(if self.pairs.is_some() { 1000 } else { 100 });
        if !(1..=256).contains(&self.shards) {
            return Err(Failure::Usage("--shards must be 1 to 256".to_owned()));
        }
        let plan = |target| Plan {
            scenario: scenario.clone(),
            target,
            shard: self.shard,
            pace: Pace { look_ns: look_us * 1000 },
            setup_limit: Duration::from_secs_f64(self.setup_timeout),
        };
        Ok(self.targets()?.into_iter().map(plan).collect())
    }

    fn targets(&self) -> Result<Vec<Target>, Failure> {
        if let (Some(url), Some(secret)) = (self.url.clone(), self.secret.clone()) {
            return Ok(vec![Target::Server { url, secret, candidate: self.candidate }]);
        }
        if let Some(socket) = &self.direct {
            return Ok(vec![Target::Running(socket.clone())]);
        }
        let programs = if self.relay.is_empty() { vec![beside_us()?] } else { self.relay.clone() };
        let backends: Vec<_> = if self.backends.is_empty() {
            vec![self.backend]
        } else {
            self.backends.iter().copied().map(Some).collect()
        };
        let ways: &[bool] = match (self.relayed, self.pairs) {
            (true, Some(_)) => &[true, false],
            (true, None) => &[true],
            (false, _) => &[false],
        };
        let mut targets = Vec::new();
        for program in &programs {
            for &backend in &backends {
                targets.extend(ways.iter().map(|&relayed| Target::Start {
                    program: program.clone(),
                    shards: self.shards,
                    backend,
                    relayed,
                }));
            }
        }
        Ok(targets)
    }

    /// Whether progress is shown.
    #[must_use]
    pub fn shows_progress(&self) -> bool {
        use std::io::IsTerminal;
        self.progress || (!self.json && std::io::stderr().is_terminal())
    }
}
