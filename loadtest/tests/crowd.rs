//! A small crowd against the whole server, and what it leaves behind: no demand on speed.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::process::Command;

use clap::Parser;
use millrace_loadtest::crowd::{CrowdOptions, run};
use millrace_testkit::Server;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    crowd: CrowdOptions,
}

/// A started server with a data directory of its own; both end with the test.
fn server() -> Server {
    // The workspace's tests build it too.
    let deps = std::env::current_exe().unwrap();
    let program = deps.ancestors().nth(2).unwrap().join("millrace");
    assert!(program.exists(), "no {}; build it with cargo build --bin millrace", program.display());
    let mut command = Command::new(program);
    command.env("MILLRACE_LOG", "warn");
    Server::start(command, &[]).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crowd_took_goes_back_to_the_system_each_time() {
    let server = server();
    let pid = server.ready["pids"]["signaling"].to_string();
    let (url, secret) = (server.text("url"), server.text("secret"));
    let words = ["x", "--url", url, "--secret", secret, "--pid", &pid, "--sessions", "50", "--rounds", "3"];
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
