//! A signaling with its relay: in the test's own process, or in one that can be killed.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use base64::Engine as _;
use clap::Parser as _;
use millrace_signaling::{Config, Server};
use serde_json::{Value, json};

use super::{Answer, Client, FakeRelay, PATIENCE, request};

pub const SECRET: &str = "test-secret";

/// A new empty directory.
pub fn scratch() -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let dir = std::env::temp_dir().join(format!("millrace-signaling-test-{}-{number}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

pub fn basic(secret: &str) -> String {
    let pair = base64::engine::general_purpose::STANDARD.encode(format!("OPENVIDUAPP:{secret}"));
    format!("Basic {pair}")
}

pub struct World {
    pub relay: FakeRelay,
    pub server: Server,
    pub port: u16,
    pub dir: PathBuf,
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
    pub async fn at(dir: PathBuf, change: impl FnOnce(&mut Config)) -> Self {
        let relay = FakeRelay::start(&dir, 1);
        Self::over(dir, relay, change).await
    }

    async fn over(dir: PathBuf, relay: FakeRelay, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::try_parse_from(arguments(&dir)).unwrap();
        change(&mut config);
        let server = Server::start(config).await.unwrap();
        relay.until(|held| held.connections == 1).await;
        server.app().link.ready(tokio::time::Instant::now() + PATIENCE).await.unwrap();
        let port = server.http_port;
        Self { relay, server, port, dir }
    }

    pub async fn rest(&self, method: &str, path: &str, body: &str) -> Answer {
        request(self.port, method, path, Some(&basic(SECRET)), body).await
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
    child: Child,
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
        let child = command.stdin(Stdio::null()).spawn().unwrap();
        let mut process = Self { child, port: 0 };
        let began = Instant::now();
        // A file in a directory gives no event without more machinery than this is worth.
        while !ready.exists() {
            assert!(began.elapsed() < PATIENCE, "it did not get ready");
            assert!(process.child.try_wait().unwrap().is_none(), "it ended");
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        let told: Value = serde_json::from_slice(&std::fs::read(&ready).unwrap()).unwrap();
        assert_eq!(told["pid"], process.child.id());
        process.port = told["http_port"].as_u64().unwrap().try_into().unwrap();
        process
    }

    /// kill -9.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM; gives whether it ended well.
    pub fn terminate(self) -> bool {
        self.tell_to_end();
        self.ends_well()
    }

    /// SIGTERM.
    pub fn tell_to_end(&self) {
        let kill = Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        assert!(kill.success());
    }

    /// SIGTERM again and again, as an operator who has no patience; gives the status it ended with.
    pub async fn insist(mut self) -> Option<i32> {
        loop {
            self.tell_to_end();
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    /// Waits for its end; gives whether that is a good one.
    pub fn ends_well(mut self) -> bool {
        self.child.wait().unwrap().success()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
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
