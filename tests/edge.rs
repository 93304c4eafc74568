//! HTTPS by the front command: the relay has the port, signaling the requests, and either may end without the other.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::ops::Deref;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use millrace_testkit::{self as testkit, PATIENCE};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;

/// The front command on free ports, ended with the test.
struct Server(testkit::Server);

impl Deref for Server {
    type Target = testkit::Server;

    fn deref(&self) -> &testkit::Server {
        &self.0
    }
}

impl Server {
    fn start() -> Self {
        let command = Command::new(env!("CARGO_BIN_EXE_millrace"));
        Self(testkit::Server::start(command, &["--secret", "of this test"]).unwrap())
    }

    /// What answers at the port of HTTPS, for the application's user.
    fn get(&self, path: &str) -> std::io::Result<(u16, Value)> {
        let authority = self.text("url").strip_prefix("https://").unwrap();
        let stream = TcpStream::connect(authority)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut stream = StreamOwned::new(trusting(self.dir()), stream);
        // "OPENVIDUAPP:of this test"
        let credentials = "T1BFTlZJRFVBUFA6b2YgdGhpcyB0ZXN0";
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: {authority}\r\nAuthorization: Basic {credentials}\r\n\
             Connection: close\r\n\r\n"
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
    let server = Server::start();
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
    let server = Server::start();
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
    let server = Server::start();
    assert_eq!(server.stats()["edge"]["edge_certificate_renewed"], 0);
    let told = Command::new("kill").args(["-HUP", &server.pid().to_string()]).status().unwrap();
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
