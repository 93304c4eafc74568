//! A stand-in of the relay: it speaks the control contract and holds what signaling tells it, and forwards nothing.
//!
//! With it one machine can measure signaling with more participants than a relay on the same cores could serve. Every
//! command is carried out at once. A peer becomes live some time after it was put, as one does whose ICE and DTLS
//! succeed, and signaling is told. What is held outlives the connection, as a relay's state outlives signaling.

mod held;
mod serve;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use clap::Args;
use millrace_control::{RelayHello, ShardInfo, VERSION};
use tokio::net::UnixListener;

pub use held::Figures;
use held::Held;
use serve::{lock, serve};

/// Port of the first shard in answers; the others have the ports after it. Nobody listens there.
const FIRST_PORT: u32 = 40_000;

/// Options of `stand-in`.
#[derive(Args, Clone, Debug)]
pub struct StandInOptions {
    /// Unix socket to listen at, as the relay's --control-socket. A file that is there is replaced.
    #[arg(long, value_name = "PATH")]
    pub socket: PathBuf,
    /// Shards to announce.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub shards: u32,
    /// Time in ms from the command that puts a peer until the peer is live.
    #[arg(long, default_value_t = 50, value_name = "MS")]
    pub live_after: u64,
}

/// A stand-in that runs on a thread of its own, until the process ends.
#[derive(Clone)]
pub struct StandIn {
    held: Arc<Mutex<Held>>,
}

impl StandIn {
    /// Listens at the socket of `options`.
    ///
    /// # Errors
    /// When the socket or the thread cannot be made.
    pub fn start(options: &StandInOptions) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _inside = runtime.enter();
            listen(&options.socket)?
        };
        let held = Arc::new(Mutex::new(Held::new(Duration::from_millis(options.live_after))));
        let (hello, stand_in) = (hello(options.shards), Self { held: Arc::clone(&held) });
        // A thread of its own: answers do not wait for the clients of the same process.
        thread::Builder::new().name("stand-in".into()).spawn(move || {
            runtime.block_on(async {
                // One connection at a time: signaling has one link, and a killed one hangs up.
                while let Ok((stream, _)) = listener.accept().await {
                    if let Err(error) = serve(stream, &held, &hello).await {
                        tracing::warn!(%error, "the control connection ended");
                    }
                }
            });
        })?;
        Ok(stand_in)
    }

    /// What it holds and has seen.
    #[must_use]
    pub fn figures(&self) -> Figures {
        lock(&self.held).figures()
    }
}

/// Runs a stand-in by itself and prints its figures whenever they have changed, until it is ended.
///
/// # Errors
/// As [`StandIn::start`].
pub fn run(options: &StandInOptions) -> io::Result<()> {
    let stand_in = StandIn::start(options)?;
    eprintln!("stand-in of a relay with {} shards at {}", options.shards, options.socket.display());
    let mut shown = Figures::default();
    loop {
        thread::sleep(Duration::from_secs(1));
        let figures = stand_in.figures();
        if figures != shown {
            eprintln!("{figures:?}");
            shown = figures;
        }
    }
}

fn listen(path: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => UnixListener::bind(path),
    }
}

fn hello(shards: u32) -> RelayHello {
    RelayHello {
        version: VERSION,
        version_min: VERSION,
        version_max: VERSION,
        epoch: 1,
        shards: (0..shards)
            .map(|shard| ShardInfo { shard, port: FIRST_PORT + shard, ..ShardInfo::default() })
            .collect(),
        fingerprint: vec![0xAB; 32],
        addresses: vec!["127.0.0.1".into()],
        backend: "stand-in".into(),
        pid: std::process::id(),
        bridges: true,
        ..RelayHello::default()
    }
}
