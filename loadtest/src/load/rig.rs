//! A relay, an engine and the peers between them: brought up, then measured as often as one likes.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::cast::{Group, PeerPlan, peers, transports};
use super::direct::stream_number;
use super::engine::{Engine, Order, Outcome, Pace, Snapshot, Stage};
use super::joiner::{JoinRecord, Joiner, join_all, milliseconds};
use super::measurement::{Measurement, Quantiles, Reading, Second, StormFigures};
use super::proc::{CpuTimes, MachineTime, cores_of, resident_bytes, threads_of};
use super::relay::{Relay, all_cores};
use super::scenario::Scenario;
use super::way::{Facts, Target, net, open};
use super::world::World;
use crate::failure::Failure;
use crate::kernel::affinity::pin_this_thread;
use crate::kernel::priority::prefer_thread;
use crate::peer::Identity;
use crate::turn::server;

/// How often it is looked whether something has come to pass.
const LOOK: Duration = Duration::from_millis(20);
/// What is under way has arrived when nothing came for this long.
const SETTLED_LOOKS: usize = 3;
/// Longest wait for that.
const SETTLE_MAX: Duration = Duration::from_secs(3);
/// Names of the relay's threads that move media.
pub const SHARD_THREADS: &str = "shard-";

/// How a rig is to be.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What is played.
    pub scenario: Scenario,
    /// Against whom.
    pub target: Target,
    /// On which shard, or on all.
    pub shard: Option<u32>,
    /// How the engine spends its time.
    pub pace: Pace,
    /// Time for every peer to come up and to see a packet.
    pub setup_limit: Duration,
}

/// A relay with peers on it.
pub struct Rig {
    /// How it was to be.
    pub plan: Plan,
    peers: Vec<PeerPlan>,
    engine: Engine,
    joiner: Arc<Joiner>,
    /// How the peers came up.
    pub joins: Vec<JoinRecord>,
    /// The relay's process.
    pub pid: u32,
    /// The relay's memory before the first peer.
    pub empty_bytes: u64,
    /// The backend it uses.
    pub backend: String,
    /// Its shards.
    pub shards: usize,
    /// Whether the engine had to share the relay's cores.
    pub shares_cores: bool,
    /// Dropped last: the peers are gone then.
    _relay: Option<Relay>,
}

impl Rig {
    /// Starts what is to be started; nobody has joined yet. To be called on the runtime's first thread, which moves off
    /// the relay's cores with everything it starts from now on.
    ///
    /// # Errors
    /// When the relay does not start or speak.
    pub async fn build(plan: Plan) -> Result<Self, Failure> {
        let all = all_cores();
        let scenario = plan.scenario.clone();
        let peers = match &plan.target {
            Target::Server { .. } => transports(&scenario),
            Target::Start { .. } | Target::Running(_) => peers(&scenario),
        };
        let relay = match &plan.target {
            Target::Start { program, shards, backend, relayed } => Some(if *relayed {
                Relay::start_as(server::command(program), program, *shards, *backend)?
            } else {
                Relay::start(program, *shards, *backend)?
            }),
            Target::Running(_) | Target::Server { .. } => None,
        };
        let (way, Facts { pid, backend, shards }) = open(&plan, relay.as_ref(), &peers).await?;
        debug_assert!(relay.as_ref().is_none_or(|relay| relay.pid() == pid));
        if relay.is_some() {
            // The same for relay and engine, or what others do on the machine would show in the delays.
            threads_of(pid, SHARD_THREADS).into_iter().for_each(|thread| drop(prefer_thread(thread)));
        }
        let taken = cores_of(pid, SHARD_THREADS);
        let free: Vec<usize> = all.iter().copied().filter(|core| !taken.contains(core)).collect();
        let shares_cores = free.is_empty();
        pin_this_thread(if shares_cores { &all } else { &free })?;
        let world = World::new(peers.len(), scenario.sample, scenario.nack, scenario.seed);
        let engine = Engine::start(net(&plan.target, peers.len())?, world, peers.len(), plan.pace)?;
        for publisher in peers.iter().filter_map(|peer| peer.publishes) {
            for stream in &scenario.streams {
                let (_, len_max) = stream.frames.len_range();
                let (kind, len_max) = (stream.kind, usize::from(len_max));
                let stream = stream_number(publisher, kind);
                let _ = engine.orders.send(Order::Expect { stream, kind, len_max });
            }
        }
        let turn = match (&plan.target, &relay) {
            (Target::Start { relayed: true, .. }, Some(relay)) => Some(server::address(relay)?),
            _ => None,
        };
        let joiner = Joiner::new(scenario, way, Identity::generate()?, engine.orders.clone(), turn);
        let joiner = Arc::new(joiner);
        Ok(Self {
            plan,
            peers,
            engine,
            joiner,
            joins: Vec::new(),
            pid,
            empty_bytes: resident_bytes(pid),
            backend,
            shards,
            shares_cores,
            _relay: relay,
        })
    }

