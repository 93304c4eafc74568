//! The control socket: a Unix socket, one signaling process at a time, a reader and a writer thread for it.
//!
//! ```text
//!   socket -> reader -> mailbox of the shard -> shard -> lanes -> writer -> socket
//!                └─ Hello, SetDrain: answered at once; Counters: by a thread that waits for the shards
//! ```
//!
//! The connection that greets takes the place of the one before: a killed signaling process may leave a socket that was
//! never closed. Commands count only from the connection that greeted last. The reader waits for nothing but the socket.

use std::fs;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, after, bounded, select};
use millrace_control as contract;
use millrace_control::{Command, FromRelay, Rejection, Reply, ToRelay, frame};

use super::current::{Current, Greeted};
use super::lanes::Lanes;
use super::mailbox::{Mail, Mailbox, ReplyTo, rejected};
use crate::io::credentials;
use crate::limits::{BRIDGED_SHARDS_MAX, PEERS_MAX, SUBSCRIPTIONS_MAX, TRACKS_MAX};

/// Pause after a connection that could not be served.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The administrator of the machine may use the socket too.
const ROOT: u32 = 0;
/// How long all shards together may take to describe themselves.
const QUERY_TIMEOUT: Duration = Duration::from_secs(2);

/// One shard as the control threads see it.
#[derive(Clone)]
pub struct ShardHandle {
    /// Its UDP media port.
    pub port: u16,
    /// Its mailbox.
    pub mailbox: Mailbox,
    /// Peers it holds; kept by its thread.
    pub peers: Arc<AtomicU32>,
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
    /// Name of the machine.
    pub node: String,
}

