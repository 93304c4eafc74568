//! The REST API against its own OpenAPI file: schemathesis makes valid and invalid requests from the file, and compares
//! each answer with it.

use crate::python;
use crate::report::Outcome;
use crate::server::Server;
use crate::shell::{program_within, root, run};
use crate::steps::LIMIT_S;

/// Most random requests for each call. Requests with boundary values come on top.
const EXAMPLES: &str = "60";

/// Makes the requests the same in each run, so that a failure can be repeated and no run fails by luck.
const SEED: &str = "1";

/// What schemathesis compares with the file.
const CHECKS: &str =
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance";

/// Schemathesis writes a folder of notes into the directory in which it runs.
const FOLDER: &str = "target/schemathesis";

/// Starts the release build and fuzzes its REST API.
pub(crate) fn fuzz() -> Outcome {
    let tool = match python::tool("schemathesis") {
        Ok(tool) => tool,
        Err(why) => return Outcome::Skipped(why),
    };
    let server = match Server::start_unlimited("mmsg") {
        Ok(server) => server,
        Err(why) => return Outcome::Failed(why),
    };
    let file = format!("{}/millrace/openapi.json", server.url);
    let mut command = program_within(LIMIT_S, &tool.to_string_lossy(), &[], FOLDER);
    command.arg("--config-file").arg(root().join("xtask/tools/schemathesis.toml"));
    command.args(["run", &file, "--url", &server.url]);
    command.args(["--auth", &format!("OPENVIDUAPP:{}", server.secret), "--checks", CHECKS]);
    command.args(["--max-examples", EXAMPLES, "--seed", SEED, "--generation-database", "none"]);
    run(command.args(["--phases", "examples,coverage,fuzzing,stateful", "--warnings", "off", "--no-color"]))
}
