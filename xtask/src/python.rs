//! Tools that come from PyPI: each in a virtual environment of its own in `target/`.
//!
//! `tools/NAME.txt` lists the packages of a tool with their hashes, so the same files are installed each time. `cargo
//! clean` removes what is installed.

use std::fs;
use std::path::PathBuf;

use crate::report::Outcome;
use crate::shell::{program, root, run};

/// Installs the tool unless its current list is installed. Gives the path of its program.
///
/// # Errors
/// There is no network, no `venv` module, or no file for this processor or version of Python among the hashes.
pub(crate) fn tool(name: &str) -> Result<PathBuf, String> {
    let folder = root().join("target").join(name);
    let list = root().join("xtask/tools").join(format!("{name}.txt"));
    let wanted = fs::read(&list).map_err(|error| format!("{}: {error}", list.display()))?;
    let installed = folder.join("bin").join(name);
    // A copy of the list: written last, so an installation that broke off is not taken for a whole one.
    let stamp = folder.join("installed");
    if fs::read(&stamp).is_ok_and(|before| before == wanted) {
        return Ok(installed);
    }
    let (environment, list) = (folder.to_string_lossy(), list.to_string_lossy());
    let pip = folder.join("bin/pip");
    let install = ["install", "--quiet", "--disable-pip-version-check", "--require-hashes", "-r", &list];
    let steps = [
        program("python3", &["-m", "venv", "--clear", &environment], ""),
        program(&pip.to_string_lossy(), &install, ""),
    ];
    for mut step in steps {
        if run(&mut step) != Outcome::Passed {
            return Err(format!("{name} cannot be installed; the output above says why"));
        }
    }
    fs::write(&stamp, wanted).map_err(|error| format!("{}: {error}", stamp.display()))?;
    Ok(installed)
}
