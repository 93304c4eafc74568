//! Clients behind TCP and TLS: the edge has a socket on loopback for each, and says whose it is.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use millrace_turn::server::{Client, Transport};

use crate::crypto::mac::HmacSha256Key;
use crate::egress::{Path, Via};
use crate::limits::STREAM_CLIENTS_MAX;
use crate::wire::edge_hello::{self, Hello, Word};

/// Where the edge's sockets are. Other loopback addresses are other processes'.
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Who is behind which port of the edge. Never iterated.
pub(super) struct Streams {
    key: Option<Arc<HmacSha256Key>>,
    by_port: HashMap<u16, Hello>,
}

/// What the edge's word means for the server.
pub(super) enum Heard {
    /// Nothing to do, or not the edge's word.
    Nothing,
    /// This client's connection has ended.
    Gone(Client),
}

impl Streams {
    /// Words of the edge bear tags under `key`; without one nobody is believed.
    pub(super) fn new(key: Option<Arc<HmacSha256Key>>) -> Self {
        Self { key, by_port: HashMap::new() }
    }

    /// Takes what claims to be a word of the edge.
    #[cold]
    pub(super) fn hear(&mut self, path: &Path, datagram: &[u8]) -> Heard {
        let key = self.key.as_ref().filter(|_| path.remote.ip() == LOOPBACK);
        let word = key.and_then(|key| edge_hello::parse(datagram, key));
        let port = path.remote.port();
        match word {
            Some(Word::Hello(hello)) if self.by_port.len() < STREAM_CLIENTS_MAX => {
                self.by_port.insert(port, hello);
                Heard::Nothing
            }
            Some(Word::Goodbye) => {
                self.by_port.remove(&port).map_or(Heard::Nothing, |hello| Heard::Gone(client(&hello, port)))
            }
            Some(Word::Hello(_)) | None => Heard::Nothing,
        }
    }

    /// Who speaks from `path` to `port` of ours: the client itself, unless the edge said that it is somebody behind a stream.
    #[inline]
    pub(super) fn client(&self, path: &Path, port: u16) -> Client {
        if path.remote.ip() == LOOPBACK
            && let Some(hello) = self.by_port.get(&path.remote.port())
        {
            return client(hello, path.remote.port());
        }
        let local = SocketAddr::new(path.local, port);
        Client { transport: Transport::Udp, remote: path.remote, local, via: path.via.to_bits() }
    }
}

/// The client behind the edge's socket on `port`, which is how it is reached.
const fn client(hello: &Hello, port: u16) -> Client {
    let transport = match hello.transport {
        edge_hello::Transport::Tcp => Transport::Tcp,
        edge_hello::Transport::Tls => Transport::Tls,
    };
    Client { transport, remote: hello.remote, local: hello.local, via: port as u32 }
}

/// How to reach a client.
pub(super) fn way_to(client: &Client) -> Path {
    match client.transport {
        Transport::Udp => {
            Path { local: client.local.ip(), remote: client.remote, via: Via::from_bits(client.via) }
        }
        Transport::Tcp | Transport::Tls => {
            Path { local: LOOPBACK, remote: SocketAddr::new(LOOPBACK, client.via as u16), via: Via::TURN }
        }
    }
}
