//! A small crowd against the whole server, and what it leaves behind: no demand on speed.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use clap::Parser;
use millrace_loadtest::crowd::{CrowdOptions, run};
use serde_json::Value;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    crowd: CrowdOptions,
}

/// A started server with a data directory of its own; both end with the test.
struct Server {
    process: Child,
    dir: PathBuf,
    ready: Value,
}

impl Server {
    fn start() -> Self {
        // The workspace's tests build it too.
        let deps = std::env::current_exe().unwrap();
        let program = deps.ancestors().nth(2).unwrap().join("millrace");
        assert!(program.exists(), "no {}; build it with cargo build --bin millrace", program.display());
        let dir = std::env::temp_dir().join(format!("millrace-crowd-{}", std::process::id()));
        let mut command = Command::new(program);
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
    let words = ["x", "--url", &url, "--secret", &secret, "--pid", &pid, "--sessions", "50", "--rounds", "3"];
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
