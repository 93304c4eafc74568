//! The control socket: one Unix socket, one signaling process at a time, a reader and a writer thread for it.
//!
//! ```text
//!   socket -> reader -> mailbox of the shard -> on_command -> frames -> writer -> socket
//!                └─ Hello, Snapshot, Counters: answered here from what all shards say
//! ```
//!
//! A new connection takes the place of the old one: a killed signaling process may leave a socket that nobody closed.

use std::fs;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use millrace_control as contract;
use millrace_control::{Command, FromRelay, Rejection, Reply, ToRelay, frame};

use super::mailbox::{Mail, Mailbox, ReplyTo, rejected};

/// Frames that may wait for a signaling process that does not read; more are lost, which it sees as time-outs.
const FRAMES_WAITING_MAX: usize = 65_536;
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
}

/// Where events go: to the connection that is there now, or nowhere.
#[derive(Clone, Default)]
pub struct Events {
    current: Arc<Mutex<Option<Sender<FromRelay>>>>,
}

impl Events {
    /// Sends an event. Never blocks on a slow reader: a lost event is found again in the next snapshot.
    pub fn send(&self, event: contract::Event) {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(frames) = &*current {
            let _ = frames.try_send(FromRelay { request: 0, reply: Some(Reply::Event(event)) });
        }
    }

    fn set(&self, frames: Sender<FromRelay>) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(frames);
    }
}

/// The control side of the relay.
pub struct Control {
    identity: Identity,
    shards: Vec<ShardHandle>,
    events: Events,
}

impl Control {
    /// The control side of these shards.
    pub const fn new(identity: Identity, shards: Vec<ShardHandle>, events: Events) -> Self {
        Self { identity, shards, events }
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
        let mut previous: Option<UnixStream> = None;
        for stream in listener.incoming() {
            let Ok(stream) = stream else { continue };
            if let Some(previous) = previous.take() {
                let _ = previous.shutdown(Shutdown::Both);
            }
            previous = stream.try_clone().ok();
            if let Err(error) = self.clone().serve(stream) {
                tracing::warn!(%error, "a control connection could not be served");
            }
        }
    }

    fn serve(self: Arc<Self>, stream: UnixStream) -> io::Result<()> {
        let (frames, waiting) = bounded(FRAMES_WAITING_MAX);
        let writer = stream.try_clone()?;
        self.events.set(frames.clone());
        thread::Builder::new().name("control-writer".into()).spawn(move || write_frames(writer, &waiting))?;
        thread::Builder::new().name("control-reader".into()).spawn(move || {
            tracing::info!("signaling connected");
            let ended = self.read_frames(&stream, &frames);
            // Other handles of the socket are still about; the far end must see that nobody reads any more.
            let _ = stream.shutdown(Shutdown::Both);
            match ended {
                Ok(()) => tracing::info!("signaling disconnected; calls go on"),
                Err(error) => tracing::warn!(%error, "the control connection ended; calls go on"),
            }
        })?;
        Ok(())
    }

    fn read_frames(&self, mut stream: &UnixStream, frames: &Sender<FromRelay>) -> io::Result<()> {
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
                self.handle(message, frames);
            }
            buffer.drain(..taken);
        }
    }

    fn handle(&self, message: ToRelay, frames: &Sender<FromRelay>) {
        let reply = ReplyTo::new(message.request, frames.clone());
        match message.command {
            None => reply.send(rejected(Rejection::Invalid, "a frame without a command this release knows")),
            Some(Command::Hello(hello)) => reply.send(self.hello(hello)),
            Some(Command::Snapshot(_)) => reply.send(Reply::Snapshot(self.snapshot())),
            Some(Command::Counters(_)) => {
                reply.send(Reply::Counters(contract::Counters { shards: self.query(Mail::Counters) }));
            }
            Some(command) => self.deliver(message.shard, command, reply),
        }
    }

    fn deliver(&self, shard: u32, command: Command, reply: ReplyTo) {
        let Some(handle) = self.shards.get(shard as usize) else {
            let message = format!("there is no shard {shard}; this relay has {}", self.shards.len());
            return reply.send(rejected(Rejection::Unknown, message));
        };
        if let Err(Mail::Command { reply, .. }) = handle.mailbox.post(Mail::Command { command: Box::new(command), reply }) {
            reply.send(rejected(Rejection::Busy, format!("the mailbox of shard {shard} is full; try again")));
        }
    }

    fn hello(&self, hello: contract::ClientHello) -> Reply {
        if hello.version != contract::VERSION {
            let message =
                format!("this relay speaks contract version {}, not {}", contract::VERSION, hello.version);
            return rejected(Rejection::Refused, message);
        }
        let peers = self.snapshot().peers;
        let shards = (0u32..)
            .zip(&self.shards)
            .map(|(shard, handle)| contract::ShardInfo {
                shard,
                port: u32::from(handle.port),
                peers: peers.iter().filter(|peer| peer.shard == shard).count().try_into().unwrap_or(u32::MAX),
            })
            .collect();
        Reply::Hello(contract::RelayHello {
            version: contract::VERSION,
            epoch: self.identity.epoch,
            shards,
            fingerprint: self.identity.fingerprint.to_vec(),
            addresses: self.identity.addresses.iter().map(ToString::to_string).collect(),
            backend: self.identity.backend.into(),
            pid: std::process::id(),
        })
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