    /// Peers of the scenario, in the order they come up.
    #[must_use]
    pub fn peers(&self) -> &[PeerPlan] {
        &self.peers
    }

    /// Those of them who are up before the clock runs.
    #[must_use]
    pub fn early(&self) -> Vec<usize> {
        (0..self.peers.len()).filter(|peer| !self.peers[*peer].late).collect()
    }

    /// Viewers of each session that have joined, as far as only whole turns count: see [`Rig::join_viewers`].
    #[must_use]
    pub fn viewers(&self) -> usize {
        let sessions = self.plan.scenario.sessions;
        let joined = self.joins.iter().map(|join| &self.peers[join.peer]);
        let crowd = joined.filter(|peer| !peer.watches.is_empty() && peer.group == Group::Crowd);
        let watching = crowd.map(|peer| peer.participant);
        watching.collect::<BTreeSet<_>>().len() / sessions
    }

    /// Packets a second that those who have joined should see.
    #[must_use]
    pub fn offered_per_s(&self) -> f64 {
        let rate: f64 = self.plan.scenario.streams.iter().map(|stream| stream.frames.packet_rate()).sum();
        let watched: usize = self.joins.iter().map(|join| self.peers[join.peer].watches.len()).sum();
        watched as f64 * rate
    }

    /// Brings up publishers, and viewers until each session has so many.
    ///
    /// # Errors
    /// The first peer's that failed.
    pub async fn join_viewers(&mut self, viewers: usize) -> Result<(), Failure> {
        let mut seen = vec![BTreeSet::new(); self.plan.scenario.sessions + 1];
        let mut wanted = Vec::new();
        for (peer, plan) in self.peers.iter().enumerate() {
            let seen = &mut seen[plan.session];
            if plan.watches.is_empty() || seen.contains(&plan.participant) || seen.len() < viewers {
                wanted.push(peer);
                if !plan.watches.is_empty() {
                    seen.insert(plan.participant);
                }
            }
        }
        let joined: BTreeSet<usize> = self.joins.iter().map(|join| join.peer).collect();
        wanted.retain(|peer| !joined.contains(peer));
        self.join(wanted).await
    }

    /// Brings these peers up at the scenario's rate, and waits until all that watch see packets.
    ///
    /// # Errors
    /// The first peer's that failed.
    pub async fn join(&mut self, peers: Vec<usize>) -> Result<(), Failure> {
        let records = join_all(Arc::clone(&self.joiner), &self.peers, peers).await?;
        self.joins.extend(records);
        self.await_live().await
    }

    /// Tracks that those who have joined watch, with those of a storm.
    fn watched_with(&self, storm: Option<&Storm>) -> usize {
        let come = storm.map_or(&[][..], |storm| &storm.joins);
        let peers = self.joins.iter().chain(come).map(|join| self.peers[join.peer].watches.len());
        peers.sum::<usize>() * self.plan.scenario.streams.len()
    }

    /// Until every viewer that has joined sees every track.
    async fn await_live(&self) -> Result<(), Failure> {
        let expected = self.watched_with(None);
        let deadline = Instant::now() + self.plan.setup_limit;
        loop {
            let live = self.snapshot()?.totals.live;
            if live >= expected {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let why = format!("{} of {expected} tracks show no packet", expected - live);
                return Err(Failure::Late(why));
            }
            sleep(LOOK).await;
        }
    }

    /// Sends at this many times the scenario's rate from the next stage on.
    pub fn set_speed(&self, speed: f64) {
        let _ = self.engine.orders.send(Order::Speed(speed));
    }

    /// Has publishers send like this.
    ///
    /// # Errors
    /// When the engine has ended.
    pub fn stage(&self, stage: Stage) -> Result<u64, Failure> {
        self.engine.ask(|answer| Order::Stage(stage, answer))
    }

    fn snapshot(&self) -> Result<Snapshot, Failure> {
        self.engine.ask(Order::Snapshot)
    }

    /// Until nothing is under way any more.
    async fn settle(&self) -> Result<(), Failure> {
        let deadline = Instant::now() + SETTLE_MAX;
        let (mut before, mut quiet) = (0, 0);
        while quiet < SETTLED_LOOKS && Instant::now() < deadline {
            sleep(LOOK).await;
            let received = self.snapshot()?.totals.received;
            quiet = if received == before { quiet + 1 } else { 0 };
            before = received;
        }
        Ok(())
    }

