//! TURN from outside, by a small client of its own: what outlives a panic, signaling, the relay.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace_control::{self as contract, ClientHello, Command as Ask, FromRelay, Reply, ToRelay, frame};
use millrace_testkit::{PATIENCE, Program, awaited};
use millrace_turn::stream::message_len;
use millrace_turn::{AttributeType, Class, ErrorCode, IntegrityKey, Message, Method, TransactionId, Writer};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;

/// What the relay writes once every shard runs.
const READY: &str = "ready.json";
/// A datagram that is not answered by then is sent again.
const AGAIN: Duration = Duration::from_millis(500);
const USER: (&str, &str) = ("ann", "of-the-test");
const CHANNEL: u16 = 0x4000;

/// A program on free ports.
fn start(program: &str, more: &[&str]) -> Program {
    Program::start(|dir| {
        let mut command = Command::new(program);
        command
            .args([
                "--media-port",
                "0",
                "--turn-port",
                "0",
                "--turn-tls-port",
                "0",
                "--public-ip",
                "127.0.0.1",
            ])
            .args(["--turn-static-user", &format!("{}:{}", USER.0, USER.1)])
            .args(more)
            .arg("--ready-file")
            .arg(dir.join(READY))
            .arg("--data-dir")
            .arg(dir)
            .env("MILLRACE_CONFIG", "/dev/null")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        command
    })
    .unwrap()
}

/// How a client reaches the server.
enum Wire {
    Udp(UdpSocket),
    Tcp(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// A TURN client with one allocation at most.
struct Client {
    wire: Wire,
    /// What was read of a stream and not used yet.
    read: Vec<u8>,
    nonce: Vec<u8>,
    realm: Vec<u8>,
    next: u8,
}

impl Client {
    fn new(wire: Wire) -> Self {
        Self { wire, read: Vec::new(), nonce: Vec::new(), realm: Vec::new(), next: 0 }
    }

    fn udp(port: u16) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(("127.0.0.1", port)).unwrap();
        socket.set_read_timeout(Some(AGAIN)).unwrap();
        Self::new(Wire::Udp(socket))
    }

    fn tcp(port: u16) -> io::Result<Self> {
        Ok(Self::new(Wire::Tcp(connect(port)?)))
    }

    fn tls(port: u16, dir: &Path) -> io::Result<Self> {
        let mut stream = StreamOwned::new(trusting(dir), connect(port)?);
        stream.flush()?;
        Ok(Self::new(Wire::Tls(Box::new(stream))))
    }

    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        let padding = &[0; 3][..message.len().next_multiple_of(4) - message.len()];
        match &mut self.wire {
            Wire::Udp(socket) => socket.send(message).map(drop),
            Wire::Tcp(stream) => stream.write_all(&[message, padding].concat()),
            Wire::Tls(stream) => stream.write_all(&[message, padding].concat()),
        }
    }

