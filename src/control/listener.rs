//! The control socket: one Unix socket, one signaling process at a time, a reader and a writer thread for it.
//!
//! ```text
//!   socket -> reader -> mailbox of the shard -> on_command -> frames -> writer -> socket
//!                └─ Hello, Snapshot, Counters: answered here from what all shards say
//! ```
//!
//! The connection that greets takes the place of the one before: a killed signaling process may leave a socket that
//! nobody closed. Commands count only from the connection that greeted last.

use std::fs;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use millrace_control as contract;
use millrace_control::{Command, FromRelay, Rejection, Reply, ToRelay, frame};

use super::mailbox::{Mail, Mailbox, ReplyTo, rejected};
use crate::io::credentials;
use crate::limits::BRIDGED_SHARDS_MAX;

/// Frames that may wait for a signaling process that does not read; more are lost, which it sees as time-outs.
const FRAMES_WAITING_MAX: usize = 4_096;
/// Pause after a connection that could not be served.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Whoever administers the machine may speak to the relay too.
const ROOT: u32 = 0;
/// How long a shard may take to describe itself.
const QUERY_TIMEOUT: Duration = Duration::from_secs(2);

/// One shard as the control threads see it.
#[derive(Clone)]
pub struct ShardHandle {
    /// Its UDP media port.
    pub port: u16,
    /// Its mailbox.
    pub mailbox: Mailbox,
}

/// What the relay says of itself in its hello.
#[derive(Clone)]
pub struct Identity {
    /// Changes when state is lost.
    pub epoch: u64,
    /// SHA-256 of the DTLS certificate.
    pub fingerprint: [u8; 32],
    /// Announced addresses, best first.
    pub addresses: Vec<std::net::IpAddr>,
    /// Name of the IO backend.
    pub backend: &'static str,
    /// Port of the TURN server; 0 when it is off.
    pub turn_port: u16,
    /// Media ports that are served by TCP too.
    pub ice_tcp_ports: Vec<u16>,
    /// Port of TURN over TLS; 0 when there is none.
    pub turn_tls_port: u16,
    /// Port of HTTPS, shared with TURN; 0 when signaling has it.
    pub https_port: u16,
}

/// The connection that speaks for signaling: the one that greeted last. Events go there; only it gives commands.
#[derive(Clone, Default)]
pub struct Current {
    connection: Arc<Mutex<Option<Connection>>>,
}

struct Connection {
    number: u64,
    stream: UnixStream,
    frames: Sender<FromRelay>,
}

impl Current {
    /// Sends an event. Never blocks on a slow reader: a lost event is found again in the next snapshot.
    pub fn send_event(&self, event: contract::Event) {
        if let Some(connection) = &*self.lock() {
            let _ = connection.frames.try_send(FromRelay { request: 0, reply: Some(Reply::Event(event)) });
        }
    }

    /// `connection` takes the place of whichever there was, and that one ends.
    fn take_over(&self, connection: Connection) {
        let mut current = self.lock();
        if let Some(previous) = current.take_if(|previous| previous.number != connection.number) {
            let _ = previous.stream.shutdown(Shutdown::Both);
        }
        *current = Some(connection);
    }

