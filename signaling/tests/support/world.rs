//! A signaling with its relay: in the test's own process, or in one that can be killed.

use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine as _;
use clap::Parser as _;
use millrace_control::PeerState;
use millrace_signaling::store::Store;
use millrace_signaling::{Config, Server};
use millrace_testkit::{Running, Scratch, scratch};
use serde_json::json;

use super::{Answer, Client, FakeRelay, PATIENCE, request};

pub const SECRET: &str = "test-secret";

pub fn basic(secret: &str) -> String {
    let pair = base64::engine::general_purpose::STANDARD.encode(format!("OPENVIDUAPP:{secret}"));
    format!("Basic {pair}")
}

pub struct World {
    pub relay: FakeRelay,
    pub server: Server,
    pub port: u16,
    pub dir: Scratch,
}

impl World {
    pub async fn start() -> Self {
        Self::with(2, |_| ()).await
    }

    /// Starts with so many shards and a changed configuration, and waits until it is ready.
    pub async fn with(shards: u32, change: impl FnOnce(&mut Config)) -> Self {
        let dir = scratch();
        let relay = FakeRelay::start(&dir, shards);
        Self::over(dir, relay, change).await
    }

    /// Starts on the data of one that was killed, with a relay that holds nothing.
    pub async fn at(dir: Scratch, change: impl FnOnce(&mut Config)) -> Self {
        let relay = FakeRelay::start(&dir, 1);
        Self::over(dir, relay, change).await
    }

    /// Starts with another store.
    pub async fn over_store(store: Box<dyn Store>) -> Self {
        let dir = scratch();
        let relay = FakeRelay::start(&dir, 1);
        let config = Config::try_parse_from(arguments(&dir)).unwrap();
        let server = Server::over(config, || Ok(store)).await.unwrap();
        Self::ready(dir, relay, server).await
    }

    async fn over(dir: Scratch, relay: FakeRelay, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::try_parse_from(arguments(&dir)).unwrap();
        change(&mut config);
        let server = Server::start(config).await.unwrap();
        Self::ready(dir, relay, server).await
    }

    async fn ready(dir: Scratch, relay: FakeRelay, server: Server) -> Self {
        relay.until(|held| held.connections == 1).await;
        server.app().link.ready(tokio::time::Instant::now() + PATIENCE).await.unwrap();
        let port = server.http_port;
        Self { relay, server, port, dir }
    }

    pub async fn rest(&self, method: &str, path: &str, body: &str) -> Answer {
        request(self.port, method, path, Some(&basic(SECRET)), body).await
    }

    /// How far a peer got, as signaling knows it.
    pub fn peer_state(&self, peer: u64) -> PeerState {
        let cell = self.server.app().registry.of_endpoint(peer).unwrap();
        cell.lock_any().peers.get(peer).unwrap().state
    }

    pub async fn session(&self) -> String {
        session(self.port).await
    }

    pub async fn token(&self, session: &str, role: &str) -> String {
        token(self.port, session, role).await
    }

    /// Joins somebody new; gives the client and its connection id.
    pub async fn join(&self, session: &str, role: &str) -> (Client, String) {
        join(self.port, session, role).await
    }
}

/// A signaling in a process of its own.
pub struct Process {
    running: Running,
    pub port: u16,
}

impl Process {
    /// Starts the program on `dir` and waits for its ready file.
    pub async fn start(dir: &Path) -> Self {
        Self::with(dir, &[]).await
    }

    /// The same with more arguments.
    pub async fn with(dir: &Path, more: &[&str]) -> Self {
        let ready = dir.join("ready.json");
        let _ = std::fs::remove_file(&ready);
        let mut command = Command::new(env!("CARGO_BIN_EXE_millrace-signaling"));
        command.args(arguments(dir).into_iter().skip(1)).args(more).arg("--ready-file").arg(&ready);
        let mut running = Running::start(command.stdin(Stdio::null())).unwrap();
        // The stand-in of the relay runs meanwhile.
        let awaited =
            tokio::task::spawn_blocking(move || running.ready_file(&ready).map(|told| (running, told)));
        let (running, told) = awaited.await.unwrap().unwrap();
        assert_eq!(told["pid"], running.pid());
        Self { running, port: told["http_port"].as_u64().unwrap().try_into().unwrap() }
    }

    /// kill -9.
    pub fn kill(mut self) {
        self.running.kill();
    }

    /// SIGTERM; gives whether it ended well.
    pub fn terminate(self) -> bool {
        self.tell_to_end();
        self.ends_well()
    }

    /// SIGTERM.
    pub fn tell_to_end(&self) {
        self.running.signal("TERM").unwrap();
    }

    /// SIGTERM again and again, as an operator who has no patience; gives the status it ended with.
    pub async fn insist(mut self) -> Option<i32> {
        loop {
            self.tell_to_end();
            if let Some(status) = self.running.child().try_wait().unwrap() {
                return status.code();
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    /// Waits for its end; gives whether that is a good one.
    pub fn ends_well(mut self) -> bool {
        self.running.wait().unwrap().success()
    }
}

fn arguments(dir: &Path) -> Vec<String> {
    let data = dir.join("data").display().to_string();
    let socket = dir.join("control.sock").display().to_string();
    let arguments = ["millrace-signaling", "--https-port", "0", "--http-port", "0", "--secret", SECRET];
    let paths = ["--data-dir", &data, "--control-socket", &socket];
    arguments.into_iter().chain(paths).map(str::to_owned).collect()
}

/// Makes a session; gives its id.
pub async fn session(port: u16) -> String {
    let made = request(port, "POST", "/openvidu/api/sessions", Some(&basic(SECRET)), "{}").await;
    assert_eq!(made.status, 200, "{made:?}");
    made.json()["id"].as_str().unwrap().to_owned()
}

/// Makes a connection; gives its token's URL.
pub async fn token(port: u16, session: &str, role: &str) -> String {
    let path = format!("/openvidu/api/sessions/{session}/connection");
    let body = json!({"role": role}).to_string();
    let made = request(port, "POST", &path, Some(&basic(SECRET)), &body).await;
    assert_eq!(made.status, 200, "{made:?}");
    made.json()["token"].as_str().unwrap().to_owned()
}

/// Joins somebody new; gives the client and its connection id.
pub async fn join(port: u16, session: &str, role: &str) -> (Client, String) {
    let token = token(port, session, role).await;
    let (client, joined) = Client::join(port, session, &token).await;
    (client, joined["id"].as_str().unwrap().to_owned())
}
