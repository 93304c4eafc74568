//! The task that keeps the link up.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use millrace_control::{
    ClientHello, Command, FromRelay, Rejection, RelayHello, Reply, Snapshot, SnapshotRequest, ToRelay,
    VERSION,
};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout};

use super::handle::BUSY_PAUSE;
use super::reconcile::difference;
use super::wire::{Reader, Writer};
use super::{LinkError, Owner};

/// First pause after a failed attempt; it doubles up to the longest.
const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// How long a link stands until the next attempt is a first one again.
const STEADY_AFTER: Duration = Duration::from_secs(1);

/// How long the relay may take for one answer while the link is being set up.
const SETUP_TIMEOUT: Duration = Duration::from_secs(5);

/// A request on its way to the relay.
pub(super) struct Order {
    pub(super) shard: u32,
    pub(super) command: Command,
    pub(super) answer: oneshot::Sender<Result<Reply, LinkError>>,
}

/// What everybody may know of the link.
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
    pub(super) orders: mpsc::Receiver<Order>,
    pub(super) status: watch::Sender<Status>,
}

impl Keeper {
    pub(super) async fn run(mut self) {
        let mut backoff = BACKOFF_MIN;
        let mut complained = false;
        while !self.orders.is_closed() {
            match Connection::open(&self.path, self.owner.as_ref()).await {
                Ok(connection) => {
                    let began = Instant::now();
                    self.serve(connection).await;
                    complained = false;
                    if began.elapsed() >= STEADY_AFTER {
                        backoff = BACKOFF_MIN;
                        continue;
                    }
                    // A relay that takes the link and drops it again is given time too.
                    if !self.refuse_for(backoff).await {
                        return;
                    }
                    backoff = (backoff * 2).min(BACKOFF_MAX);
                }
                Err(error) => {
                    // Once per outage: a relay that starts a little later is nothing to worry an operator with.
                    if !complained {
                        tracing::info!(socket = %self.path.display(), %error, "no relay yet, will go on trying");
                        complained = true;
                    }
                    if !self.refuse_for(backoff).await {
                        return;
                    }
                    backoff = (backoff * 2).min(BACKOFF_MAX);
                }
            }
        }
    }

    async fn serve(&mut self, mut connection: Connection) {
        let relay = Arc::new(connection.relay.clone());
        tracing::info!(epoch = relay.epoch, pid = relay.pid, backend = %relay.backend, "relay link is up");
        self.status.send_replace(Status { relay: Some(Arc::clone(&relay)), last: Some(relay) });
        let error = connection.run(&mut self.orders, self.owner.as_ref()).await;
        self.status.send_modify(|status| status.relay = None);
        if let Some(error) = error {
            tracing::warn!(%error, pending = connection.pending.len(), "relay link is lost");
        }
        for (_, answer) in std::mem::take(&mut connection.pending) {
            let _ = answer.send(Err(LinkError::Lost));
        }
    }

    /// Waits for `pause` and refuses what comes in between; `false` when nobody will ever ask again.
    async fn refuse_for(&mut self, pause: Duration) -> bool {
        let pause = sleep(pause);
        tokio::pin!(pause);
        loop {
            tokio::select! {
                () = &mut pause => return true,
                order = self.orders.recv() => match order {
                    Some(order) => { let _ = order.answer.send(Err(LinkError::Down)); }
                    None => return false,
                },
            }
        }
    }
}

/// One connection to one relay.
struct Connection {
    reader: Reader,
    writer: Writer,
    relay: RelayHello,
    next_request: u64,
    pending: BTreeMap<u64, oneshot::Sender<Result<Reply, LinkError>>>,
}

impl Connection {
    /// Connects and brings the relay to the desired state.
    async fn open(path: &std::path::Path, owner: &dyn Owner) -> io::Result<Self> {
        let (reader, writer) = UnixStream::connect(path).await?.into_split();
        let mut connection = Self {
            reader: Reader::new(reader),
            writer: Writer::new(writer),
            relay: RelayHello::default(),
            next_request: 1,
            pending: BTreeMap::new(),
        };
        let hello = Command::Hello(ClientHello { version: VERSION });
        connection.relay = match connection.call(0, hello, owner).await? {
            Reply::Hello(relay) if relay.version == VERSION => relay,
            Reply::Hello(relay) => {
                return Err(refused(format!("it speaks version {} of the contract", relay.version)));
            }
            other => return Err(unexpected("Hello", &other)),
        };
        let held = connection.snapshot(owner).await?;
        connection.reconcile(&held, owner).await?;
        Ok(connection)
    }