    /// Does `act` if connection `number` is the one; nothing it says can come after its successor's greeting.
    fn act_as<T>(&self, number: u64, act: impl FnOnce() -> T) -> Option<T> {
        let current = self.lock();
        current.as_ref().is_some_and(|connection| connection.number == number).then(act)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Connection>> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is counted beside the shards, by name.
pub type Beside = Box<dyn Fn() -> Vec<(&'static str, u64)> + Send + Sync>;

/// The control side of the relay.
pub struct Control {
    identity: Identity,
    shards: Vec<ShardHandle>,
    current: Current,
    beside: Beside,
}

impl Control {
    /// The control side of these shards, and of what else counts.
    pub fn new(identity: Identity, shards: Vec<ShardHandle>, current: Current, beside: Beside) -> Self {
        Self { identity, shards, current, beside }
    }

    /// Listens at `path` on a thread of its own. A socket left by an earlier run is replaced.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn listen(self, path: &Path) -> io::Result<()> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        let control = Arc::new(self);
        thread::Builder::new().name("control".into()).spawn(move || control.accept(&listener))?;
        Ok(())
    }

    fn accept(self: Arc<Self>, listener: &UnixListener) {
        for (number, stream) in (1..).zip(listener.incoming()) {
            if let Err(error) = stream.and_then(|stream| self.clone().serve(number, stream)) {
                tracing::warn!(%error, "a control connection could not be served");
                // Out of descriptors or threads: trying again at once would only burn the core.
                thread::sleep(ACCEPT_PAUSE);
            }
        }
    }

    fn serve(self: Arc<Self>, number: u64, stream: UnixStream) -> io::Result<()> {
        let user = credentials::peer_user(&stream)?;
        if user != credentials::own_user() && user != ROOT {
            tracing::warn!(user, "a control connection from another user is refused");
            return Ok(());
        }
        thread::Builder::new().name("control-reader".into()).spawn(move || {
            let ended = self.read_frames(number, &stream);
            // Other handles of the socket are still about; the far end must see that nobody reads any more.
            let _ = stream.shutdown(Shutdown::Both);
            match ended {
                Ok(()) => tracing::info!("signaling disconnected; calls go on"),
                Err(error) => tracing::warn!(%error, "the control connection ended; calls go on"),
            }
        })?;
        Ok(())
    }

    fn read_frames(&self, number: u64, mut stream: &UnixStream) -> io::Result<()> {
        let (frames, waiting) = bounded(FRAMES_WAITING_MAX);
        let writer = stream.try_clone()?;
        thread::Builder::new().name("control-writer".into()).spawn(move || write_frames(writer, &waiting))?;
        let connection = Connection { number, stream: stream.try_clone()?, frames };
        let mut buffer = Vec::with_capacity(64 * 1024);
        let mut chunk = vec![0; 64 * 1024];
        loop {
            let read = stream.read(&mut chunk)?;
            if read == 0 {
                return Ok(());
            }
            buffer.extend_from_slice(&chunk[..read]);
            let mut taken = 0;
            while let Some((message, len)) =
                frame::decode::<ToRelay>(&buffer[taken..]).map_err(io::Error::other)?
            {
                taken += len;
                self.handle(message, &connection)?;
            }
            buffer.drain(..taken);
        }
    }

    fn handle(&self, message: ToRelay, connection: &Connection) -> io::Result<()> {
        let reply = ReplyTo::new(message.request, connection.frames.clone());
        match message.command {
            None => reply.send(rejected(Rejection::Invalid, "a frame without a command this release knows")),
            Some(Command::Hello(hello)) => reply.send(self.hello(hello, connection)?),
            Some(Command::Snapshot(_)) => reply.send(Reply::Snapshot(self.snapshot())),
            Some(Command::Counters(_)) => {
                let counter = |(name, value): (&str, u64)| contract::Counter { name: name.into(), value };
                let edge = (self.beside)().into_iter().map(counter).collect();
                reply.send(Reply::Counters(contract::Counters { shards: self.query(Mail::Counters), edge }));
            }
            Some(command) => {
                let mail = Mail::Command { command: Box::new(command), reply };
                let delivered = self.current.act_as(connection.number, || self.deliver(message.shard, mail));
                delivered.ok_or_else(|| {
                    io::Error::other("a command from a connection that has not greeted last")
                })?;
            }
        }
        Ok(())
    }

    fn deliver(&self, shard: u32, mail: Mail) {
        let refused = match self.shards.get(shard as usize) {
            Some(handle) => handle.mailbox.post(mail).map_err(|mail| {
                (mail, rejected(Rejection::Busy, format!("the mailbox of shard {shard} is full; try again")))
            }),
            None => {
                let message = format!("there is no shard {shard}; this relay has {}", self.shards.len());
                Err((mail, rejected(Rejection::Unknown, message)))
            }
        };
        if let Err((Mail::Command { reply, .. }, refusal)) = refused {
            reply.send(refusal);
        }
    }

    fn hello(&self, hello: contract::ClientHello, connection: &Connection) -> io::Result<Reply> {
        if hello.version != contract::VERSION {
            let message =
                format!("this relay speaks contract version {}, not {}", contract::VERSION, hello.version);
            return Ok(rejected(Rejection::Refused, message));
        }
        let Connection { number, stream, frames } = connection;
        self.current.take_over(Connection {
            number: *number,
            stream: stream.try_clone()?,
            frames: frames.clone(),
        });
        tracing::info!("signaling connected");
        let peers = self.snapshot().peers;
        let shards = (0u32..)
            .zip(&self.shards)
            .map(|(shard, handle)| contract::ShardInfo {
                shard,
                port: u32::from(handle.port),
                peers: peers.iter().filter(|peer| peer.shard == shard).count().try_into().unwrap_or(u32::MAX),
            })
            .collect();
        Ok(Reply::Hello(contract::RelayHello {
            version: contract::VERSION,
            epoch: self.identity.epoch,
            shards,
            fingerprint: self.identity.fingerprint.to_vec(),
            addresses: self.identity.addresses.iter().map(ToString::to_string).collect(),
            backend: self.identity.backend.into(),
            pid: std::process::id(),
            bridges: self.shards.len() <= BRIDGED_SHARDS_MAX,
            turn_port: self.identity.turn_port.into(),
            ice_tcp_ports: self.identity.ice_tcp_ports.iter().copied().map(u32::from).collect(),
            turn_tls_port: self.identity.turn_tls_port.into(),
            https_port: self.identity.https_port.into(),
        }))
    }

    fn snapshot(&self) -> contract::Snapshot {
        self.query(Mail::Snapshot).into_iter().fold(contract::Snapshot::default(), |mut whole, part| {
            whole.peers.extend(part.peers);
            whole.tracks.extend(part.tracks);
            whole.subscriptions.extend(part.subscriptions);
            whole
        })
    }

    /// Asks every shard at once and waits for all. A shard that does not answer in time is left out.
    fn query<T>(&self, mail: impl Fn(Sender<T>) -> Mail) -> Vec<T> {
        let waiting: Vec<Receiver<T>> = self
            .shards
            .iter()
            .filter_map(|shard| {
                let (sender, receiver) = bounded(1);
                shard.mailbox.post(mail(sender)).ok().map(|()| receiver)
            })
            .collect();
        waiting.into_iter().filter_map(|answer| answer.recv_timeout(QUERY_TIMEOUT).ok()).collect()
    }
}

fn write_frames(mut stream: UnixStream, frames: &Receiver<FromRelay>) {
    let mut bytes = Vec::new();
    while let Ok(first) = frames.recv() {
        bytes.clear();
        frame::encode(&first, &mut bytes);
        for more in frames.try_iter().take(256) {
            frame::encode(&more, &mut bytes);
        }
        if stream.write_all(&bytes).is_err() {
            return;
        }
    }
}
