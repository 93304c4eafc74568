//! Where the relay is, and how peers are made known to it: by its control socket, or through a server's front door.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;

use super::cast::PeerPlan;
use super::control::{Control, Counters};
use super::direct::{Direct, Prepared};
use super::net::Net;
use super::relay::{BackendName, Relay};
use super::rig::Plan;
use super::scenario::Scenario;
use super::signaling::Signaling;
use crate::failure::Failure;
use crate::http::Endpoint;
use crate::peer::Identity;
use crate::sdp::IceCredentials;

/// Where the relay is.
#[derive(Clone, Debug)]
pub enum Target {
    /// A program to start.
    Start {
        /// The program.
        program: PathBuf,
        /// Its shards.
        shards: usize,
        /// Its backend, or the best it has.
        backend: Option<BackendName>,
        /// Whether publishers come through its TURN server.
        relayed: bool,
    },
    /// A relay that runs, by its control socket.
    Running(PathBuf),
    /// A server, through its front door.
    Server {
        /// Its address, http or https.
        url: String,
        /// Its secret.
        secret: String,
        /// The announced address to connect to; without it, the best of IPv4.
        candidate: Option<IpAddr>,
    },
}

/// How peers are made known to the relay.
pub enum Way {
    /// By the control socket.
    Direct(Direct),
    /// As browsers do it.
    Server(Box<Signaling>),
}

impl Way {
    /// The relay's counters, all shards added up.
    ///
    /// # Errors
    /// When relay or server is gone.
    pub async fn counters(&self) -> Result<Counters, Failure> {
        match self {
            Self::Direct(direct) => direct.control.counters().await,
            Self::Server(signaling) => signaling.counters().await,
        }
    }

    /// Makes a peer known and says what it needs to come up.
    ///
    /// # Errors
    /// As relay or server give them.
    pub async fn prepare(
        &self,
        scenario: &Scenario,
        peer: usize,
        plan: &PeerPlan,
        local: &IceCredentials,
        identity: &Identity,
    ) -> Result<Prepared, Failure> {
        match self {
            Self::Direct(direct) => direct.prepare(scenario, peer, plan, local, identity.digest).await,
            Self::Server(signaling) => signaling.prepare(scenario, peer, plan, local, identity).await,
        }
    }

    /// Takes back what goes on without us: peers of a relay that runs, sessions of a server.
    pub async fn close(&self, target: &Target, sessions: usize, peers: &[(usize, &PeerPlan)]) {
        match (self, target) {
            (Self::Server(signaling), _) => signaling.close().await,
            // A relay that is gone has no peers.
            (Self::Direct(direct), Target::Running(_)) => drop(direct.remove(sessions, peers).await),
            (Self::Direct(_), _) => {}
        }
    }
}

/// What the relay says of itself.
pub struct Facts {
    /// Its process, 0 when that is on another machine.
    pub pid: u32,
    /// Its backend.
    pub backend: String,
    /// How many shards it has.
    pub shards: usize,
}

/// The way to the relay, and who it is.
///
/// # Errors
/// When nobody is there.
pub async fn open(plan: &Plan, relay: Option<&Relay>, peers: &[PeerPlan]) -> Result<(Way, Facts), Failure> {
    let socket = match (&plan.target, relay) {
        (Target::Server { url, secret, candidate }, _) => {
            let publishers = peers.iter().filter_map(|peer| peer.publishes).max().map_or(0, |last| last + 1);
            let sessions = plan.scenario.sessions + 1;
            let signaling = Signaling::new(url, secret, *candidate, sessions, publishers)?;
            let (pid, backend, shards) = signaling.relay().await?;
            // Elsewhere the number may be somebody else's.
            let pid = if is_local(url) { pid } else { 0 };
            return Ok((Way::Server(Box::new(signaling)), Facts { pid, backend, shards }));
        }
        (_, Some(relay)) => relay.socket(),
        (Target::Running(socket), None) => socket.clone(),
        (Target::Start { .. }, None) => return Err(Failure::Late("the relay was not started".to_owned())),
    };
    let control = Control::connect(&socket).await?;
    let hello = Arc::clone(&control.relay);
    let facts = Facts { pid: hello.pid, backend: hello.backend.clone(), shards: hello.shards.len() };
    Ok((Way::Direct(Direct::new(control, plan.shard)?), facts))
}

/// One socket where the relay is on this host, else one for each peer.
///
/// # Errors
/// When there are not enough sockets to be had.
pub fn net(target: &Target, peers: usize) -> Result<Net, Failure> {
    match target {
        Target::Server { url, candidate, .. } if !is_local(url) => {
            Net::separate(peers, candidate.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)))
        }
        Target::Server { .. } | Target::Start { .. } | Target::Running(_) => Net::shared(peers),
    }
}

/// Whether the server is on this host by name.
fn is_local(url: &str) -> bool {
    let Ok(endpoint) = Endpoint::parse(url) else { return false };
    let address: Option<IpAddr> = endpoint.host.parse().ok();
    endpoint.host == "localhost" || address.is_some_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_is_known_by_its_names() {
        for url in ["http://localhost:1", "https://127.0.0.1:4443", "https://[::1]:4443", "https://127.9.9.9"]
        {
            assert!(is_local(url), "{url}");
        }
        for url in ["https://192.0.2.2:4443", "https://localhost.example.org", "nonsense"] {
            assert!(!is_local(url), "{url}");
        }
    }
}