    /// Plays at full rate for `warm_up`, then counts for `duration` or as long as the storm lasts.
    ///
    /// # Errors
    /// When the relay or the engine is gone.
    pub async fn measure(
        &mut self,
        warm_up: Duration,
        duration: Duration,
        mut each_second: impl FnMut(&Second),
    ) -> Result<Measurement, Failure> {
        self.stage(Stage::Full)?;
        sleep(warm_up).await;
        self.stage(Stage::Quiet)?;
        self.settle().await?;
        let began: u64 = self.engine.ask(Order::Begin)?;
        let before = self.read().await?;
        self.stage(Stage::Full)?;
        let (late, storm) = self.storm();
        let mut seconds = Vec::new();
        let (last, storm) = self
            .watch(&before, duration, storm, |second| {
                each_second(&second);
                seconds.push(second);
            })
            .await?;
        self.stage(Stage::Quiet)?;
        self.settle().await?;
        let outcome: Outcome = self.engine.ask(Order::Outcome)?;
        let storm = storm.filter(|_| late > 0).map(|mut storm| {
            self.joins.append(&mut storm.joins);
            storm.figures
        });
        self.note_first_packets(&outcome);
        Ok(Measurement::new(self, began, &before, &last, outcome, seconds, storm))
    }

    /// The peers that come up while the clock runs: how many, and their coming.
    fn storm(&self) -> (usize, impl Future<Output = Result<Vec<JoinRecord>, Failure>> + 'static) {
        let (joiner, peers) = (Arc::clone(&self.joiner), self.peers.clone());
        let come = self.joins.iter().any(|join| self.peers[join.peer].late);
        let late =
            if come { Vec::new() } else { (0..peers.len()).filter(|peer| peers[*peer].late).collect() };
        (late.len(), async move { join_all(joiner, &peers, late).await })
    }

    /// Looks at relay and engine each second until the time is over and the storm too.
    async fn watch(
        &self,
        before: &Reading,
        duration: Duration,
        storm: impl Future<Output = Result<Vec<JoinRecord>, Failure>> + 'static,
        mut each: impl FnMut(Second),
    ) -> Result<(Reading, Option<Storm>), Failure> {
        let started = Instant::now();
        let end = started + duration;
        tokio::pin!(storm);
        let mut over: Option<Storm> = None;
        let mut previous = before.clone();
        loop {
            let next = (previous.taken + Duration::from_secs(1)).min(end.max(Instant::now() + LOOK));
            tokio::select! {
                joins = &mut storm, if over.is_none() => {
                    over = Some(Storm::new(joins?, started, &self.engine.ask(Order::Outcome)?));
                    continue;
                }
                () = sleep_until(next) => {}
            }
            let reading = self.read().await?;
            each(Second::between(&previous, &reading, before));
            previous = reading;
            let live = previous.snapshot.totals.live >= self.watched_with(over.as_ref());
            let given_up = Instant::now() >= end + self.plan.setup_limit;
            if Instant::now() >= end && over.is_some() && (live || given_up) {
                return Ok((previous, over));
            }
        }
    }

    /// Everything that is counted, at one moment.
    async fn read(&self) -> Result<Reading, Failure> {
        Ok(Reading {
            taken: Instant::now(),
            snapshot: self.snapshot()?,
            relay: CpuTimes::of(self.pid),
            own: CpuTimes::of(std::process::id()),
            machine: MachineTime::now(),
            counters: self.joiner.way.counters().await?,
        })
    }

    /// Takes everything back that is not ended by dropping the rig: peers of a relay, and sessions of a server, that go
    /// on.
    pub async fn close(&self) {
        let peers: Vec<_> = self.joins.iter().map(|join| (join.peer, &self.peers[join.peer])).collect();
        self.joiner.way.close(&self.plan.target, self.plan.scenario.sessions, &peers).await;
    }

    fn note_first_packets(&mut self, outcome: &Outcome) {
        for record in &mut self.joins {
            let first = outcome.first_packet_ns.get(record.peer).copied().flatten();
            record.first_packet = first.map(|first| milliseconds(record.started_ns, first));
        }
    }
}

/// A storm that is over.
struct Storm {
    joins: Vec<JoinRecord>,
    figures: StormFigures,
}

impl Storm {
    fn new(joins: Vec<JoinRecord>, started: Instant, outcome: &Outcome) -> Self {
        let [_, bystander] = &outcome.groups;
        let figures = StormFigures {
            peers: joins.len(),
            seconds: started.elapsed().as_secs_f64(),
            bystander_us: Quantiles::of(&bystander.samples.delay_us),
        };
        Self { joins, figures }
    }
}