    fn receive(&mut self) -> io::Result<Vec<u8>> {
        let stream: &mut dyn Read = match &mut self.wire {
            Wire::Udp(socket) => {
                let mut datagram = vec![0; 2048];
                let len = socket.recv(&mut datagram)?;
                datagram.truncate(len);
                return Ok(datagram);
            }
            Wire::Tcp(stream) => stream,
            Wire::Tls(stream) => stream.as_mut(),
        };
        loop {
            if let Some(len) = message_len(&self.read).expect("only TURN comes here")
                && len <= self.read.len()
            {
                return Ok(self.read.drain(..len).collect());
            }
            let mut chunk = [0; 2048];
            match stream.read(&mut chunk)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                len => self.read.extend_from_slice(&chunk[..len]),
            }
        }
    }

    /// Sends and waits for what `fits`; on UDP again and again.
    fn exchange<T>(&mut self, message: &[u8], fits: impl Fn(&[u8]) -> Option<T>) -> io::Result<T> {
        let start = Instant::now();
        self.send(message)?;
        loop {
            match self.receive() {
                Ok(answer) => {
                    if let Some(found) = fits(&answer) {
                        return Ok(found);
                    }
                }
                Err(error) if matches!(self.wire, Wire::Udp(_)) && start.elapsed() < PATIENCE => {
                    assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{error}");
                    self.send(message)?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn transaction(&mut self) -> TransactionId {
        self.next += 1;
        TransactionId([self.next; 12])
    }

    /// A request with credentials, once more with what a refusal brings of them.
    fn ask(&mut self, method: Method, more: impl Fn(&mut Writer<'_>)) -> io::Result<Vec<u8>> {
        loop {
            let transaction = self.transaction();
            let mut request = [0; 512];
            let mut writer = Writer::request(&mut request, method, transaction);
            more(&mut writer);
            if !self.nonce.is_empty() {
                writer.username(USER.0.as_bytes());
                writer.realm(&self.realm);
                writer.nonce(&self.nonce);
                writer.integrity(&IntegrityKey::long_term(USER.0.as_bytes(), &self.realm, USER.1.as_bytes()));
            }
            let len = writer.finish().unwrap();
            let answer = self.exchange(&request[..len], |answer| {
                let message = Message::parse(answer).ok()?;
                (message.transaction() == transaction).then(|| answer.to_vec())
            })?;
            let message = Message::parse(&answer).unwrap();
            let code = message.error_code().map(|(code, _)| code);
            if !matches!(code, Some(ErrorCode::UNAUTHENTICATED | ErrorCode::STALE_NONCE)) {
                return Ok(answer);
            }
            let nonce = message.nonce().unwrap().to_vec();
            assert_ne!(nonce, self.nonce, "refused with the credentials that it gave");
            (self.nonce, self.realm) = (nonce, message.realm().unwrap().to_vec());
        }
    }

    fn succeed(&mut self, method: Method, more: impl Fn(&mut Writer<'_>)) -> io::Result<Vec<u8>> {
        let answer = self.ask(method, more)?;
        let message = Message::parse(&answer).unwrap();
        assert_eq!(
            message.class(),
            Class::Success,
            "{method:?}: {:?}",
            message.error_code().map(|(code, _)| code)
        );
        Ok(answer)
    }

    /// An allocation with a channel to `peer`; gives the relayed address.
    fn allocate(&mut self, peer: SocketAddr) -> io::Result<SocketAddr> {
        let answer = self.succeed(Method::ALLOCATE, |writer| writer.requested_transport(17))?;
        self.succeed(Method::CHANNEL_BIND, |writer| {
            writer.channel_number(CHANNEL);
            writer.xor_peer_address(peer);
        })?;
        Ok(Message::parse(&answer).unwrap().xor_relayed_address().unwrap())
    }

    /// A Binding by the channel, which the media port answers with where it came from: the relayed address.
    fn seen_by_channel(&mut self) -> io::Result<SocketAddr> {
        let (transaction, binding) = self.binding();
        let len = u16::try_from(binding.len()).unwrap();
        let message = [&CHANNEL.to_be_bytes()[..], &len.to_be_bytes(), &binding].concat();
        self.exchange(&message, |answer| {
            let data = answer.strip_prefix(&CHANNEL.to_be_bytes())?.get(2..)?;
            mapped(data, transaction)
        })
    }

    /// The same by indications, which a permission is enough for.
    fn seen_by_permission(&mut self, peer: SocketAddr) -> io::Result<SocketAddr> {
        let (transaction, binding) = self.binding();
        let mut indication = [0; 256];
        let mut writer = Writer::new(&mut indication, Class::Indication, Method::SEND, transaction);
        writer.xor_peer_address(peer);
        writer.attribute(AttributeType::DATA, &binding);
        let len = writer.finish().unwrap();
        self.exchange(&indication[..len], |answer| {
            let message = Message::parse(answer).ok()?;
            assert_eq!(message.xor_peer_address(), Some(peer));
            mapped(message.find(AttributeType::DATA)?, transaction)
        })
    }

    fn binding(&mut self) -> (TransactionId, Vec<u8>) {
        let transaction = self.transaction();
        let mut binding = [0; 20];
        let len = Writer::request(&mut binding, Method::BINDING, transaction).finish().unwrap();
        (transaction, binding[..len].to_vec())
    }
}

fn mapped(answer: &[u8], transaction: TransactionId) -> Option<SocketAddr> {
    let message = Message::parse(answer).ok()?;
    (message.transaction() == transaction).then(|| message.xor_mapped_address())?
}

fn connect(port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Trusts the certificate that was made at the first start.
fn trusting(dir: &Path) -> ClientConnection {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(dir.join("tls-certificate.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").unwrap()).unwrap()
}

fn here(port: &Value) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], u16::try_from(port.as_u64().unwrap()).unwrap()))
}

/// One request at the relay's control socket.
fn command(stream: &mut UnixStream, request: u64, shard: u32, command: Ask) -> Reply {
    let mut bytes = Vec::new();
    let frame = ToRelay { request, shard, command: Some(command), ..ToRelay::default() };
    frame::encode(&frame, &mut bytes).unwrap();
    stream.write_all(&bytes).unwrap();
    let mut read = Vec::new();
    loop {
        while let Some((answer, taken)) = frame::decode::<FromRelay>(&read).unwrap() {
            read.drain(..taken);
            if answer.request == request {
                return answer.reply.unwrap();
            }
        }
        let mut chunk = [0; 4096];
        let len = stream.read(&mut chunk).unwrap();
        assert!(len > 0, "the relay closed the connection");
        read.extend_from_slice(&chunk[..len]);
    }
}

#[test]
fn an_allocation_its_permission_and_its_channel_outlive_a_panic() {
    let more = ["--shards", "2", "--allow-fault-injection"];
    let mut relay = start(env!("CARGO_BIN_EXE_millrace-relay"), &more);
    let ready = relay.dir().join(READY);
    let ready = relay.ready_file(&ready).unwrap();
    let media = [0, 1].map(|shard| here(&ready["shards"][shard]["port"]));
    let turn_port = here(&ready["turn_port"]).port();
    // The kernel spreads them over the shards.
    let mut clients: Vec<_> = (0..8).map(|_| Client::udp(turn_port)).collect();
    let mut relayed = Vec::new();
    for client in &mut clients {
        relayed.push(client.allocate(media[0]).unwrap());
        client.succeed(Method::CREATE_PERMISSION, |writer| writer.xor_peer_address(media[1])).unwrap();
    }
    let mut check = |when: &str| {
        for (client, relayed) in clients.iter_mut().zip(&relayed) {
            assert_eq!(client.seen_by_channel().unwrap(), *relayed, "{when}");
            assert_eq!(client.seen_by_permission(media[1]).unwrap(), *relayed, "{when}");
        }
    };
    check("before");
    let mut control = UnixStream::connect(relay.dir().join("control.sock")).unwrap();
    control.set_read_timeout(Some(PATIENCE)).unwrap();
    let hello = Ask::Hello(ClientHello { version: contract::VERSION, ..ClientHello::default() });
    assert!(matches!(command(&mut control, 1, 0, hello), Reply::Hello(_)));
    for shard in 0..2 {
        // A shard without a peer does not count how often it was rebuilt.
        let put = Ask::PutPeer(peer(1 + u64::from(shard)));
        assert!(matches!(command(&mut control, 4 + u64::from(shard), shard, put), Reply::Done(_)));
        let panic = Ask::InjectPanic(contract::InjectPanic {});
        assert!(matches!(command(&mut control, 2 + u64::from(shard), shard, panic), Reply::Done(_)));
    }
    let mut request = 10;
    awaited("both shards are rebuilt", || {
        request += 1;
        rebuilds(command(&mut control, request, 0, Ask::Counters(contract::CountersRequest {})))
            .filter(|&count| count == 2)
    });
    check("after");
    for client in &mut clients {
        client.succeed(Method::REFRESH, |writer| writer.lifetime_s(600)).unwrap();
        client.succeed(Method::REFRESH, |writer| writer.lifetime_s(0)).unwrap();
    }
}

fn peer(peer: u64) -> contract::PutPeer {
    contract::PutPeer {
        room: 1,
        peer,
        local_ufrag: format!("ours{peer}"),
        local_pwd: "abcdefghijklmnopqrstuv".into(),
        remote_ufrag: "their".into(),
        remote_pwd: "abcdefghijklmnopqrstuv".into(),
        remote_fingerprint: vec![7; 32],
        ..Default::default()
    }
}

fn rebuilds(reply: Reply) -> Option<u64> {
    let Reply::Counters(stats) = reply else { panic!("no statistics: {reply:?}") };
    let counters = stats.shards.iter().flat_map(|shard| &shard.counters);
    Some(counters.filter(|counter| counter.name == "rebuilds").map(|counter| counter.value).sum())
}

/// Statistics by plain HTTP, or nothing while nobody answers.
fn stats(ready: &Value) -> Option<Value> {
    let authority = ready["http_url"].as_str().unwrap().strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(authority).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // "OPENVIDUAPP:of this test"
    let request = format!(
        "GET /millrace/stats HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\
         Authorization: Basic T1BFTlZJRFVBUFA6b2YgdGhpcyB0ZXN0\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
}

fn kill(pid: &Value) {
    assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
}

#[test]
fn streams_outlive_signaling_and_allocate_anew_after_the_relay() {
    let more =
        ["--json", "--https-port", "0", "--http-port", "0", "--shards", "2", "--secret", "of this test"];
    let mut server = start(env!("CARGO_BIN_EXE_millrace"), &more);
    let ready = server.first_line().unwrap();
    let before = awaited("statistics", || stats(&ready));
    let media = here(&ready["shards"][1]["port"]);
    let turn_port = here(&before["relay"]["turnPort"]).port();
    let https_port = here(&before["relay"]["httpsPort"]).port();
    let open = |media: SocketAddr| {
        let clients =
            [Client::tcp(turn_port)?, Client::tcp(https_port)?, Client::tls(https_port, server.dir())?];
        clients
            .into_iter()
            .map(|mut client| Ok((client.allocate(media)?, client)))
            .collect::<io::Result<Vec<_>>>()
    };
    let mut clients = open(media).unwrap();
    let mut check = |when: &str| {
        for (relayed, client) in &mut clients {
            assert_eq!(client.seen_by_channel().expect(when), *relayed, "{when}");
        }
    };
    check("at first");

    kill(&ready["pids"]["signaling"]);
    check("without signaling");
    let after = awaited("another signaling", || {
        stats(&ready).filter(|stats| stats["signaling"]["pid"] != before["signaling"]["pid"])
    });
    assert_eq!(after["relay"]["pid"], before["relay"]["pid"]);
    check("with another signaling");

    kill(&ready["pids"]["relay"]);
    for (_, client) in &mut clients {
        assert!(client.seen_by_channel().is_err(), "the connection ends with the relay");
    }
    let after = awaited("another relay", || {
        stats(&ready).filter(|stats| {
            stats["relay"]["connected"] == true && stats["relay"]["pid"] != before["relay"]["pid"]
        })
    });
    // Any free one: another one than before.
    let media = here(&after["shards"][1]["port"]);
    let anew = awaited("allocations of another relay", || open(media).ok());
    for (relayed, mut client) in anew {
        assert_eq!(client.seen_by_channel().unwrap(), relayed);
    }
}
