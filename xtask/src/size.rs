//! How large the programs are as an operator installs them: without symbols.

use std::fs;
use std::path::Path;

use crate::report::Outcome;
use crate::server::binary;
use crate::shell::{program, run};

/// The programs of a release.
const PROGRAMS: [&str; 4] = ["millrace", "millrace-relay", "millrace-signaling", "millrace-loadtest"];

/// In MB (1 000 000 bytes), without symbols.
const STRIPPED_MB_MAX: f64 = 25.0;

/// Strips a copy of each program and weighs it. The programs themselves keep their line tables, for backtraces.
pub(crate) fn check() -> Outcome {
    let copy = std::env::temp_dir().join(format!("millrace-stripped-{}", std::process::id()));
    let mut too_large = Vec::new();
    for name in PROGRAMS {
        let (whole_mb, stripped_mb) = match weigh(name, &copy) {
            Ok(sizes) => sizes,
            Err(why) => return Outcome::Failed(why),
        };
        println!("{name}: {stripped_mb:.1} MB stripped, {whole_mb:.1} MB with line tables");
        if stripped_mb > STRIPPED_MB_MAX {
            too_large.push(name);
        }
    }
    if too_large.is_empty() {
        return Outcome::Passed;
    }
    Outcome::Failed(format!("larger than {STRIPPED_MB_MAX} MB: {}", too_large.join(", ")))
}

fn weigh(name: &str, copy: &Path) -> Result<(f64, f64), String> {
    let original = binary(name);
    let arguments = ["--strip-all", "-o", &copy.to_string_lossy(), &original.to_string_lossy()];
    if let Outcome::Failed(why) = run(&mut program("strip", &arguments, "")) {
        return Err(why);
    }
    let sizes = (mb(&original)?, mb(copy)?);
    // A copy that stays in the temporary folder does no harm.
    let _ = fs::remove_file(copy);
    Ok(sizes)
}

fn mb(path: &Path) -> Result<f64, String> {
    let file = fs::metadata(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(file.len() as f64 / 1e6)
}
