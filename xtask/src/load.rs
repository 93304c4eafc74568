//! The load test `millrace-loadtest` against the release build.

use std::process::Command;

use crate::netns;
use crate::report::Outcome;
use crate::server::{Server, binary};
use crate::shell::{exists, program_within, run};
use crate::steps::{Effort, LIMIT_S};
use crate::uclient::free_port;

/// `--account` demands that each packet arrives once and in order, and that the relay allocates nothing for it.
const SMOKE: [&str; 5] = ["--account", "--viewers", "50", "--rate", "1000"];

/// A rate that every machine can carry: this checks that all packets arrive, not what they cost.
const RELAYED: [&str; 13] = [
    "--way",
    "client-to-peer,peer-to-client,client-to-client",
    "--rate",
    "500",
    "--full",
    "0",
    "--allocations",
    "1,10",
    "--seconds",
    "0.2",
    "--rounds",
    "1",
    "--lossless",
];

/// One publisher and 50 viewers.
pub(crate) fn smoke(backend: &str, effort: Effort) -> Outcome {
    let server = match Server::start(backend) {
        Ok(server) => server,
        Err(why) => return Outcome::Failed(why),
    };
    if server.backend != backend {
        return Outcome::Skipped(format!(
            "the kernel refuses {backend}; the server runs on {}",
            server.backend
        ));
    }
    let mut command = loadtest("smoke");
    command.args(["--url", &server.url, "--secret", &server.secret, "--duration", effort.seconds()]);
    run(command.args(SMOKE))
}

/// TURN clients of our own, in each direction.
pub(crate) fn relayed(backend: &str) -> Outcome {
    run(loadtest("turn").args(["--backend", backend]).args(RELAYED))
}

/// The same beside coturn's server. This checks that the comparison works: its figures mean nothing after 0.2 s.
pub(crate) fn beside_coturn() -> Outcome {
    if !exists("turnserver") {
        return Outcome::Failed("turnserver is missing: cargo xtask setup".into());
    }
    run(loadtest("compare").arg("coturn").args(RELAYED))
}

/// The same beside Janus, with media, in network namespaces.
pub(crate) fn beside_janus() -> Outcome {
    if !exists("janus") {
        return Outcome::Skipped("Janus is not installed: apt-get install janus".into());
    }
    if let Err(why) = netns::may_be_made() {
        return Outcome::Skipped(format!("no network namespace can be made: {why}"));
    }
    let short = ["--viewers", "5", "--rate", "200", "--pairs", "1", "--seconds", "1"];
    run(loadtest("compare").arg("janus").args(short))
}

/// A call that must not suffer from tens of thousands of strangers on every port. They take 60 s; the call outlasts them.
pub(crate) fn floods() -> Outcome {
    let server = free_port().and_then(|port| {
        let port = port.to_string();
        Ok((Server::start_more("uring", &["--turn-tls-port", &port])?, port))
    });
    let (server, port) = match server {
        Ok(started) => started,
        Err(why) => return Outcome::Failed(why),
    };
    // Each silent connection needs a file descriptor; a shell's default limit is 1 024.
    let shell = "ulimit -n $(ulimit -Hn); exec \"$@\"";
    let loadtest = binary("millrace-loadtest");
    let mut command =
        program_within(LIMIT_S, "sh", &["-c", shell, "sh", &loadtest.to_string_lossy(), "flood"], "");
    command.args(["--url", &server.url, "--secret", &server.secret, "--turn-tls-port", &port]);
    run(command.args(["--viewers", "2", "--rate", "100", "--duration", "80", "--held", "4000"]))
}

fn loadtest(subcommand: &str) -> Command {
    program_within(LIMIT_S, &binary("millrace-loadtest").to_string_lossy(), &[subcommand], "")
}
