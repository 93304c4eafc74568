//! The checks, in the order in which they fail fastest.

use std::fs;

use crate::api;
use crate::instructions;
use crate::netns;
use crate::report::{Outcome, Report};
use crate::server::{Server, binary};
use crate::setup;
use crate::shell::{cargo, cargo_counts, exists, node_counts, program, program_within, root, run, run_tests};
use crate::uclient;
use crate::units;

/// One part of the checks, to be run alone with `--only`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Group {
    /// Formatting, lints, documentation, dependency policy, committed bundle.
    Lint,
    /// Tests of cargo.
    Unit,
    /// Simulated publishers and viewers against the release build, on both backends; its REST API with made-up requests.
    Smoke,
    /// The release build on several addresses of several hosts, made of network namespaces.
    Network,
    /// Chromium against the release build.
    Browser,
}

impl Group {
    pub(crate) const ALL: [Self; 5] = [Self::Lint, Self::Unit, Self::Smoke, Self::Network, Self::Browser];

    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "lint" => Some(Self::Lint),
            "unit" => Some(Self::Unit),
            "smoke" => Some(Self::Smoke),
            "network" => Some(Self::Network),
            "browser" => Some(Self::Browser),
            _ => None,
        }
    }
}

/// How long the load test runs.
#[derive(Clone, Copy)]
pub(crate) enum Effort {
    /// Long enough to meet every timer, short enough for each change.
    Brief,
    /// What the relay is required to show.
    Full,
}

impl Effort {
    const fn seconds(self) -> &'static str {
        match self {
            Self::Brief => "10",
            Self::Full => "30",
        }
    }
}

/// The load: every packet is to arrive once, in order, and to cost the relay no allocation.
const SMOKE: [&str; 5] = ["--account", "--viewers", "50", "--rate", "1000"];

/// Far more than a smoke test or a file of browser tests takes.
const LIMIT_S: u32 = 400;

/// Runs the groups; what they need is installed and built first.
pub(crate) fn test(report: &mut Report, groups: &[Group], effort: Effort) {
    let wanted = |group| groups.contains(&group);
    if wanted(Group::Lint) || wanted(Group::Browser) {
        setup::everything(report);
    }
    if wanted(Group::Lint) {
        lint(report);
    }
    if wanted(Group::Unit) {
        // Debug: overflow checks and debug assertions are part of the tests.
        let arguments = ["test", "--workspace", "--locked", "--no-fail-fast"];
        report.step("tests of cargo", || run_tests(&mut cargo(&arguments), cargo_counts));
    }
    if [Group::Smoke, Group::Network, Group::Browser].into_iter().all(|group| !wanted(group)) {
        return;
    }
    let arguments = ["build", "--release", "--workspace", "--exclude", "xtask", "--bins", "--locked"];
    if !report.step("release build", || run(&mut cargo(&arguments))) {
        return;
    }
    if wanted(Group::Smoke) {
        report.step("instructions of the hot path", || instructions::check(false));
        for backend in ["uring", "mmsg"] {
            report.step(&format!("smoke on {backend}"), || smoke(backend, effort));
        }
        report.step("relayed packets", || relayed(&[]));
        report.step("relayed packets on mmsg", || relayed(&["--backend", "mmsg"]));
        report.step("beside coturn", beside_coturn);
        report.step("REST API as its OpenAPI file says", api::fuzz);
    }
    if wanted(Group::Network) {
        report.step("network namespaces", netns::every_address);
        report.step("coturn's client", uclient::every_way);
        report.step("strangers beside a call", floods);
        report.step("beside Janus", beside_janus);
    }
    if wanted(Group::Browser) {
        browser(report);
    }
}

fn lint(report: &mut Report) {
    report.step("formatting", || run(&mut cargo(&["fmt", "--all", "--check"])));
    let clippy = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
    report.step("clippy", || run(&mut cargo(&clippy)));
    let doc = ["doc", "--workspace", "--no-deps", "--locked"];
    report.step("documentation", || run(cargo(&doc).env("RUSTDOCFLAGS", "-D warnings")));
    report.step("dependency policy", deny);
    report.step("systemd units", units::verify);
    web(report, true);
}

/// The advisory list needs the network of its own; licences, bans and sources are known from the lock file.
fn deny() -> Outcome {
    if !exists("cargo-deny") {
        return Outcome::Skipped("cargo-deny is not installed: cargo install --locked cargo-deny".into());
    }
    run(&mut cargo(&["deny", "--offline", "--locked", "check", "licenses", "bans", "sources"]))
}