    async fn snapshot(&mut self, owner: &dyn Owner) -> io::Result<Snapshot> {
        match self.call(0, Command::Snapshot(SnapshotRequest {}), owner).await? {
            Reply::Snapshot(snapshot) => Ok(snapshot),
            other => Err(unexpected("Snapshot", &other)),
        }
    }

    async fn reconcile(&mut self, held: &Snapshot, owner: &dyn Owner) -> io::Result<()> {
        let commands = difference(held, owner.desired(&self.relay, held));
        let count = commands.len();
        let mut refused = Vec::new();
        for (shard, command) in commands {
            if let Reply::Rejected(rejected) = self.persist(shard, &command, owner).await? {
                tracing::warn!(shard, reason = ?rejected.reason(), message = %rejected.message, "not restored");
                refused.push((command, rejected.message));
            }
        }
        if count > 0 {
            tracing::info!(commands = count, refusals = refused.len(), "relay reconciled");
        }
        if !refused.is_empty() {
            owner.handle_refusals(refused);
        }
        Ok(())
    }

    /// The same until the relay is not too busy, within the time for one answer.
    async fn persist(&mut self, shard: u32, command: &Command, owner: &dyn Owner) -> io::Result<Reply> {
        let deadline = Instant::now() + SETUP_TIMEOUT;
        loop {
            match self.call(shard, command.clone(), owner).await? {
                Reply::Rejected(rejected)
                    if reason(&rejected) == Rejection::Busy && Instant::now() + BUSY_PAUSE < deadline =>
                {
                    sleep(BUSY_PAUSE).await;
                }
                reply => return Ok(reply),
            }
        }
    }

    /// Asks and waits for the answer. For the set-up only, where nobody else asks.
    async fn call(&mut self, shard: u32, command: Command, owner: &dyn Owner) -> io::Result<Reply> {
        let request = self.send(shard, command).await?;
        loop {
            let frame =
                timeout(SETUP_TIMEOUT, self.reader.next()).await.map_err(|_| io::ErrorKind::TimedOut)??;
            match (frame.request, frame.reply) {
                (0, Some(Reply::Event(event))) => owner.handle_event(event),
                (answered, Some(reply)) if answered == request => return Ok(reply),
                _ => return Err(refused("it answered what was not asked".into())),
            }
        }
    }

    /// Serves orders until the link breaks (then with the reason) or nobody will ever ask again.
    async fn run(&mut self, orders: &mut mpsc::Receiver<Order>, owner: &dyn Owner) -> Option<io::Error> {
        loop {
            tokio::select! {
                frame = self.reader.next() => match frame {
                    Ok(frame) => self.handle_frame(frame, owner),
                    Err(error) => return Some(error),
                },
                order = orders.recv() => {
                    let order = order?;
                    match self.send(order.shard, order.command).await {
                        Ok(request) => { self.pending.insert(request, order.answer); }
                        Err(error) => {
                            let _ = order.answer.send(Err(LinkError::Lost));
                            return Some(error);
                        }
                    }
                }
            }
        }
    }

    fn handle_frame(&mut self, frame: FromRelay, owner: &dyn Owner) {
        match (frame.request, frame.reply) {
            (0, Some(Reply::Event(event))) => owner.handle_event(event),
            (request, Some(reply)) => {
                // An answer nobody waits for came too late.
                let Some(answer) = self.pending.remove(&request) else { return };
                let _ = answer.send(match reply {
                    Reply::Rejected(rejected) => {
                        Err(LinkError::Rejected(reason(&rejected), rejected.message))
                    }
                    reply => Ok(reply),
                });
            }
            (_, None) => {}
        }
    }

    async fn send(&mut self, shard: u32, command: Command) -> io::Result<u64> {
        let request = self.next_request;
        self.next_request += 1;
        self.writer.send(&ToRelay { request, shard, command: Some(command) }).await?;
        Ok(request)
    }
}

/// A reason of a later release counts as a plain refusal.
fn reason(rejected: &millrace_control::Rejected) -> Rejection {
    Rejection::try_from(rejected.reason).unwrap_or(Rejection::Refused)
}

fn refused(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

fn unexpected(asked: &str, got: &Reply) -> io::Error {
    match got {
        Reply::Rejected(rejected) => refused(format!("it refused {asked}: {}", rejected.message)),
        _ => refused(format!("it did not answer {asked}")),
    }
}
