//! Installs what the checks need and this machine lacks.

use std::fs;
use std::process::Command;

use crate::report::{Outcome, Report};
use crate::shell::{exists, program, root, run};
use crate::steps::Group;

/// A program that checks run.
struct Tool {
    program: &'static str,
    /// The Debian package that contains it.
    package: &'static str,
    /// The groups of checks that run it.
    groups: &'static [Group],
}

impl Tool {
    const fn new(program: &'static str, package: &'static str, groups: &'static [Group]) -> Self {
        Self { program, package, groups }
    }
}

const TOOLS: [Tool; 13] = [
    Tool::new("chromium", "chromium", &[Group::Browser]),
    Tool::new("node", "nodejs", &[Group::Lint, Group::Browser]),
    Tool::new("npm", "npm", &[Group::Lint, Group::Browser]),
    Tool::new("openssl", "openssl", &[Group::Browser]),
    Tool::new("certutil", "libnss3-tools", &[Group::Browser]),
    Tool::new("ip", "iproute2", &[Group::Network, Group::Browser]),
    Tool::new("iptables", "iptables", &[Group::Network, Group::Browser]),
    Tool::new("turnutils_uclient", COTURN, &[Group::Network]),
    Tool::new("turnserver", COTURN, &[Group::Smoke]),
    Tool::new("valgrind", "valgrind", &[Group::Smoke]),
    Tool::new("python3", "python3-venv", &[Group::Lint, Group::Smoke]),
    Tool::new("systemd-analyze", "systemd", &[Group::Lint]),
    Tool::new("pebble", "pebble", &[Group::Unit]),
];

/// The package starts its server as a service, which would take the ports of ours.
const COTURN: &str = "coturn";

/// Installed with Chromium, which has no fonts of its own. One small family is enough.
const FONTS: &str = "fonts-dejavu-core";

/// The oldest major version of Node.js that the tests run on; Debian 12 has 18.
const NODE_MAJOR_MIN: u32 = 18;

/// Installs what any check needs.
pub(crate) fn everything(report: &mut Report) {
    for_groups(report, &Group::ALL);
}

/// Installs what these groups of checks need. Installs nothing that is there.
pub(crate) fn for_groups(report: &mut Report, groups: &[Group]) {
    let web = groups.contains(&Group::Lint) || groups.contains(&Group::Browser);
    if !report.step("setup: Debian packages", || debian(groups)) || !web {
        return;
    }
    report.step("setup: npm packages", npm);
    // Releases of openvidu-browser that a package.json cannot list, for lack of an entry point.
    report.step("setup: older clients", || run(&mut program("node", &["test/fetch-libraries.mjs"], "web")));
}

fn debian(groups: &[Group]) -> Outcome {
    let needed = |tool: &&Tool| tool.groups.iter().any(|group| groups.contains(group));
    let mut packages: Vec<&str> = TOOLS
        .iter()
        .filter(needed)
        .filter(|tool| !is_installed(tool.program))
        .map(|tool| tool.package)
        .collect();
    packages.dedup();
    if !packages.is_empty() {
        let outcome = install(packages);
        if outcome != Outcome::Passed {
            return outcome;
        }
    }
    if groups.contains(&Group::Lint) || groups.contains(&Group::Browser) {
        node_version()
    } else {
        Outcome::Passed
    }
}

fn is_installed(name: &str) -> bool {
    // Debian's python3 comes without what `python3 -m venv` needs.
    exists(name) && (name != "python3" || python_has_venv())
}

fn python_has_venv() -> bool {
    let import = program("python3", &["-c", "import venv, ensurepip"], "").output();
    import.is_ok_and(|output| output.status.success())
}

fn install(mut packages: Vec<&str>) -> Outcome {
    if packages.contains(&"chromium") {
        packages.push(FONTS);
    }
    let names = packages.join(" ");
    if !exists("apt-get") {
        return Outcome::Failed(format!("this is not Debian; install what these packages contain: {names}"));
    }
    let install = format!("apt-get install -y --no-install-recommends {names}");
    if !is_root() {
        return Outcome::Failed(format!("programs are missing; run as root: apt-get update && {install}"));
    }
    for line in ["apt-get update", &install] {
        let words: Vec<&str> = line.split(' ').collect();
        let outcome = run(program(words[0], &words[1..], "").env("DEBIAN_FRONTEND", "noninteractive"));
        if outcome != Outcome::Passed {
            return outcome;
        }
    }
    if packages.contains(&COTURN) {
        // It fails where systemd does not run, and there the package has started nothing.
        let _ = run(&mut program("systemctl", &["disable", "--now", COTURN], ""));
    }
    Outcome::Passed
}

fn node_version() -> Outcome {
    let Ok(output) = Command::new("node").arg("--version").output() else {
        return Outcome::Failed("node cannot be run".into());
    };
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let major = version.trim_start_matches('v').split('.').next().and_then(|word| word.parse::<u32>().ok());
    if major.is_some_and(|major| major >= NODE_MAJOR_MIN) {
        Outcome::Passed
    } else {
        Outcome::Failed(format!("Node.js {NODE_MAJOR_MIN} or later is needed; this one is {version}"))
    }
}

/// Runs `npm ci` only where the lock file has changed since the last time, because it empties node_modules first.
fn npm() -> Outcome {
    let web = root().join("web");
    let stamp = web.join("node_modules/.installed-lock");
    let lock = fs::read(web.join("package-lock.json")).unwrap_or_default();
    if fs::read(&stamp).is_ok_and(|installed| installed == lock) {
        return Outcome::Passed;
    }
    let outcome = run(&mut program("npm", &["ci"], "web"));
    if outcome == Outcome::Passed && fs::write(&stamp, lock).is_err() {
        return Outcome::Failed(format!("{} cannot be written", stamp.display()));
    }
    outcome
}

pub(crate) fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}
