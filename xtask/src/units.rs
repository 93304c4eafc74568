//! The systemd units, checked by `systemd-analyze verify`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::report::Outcome;
use crate::shell::{exists, root};

/// How the paths of the programs begin in the units.
const INSTALLED: &str = "/usr/bin/millrace-";

/// Checks each unit. A warning fails too: systemd only warns of an unknown key, and then ignores it.
pub(crate) fn verify() -> Outcome {
    if !exists("systemd-analyze") {
        return Outcome::Skipped("systemd-analyze is not installed".into());
    }
    let copy = millrace_testkit::scratch();
    let outcome = copy_units(&copy).and_then(|units| analyze(&copy, &units));
    match outcome {
        Ok(said) if said.is_empty() => Outcome::Passed,
        Ok(said) | Err(said) => Outcome::Failed(said),
    }
}

/// Copies the units, with this program in place of ours: systemd checks that the program of a unit exists.
fn copy_units(copy: &Path) -> Result<Vec<PathBuf>, String> {
    let failed = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let folder = root().join("systemd");
    let mut units = Vec::new();
    for entry in fs::read_dir(&folder).map_err(|error| failed(&folder, error))?.flatten() {
        let path = entry.path();
        if !path.extension().is_some_and(|kind| kind == "service" || kind == "target") {
            continue;
        }
        let text = fs::read_to_string(&path).map_err(|error| failed(&path, error))?;
        let unit = copy.join(entry.file_name());
        fs::write(&unit, with_program(&text, &program)).map_err(|error| failed(&unit, error))?;
        units.push(unit);
    }
    units.sort();
    if units.is_empty() { Err("the folder systemd/ has no units".into()) } else { Ok(units) }
}

fn with_program(unit: &str, program: &Path) -> String {
    let start = |line: &str| match line.strip_prefix("ExecStart=") {
        Some(command) if command.starts_with(INSTALLED) => format!("ExecStart={}\n", program.display()),
        _ => format!("{line}\n"),
    };
    unit.lines().map(start).collect()
}

fn analyze(copy: &Path, units: &[PathBuf]) -> Result<String, String> {
    let output = Command::new("systemd-analyze")
        // The units name manual pages, which are not installed here.
        .args(["verify", "--man=no"])
        .args(units)
        // The colon at the end adds the folders of systemd's own units.
        .env("SYSTEMD_UNIT_PATH", format!("{}:", copy.display()))
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("systemd-analyze could not be started: {error}"))?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).trim().to_owned();
    if output.status.success() || !said.is_empty() { Ok(said) } else { Err(output.status.to_string()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_programs_are_replaced() {
        let unit = "[Service]\nExecStart=/usr/bin/millrace-relay --x\nExecStart=/bin/true\n";
        let copy = with_program(unit, Path::new("/here"));
        assert_eq!(copy, "[Service]\nExecStart=/here\nExecStart=/bin/true\n");
    }
}
