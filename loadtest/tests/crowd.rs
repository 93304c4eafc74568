//! Small crowds against the whole server, and against signaling with a stand-in of the relay: no demand on speed.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use clap::Parser;
use millrace_loadtest::crowd::{CrowdOptions, media, run};
use serde_json::Value;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    crowd: CrowdOptions,
}

/// A program that the workspace's tests build too.
fn built(name: &str) -> PathBuf {
    let deps = std::env::current_exe().unwrap();
    let program = deps.ancestors().nth(2).unwrap().join(name);
    assert!(program.exists(), "no {}; build it with cargo build --bin {name}", program.display());
    program
}

/// A started server with a data directory of its own; both end with the test.
struct Server {
    process: Child,
    dir: PathBuf,
    ready: Value,
}

impl Server {
    fn start() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("millrace-crowd-{}-{number}", std::process::id()));
        let mut command = Command::new(built("millrace"));
        command.args([
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
        ]);
        command.arg("--data-dir").arg(&dir).env("MILLRACE_CONFIG", "/dev/null").env("MILLRACE_LOG", "warn");
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { process, dir, ready: serde_json::from_str(&line).unwrap() }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The front command ends its children when it is told to.
        let _ = Command::new("kill").arg(self.process.id().to_string()).status();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crowd_took_goes_back_to_the_system_each_time() {
    let server = Server::start();
    let text = |name: &str| server.ready[name].as_str().unwrap().to_owned();
    let pid = server.ready["pids"]["signaling"].to_string();
    let (url, secret) = (text("url"), text("secret"));
    let words =
        ["x", "--url", &url, "--secret", &secret, "--pid", &pid, "--participants", "200", "--rounds", "3"];
    let options = Cli::parse_from(words.into_iter().chain(["--warm-up"])).crowd;
    let report = run(&options).await.unwrap();
    let heap: Vec<u64> = report.memory().iter().map(|memory| memory.anonymous_kib).collect();
    let taken = report.peak().anonymous_kib.saturating_sub(heap[0]);
    assert!(taken > 1_000, "200 participants take memory: {}", report.table());
    for after in &heap[1..] {
        // Kept and leaking alike: a third each time would be too much after the second round.
        let kept = after.saturating_sub(heap[0]);
        assert!(kept < taken / 2, "{kept} of {taken} KiB were kept: {}", report.table());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everyone_publishes_and_watches_all_others_of_the_room() {
    let server = Server::start();
    let text = |name: &str| server.ready[name].as_str().unwrap().to_owned();
    let (url, secret) = (text("http_url"), text("secret"));
    let words = "--media --participants 200 --room-size 5 --rate 40 --poll --leave --candidates 2";
    let target = ["x", "--url", &url, "--secret", &secret];
    let options = Cli::parse_from(target.into_iter().chain(words.split_ascii_whitespace())).crowd;
    let report = media::run(&options).await.unwrap();
    assert_eq!(report.errors(), [] as [String; 0], "{}", report.table());
    assert_eq!(report.counts(), (200, 200, 200 * 4), "{}", report.table());
    assert_eq!(report.left(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_signaling_loses_no_participant_and_removes_no_live_peer() {
    let signaling = built("millrace-signaling").display().to_string();
    let words = "--media --stand-in --participants 20 --room-size 5 --rate 20 --restart-signaling";
    let target = ["x", "--signaling", &signaling];
    let options = Cli::parse_from(target.into_iter().chain(words.split_ascii_whitespace())).crowd;
    let report = media::run(&options).await.unwrap();
    // What the restart cost anyone is among the errors.
    assert_eq!(report.errors(), [] as [String; 0], "{}", report.table());
    assert_eq!(report.json()["restart"]["participants"], 20, "{}", report.table());
}
