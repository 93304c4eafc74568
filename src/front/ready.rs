//! The ready files of both processes. A file appears whole, once its process is ready.

use std::fs;
use std::net::{IpAddr, UdpSocket};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use signal_hook::consts::SIGHUP;

use super::child::Child;
use super::{CARE_INTERVAL, FrontError, Options};

/// Time for a process to be ready.
const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// The relay's ready file.
#[derive(Clone, Debug, Deserialize, serde::Serialize)]
pub(crate) struct RelayReady {
    /// Name of the IO backend.
    pub(crate) backend: String,
    /// Every shard.
    pub(crate) shards: Vec<ShardReady>,
    /// Port of TURN, UDP; 0 when it is off.
    pub(crate) turn_port: u16,
    /// HTTPS port, which it serves for signaling.
    pub(crate) https_port: u16,
    /// Its process id.
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

/// Signaling's ready file.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct SignalingReady {
    /// Port of plain HTTP on loopback.
    pub(crate) http_port: u16,
    /// Its process id.
    pub(crate) pid: u32,
}

/// Starts a child and waits for its ready file. `None` if a signal to end comes first.
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
            // The child is reading its files just now.
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

/// An address at which other machines may reach this one: the first public address, else that of the default route.
pub(super) fn reachable_address(options: &Options) -> Option<IpAddr> {
    if let Some(ip) = options.relay.server.public_ip.first() {
        return Some(*ip);
    }
    // Connecting a UDP socket sends nothing; it only asks the routing table. 192.0.2.1 is reserved for documentation
    // (RFC 5737).
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}
