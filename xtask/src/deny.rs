//! Dependency policy: cargo-deny checks Cargo.lock against deny.toml.

use std::path::PathBuf;
use std::process::Command;

use crate::python;
use crate::report::Outcome;
use crate::shell::{exists, program, run};

/// Licences, banned crates and registries. All of it is known from Cargo.lock and the crates' manifests.
pub(crate) fn policy() -> Outcome {
    match cargo_deny() {
        Ok(program) => run(deny(program).args(["check", "licenses", "bans", "sources"])),
        Err(why) => Outcome::Skipped(why),
    }
}

/// Known vulnerabilities and yanked versions. The list of vulnerabilities is fetched each time.
pub(crate) fn advisories() -> Outcome {
    let program = match cargo_deny() {
        Ok(program) => program,
        Err(why) => return Outcome::Skipped(why),
    };
    if run(deny(program.clone()).args(["fetch", "db"])) != Outcome::Passed {
        return Outcome::Skipped("the list of known vulnerabilities cannot be fetched".into());
    }
    run(deny(program).args(["check", "--disable-fetch", "advisories"]))
}

/// The pinned version, else the one in PATH.
fn cargo_deny() -> Result<PathBuf, String> {
    let own = PathBuf::from("cargo-deny");
    python::tool("cargo-deny").or_else(|why| if exists("cargo-deny") { Ok(own) } else { Err(why) })
}

fn deny(tool: PathBuf) -> Command {
    program(&tool.to_string_lossy(), &["--locked"], "")
}
