//! The REST API against its own OpenAPI file: schemathesis makes requests of it, good and bad ones, and holds every
//! answer against it.

use std::fs;

use crate::report::Outcome;
use crate::server::Server;
use crate::shell::{program, program_within, root, run};

/// Requests for each call, at most; as many again are made of the edges of what the file allows.
const EXAMPLES: &str = "60";

/// The same requests each time: a failure can be looked at, and no change fails by luck.
const SEED: &str = "1";

/// Far more than it takes.
const LIMIT_S: u32 = 300;

/// What is held against the file.
const CHECKS: &str =
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance";

/// What is installed, with a hash for each.
const REQUIREMENTS: &str = "xtask/schemathesis.txt";

/// Below the root. What is made here goes with `cargo clean`.
const FOLDER: &str = "target/schemathesis";

/// Starts the release build and fuzzes its REST API.
pub(crate) fn fuzz() -> Outcome {
    if let Err(why) = install() {
        return Outcome::Skipped(why);
    }
    let server = match Server::start_unlimited("mmsg") {
        Ok(server) => server,
        Err(why) => return Outcome::Failed(why),
    };
    let tool = root().join(FOLDER).join("bin/schemathesis");
    let (file, api) =
        (format!("{}/millrace/openapi.json", server.url), format!("{}/openvidu/api", server.url));
    // It leaves a folder of notes wherever it runs.
    let mut command = program_within(LIMIT_S, &tool.to_string_lossy(), &[], FOLDER);
    command.arg("--config-file").arg(root().join("xtask/schemathesis.toml"));
    command.args(["run", &file, "--url", &api]);
    command.args(["--auth", &format!("OPENVIDUAPP:{}", server.secret), "--checks", CHECKS]);
    command.args(["--max-examples", EXAMPLES, "--seed", SEED, "--generation-database", "none"]);
    run(command.args(["--phases", "examples,coverage,fuzzing,stateful", "--warnings", "off", "--no-color"]))
}

/// Makes a place of its own for the tool, and does so again when the list changed. Gives words for where that cannot
/// be done: without the network, or with another Python than the hashes are for.
fn install() -> Result<(), String> {
    let folder = root().join(FOLDER);
    let stamp = folder.join("installed");
    let wanted = fs::read(root().join(REQUIREMENTS)).map_err(|error| format!("{REQUIREMENTS}: {error}"))?;
    if fs::read(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    let pip = folder.join("bin/pip");
    let install =
        ["install", "--quiet", "--disable-pip-version-check", "--require-hashes", "-r", REQUIREMENTS];
    let steps = [
        program("python3", &["-m", "venv", "--clear", FOLDER], ""),
        program(&pip.to_string_lossy(), &install, ""),
    ];
    for mut step in steps {
        if run(&mut step) != Outcome::Passed {
            return Err("schemathesis cannot be installed here; what pip or venv said is above".into());
        }
    }
    fs::write(&stamp, wanted).map_err(|error| format!("{}: {error}", stamp.display()))
}
