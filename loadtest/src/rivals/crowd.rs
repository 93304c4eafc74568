//! One publisher and its viewers at one server, measured for a stretch at a time.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::janus::room::Room;
use super::janus::sdp::Own;
use super::lab::Lab;
use crate::failure::Failure;
use crate::load::cast::{Group, PeerPlan, peers};
use crate::load::cipher::Cipher;
use crate::load::direct::{Direct, Prepared, stream_number};
use crate::load::engine::{Engine, Order, Outcome, Pace, Ready, Stage};
use crate::load::join::{Port, bring_up};
use crate::load::net::Net;
use crate::load::proc::CpuTimes;
use crate::load::scenario::Scenario;
use crate::load::source::{ExtensionIds, SourceSpec};
use crate::load::track::TrackSpec;
use crate::load::world::{Inlet, World};
use crate::peer::Identity;
use crate::sdp::IceCredentials;

/// Time between two looks at the viewers' sockets.
const LOOK_NS: u64 = 1_000_000;
const POLL: Duration = Duration::from_millis(20);
/// What is under way has arrived when nothing came for so many polls, or after this time.
const SETTLED_POLLS: u32 = 5;
const SETTLE_MAX: Duration = Duration::from_secs(5);
/// Time for every viewer to see a packet.
const LIVE_MAX: Duration = Duration::from_secs(30);
/// Traffic before what is measured.
const WARM_UP: Duration = Duration::from_millis(500);
/// What the publisher sends as, towards Janus; towards a relay of ours the engine's own way in says it.
const SSRC: u32 = 0x2000_0002;
const VP8: u8 = 96;

/// Where a crowd goes.
pub enum Host {
    /// A room of Janus'.
    Janus(Box<Room>),
    /// A relay of ours, by its control socket.
    Millrace(Direct),
}

impl Host {
    async fn invite(
        &mut self,
        lab: &Lab,
        scenario: &Scenario,
        (peer, plan): (usize, &PeerPlan),
        own: Own<'_>,
        digest: [u8; 32],
    ) -> Result<Prepared, Failure> {
        match self {
            Self::Millrace(direct) => {
                let mut prepared = direct.prepare(scenario, peer, plan, own.ice, digest).await?;
                // The relay's address in the lab, its port as it says.
                prepared.far.address = SocketAddr::new(lab.there.into(), prepared.far.address.port());
                Ok(prepared)
            }
            Self::Janus(room) => match plan.publishes {
                Some(publisher) => room.publish(own, source(scenario, peer, publisher)).await,
                None => room.subscribe(own, track(scenario)).await,
            },
        }
    }
}

/// What one stretch showed.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Stretch {
    /// CPU time of the server's process, all its threads, for each packet that reached a viewer.
    pub cpu_ns_per_packet: f64,
    /// CPU time of the server's process in cores.
    pub cores: f64,
    /// Packets that reached a viewer.
    pub delivered: u64,
    /// Packets that should have and did not.
    pub lost: u64,
    /// One-way delay in microseconds that half of the packets do not exceed; the look at the sockets is part of it.
    pub delay_p50_us: u64,
    /// The same for 99 in a hundred.
    pub delay_p99_us: u64,
}

/// A server with its crowd.
pub struct Crowd {
    host: Host,
    engine: Engine,
    pid: u32,
}

impl Crowd {
    /// Brings everybody up, one after the other, and waits until every viewer sees packets. The caller's thread is
    /// where the engine is to be.
    ///
    /// # Errors
    /// The first peer's that failed.
    pub async fn gather(mut host: Host, lab: &Lab, scenario: &Scenario, pid: u32) -> Result<Self, Failure> {
        let peers = peers(scenario);
        let world = World::new(peers.len(), scenario.sample, scenario.nack, scenario.seed);
        let net = Net::separate(peers.len(), lab.there.into())?;
        let candidates: Vec<SocketAddr> =
            (0..peers.len()).map(|peer| (lab.here, net.port_of(peer)).into()).collect();
        let engine = Engine::start(net, world, peers.len(), Pace { look_ns: LOOK_NS })?;
        for stream in &scenario.streams {
            let (_, len_max) = stream.frames.len_range();
            let (kind, len_max) = (stream.kind, usize::from(len_max));
            let _ = engine.orders.send(Order::Expect { stream: stream_number(0, kind), kind, len_max });
        }
        let identity = Identity::generate()?;
        for (peer, plan) in peers.iter().enumerate() {
            let failed = |failure| Failure::Late(format!("peer {peer}: {failure}"));
            let ice = IceCredentials::generate();
            let own = Own { ice: &ice, fingerprint: &identity.fingerprint(), candidate: candidates[peer] };
            let invited = host.invite(lab, scenario, (peer, plan), own, identity.digest).await;
            let prepared = invited.map_err(failed)?;
            join(&engine, scenario, peer, prepared, ice, &identity).await.map_err(failed)?;
            if let (Host::Janus(room), Some(_)) = (&mut host, plan.publishes) {
                room.await_publisher().await?;
            }
        }
        let crowd = Self { host, engine, pid };
        crowd.await_live(peers.len() - 1).await?;
        crowd.stage(Stage::Quiet)?;
        Ok(crowd)
    }

