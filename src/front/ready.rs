//! What each process says of itself once it is ready, in a file that appears in one step.

use std::fs;
use std::net::{IpAddr, UdpSocket};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use signal_hook::consts::SIGHUP;

use super::child::Child;
use super::{CARE_INTERVAL, FrontError, Options};

/// How long a process may take to be ready.
const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// The relay's word.
#[derive(Clone, Debug, Deserialize, serde::Serialize)]
pub(crate) struct RelayReady {
    /// Name of the IO backend.
    pub(crate) backend: String,
    /// Every shard.
    pub(crate) shards: Vec<ShardReady>,
    /// Port of TURN, UDP; 0 when it is off.
    pub(crate) turn_port: u16,
    /// Where it speaks HTTPS for signaling.
    pub(crate) https_port: u16,
    /// Its process.
    pub(crate) pid: u32,
}

/// One shard.
#[derive(Clone, Debug, Deserialize, serde::Serialize)]
pub(crate) struct ShardReady {
    /// Id, from 0.
    pub(crate) id: u32,
    /// UDP media port.
    pub(crate) port: u16,
}

/// Signaling's word.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct SignalingReady {
    /// Where it speaks HTTP, on loopback.
    pub(crate) http_port: u16,
    /// Its process.
    pub(crate) pid: u32,
}

/// Waits until a child has said its word; `None` when a signal came first.
pub(super) fn wait<T: DeserializeOwned>(
    child: &mut Child,
    stop: &Receiver<i32>,
) -> Result<Option<T>, FrontError> {
    let name = child.name();
    let failed = |what: String| FrontError::Child { name, what };
    let _ = fs::remove_file(child.ready_file());
    child.start().map_err(|error| failed(format!("could not be started: {error}")))?;
    let start = Instant::now();
    while start.elapsed() < READY_TIMEOUT {
        match stop.recv_timeout(CARE_INTERVAL) {
            // What there is to be read anew is being read.
            Err(RecvTimeoutError::Timeout) | Ok(SIGHUP) => {}
            Ok(_) | Err(RecvTimeoutError::Disconnected) => {
                child.stop();
                return Ok(None);
            }
        }
        if let Some(word) =
            fs::read(child.ready_file()).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok())
        {
            return Ok(Some(word));
        }
        if let Some(status) = child.ended() {
            child.check(status)?;
            return Err(failed(format!("ended before it was ready ({status})")));
        }
    }
    Err(failed(format!("was not ready within {} s", READY_TIMEOUT.as_secs())))
}

/// An address of this machine that others may reach it at: the announced one, else that of the default route.
pub(super) fn reachable_address(options: &Options) -> Option<IpAddr> {
    if let Some(ip) = options.relay.server.public_ip.first() {
        return Some(*ip);
    }
    // Connecting a UDP socket sends nothing; it only asks the routing table. The address is for documentation only.
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}
