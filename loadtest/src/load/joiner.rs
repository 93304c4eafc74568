//! Bringing many peers up, at the pace of the scenario.

use std::net::SocketAddr;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::cast::PeerPlan;
use super::cipher::Cipher;
use super::engine::{Order, Ready};
use super::join::{Port, bring_up};
use super::scenario::Scenario;
use super::way::Way;
use super::world::Inlet;
use crate::failure::Failure;
use crate::kernel::clock::monotonic_ns;
use crate::peer::Identity;
use crate::sdp::IceCredentials;

/// Peers that come up at the same time, at most.
const JOINING_MAX: usize = 512;

/// How one peer came up, in milliseconds.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct JoinRecord {
    /// Its number.
    pub peer: usize,
    /// Until the relay knew it.
    pub signaling: f64,
    /// ICE.
    pub ice: f64,
    /// DTLS.
    pub dtls: f64,
    /// When it began.
    #[serde(skip)]
    pub started_ns: u64,
    /// From the beginning to the first packet, for a viewer that saw one.
    pub first_packet: Option<f64>,
}

/// Everything that is needed to bring peers up, shared by their tasks.
pub struct Joiner {
    scenario: Scenario,
    /// How they are made known.
    pub way: Way,
    identity: Identity,
    orders: Mutex<Sender<Order>>,
    /// The TURN server that publishers come through.
    turn: Option<SocketAddr>,
}

/// Brings these of `peers` up at the scenario's rate.
///
/// # Errors
/// The first peer's that failed.
pub async fn join_all(
    joiner: Arc<Joiner>,
    peers: &[PeerPlan],
    joining_peers: Vec<usize>,
) -> Result<Vec<JoinRecord>, Failure> {
    let pace = Duration::from_secs_f64(1.0 / joiner.scenario.joins_per_second);
    let begin = Instant::now();
    let permits = Arc::new(Semaphore::new(JOINING_MAX));
    let mut joining = JoinSet::new();
    for (at, peer) in joining_peers.into_iter().enumerate() {
        let (joiner, plan, permits) = (Arc::clone(&joiner), peers[peer].clone(), Arc::clone(&permits));
        joining.spawn(async move {
            sleep_until(begin + pace * at as u32).await;
            let _permit = permits.acquire_owned().await;
            let joined = joiner.join(peer, &plan).await;
            joined.map_err(|failure| Failure::Late(format!("peer {peer}: {failure}")))
        });
    }
    let mut records = Vec::new();
    while let Some(joined) = joining.join_next().await {
        records.push(joined.map_err(|error| Failure::Late(error.to_string()))??);
    }
    records.sort_by_key(|record| record.peer);
    Ok(records)
}

impl Joiner {
    /// With the sender of the engine that is to play the peers; publishers come through `turn`, if that is given.
    #[must_use]
    pub fn new(
        scenario: Scenario,
        way: Way,
        identity: Identity,
        orders: Sender<Order>,
        turn: Option<SocketAddr>,
    ) -> Self {
        Self { scenario, way, identity, orders: orders.into(), turn }
    }

    async fn join(&self, peer: usize, plan: &PeerPlan) -> Result<JoinRecord, Failure> {
        let started_ns = monotonic_ns();
        let local = IceCredentials::generate();
        let prepared = self.way.prepare(&self.scenario, peer, plan, &local, &self.identity).await?;
        let signaling = milliseconds(started_ns, monotonic_ns());
        let (stun_sender, stun) = mpsc::unbounded_channel();
        let (dtls_sender, dtls) = mpsc::unbounded_channel();
        let orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let send =
            |order| orders.send(order).map_err(|_| Failure::Late("the engine's thread has ended".to_owned()));
        let inlet = Inlet { stun: stun_sender, dtls: dtls_sender };
        send(Order::Open { peer, remote: prepared.far.address, inlet, tracks: prepared.tracks })?;
        let mut port = Port { peer, orders: orders.clone(), stun, dtls };
        if let Some(server) = self.turn.filter(|_| plan.publishes.is_some()) {
            port.go_through(server, prepared.far.address).await?;
        }
        let profile = self.scenario.suite.profile();
        let up = bring_up(port, &self.identity, local, &prepared.far, profile).await?;
        let ready = Ready {
            peer,
            cipher: Cipher::new(&up.keys)?,
            agent: up.agent,
            transport_cc: prepared.transport_cc,
            sources: prepared.sources,
        };
        send(Order::Ready(Box::new(ready)))?;
        let (ice, dtls) = (up.times.ice, up.times.dtls);
        Ok(JoinRecord { peer, signaling, ice, dtls, started_ns, first_packet: None })
    }
}

/// From one time to another.
pub(super) fn milliseconds(from_ns: u64, to_ns: u64) -> f64 {
    to_ns.saturating_sub(from_ns) as f64 / 1e6
}
