//! A client of the relay's control socket: many requests under way, each answered once.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use millrace_control::{
    ClientHello, Command, CountersRequest, FromRelay, RelayHello, Reply, ToRelay, VERSION, frame,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};

use crate::failure::Failure;

/// Time for one answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause before a shard whose mailbox is full is asked again.
const BUSY_PAUSE: Duration = Duration::from_millis(5);

type Pending = Arc<Mutex<HashMap<u64, oneshot::Sender<Reply>>>>;

/// A connection that has greeted.
#[derive(Clone)]
pub struct Control {
    requests: mpsc::UnboundedSender<(u32, Command, oneshot::Sender<Reply>)>,
    /// Who the relay is.
    pub relay: Arc<RelayHello>,
}

/// Counters of one shard, or of all together.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Counters(pub BTreeMap<String, u64>);

impl Counters {
    /// One counter, 0 if there is none of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// By how much each grew since `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let grown = |(name, value): (&String, &u64)| (name.clone(), value.saturating_sub(before.get(name)));
        Self(self.0.iter().map(grown).collect())
    }
}

impl Control {
    /// Connects and greets.
    ///
    /// # Errors
    /// When nobody listens there, or speaks another version.
    pub async fn connect(path: &Path) -> Result<Self, Failure> {
        let failed = |why: String| Failure::Late(format!("control socket {}: {why}", path.display()));
        let stream = UnixStream::connect(path).await.map_err(|error| failed(error.to_string()))?;
        let (reader, writer) = stream.into_split();
        let (requests, outgoing) = mpsc::unbounded_channel();
        let pending = Pending::default();
        tokio::spawn(write(writer, outgoing, Arc::clone(&pending)));
        tokio::spawn(read(reader, pending));
        let mut control = Self { requests, relay: Arc::default() };
        let hello = ClientHello { version: VERSION, ..ClientHello::default() };
        match control.ask(0, Command::Hello(hello)).await? {
            Reply::Hello(hello) if hello.version == VERSION => control.relay = Arc::new(hello),
            Reply::Hello(hello) => return Err(failed(format!("it speaks version {}", hello.version))),
            other => return Err(failed(format!("it did not greet: {other:?}"))),
        }
        Ok(control)
    }

    async fn ask(&self, shard: u32, command: Command) -> Result<Reply, Failure> {
        let gone = |_| Failure::Late("the relay closed its control connection".to_owned());
        let (answer, answered) = oneshot::channel();
        let request = (shard, command, answer);
        self.requests
            .send(request)
            .map_err(|_| Failure::Late("the control connection has ended".to_owned()))?;
        let late = |_| Failure::Late("the relay does not answer on its control socket".to_owned());
        timeout(ANSWER_TIMEOUT, answered).await.map_err(late)?.map_err(gone)
    }

    /// Has a command carried out, if need be after a shard is no longer too busy.
    ///
    /// # Errors
    /// With the relay's words when it refuses.
    pub async fn put(&self, shard: u32, command: Command) -> Result<(), Failure> {
        loop {
            match self.ask(shard, command.clone()).await? {
                Reply::Done(_) => return Ok(()),
                Reply::Rejected(refused) if refused.reason() == millrace_control::Rejection::Busy => {
                    sleep(BUSY_PAUSE).await;
                }
                Reply::Rejected(refused) => {
                    return Err(Failure::Late(format!("the relay refused: {}", refused.message)));
                }
                other => return Err(Failure::Late(format!("an answer that fits nothing: {other:?}"))),
            }
        }
    }

    /// The counters of all shards, added up.
    ///
    /// # Errors
    /// When the relay is gone.
    pub async fn counters(&self) -> Result<Counters, Failure> {
        match self.ask(0, Command::Counters(CountersRequest {})).await? {
            Reply::Counters(counters) => {
                let mut sums = Counters::default();
                for counter in counters.shards.into_iter().flat_map(|shard| shard.counters) {
                    *sums.0.entry(counter.name).or_default() += counter.value;
                }
                Ok(sums)
            }
            other => Err(Failure::Late(format!("no counters but {other:?}"))),
        }
    }
}

fn lock(pending: &Pending) -> std::sync::MutexGuard<'_, HashMap<u64, oneshot::Sender<Reply>>> {
    pending.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn write(
    mut writer: OwnedWriteHalf,
    mut outgoing: mpsc::UnboundedReceiver<(u32, Command, oneshot::Sender<Reply>)>,
    pending: Pending,
) -> io::Result<()> {
    let mut bytes = Vec::new();
    let mut request = 0;
    while let Some((shard, command, answer)) = outgoing.recv().await {
        request += 1;
        lock(&pending).insert(request, answer);
        bytes.clear();
        let frame = ToRelay { request, shard, command: Some(command), ..ToRelay::default() };
        frame::encode(&frame, &mut bytes).map_err(io::Error::other)?;
        writer.write_all(&bytes).await?;
    }
    Ok(())
}

async fn read(mut reader: OwnedReadHalf, pending: Pending) {
    let mut buffer = Vec::new();
    // Events and whatever ends the connection are nobody's business here: who waits is told by the dropped sender.
    while let Ok(1..) = reader.read_buf(&mut buffer).await {
        let mut taken = 0;
        while let Ok(Some((message, len))) = frame::decode::<FromRelay>(&buffer[taken..]) {
            taken += len;
            if let (Some(answer), Some(reply)) = (lock(&pending).remove(&message.request), message.reply) {
                let _ = answer.send(reply);
            }
        }
        buffer.drain(..taken);
    }
    lock(&pending).clear();
}
