//! A certificate from a certificate authority: a real one for tests (Debian's `pebble`) looks over HTTP for the answer, gives one,
//! and HTTPS has it while everything goes on running.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::io::{self, BufRead as _, BufReader};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use millrace_testkit::{PATIENCE, scratch};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};

const FETCHED: &str = "tls-letsencrypt.pem";

/// Ports that nobody has now, all different.
fn free_ports<const N: usize>() -> [u16; N] {
    let held = [(); N].map(|()| TcpListener::bind("[::]:0").unwrap());
    held.map(|socket| socket.local_addr().unwrap().port())
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}

/// The certificate authority, ended with the test.
struct Pebble {
    child: Child,
    port: u16,
    management_port: u16,
    /// Its own certificate, which it is trusted by.
    ca_file: PathBuf,
}

impl Pebble {
    /// One that looks at `http_port`, and whose certificates are valid for so many seconds.
    fn start(dir: &Path, http_port: u16, validity_s: u32) -> Self {
        let [port, management_port] = free_ports();
        let key = rcgen::KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned()];
        let own = rcgen::CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
        let (ca_file, key_file, config) = (dir.join("ca.pem"), dir.join("ca.key"), dir.join("pebble.json"));
        fs::write(&ca_file, own.pem()).unwrap();
        fs::write(&key_file, key.serialize_pem()).unwrap();
        let settings = json!({"pebble": {
            "listenAddress": format!("127.0.0.1:{port}"),
            "managementListenAddress": format!("127.0.0.1:{management_port}"),
            "certificate": ca_file, "privateKey": key_file,
            "httpPort": http_port, "tlsPort": 1, "certificateValidityPeriod": validity_s,
        }});
        fs::write(&config, settings.to_string()).unwrap();
        let mut child = Command::new("pebble")
            .arg("-config")
            .arg(config)
            // It is quick, takes what is right, and looks every time.
            .env("PEBBLE_VA_NOSLEEP", "1")
            .env("PEBBLE_WFE_NONCEREJECT", "0")
            .env("PEBBLE_AUTHZREUSE", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("pebble is needed: `cargo xtask setup` installs it");
        let output = child.stdout.take().unwrap();
        let pebble = Self { child, port, management_port, ca_file };
        // Pebble blocks when nobody reads its output.
        drop(lines(output));
        // It says that it listens before it does so, and opens the two ports in any order.
        for port in [port, management_port] {
            until_open(port);
        }
        pebble
    }

