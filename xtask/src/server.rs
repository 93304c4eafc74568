//! The release build of the server, started for one check: free ports, a data folder of its own, ended when dropped.

use std::path::PathBuf;
use std::process::Command;

use crate::shell::root;

/// A running server. Its first line on stdout has all of this.
pub(crate) struct Server {
    _running: millrace_testkit::Server,
    /// Address of its HTTP port.
    pub(crate) url: String,
    /// Port of HTTPS, on every address.
    pub(crate) https_port: u16,
    /// Password of its REST API.
    pub(crate) secret: String,
    /// The backend it runs on. It is `mmsg` where the kernel refuses `uring`.
    pub(crate) backend: String,
}

impl Server {
    /// Starts it and waits until it is ready.
    pub(crate) fn start(backend: &str) -> Result<Self, String> {
        Self::start_more(backend, &[])
    }

    /// The same with more arguments.
    pub(crate) fn start_more(backend: &str, more: &[&str]) -> Result<Self, String> {
        Self::start_with(Command::new(binary("millrace")), backend, more)
    }

    /// The same without limits on the rate of requests and of wrong secrets.
    pub(crate) fn start_unlimited(backend: &str) -> Result<Self, String> {
        let mut program = Command::new(binary("millrace"));
        program.env("MILLRACE_REST_PER_S_MAX", "0").env("MILLRACE_WRONG_SECRETS_PER_MIN_MAX", "0");
        Self::start_with(program, backend, &[])
    }

    /// The same in a network namespace, with more arguments.
    pub(crate) fn start_in(namespace: &str, backend: &str, more: &[&str]) -> Result<Self, String> {
        Self::start_with(in_namespace(namespace, "millrace"), backend, more)
    }

    fn start_with(program: Command, backend: &str, more: &[&str]) -> Result<Self, String> {
        let more = [&["--backend", backend], more].concat();
        let running = millrace_testkit::Server::start(program, &more)
            .map_err(|error| format!("target/release/millrace does not start: {error}; its log is above"))?;
        Ok(Self {
            url: running.text("http_url").to_owned(),
            https_port: running.https_port(),
            secret: running.text("secret").to_owned(),
            backend: running.text("backend").to_owned(),
            _running: running,
        })
    }
}

/// A program of the release build.
pub(crate) fn binary(name: &str) -> PathBuf {
    root().join("target/release").join(name)
}

/// A command that runs such a program in a network namespace. `ip` replaces itself by the program, so that a signal to
/// the child reaches it.
pub(crate) fn in_namespace(namespace: &str, name: &str) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace]).arg(binary(name));
    command
}
