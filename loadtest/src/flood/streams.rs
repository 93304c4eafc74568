//! Strangers by TCP and TLS.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::http::Endpoint;

/// Lengths without a gap, past every header there is; then some more.
const LEN_DENSE_MAX: usize = 40;
const LENS_SPARSE: [usize; 5] = [64, 100, 1000, 4097, 70_000];
/// Of TLS, where a handshake comes first.
const LENS_TLS: [usize; 7] = [1, 2, 4, 20, 21, 100, 5000];
/// Connections at the same time.
const TOGETHER: usize = 64;
/// A breath after so many connections.
const BURST: usize = 64;
const BREATH: Duration = Duration::from_millis(5);
/// Whoever has not taken or refused all by then will not.
const PATIENCE: Duration = Duration::from_secs(5);

/// Opens so many connections in turn and says nothing; `held` are open at the same time. Gives how many came about.
pub(super) async fn silent(servers: &[SocketAddr], sources: u32, held: usize) -> u64 {
    let mut open = VecDeque::with_capacity(held);
    let mut opened = 0;
    for (number, server) in (0..sources as usize).zip(servers.iter().cycle()) {
        if let Ok(Ok(stream)) = timeout(PATIENCE, TcpStream::connect(server)).await {
            opened += 1;
            open.push_back(stream);
        }
        if open.len() > held {
            open.pop_front();
        }
        if number % BURST == BURST - 1 {
            sleep(BREATH).await;
        }
    }
    opened
}

/// Says every first byte at many lengths to each, on a connection of its own, within TLS or not; gives how many those were.
pub(super) async fn every_beginning(servers: &[SocketAddr], tls: bool) -> u64 {
    let lens: Vec<usize> =
        if tls { LENS_TLS.to_vec() } else { (1..=LEN_DENSE_MAX).chain(LENS_SPARSE).collect() };
    let mut running = JoinSet::new();
    let mut begun = 0;
    for &len in &lens {
        for first in 0..=u8::MAX {
            for &server in servers {
                while running.len() >= TOGETHER {
                    running.join_next().await;
                }
                running.spawn(begin(server, tls, first, len));
                begun += 1;
            }
        }
    }
    while running.join_next().await.is_some() {}
    begun
}

/// One connection. The server may close it at any time; it may not keep us waiting once we have closed.
async fn begin(server: SocketAddr, tls: bool, first: u8, len: usize) {
    let endpoint = Endpoint { tls, host: server.ip().to_string(), port: server.port() };
    let said = async {
        let mut stream = endpoint.connect().await.ok()?;
        let mut bytes = vec![first.rotate_left(3) ^ len.to_le_bytes()[0]; len];
        bytes[0] = first;
        stream.write_all(&bytes).await.ok()?;
        stream.shutdown().await.ok()?;
        stream.read_to_end(&mut Vec::new()).await.ok()
    };
    // Refusing us is right, and so is silence.
    let _ = timeout(PATIENCE, said).await;
}
