//! HTTPS by the front command: the relay has the port, signaling the requests, and either may end without the other.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;
use socket2::{Domain, Socket, Type};

const PATIENCE: Duration = Duration::from_secs(60);

/// The front command on free ports, ended with the test.
struct Server {
    child: Child,
    dir: PathBuf,
    ready: Value,
}

impl Server {
    fn start(name: &str) -> Self {
        Self::with(name, &[])
    }

    /// The same with these variables.
    fn with(name: &str, variables: &[(&str, &str)]) -> Self {
        let dir = std::env::temp_dir().join(format!("millrace-edge-test-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        let mut child = Command::new(env!("CARGO_BIN_EXE_millrace"))
            .args([
                "--json",
                "--https-port",
                "0",
                "--http-port",
                "0",
                "--media-port",
                "0",
                "--turn-port",
                "0",
                "--turn-tls-port",
                "0",
                "--shards",
                "1",
            ])
            .args(["--secret", "of this test", "--data-dir"])
            .arg(&dir)
            .env("MILLRACE_CONFIG", "/dev/null")
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { child, dir, ready: serde_json::from_str(&line).unwrap() }
    }

    /// `host:port` of HTTPS.
    fn authority(&self) -> &str {
        self.ready["url"].as_str().unwrap().strip_prefix("https://").unwrap()
    }

    /// What answers at the port of HTTPS, for the application's user.
    fn get(&self, path: &str) -> std::io::Result<(u16, Value)> {
        self.ask("GET", path, "")
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> std::io::Result<(u16, Value)> {
        let authority = self.authority();
        let stream = TcpStream::connect(authority)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut stream = StreamOwned::new(trusting(&self.dir), stream);
        // "OPENVIDUAPP:of this test"
        let credentials = "T1BFTlZJRFVBUFA6b2YgdGhpcyB0ZXN0";
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {authority}\r\nAuthorization: Basic {credentials}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        // Who was talking to a process that was killed hears nothing more.
        let (head, body) = answer.split_once("\r\n\r\n").ok_or(std::io::ErrorKind::UnexpectedEof)?;
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Ok((status, serde_json::from_str(body).unwrap_or_default()))
    }

    fn stats(&self) -> Value {
        let (status, stats) = self.get("/millrace/stats").unwrap();
        assert_eq!(status, 200);
        stats
    }
}

/// A WebSocket over TLS that joins a session.
fn join(server: &Server, session: &str, token: &str) -> Value {
    let stream = TcpStream::connect(server.authority()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut stream = StreamOwned::new(trusting(&server.dir), stream);
    stream.write_all(UPGRADE).unwrap();
    let params = serde_json::json!({
        "token": token, "session": session, "platform": "test", "metadata": "", "secret": "", "recorder": false
    });
    let request =
        serde_json::json!({"jsonrpc": "2.0", "method": "joinRoom", "params": params, "id": 1}).to_string();
    // A text frame (RFC 6455 §5.2) with a length of 16 bits, under a mask that changes nothing.
    let len = u16::try_from(request.len()).unwrap().to_be_bytes();
    let frame = [&[0x81, 0x80 | 126][..], &len, &[0; 4], request.as_bytes()].concat();
    stream.write_all(&frame).unwrap();
    let mut answer = Vec::new();
    loop {
        let mut piece = [0; 4096];
        let len = stream.read(&mut piece).unwrap();
        assert!(len > 0, "closed: {}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&piece[..len]);
        let begin = answer.windows(2).position(|two| two == b"{\"");
        let value = begin.and_then(|begin| serde_json::from_slice::<Value>(&answer[begin..]).ok());
        if let Some(value) = value {
            return value;
        }
    }
}

const UPGRADE: &[u8] =
    b"GET /openvidu HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";

/// Sockets of one address that never join: every other one says nothing at all, the others are WebSockets.
fn silent(port: u16, from: Ipv4Addr, number: usize) -> Vec<TcpStream> {
    let open = |place| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
        socket.connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into()).unwrap();
        let mut stream = TcpStream::from(socket);
        if place % 2 == 0 {
            // From this machine the port takes WebSockets without TLS. One that was refused is gone already.
            let _ = stream.write_all(UPGRADE);
        }
        stream
    };
    (0..number).map(open).collect()
}

impl Drop for Server {
    fn drop(&mut self) {
        // The front command ends its children when it is told to.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
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

fn kill(pid: &Value) {
    assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
}

#[test]
fn a_request_that_comes_while_signaling_is_away_is_answered_when_it_is_back() {
    let server = Server::start("signaling");
    let before = server.stats();
    assert_eq!(before["relay"]["pid"], server.ready["pids"]["relay"]);
    assert_eq!(before["edge"]["edge_http"], 1, "it came by the edge");
    kill(&server.ready["pids"]["signaling"]);
    // At once, and to a process that is only now being started. One that was on its way is lost with it.
    let start = Instant::now();
    let after = loop {
        match server.get("/millrace/stats") {
            Ok((200, stats)) if stats["signaling"]["pid"] != before["signaling"]["pid"] => break stats,
            _ => assert!(start.elapsed() < PATIENCE, "it does not come back"),
        }
    };
    assert_eq!(after["relay"]["pid"], before["relay"]["pid"]);
    assert_eq!(after["edge"]["edge_http_unavailable"], 0, "{after}");
}

#[test]
fn the_relay_comes_back_to_the_same_port() {
    let server = Server::start("relay");
    kill(&server.ready["pids"]["relay"]);
    let start = Instant::now();
    loop {
        match server.get("/millrace/stats") {
            Ok((200, stats)) if stats["relay"]["pid"] != server.ready["pids"]["relay"] => {
                assert_eq!(stats["signaling"]["pid"], server.ready["pids"]["signaling"]);
                return;
            }
            _ => assert!(start.elapsed() < PATIENCE, "it does not come back"),
        }
    }
}

#[test]
fn hanging_up_reads_the_certificate_anew_and_ends_nothing() {
    let server = Server::start("hang-up");
    assert_eq!(server.stats()["edge"]["edge_certificate_renewed"], 0);
    let told = Command::new("kill").args(["-HUP", &server.child.id().to_string()]).status().unwrap();
    assert!(told.success());
    let start = Instant::now();
    loop {
        let stats = server.stats();
        assert_eq!(stats["relay"]["pid"], server.ready["pids"]["relay"]);
        assert_eq!(stats["signaling"]["pid"], server.ready["pids"]["signaling"]);
        if stats["edge"]["edge_certificate_renewed"] == 1 {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "{stats}");
    }
}

#[test]
fn thousands_of_silent_sockets_keep_nobody_out() {
    const EACH: usize = 4_096;
    // Three times as many need more than a shell gives.
    let descriptors = millrace::io::descriptors::raise_limit().unwrap();
    assert!(descriptors > 3 * EACH + 1_000, "raise the limit of open files for this test: {descriptors}");
    // Fewer than come, so that before waiting connections had a budget these took every place.
    let server = Server::with("silent", &[("MILLRACE_SOCKETS_MAX", "6000")]);
    let port = server.authority().rsplit(':').next().unwrap().parse().unwrap();
    let (_, made) = server.ask("POST", "/openvidu/api/sessions", "{}").unwrap();
    let session = made["id"].as_str().unwrap();
    let flood = std::thread::scope(|scope| {
        let from = |host| scope.spawn(move || silent(port, Ipv4Addr::new(127, 0, 0, host), EACH));
        let threads = [2, 3, 4].map(from);
        for _ in 0..5 {
            assert_eq!(server.get("/openvidu/api/sessions").unwrap().0, 200, "while they come");
        }
        threads.map(|thread| thread.join().unwrap())
    });
    for _ in 0..10 {
        let path = format!("/openvidu/api/sessions/{session}/connection");
        let (status, connection) = server.ask("POST", &path, "{}").unwrap();
        assert_eq!(status, 200, "when all have come");
        let joined = join(&server, session, connection["token"].as_str().unwrap());
        assert_eq!(joined["result"]["session"], session, "{joined}");
    }
    let edge = &server.stats()["edge"];
    assert!(edge["edge_displaced"].as_u64().unwrap() + edge["edge_refused"].as_u64().unwrap() > 0, "{edge}");
    drop(flood);
}
