//! Installs what the checks need and this machine lacks.

use std::fs;
use std::process::Command;

use crate::report::{Outcome, Report};
use crate::shell::{exists, program, root, run};

/// A program, and the Debian package that brings it.
const DEBIAN: [(&str, &str); 11] = [
    ("chromium", "chromium"),
    ("node", "nodejs"),
    ("npm", "npm"),
    ("ip", "iproute2"),
    ("iptables", "iptables"),
    ("valgrind", "valgrind"),
    ("python3", "python3-venv"),
    ("openssl", "openssl"),
    ("certutil", "libnss3-tools"),
    ("turnutils_uclient", COTURN),
    ("pebble", "pebble"),
];

/// Its client is what we want. Its server, which Debian starts, would take the ports of ours.
const COTURN: &str = "coturn";

/// Chromium draws text with what it finds; one small family is enough.
const WITH_CHROMIUM: &str = "fonts-dejavu-core";

/// Debian 12 ships 18.
const NODE_MAJOR_MIN: u32 = 18;

/// Debian packages, then npm packages, then older clients. Does nothing twice.
pub(crate) fn everything(report: &mut Report) {
    if report.step("setup: Debian packages", debian) {
        report.step("setup: npm packages", npm);
        // Bundles of openvidu-browser that are too old for a list of packages.
        report
            .step("setup: older clients", || run(&mut program("node", &["test/fetch-libraries.mjs"], "web")));
    }
}

fn debian() -> Outcome {
    let missing: Vec<&str> =
        DEBIAN.iter().filter(|(program, _)| !exists(program)).map(|(_, package)| *package).collect();
    if missing.is_empty() {
        return node_version();
    }
    let mut packages = missing;
    if packages.contains(&"chromium") {
        packages.push(WITH_CHROMIUM);
    }
    let install = format!("apt-get install -y --no-install-recommends {}", packages.join(" "));
    if !is_root() {
        return Outcome::Failed(format!("programs are missing; run as root: apt-get update && {install}"));
    }
    if !exists("apt-get") {
        return Outcome::Failed(format!(
            "programs are missing and this is not Debian: {}",
            packages.join(" ")
        ));
    }
    for step in ["apt-get update", &install] {
        let words: Vec<&str> = step.split(' ').collect();
        let outcome = run(program(words[0], &words[1..], "").env("DEBIAN_FRONTEND", "noninteractive"));
        if outcome != Outcome::Passed {
            return outcome;
        }
    }
    if packages.contains(&COTURN) {
        // Without systemd nobody has started it.
        let _ = run(&mut program("systemctl", &["disable", "--now", COTURN], ""));
    }
    node_version()
}

fn node_version() -> Outcome {
    let Ok(output) = Command::new("node").arg("--version").output() else {
        return Outcome::Failed("node cannot be run".into());
    };
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let major = said.trim_start_matches('v').split('.').next().and_then(|word| word.parse::<u32>().ok());
    if major.is_some_and(|major| major >= NODE_MAJOR_MIN) {
        Outcome::Passed
    } else {
        Outcome::Failed(format!("node {NODE_MAJOR_MIN} or later is needed, this one says {said}"))
    }
}

/// `npm ci` empties node_modules first, so it runs only when the lock changed since the last time.
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
