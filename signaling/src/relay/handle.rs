//! The handle through which the rest of signaling asks the relay.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use millrace_control::{
    Command, Counters, CountersRequest, InjectPanic, Rejection, RelayHello, RemovePeer, Reply,
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout_at};

use super::link::{Keeper, Order, Status};
use super::{LinkError, Owner};

/// Most requests that wait to be sent. More than that wait at the caller.
const ORDERS_MAX: usize = 1_024;

/// Pause before something a busy relay refused is said again.
pub(super) const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// How long a removal is pursued. Should it fail, the next reconciliation makes up for it.
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
        let (orders, received) = mpsc::channel(ORDERS_MAX);
        let (sender, status) = watch::channel(Status::default());
        tokio::spawn(Keeper { path, owner, orders: received, status: sender }.run());
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

    /// Brings the relay to a state, command by command. If the link breaks in between, all of them are said again to
    /// whatever relay comes back; while the relay is busy, the one it refused.
    ///
    /// # Errors
    /// When the relay refuses, or it is not done by `deadline`. What was carried out until then stays.
    pub async fn apply(&self, shard: u32, commands: &[Command], deadline: Instant) -> Result<(), LinkError> {
        'again: loop {
            self.ready(deadline).await?;
            for command in commands {
                match self.persist(shard, command, deadline).await {
                    Ok(Reply::Done(_)) => {}
                    Ok(_) => return Err(LinkError::Mismatch),
                    Err(LinkError::Lost | LinkError::Down) => continue 'again,
                    Err(error) => return Err(error),
                }
            }
            return Ok(());
        }
    }

    /// Makes the relay forget peers, in the background.
    pub fn forget(&self, shard: u32, peers: Vec<u64>) {
        if peers.is_empty() {
            return;
        }
        let link = self.clone();
        tokio::spawn(async move {
            let commands: Vec<Command> =
                peers.into_iter().map(|peer| Command::RemovePeer(RemovePeer { peer })).collect();
            let deadline = Instant::now() + FORGET_WAIT;
            if let Err(error) = link.apply(shard, &commands, deadline).await {
                tracing::debug!(shard, %error, "a removal is left to the next reconciliation");
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

    /// Says one command until the relay is not too busy to listen.
    async fn persist(&self, shard: u32, command: &Command, deadline: Instant) -> Result<Reply, LinkError> {
        loop {
            match self.request(shard, command.clone(), deadline).await {
                Err(LinkError::Rejected(Rejection::Busy, _)) if Instant::now() + BUSY_PAUSE < deadline => {
                    sleep(BUSY_PAUSE).await;
                }
                outcome => return outcome,
            }
        }
    }

    async fn request(&self, shard: u32, command: Command, deadline: Instant) -> Result<Reply, LinkError> {
        let (answer, answered) = oneshot::channel();
        let asking = async {
            self.orders.send(Order { shard, command, answer }).await.map_err(|_| LinkError::Down)?;
            answered.await.map_err(|_| LinkError::Lost)?
        };
        timeout_at(deadline, asking).await.map_err(|_| LinkError::Timeout)?
    }
}