    async fn await_live(&self, expected: usize) -> Result<(), Failure> {
        let deadline = Instant::now() + LIVE_MAX;
        loop {
            let live = self.engine.ask(Order::Snapshot)?.totals.live;
            if live >= expected {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(Failure::Late(format!("{} of {expected} viewers see nothing", expected - live)));
            }
            sleep(POLL).await;
        }
    }

    fn stage(&self, stage: Stage) -> Result<(), Failure> {
        self.engine.ask(|answer| Order::Stage(stage, answer)).map(drop)
    }

    /// Until nothing is under way any more.
    async fn settle(&self) -> Result<(), Failure> {
        let deadline = Instant::now() + SETTLE_MAX;
        let (mut before, mut quiet) = (u64::MAX, 0);
        while quiet < SETTLED_POLLS && Instant::now() < deadline {
            sleep(POLL).await;
            let received = self.engine.ask(Order::Snapshot)?.totals.received;
            quiet = if received == before { quiet + 1 } else { 0 };
            before = received;
        }
        Ok(())
    }

    /// Sends for `duration` and says what it cost the server. Before and after it is at rest.
    ///
    /// # Errors
    /// When the server or the engine is gone.
    pub async fn stretch(&mut self, duration: Duration) -> Result<Stretch, Failure> {
        if let Host::Janus(room) = &mut self.host {
            room.keep_alive().await?;
        }
        self.stage(Stage::Full)?;
        sleep(WARM_UP).await;
        self.stage(Stage::Quiet)?;
        self.settle().await?;
        self.engine.ask(Order::Begin)?;
        let (before, began) = (CpuTimes::of(self.pid), Instant::now());
        self.stage(Stage::Full)?;
        sleep(duration).await;
        self.stage(Stage::Quiet)?;
        let elapsed = began.elapsed();
        self.settle().await?;
        let cpu_ns = CpuTimes::of(self.pid).since(&before, "").all_ns;
        let outcome: Outcome = self.engine.ask(Order::Outcome)?;
        let crowd = &outcome.groups[Group::Crowd as usize];
        let delivered = crowd.counts.unique;
        if delivered == 0 || cpu_ns == 0 {
            return Err(Failure::Late(format!("{delivered} packets came and the server took {cpu_ns} ns")));
        }
        if crowd.samples.undecryptable + crowd.samples.corrupt > 0 {
            let why = format!("packets that are not what was sent: {:?}", crowd.samples);
            return Err(Failure::Late(why));
        }
        Ok(Stretch {
            cpu_ns_per_packet: cpu_ns as f64 / delivered as f64,
            cores: cpu_ns as f64 / elapsed.as_nanos() as f64,
            delivered,
            lost: crowd.counts.lost,
            delay_p50_us: crowd.samples.delay_us.quantile(0.5),
            delay_p99_us: crowd.samples.delay_us.quantile(0.99),
        })
    }
}

/// Brings one peer up with what the server told of it.
async fn join(
    engine: &Engine,
    scenario: &Scenario,
    peer: usize,
    prepared: Prepared,
    ice: IceCredentials,
    identity: &Identity,
) -> Result<(), Failure> {
    let gone = |_| Failure::Late("the engine's thread has ended".to_owned());
    let (stun_sender, stun) = mpsc::unbounded_channel();
    let (dtls_sender, dtls) = mpsc::unbounded_channel();
    let inlet = Inlet { stun: stun_sender, dtls: dtls_sender };
    let remote = prepared.far.address;
    engine.orders.send(Order::Open { peer, remote, inlet, tracks: prepared.tracks }).map_err(gone)?;
    let port = Port { peer, orders: engine.orders.clone(), stun, dtls };
    let up = bring_up(port, identity, ice, &prepared.far, scenario.suite.profile()).await?;
    let ready = Ready {
        peer,
        cipher: Cipher::new(&up.keys)?,
        agent: up.agent,
        transport_cc: prepared.transport_cc,
        sources: prepared.sources,
    };
    engine.orders.send(Order::Ready(Box::new(ready))).map_err(gone)
}

/// The publisher's stream, the scenario's first.
fn source(scenario: &Scenario, peer: usize, publisher: usize) -> SourceSpec {
    let stream = &scenario.streams[0];
    SourceSpec {
        peer,
        stream: stream_number(publisher, stream.kind),
        kind: stream.kind,
        frames: stream.frames.clone(),
        ssrc: SSRC,
        payload_type: VP8,
        extensions: ExtensionIds {
            mid: Some(4),
            abs_send_time: Some(2),
            transport_cc: Some(3),
            audio_level: None,
        },
        mid: "0".to_owned(),
        offset: 0.0,
    }
}

/// A viewer's track; its SSRC is the server's to say.
fn track(scenario: &Scenario) -> TrackSpec {
    TrackSpec { ssrc: 0, stream: stream_number(0, scenario.streams[0].kind), group: Group::Crowd }
}
