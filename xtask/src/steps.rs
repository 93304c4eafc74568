//! The checks, in the order in which they run: those that fail fastest come first.

use std::fs;

use crate::api;
use crate::deny;
use crate::instructions;
use crate::load;
use crate::netns;
use crate::report::{Outcome, Report};
use crate::setup;
use crate::shell::{
    cargo, cargo_counts, node_counts, node_counts_strictly, program, program_within, root, run, run_tests,
};
use crate::size;
use crate::skips::Policy;
use crate::uclient;
use crate::units;

/// The two ways in which the relay moves packets. Network checks run on both.
const BACKENDS: [&str; 2] = ["uring", "mmsg"];

/// After so many seconds a check is ended and has failed. Each one takes far less.
pub(crate) const LIMIT_S: u32 = 400;

/// Arguments of cargo: all programs in one call. Calls for single packages would choose other features of dependencies,
/// and compile those once more.
pub(crate) const RELEASE_BUILD: [&str; 7] =
    ["build", "--release", "--workspace", "--exclude", "xtask", "--bins", "--locked"];

/// A part of the checks, for `--only`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    /// Checks of the sources.
    Lint,
    /// Tests of cargo.
    Unit,
    /// The load test and the API.
    Smoke,
    /// Several hosts, and other people's clients.
    Network,
    /// Chromium.
    Browser,
}

impl Group {
    pub(crate) const ALL: [Self; 5] = [Self::Lint, Self::Unit, Self::Smoke, Self::Network, Self::Browser];

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|group| group.name() == name)
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Lint => "lint",
            Self::Unit => "unit",
            Self::Smoke => "smoke",
            Self::Network => "network",
            Self::Browser => "browser",
        }
    }

    /// One line for the help text.
    pub(crate) const fn about(self) -> &'static str {
        match self {
            Self::Lint => {
                "formatting, clippy, documentation, licences of dependencies, systemd units, web/dist"
            }
            Self::Unit => "the tests written in Rust",
            Self::Smoke => {
                "simulated publishers and viewers, and made-up REST requests, against the release build"
            }
            Self::Network => {
                "several hosts (network namespaces, as root), coturn's client, floods of strangers"
            }
            Self::Browser => "Chromium against the release build",
        }
    }

    /// Whether it tests the programs of the release build.
    const fn needs_release(self) -> bool {
        matches!(self, Self::Smoke | Self::Network | Self::Browser)
    }
}

/// How long the load test runs.
#[derive(Clone, Copy)]
pub(crate) enum Effort {
    /// Long enough for each timer to expire once.
    Brief,
    /// As long as the requirements of the relay say.
    Full,
}

impl Effort {
    /// Duration of the load test, as its command line takes it.
    pub(crate) const fn seconds(self) -> &'static str {
        match self {
            Self::Brief => "10",
            Self::Full => "30",
        }
    }
}

/// Installs and builds what the groups need, then runs their checks.
pub(crate) fn test(report: &mut Report, groups: &[Group], effort: Effort) {
    let wanted = |group| groups.contains(&group);
    setup::for_groups(report, groups);
    if wanted(Group::Lint) {
        lint(report);
    }
    if wanted(Group::Unit) {
        unit(report);
    }
    if groups.iter().any(|group| group.needs_release()) && !release(report) {
        return;
    }
    if wanted(Group::Smoke) {
        smoke(report, effort);
    }
    if wanted(Group::Network) {
        network(report);
    }
    if wanted(Group::Browser) {
        browser(report);
    }
}

fn lint(report: &mut Report) {
    report.step("formatting", || run(&mut cargo(&["fmt", "--all", "--check"])));
    report.step("dependency policy", deny::policy);
    report.step("advisories", deny::advisories);
    let clippy = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
    report.step("clippy", || run(&mut cargo(&clippy)));
    let doc = ["doc", "--workspace", "--no-deps", "--locked"];
    report.step("documentation", || run(cargo(&doc).env("RUSTDOCFLAGS", "-D warnings")));
    report.step("systemd units", units::verify);
    web(report, true);
}

/// The tests are debug builds: overflow checks and debug assertions belong to them.
fn unit(report: &mut Report) {
    let build = ["test", "--workspace", "--locked", "--no-run"];
    if report.step("build of the tests", || run(&mut cargo(&build))) {
        let test = ["test", "--workspace", "--locked", "--no-fail-fast"];
        report.step("tests of cargo", || run_tests(&mut cargo(&test), cargo_counts));
    }
}

/// Builds what the later groups run, and weighs it.
fn release(report: &mut Report) -> bool {
    report.step("release build", || run(&mut cargo(&RELEASE_BUILD)))
        && report.step("size of the programs", size::check)
}

fn smoke(report: &mut Report, effort: Effort) {
    report.step("instructions of the packet path", || instructions::check(false));
    for backend in BACKENDS {
        report.step(&format!("load on {backend}"), || load::smoke(backend, effort));
    }
    for backend in BACKENDS {
        report.step(&format!("TURN on {backend}"), || load::relayed(backend));
    }
    report.step("beside coturn", load::beside_coturn);
    report.step("REST API against its OpenAPI file", api::fuzz);
}

fn network(report: &mut Report) {
    for backend in BACKENDS {
        report.step(&format!("network namespaces on {backend}"), || netns::every_address(backend));
    }
    for backend in BACKENDS {
        report.step(&format!("coturn's client on {backend}"), || uclient::every_way(backend));
    }
    report.step("floods beside a call", load::floods);
    report.step("beside Janus", load::beside_janus);
}

/// One file after the other: each shares two cores with its browsers and its server.
fn browser(report: &mut Report) {
    let Ok(folder) = fs::read_dir(root().join("web/test")) else {
        report.step("browser tests", || Outcome::Failed("web/test is missing".into()));
        return;
    };
    let mut files: Vec<String> =
        folder.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    files.retain(|name| name.ends_with(".test.mjs"));
    files.sort();
    let count = if report.skips() == Policy::Strict { node_counts_strictly } else { node_counts };
    for file in files {
        let path = format!("test/{file}");
        let arguments = ["--test", "--test-reporter=tap", &path];
        report.step(&format!("browser: {file}"), || {
            run_tests(&mut program_within(LIMIT_S, "node", &arguments, "web"), count)
        });
    }
}

/// Builds the call page's bundle, or compares the committed one with what its sources build.
pub(crate) fn web(report: &mut Report, check: bool) {
    let arguments: &[&str] = if check { &["build.mjs", "--check"] } else { &["build.mjs"] };
    let name = if check { "web/dist is up to date" } else { "web/dist" };
    report.step(name, || run(&mut program("node", arguments, "web")));
}

/// Takes the picture of the call page that the README shows.
pub(crate) fn screenshot(report: &mut Report) {
    setup::for_groups(report, &[Group::Browser]);
    if report.step("release build", || run(&mut cargo(&["build", "--release", "--locked"]))) {
        report.step("docs/call.png", || {
            run(&mut program("node", &["test/screenshot.mjs", "../docs/call.png"], "web"))
        });
    }
}