/// Builds the call page's bundle, or compares the committed one with what its sources build.
pub(crate) fn web(report: &mut Report, check: bool) {
    let arguments: &[&str] = if check { &["build.mjs", "--check"] } else { &["build.mjs"] };
    let name = if check { "bundle is what its sources build" } else { "bundle" };
    report.step(name, || run(&mut program("node", arguments, "web")));
}

fn smoke(backend: &str, effort: Effort) -> Outcome {
    let server = match Server::start(backend) {
        Ok(server) => server,
        Err(why) => return Outcome::Failed(why),
    };
    if server.backend != backend {
        return Outcome::Skipped(format!(
            "the kernel refuses it here, the server runs on {}",
            server.backend
        ));
    }
    let loadtest = binary("millrace-loadtest");
    let mut command = program_within(LIMIT_S, &loadtest.to_string_lossy(), &["smoke"], "");
    command.args(["--url", &server.url, "--secret", &server.secret, "--duration", effort.seconds()]);
    run(command.args(SMOKE))
}

/// A call that tens of thousands of strangers at every port do not disturb. They need a minute, the call has to outlast them.
fn floods() -> Outcome {
    let server = uclient::free_port().and_then(|port| {
        let port = port.to_string();
        Ok((Server::start_more("uring", &["--turn-tls-port", &port])?, port))
    });
    let (server, port) = match server {
        Ok(started) => started,
        Err(why) => return Outcome::Failed(why),
    };
    let loadtest = binary("millrace-loadtest");
    // Silent connections need a descriptor each, and shells give few.
    let words = ["-c", "ulimit -n $(ulimit -Hn); exec \"$@\"", "sh", &loadtest.to_string_lossy(), "flood"];
    let mut command = program_within(LIMIT_S, "sh", &words, "");
    command.args(["--url", &server.url, "--secret", &server.secret, "--turn-tls-port", &port]);
    run(command.args(["--viewers", "2", "--rate", "100", "--duration", "75", "--held", "4000"]))
}

/// At a rate that every machine keeps up with: that all of it arrives, not what it costs.
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

fn relayed(more: &[&str]) -> Outcome {
    let loadtest = binary("millrace-loadtest");
    let mut command = program_within(LIMIT_S, &loadtest.to_string_lossy(), &["turn"], "");
    run(command.args(more).args(RELAYED))
}

/// As [`beside_janus`]. coturn is not among what setup installs either, for the same reason.
fn beside_coturn() -> Outcome {
    if !exists("turnserver") {
        return Outcome::Skipped("coturn is not installed: apt-get install coturn".into());
    }
    let loadtest = binary("millrace-loadtest");
    let mut command = program_within(LIMIT_S, &loadtest.to_string_lossy(), &["compare", "coturn"], "");
    run(command.args(RELAYED))
}

/// That the comparison works, not what it says: figures of a second are worth nothing. Janus is not among what setup
/// installs, for Debian's package starts it as a service.
fn beside_janus() -> Outcome {
    if !exists("janus") {
        return Outcome::Skipped("Janus is not installed: apt-get install janus".into());
    }
    if let Err(why) = netns::may_be_made() {
        return Outcome::Skipped(format!("no network namespace can be made: {why}"));
    }
    let loadtest = binary("millrace-loadtest");
    let mut command = program_within(LIMIT_S, &loadtest.to_string_lossy(), &["compare", "janus"], "");
    run(command.args(["--viewers", "5", "--rate", "200", "--pairs", "1", "--seconds", "1"]))
}

/// One file after the other: they share two cores with the browser and the server.
fn browser(report: &mut Report) {
    let Ok(folder) = fs::read_dir(root().join("web/test")) else {
        report.step("browser tests", || Outcome::Failed("web/test is missing".into()));
        return;
    };
    let mut files: Vec<String> =
        folder.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    files.retain(|name| name.ends_with(".test.mjs"));
    files.sort();
    for file in files {
        let path = format!("test/{file}");
        let arguments = ["--test", "--test-reporter=tap", &path];
        report.step(&format!("browser: {file}"), || {
            run_tests(&mut program_within(LIMIT_S, "node", &arguments, "web"), node_counts)
        });
    }
}

/// Takes the picture of the call page that the README shows.
pub(crate) fn screenshot(report: &mut Report) {
    setup::everything(report);
    if report.step("release build", || run(&mut cargo(&["build", "--release", "--locked"]))) {
        report.step("docs/call.png", || {
            run(&mut program("node", &["test/screenshot.mjs", "../docs/call.png"], "web"))
        });
    }
}
