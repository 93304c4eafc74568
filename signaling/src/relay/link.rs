//! The task that keeps the link up.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use millrace_control::{Command, RelayHello, Reply};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep};

use super::connection::Connection;
use super::rounds::Pace;
use super::{LinkError, Owner};
use crate::supervise::Wanted;

/// First pause after a failed attempt; it doubles up to the longest.
const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// How long a link stands until the next attempt is a first one again.
const STEADY_AFTER: Duration = Duration::from_secs(1);

/// Requests to one shard, sent together and in this order.
pub(super) struct Order {
    pub(super) shard: u32,
    pub(super) requests: Vec<(Command, oneshot::Sender<Result<Reply, LinkError>>)>,
}

/// The state of the link.
#[derive(Clone, Default)]
pub(super) struct Status {
    /// The relay, while the link is up and reconciled.
    pub(super) relay: Option<Arc<RelayHello>>,
    /// The relay as last seen.
    pub(super) last: Option<Arc<RelayHello>>,
}

/// Connects, serves until the link breaks, and begins again. Ends when every handle is gone.
pub(super) struct Keeper {
    pub(super) path: PathBuf,
    pub(super) owner: Arc<dyn Owner>,
    pub(super) pace: Pace,
    /// Random number of this process.
    pub(super) boot: u64,
    pub(super) orders: mpsc::Receiver<Order>,
    pub(super) status: watch::Sender<Status>,
}

impl Keeper {
    pub(super) async fn run(mut self) -> Wanted {
        let mut backoff = BACKOFF_MIN;
        let mut complaint = String::new();
        while !self.orders.is_closed() {
            match Connection::open(&self.path, self.pace, self.boot, self.owner.as_ref()).await {
                Ok(connection) => {
                    let began = Instant::now();
                    self.serve(connection).await;
                    complaint.clear();
                    if began.elapsed() >= STEADY_AFTER {
                        backoff = BACKOFF_MIN;
                        continue;
                    }
                }
                Err(error) => {
                    let why = error.to_string();
                    // Once for each cause. The first is nothing to worry about: the relay may start a little later.
                    if complaint.is_empty() {
                        tracing::info!(socket = %self.path.display(), error = why, "no relay yet; trying again");
                    } else if complaint != why {
                        tracing::warn!(socket = %self.path.display(), error = why, "still no relay; trying again");
                    }
                    complaint = why;
                }
            }
            // A relay that takes the link and drops it again is given time too.
            if !self.refuse_for(backoff).await {
                return Wanted;
            }
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
        Wanted
    }

    async fn serve(&mut self, mut connection: Connection) {
        let relay = Arc::new(connection.relay.clone());
        let RelayHello { version, epoch, pid, backend, node, .. } = relay.as_ref();
        tracing::info!(version, epoch, pid, backend, node, "relay link is up");
        self.status.send_replace(Status { relay: Some(Arc::clone(&relay)), last: Some(relay) });
        let error = connection.run(&mut self.orders, self.owner.as_ref()).await;
        self.status.send_modify(|status| status.relay = None);
        if let Some(error) = error {
            tracing::warn!(%error, pending = connection.under_way(), "relay link is lost");
        }
        connection.abandon();
    }

    /// Waits for `pause` and refuses the orders that come in between; `false` when every handle is gone.
    async fn refuse_for(&mut self, pause: Duration) -> bool {
        let pause = sleep(pause);
        tokio::pin!(pause);
        loop {
            tokio::select! {
                () = &mut pause => return true,
                order = self.orders.recv() => {
                    let Some(order) = order else { return false };
                    for (_, answer) in order.requests {
                        // The one that asked may have stopped waiting.
                        let _ = answer.send(Err(LinkError::Down));
                    }
                }
            }
        }
    }
}