/// A connection as its reader sees it.
struct Connection {
    number: u64,
    /// The version of the contract that its hello chose.
    version: u32,
    lanes: Lanes,
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
    /// The control side of these shards, and of what counts beside them.
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
                // Out of descriptors or threads: an attempt without a pause would only burn the core.
                thread::sleep(ACCEPT_PAUSE);
            }
        }
    }

    fn serve(self: Arc<Self>, number: u64, stream: UnixStream) -> io::Result<()> {
        let user = credentials::peer_user(&stream)?;
        if user != credentials::own_user() && user != ROOT {
            tracing::warn!(user, "refused a control connection of another user");
            return Ok(());
        }
        thread::Builder::new().name("control-reader".into()).spawn(move || {
            let ended = self.read_frames(number, &stream);
            // Other handles of the socket exist; the far end must see that it is read no more.
            let _ = stream.shutdown(Shutdown::Both);
            match ended {
                Ok(()) => tracing::info!("signaling disconnected; calls go on"),
                Err(error) => tracing::warn!(%error, "the control connection ended; calls go on"),
            }
        })?;
        Ok(())
    }

    fn read_frames(self: &Arc<Self>, number: u64, stream: &UnixStream) -> io::Result<()> {
        let lanes = Lanes::new(stream.try_clone()?);
        let (writer, waiting) = (stream.try_clone()?, lanes.clone());
        thread::Builder::new().name("control-writer".into()).spawn(move || write_frames(writer, &waiting))?;
        let mut connection = Connection { number, version: contract::VERSION_MIN, lanes };
        let ended = self.read_from(stream, &mut connection);
        connection.lanes.end();
        ended
    }

    fn read_from(self: &Arc<Self>, mut stream: &UnixStream, connection: &mut Connection) -> io::Result<()> {
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
                self.handle(message, connection)?;
            }
            buffer.drain(..taken);
        }
    }

    fn handle(self: &Arc<Self>, message: ToRelay, connection: &mut Connection) -> io::Result<()> {
        let reply = ReplyTo::new(message.request, connection.lanes.clone());
        match message.command {
            None => reply.send(rejected(Rejection::Invalid, "a frame without a command this release knows")),
            Some(Command::Hello(hello)) => reply.send(self.hello(&hello, connection)),
            Some(Command::Counters(_)) => {
                self.answer_aside(reply, |control| Reply::Counters(control.counters()))?;
            }
            Some(Command::Snapshot(_)) if connection.version == 1 => {
                self.answer_aside(reply, Self::whole_snapshot)?;
            }
            Some(Command::Snapshot(_)) => {
                self.act(connection, || self.deliver(message.shard, Mail::Snapshot(reply)))?;
            }
            Some(Command::SetDrain(drain)) => self.act(connection, || {
                self.current.set_draining(drain.on);
                reply.send(Reply::Done(contract::Done {}));
            })?,
            Some(command) => {
                let mail = Mail::Command { command: Box::new(command), fence: message.fence, reply };
                self.act(connection, || self.deliver(message.shard, mail))?;
            }
        }
        Ok(())
    }

    /// Does what a command says, if its connection speaks for signaling.
    fn act(&self, connection: &Connection, act: impl FnOnce()) -> io::Result<()> {
        let acted = self.current.act_as(connection.number, act);
        acted.ok_or_else(|| io::Error::other("a command from a connection that has not greeted last"))
    }

    /// Answers from a thread of its own, so that a slow shard keeps no command from the others.
    fn answer_aside(
        self: &Arc<Self>,
        reply: ReplyTo,
        answer: impl FnOnce(&Self) -> Reply + Send + 'static,
    ) -> io::Result<()> {
        let control = Arc::clone(self);
        let aside = thread::Builder::new().name("control-query".into());
        aside.spawn(move || reply.send(answer(&control))).map(drop)
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
        if let Err((Mail::Command { reply, .. } | Mail::Snapshot(reply), refusal)) = refused {
            reply.send(refusal);
        }
    }

    fn hello(&self, hello: &contract::ClientHello, connection: &mut Connection) -> Reply {
        let agreed = contract::agree(hello.version, hello.version_min, hello.version_max);
        let Some(version) = agreed else {
            let message = format!(
                "this relay speaks versions {} to {} of the contract, and signaling speaks {} to {}; install releases \
                 that are at most one apart",
                contract::VERSION_MIN,
                contract::VERSION,
                hello.version_min.max(hello.version),
                hello.version_max.max(hello.version),
            );
            return rejected(Rejection::Refused, message);
        };
        connection.version = version;
        let (number, lanes) = (connection.number, connection.lanes.clone());
        self.current.take_over(Greeted { number, version, lanes });
        tracing::info!(version, node = %hello.node, "signaling connected");
        Reply::Hello(self.relay_hello(version))
    }

    fn relay_hello(&self, version: u32) -> contract::RelayHello {
        let info = |(shard, handle): (u32, &ShardHandle)| contract::ShardInfo {
            shard,
            port: u32::from(handle.port),
            peers: handle.peers.load(Ordering::Relaxed),
            peers_max: limit(PEERS_MAX),
            tracks_max: limit(TRACKS_MAX),
            subscriptions_max: limit(SUBSCRIPTIONS_MAX),
        };
        contract::RelayHello {
            version,
            epoch: self.identity.epoch,
            shards: (0..).zip(&self.shards).map(info).collect(),
            fingerprint: self.identity.fingerprint.to_vec(),
            addresses: self.identity.addresses.iter().map(ToString::to_string).collect(),
            backend: self.identity.backend.into(),
            pid: std::process::id(),
            bridges: self.shards.len() <= BRIDGED_SHARDS_MAX,
            turn_port: self.identity.turn_port.into(),
            ice_tcp_ports: self.identity.ice_tcp_ports.iter().copied().map(u32::from).collect(),
            turn_tls_port: self.identity.turn_tls_port.into(),
            https_port: self.identity.https_port.into(),
            version_min: contract::VERSION_MIN,
            version_max: contract::VERSION,
            node: self.identity.node.clone(),
            // What the relay holds ends with its process, so one number says both.
            boot: self.identity.epoch,
            draining: self.current.is_draining(),
        }
    }

    fn counters(&self) -> contract::Counters {
        let counter = |(name, value): (&str, u64)| contract::Counter { name: name.into(), value };
        let edge = (self.beside)().into_iter().map(counter).collect();
        let shards = self.query(Mail::Counters).into_iter().flatten().collect();
        contract::Counters { shards, edge }
    }

    /// The answer to a snapshot request of version 1: everything in one frame. A part of it would pass for the whole, and
    /// what is missing for gone, so there is no answer with a part.
    fn whole_snapshot(&self) -> Reply {
        let parts: Option<Vec<contract::Snapshot>> = self.query(Mail::WholeSnapshot).into_iter().collect();
        let Some(parts) = parts else {
            return rejected(Rejection::Busy, "a shard does not answer; ask again");
        };
        let mut whole = contract::Snapshot::default();
        for part in parts {
            whole.peers.extend(part.peers);
            whole.tracks.extend(part.tracks);
            whole.subscriptions.extend(part.subscriptions);
        }
        Reply::Snapshot(whole)
    }

    /// Asks every shard at once and waits for all of them together. `None` for a shard that does not answer in time.
    fn query<T>(&self, mail: impl Fn(Sender<T>) -> Mail) -> Vec<Option<T>> {
        let ask = |shard: &ShardHandle| {
            let (sender, receiver) = bounded(1);
            shard.mailbox.post(mail(sender)).ok().map(|()| receiver)
        };
        let waiting: Vec<Option<Receiver<T>>> = self.shards.iter().map(ask).collect();
        let time_is_up = after(QUERY_TIMEOUT);
        let mut is_up = false;
        let mut answer = |receiver: Receiver<T>| {
            if !is_up {
                select! {
                    recv(receiver) -> answer => return answer.ok(),
                    recv(time_is_up) -> _ => is_up = true,
                }
            }
            receiver.try_recv().ok()
        };
        waiting.into_iter().map(|receiver| receiver.and_then(&mut answer)).collect()
    }
}

fn limit(table: usize) -> u32 {
    u32::try_from(table).expect("tables are far shorter than 2^32")
}

fn write_frames(mut stream: UnixStream, lanes: &Lanes) {
    /// Bytes written at a time.
    const CHUNK_BYTES: usize = 256 * 1024;
    let mut bytes = Vec::new();
    while let Some(frames) = lanes.take() {
        for frame in frames {
            encode(&frame, &mut bytes);
            if bytes.len() >= CHUNK_BYTES && write(&mut stream, &mut bytes).is_err() {
                return lanes.end();
            }
        }
        if write(&mut stream, &mut bytes).is_err() {
            return lanes.end();
        }
    }
}

fn write(stream: &mut UnixStream, bytes: &mut Vec<u8>) -> io::Result<()> {
    let written = stream.write_all(bytes);
    bytes.clear();
    written
}

/// Appends a frame, or the refusal of what would be too long for one.
fn encode(frame: &FromRelay, bytes: &mut Vec<u8>) {
    if let Err(error) = frame::encode(frame, bytes) {
        tracing::error!(%error, "an answer is not sent");
        let refusal = FromRelay {
            request: frame.request,
            reply: Some(rejected(Rejection::Refused, error.to_string())),
        };
        frame::encode(&refusal, bytes).expect("a refusal is short");
    }
}
