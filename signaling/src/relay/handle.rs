//! The handle through which the rest of signaling asks the relay.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use millrace_control::{Command, Counters, CountersRequest, InjectPanic, Rejection, RelayHello, Reply};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout_at};

use super::link::{Keeper, Order, Status};
use super::reconcile::removals;
use super::rounds::Pace;
use super::{LinkError, Owner};
use crate::supervise;

/// Most orders that wait to be sent. More of them wait at the caller.
const ORDERS_MAX: usize = 1_024;

/// Pause before a command that a busy shard refused is said again.
pub(super) const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// How long a removal is tried. After that it is left to the next round.
const FORGET_WAIT: Duration = Duration::from_secs(10);

/// Asks the relay. Cheap to clone.
#[derive(Clone)]
pub struct Link {
    orders: mpsc::Sender<Order>,
    status: watch::Receiver<Status>,
}

impl Link {
    /// Starts the task that keeps the link up, for as long as a handle exists.
    pub fn start(path: PathBuf, owner: Arc<dyn Owner>) -> Self {
        Self::start_at(Pace::default(), path, owner)
    }

    /// The same at another pace, for tests.
    pub fn start_at(pace: Pace, path: PathBuf, owner: Arc<dyn Owner>) -> Self {
        let (orders, received) = mpsc::channel(ORDERS_MAX);
        let (sender, status) = watch::channel(Status::default());
        let boot = rand::random();
        let keeper = Keeper { path, owner, pace, boot, orders: received, status: sender };
        supervise::task("relay link", keeper.run());
        Self { orders, status }
    }

    /// The relay, while the link is up.
    pub fn relay(&self) -> Option<Arc<RelayHello>> {
        self.status.borrow().relay.clone()
    }

    /// The relay as last seen, even if the link is down.
    pub fn last_relay(&self) -> Option<Arc<RelayHello>> {
        self.status.borrow().last.clone()
    }

    /// Waits for the link.
    ///
    /// # Errors
    /// [`LinkError::Down`] when it is not up by `deadline`.
    pub async fn ready(&self, deadline: Instant) -> Result<Arc<RelayHello>, LinkError> {
        let mut status = self.status.clone();
        let up = async { status.wait_for(|status| status.relay.is_some()).await.ok()?.relay.clone() };
        timeout_at(deadline, up).await.ok().flatten().ok_or(LinkError::Down)
    }

    /// Brings a shard to a state. The commands are sent together and carried out in their order. If the link breaks in
    /// between, all of them are said again to the relay that comes back; while the shard is busy, those from the first that
    /// it refused.
    ///
    /// # Errors
    /// When the relay refuses, or it is not done by `deadline`. What was carried out until then stays.
    pub async fn apply(&self, shard: u32, commands: &[Command], deadline: Instant) -> Result<(), LinkError> {
        let mut left = commands;
        loop {
            self.ready(deadline).await?;
            let outcomes = self.say_all(shard, left, deadline).await;
            let failed =
                outcomes.into_iter().enumerate().find_map(|(at, outcome)| Some((at, outcome.err()?)));
            match failed {
                None => return Ok(()),
                Some((_, LinkError::Lost | LinkError::Down)) => left = commands,
                Some((at, LinkError::Rejected(Rejection::Busy, _)))
                    if Instant::now() + BUSY_PAUSE < deadline =>
                {
                    left = &left[at..];
                    sleep(BUSY_PAUSE).await;
                }
                Some((_, error)) => return Err(error),
            }
        }
    }