    /// Trusts what it signs, and nothing else.
    fn roots(&self) -> RootCertStore {
        let (_, mut stream) = connect(self.management_port, roots_of(&self.ca_file)).unwrap();
        let (_, pem) = get(&mut stream, "/roots/0");
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
        roots
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The front command, ended with the test.
struct Server {
    child: Child,
    https_port: u16,
    log: Receiver<String>,
}

impl Server {
    fn start(dir: &Path, pebble: &Pebble, redirect_port: u16) -> Self {
        let directory = format!("https://localhost:{}/dir", pebble.port);
        let mut command = Command::new(env!("CARGO_BIN_EXE_millrace"));
        command.args([
            "--json",
            "--https-port",
            "0",
            "--http-port",
            "0",
            "--media-port",
            "0",
            "--shards",
            "1",
        ]);
        command.args(["--turn-port", "0", "--turn-tls-port", "0", "--public-url", "https://localhost"]);
        command.arg("--data-dir").arg(dir.join("data"));
        let mut child = command
            .env("MILLRACE_CONFIG", "/dev/null")
            .env("MILLRACE_CERTIFICATE_TYPE", "letsencrypt")
            .env("MILLRACE_LETSENCRYPT_EMAIL", "admin@example.org")
            .env("MILLRACE_ACME_DIRECTORY", directory)
            .env("MILLRACE_REDIRECT_PORT", redirect_port.to_string())
            .env("SSL_CERT_FILE", &pebble.ca_file)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = lines(child.stderr.take().unwrap());
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap();
        let https_port = ready["url"].as_str().unwrap().rsplit(':').next().unwrap().parse().unwrap();
        Self { child, https_port, log }
    }

    /// The certificate that HTTPS has, if who trusts only `roots` takes it.
    fn certificate(&self, roots: &RootCertStore) -> Option<Vec<u8>> {
        connect(self.https_port, roots.clone()).ok().map(|(certificate, _)| certificate)
    }

    /// Asks until it has one that who trusts `roots` takes and that is not `old`.
    fn new_certificate(&self, roots: &RootCertStore, old: &[u8]) -> Vec<u8> {
        let start = Instant::now();
        loop {
            match self.certificate(roots) {
                Some(certificate) if certificate != old => return certificate,
                _ => assert!(
                    start.elapsed() < PATIENCE,
                    "no new certificate: {:#?}",
                    self.log.try_iter().collect::<Vec<_>>()
                ),
            }
            // The edge looks once a second.
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The front command ends its children when it is told to.
        signal(&self.child, "-TERM");
        let _ = self.child.wait();
    }
}

/// Reads on for ever, so that whoever writes is never held up.
fn lines(from: impl io::Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    receiver
}

/// Waits until something accepts connections on this port.
fn until_open(port: u16) {
    let start = Instant::now();
    while let Err(error) = TcpStream::connect(("127.0.0.1", port)) {
        assert!(start.elapsed() < PATIENCE, "port {port} is not open: {error}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits for a line that has these words.
fn heard(lines: &Receiver<String>, words: &str) -> String {
    let start = Instant::now();
    loop {
        let line = lines.recv_timeout(PATIENCE.saturating_sub(start.elapsed()));
        let line = line.unwrap_or_else(|_| panic!("nobody said: {words}"));
        if line.contains(words) {
            return line;
        }
    }
}

fn roots_of(file: &Path) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(file).unwrap()).unwrap();
    roots
}

type Stream = StreamOwned<ClientConnection, TcpStream>;

/// Shakes hands as one who looks for `localhost` and trusts only `roots`; gives the certificate that was shown.
fn connect(port: u16, roots: RootCertStore) -> io::Result<(Vec<u8>, Stream)> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut tls =
        ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").unwrap()).unwrap();
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    while tls.is_handshaking() {
        tls.complete_io(&mut stream)?;
    }
    let shown = tls.peer_certificates().unwrap()[0].to_vec();
    Ok((shown, StreamOwned::new(tls, stream)))
}

/// Head and body of an answer.
fn get(stream: &mut (impl io::Read + io::Write), path: &str) -> (String, String) {
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{read:?}: {answer}"));
    (head.to_owned(), body.to_owned())
}

#[test]
fn a_certificate_is_fetched_and_kept() {
    let dir = scratch();
    let [redirect_port] = free_ports();
    let pebble = Pebble::start(&dir, redirect_port, 86_400 * 90);
    let roots = pebble.roots();
    // It does not answer for now: whoever comes in the meantime is served all the same.
    signal(&pebble.child, "-STOP");
    let server = Server::start(&dir, &pebble, redirect_port);
    heard(&server.log, "connections at a time: HTTPS ");
    heard(&server.log, "a certificate is asked for");
    let file = dir.join("data").join(FETCHED);
    assert!(server.certificate(&roots_of(&file)).is_some(), "one of our own");
    assert!(server.certificate(&roots).is_none());
    signal(&pebble.child, "-CONT");

    let fetched = server.new_certificate(&roots, &[]);
    heard(&server.log, "the certificate is there, for 89 days");
    for name in [FETCHED, "acme-account.json"] {
        let mode = fs::metadata(dir.join("data").join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let (head, _) = get(&mut TcpStream::connect(("127.0.0.1", redirect_port)).unwrap(), "/room?x=y");
    assert!(
        head.starts_with("HTTP/1.1 301") && head.contains("location: https://localhost/room?x=y"),
        "{head}"
    );

    // Nobody is asked again for what is there.
    drop(server);
    signal(&pebble.child, "-STOP");
    let server = Server::start(&dir, &pebble, redirect_port);
    assert_eq!(server.certificate(&roots), Some(fetched));
    signal(&pebble.child, "-CONT");
}

#[test]
fn it_is_renewed_while_everything_runs() {
    let dir = scratch();
    let [redirect_port] = free_ports();
    let pebble = Pebble::start(&dir, redirect_port, 15);
    let roots = pebble.roots();
    let server = Server::start(&dir, &pebble, redirect_port);
    let first = server.new_certificate(&roots, &[]);
    let second = server.new_certificate(&roots, &first);
    let third = server.new_certificate(&roots, &second);
    assert!(first != third && !dir.join("data/tls-letsencrypt.trial").exists());
    assert!(server.log.try_iter().all(|line| !line.contains("no certificate")));
}

#[test]
fn an_operator_hears_why_there_is_none() {
    let dir = scratch();
    let [redirect_port, closed_port] = free_ports();
    let pebble = Pebble::start(&dir, closed_port, 15);
    let server = Server::start(&dir, &pebble, redirect_port);
    let line = heard(&server.log, "no certificate");
    assert!(
        line.contains("connection refused") && line.contains("Is TCP port 80 of this machine open"),
        "{line}"
    );
    assert!(line.contains("Tried again in 240 s"), "{line}");
    assert!(
        server.certificate(&roots_of(&dir.join("data").join(FETCHED))).is_some(),
        "one of our own meanwhile"
    );
}
