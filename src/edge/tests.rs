//! Tests of the edge over real sockets, with a fake shard and a fake signaling.

mod http;
mod limits;
mod streams;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::*;
use crate::wire::edge_hello::{self, Hello, Word};

/// Longest wait of a test. Only an event that never comes takes as long.
const PATIENCE: Duration = Duration::from_secs(60);

fn key() -> Arc<HmacSha256Key> {
    Arc::new(HmacSha256Key::new(b"of these tests"))
}

/// A shard as the edge sees it.
struct FakeShard(UdpSocket);

impl FakeShard {
    fn new() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(socket)
    }

    fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    fn receive(&self) -> (Vec<u8>, SocketAddr) {
        let mut datagram = vec![0; 65_536];
        let (len, from) = self.0.recv_from(&mut datagram).expect("a datagram comes");
        datagram.truncate(len);
        (datagram, from)
    }

    /// The next message. Skips the hellos before it.
    fn message(&self) -> Vec<u8> {
        loop {
            let (datagram, _) = self.receive();
            if !edge_hello::claims(&datagram) {
                return datagram;
            }
        }
    }

    fn word(&self) -> (Option<Word>, SocketAddr) {
        let (datagram, from) = self.receive();
        (edge_hello::parse(&datagram, &key()), from)
    }

    fn hello(&self) -> (Hello, SocketAddr) {
        match self.word() {
            (Some(Word::Hello(hello)), from) => (hello, from),
            other => panic!("no hello but {other:?}"),
        }
    }

    /// Waits for the goodbye of a client. Skips other datagrams before it.
    fn goodbye(&self) {
        while self.word().0 != Some(Word::Goodbye) {}
    }

    fn send(&self, message: &[u8], to: SocketAddr) {
        self.0.send_to(message, to).unwrap();
    }
}

/// A certificate of our own in a directory of this test.
fn certificate(name: &str) -> CertificateFiles {
    use millrace_signaling::tls;
    let dir = scratch(name);
    tls::server_config(&dir, &[]).unwrap();
    CertificateFiles { certificate: dir.join(tls::CERTIFICATE_FILE), key: dir.join(tls::KEY_FILE) }
}

fn scratch(name: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("millrace-edge-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

fn start(config: Config) -> Edge {
    Edge::start(config, key()).unwrap()
}

fn tcp(port: Option<u16>) -> TcpStream {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port.expect("it is served"))).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

fn tls(port: Option<u16>, files: &CertificateFiles) -> StreamOwned<ClientConnection, TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&files.certificate).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), tcp(port))
}

/// A Binding request with a body of so many zeros.
fn stun(body_len: u16) -> Vec<u8> {
    let mut message = vec![0, 1];
    message.extend(body_len.to_be_bytes());
    message.extend([0x21, 0x12, 0xa4, 0x42]);
    message.resize(20 + usize::from(body_len), 0);
    message
}

fn read(stream: &mut impl Read, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).expect("so much comes");
    bytes
}

/// Reads until the edge closes, and whether it does.
fn is_closed(stream: &mut impl Read) -> bool {
    let mut rest = [0; 4096];
    loop {
        match stream.read(&mut rest) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => {
                return !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
            }
        }
    }
}

/// Waits until something was counted so often.
fn wait_for(edge: &Edge, what: Count, number: u64) {
    let start = std::time::Instant::now();
    while edge.counters().get(what) < number {
        assert!(start.elapsed() < PATIENCE, "{}: {}", what.name(), edge.counters().get(what));
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn say(stream: &mut impl Write, bytes: &[u8]) {
    stream.write_all(bytes).unwrap();
    stream.flush().unwrap();
}