    /// Makes the relay forget peers, in the background. A failed removal does not stop the other removals.
    pub fn forget(&self, shard: u32, peers: Vec<u64>) {
        if peers.is_empty() {
            return;
        }
        let link = self.clone();
        tokio::spawn(async move {
            let deadline = Instant::now() + FORGET_WAIT;
            let mut left = peers;
            while !left.is_empty() {
                let Ok(relay) = link.ready(deadline).await else { break };
                let commands = removals(relay.version, std::mem::take(&mut left));
                let outcomes = link.say_all(shard, &commands, deadline).await;
                for (command, outcome) in commands.iter().zip(outcomes) {
                    match outcome {
                        Ok(()) => {}
                        Err(LinkError::Lost | LinkError::Down | LinkError::Rejected(Rejection::Busy, _)) => {
                            left.extend(named(command));
                        }
                        Err(error) => {
                            tracing::debug!(shard, %error, "a removal is left to the next round");
                        }
                    }
                }
                if !left.is_empty() {
                    sleep(BUSY_PAUSE).await;
                }
            }
            if !left.is_empty() {
                tracing::debug!(shard, peers = left.len(), "removals are left to the next round");
            }
        });
    }

    /// The counters of every shard.
    ///
    /// # Errors
    /// When the relay does not give them by `deadline`.
    pub async fn counters(&self, deadline: Instant) -> Result<Counters, LinkError> {
        match self.request(0, Command::Counters(CountersRequest {}), deadline).await? {
            Reply::Counters(counters) => Ok(counters),
            _ => Err(LinkError::Mismatch),
        }
    }

    /// Makes one shard panic.
    ///
    /// # Errors
    /// When the relay refuses or does not answer by `deadline`.
    pub async fn inject_panic(&self, shard: u32, deadline: Instant) -> Result<(), LinkError> {
        match self.request(shard, Command::InjectPanic(InjectPanic {}), deadline).await? {
            Reply::Done(_) => Ok(()),
            _ => Err(LinkError::Mismatch),
        }
    }

    /// Says commands to one shard, all at once, and waits for all answers.
    async fn say_all(
        &self,
        shard: u32,
        commands: &[Command],
        deadline: Instant,
    ) -> Vec<Result<(), LinkError>> {
        let answers = self.order(shard, commands, deadline).await;
        let mut outcomes = Vec::with_capacity(commands.len());
        for answer in answers {
            outcomes.push(match wait(answer, deadline).await {
                Ok(Reply::Done(_)) => Ok(()),
                Ok(_) => Err(LinkError::Mismatch),
                Err(error) => Err(error),
            });
        }
        outcomes
    }

    async fn request(&self, shard: u32, command: Command, deadline: Instant) -> Result<Reply, LinkError> {
        let answer = self.order(shard, &[command], deadline).await.pop();
        wait(answer.ok_or(LinkError::Mismatch)?, deadline).await
    }

    /// Has commands sent. Gives where their answers will be.
    async fn order(&self, shard: u32, commands: &[Command], deadline: Instant) -> Vec<Answer> {
        let mut answers = Vec::with_capacity(commands.len());
        let request = |command: &Command| {
            let (answer, answered) = oneshot::channel();
            answers.push(answered);
            (command.clone(), answer)
        };
        let requests = commands.iter().map(request).collect();
        // An order that finds no room in time is dropped with its senders, and the answers say that it is lost.
        let _ = timeout_at(deadline, self.orders.send(Order { shard, requests })).await;
        answers
    }
}

type Answer = oneshot::Receiver<Result<Reply, LinkError>>;

async fn wait(answer: Answer, deadline: Instant) -> Result<Reply, LinkError> {
    match timeout_at(deadline, answer).await {
        Ok(Ok(outcome)) => outcome,
        // The order was dropped, because its deadline passed or the link broke.
        Ok(Err(_)) if Instant::now() >= deadline => Err(LinkError::Timeout),
        Ok(Err(_)) => Err(LinkError::Lost),
        Err(_) => Err(LinkError::Timeout),
    }
}

/// The peers that a removal names.
fn named(command: &Command) -> Vec<u64> {
    match command {
        Command::RemovePeer(it) => vec![it.peer],
        Command::RemovePeers(it) => it.peers.clone(),
        _ => Vec::new(),
    }
}
