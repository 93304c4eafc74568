//! The whole server on free ports.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::{Program, Running, Scratch, scratch};

/// Arguments with which the relay, and so the front command, takes free ports and one shard.
pub const FREE_MEDIA_PORTS: [&str; 8] =
    ["--media-port", "0", "--turn-port", "0", "--turn-tls-port", "0", "--shards", "1"];

/// Arguments with which the front command takes free ports for HTTP.
const FREE_HTTP_PORTS: [&str; 4] = ["--https-port", "0", "--http-port", "0"];

/// The pairs of `defaults` whose flag is not in `more`: a flag may be given once only.
fn unless_given<'a>(defaults: &[&'a str], more: &[&str]) -> Vec<&'a str> {
    defaults.chunks(2).filter(|pair| !more.contains(&pair[0])).flatten().copied().collect()
}

/// The front command with both its processes, ready to be used. Dropping it ends all of them.
#[derive(Debug)]
pub struct Server {
    program: Program,
    /// Its ready line.
    pub ready: Value,
}

impl Server {
    /// Starts `command`, which runs `millrace`, and waits until it is ready. `more` arguments win over those that choose
    /// free ports.
    ///
    /// # Errors
    /// When the program cannot be started, or ends before it is ready; its log tells why.
    pub fn start(command: Command, more: &[&str]) -> io::Result<Self> {
        Self::start_in(scratch(), command, more)
    }

    /// The same with a data directory that exists.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn start_in(dir: Scratch, mut command: Command, more: &[&str]) -> io::Result<Self> {
        let mut program = Program::start_in(dir, |dir| {
            command
                .arg("--json")
                .args(unless_given(&FREE_HTTP_PORTS, more))
                .args(unless_given(&FREE_MEDIA_PORTS, more))
                .args(more)
                .arg("--data-dir")
                .arg(dir)
                .env("MILLRACE_CONFIG", "/dev/null")
                .stdin(Stdio::null())
                .stdout(Stdio::piped());
            command
        })?;
        let ready = program.first_line()?;
        Ok(Self { program, ready })
    }

    /// Its data directory.
    pub fn dir(&self) -> &Path {
        self.program.dir()
    }

    /// The process id of the front command.
    pub fn pid(&self) -> u32 {
        self.program.pid()
    }

    /// The process of the front command.
    pub fn process(&mut self) -> &mut Running {
        &mut self.program
    }

    /// A text of the ready line: `url`, `http_url`, `secret` or `backend`.
    ///
    /// # Panics
    /// When there is none.
    pub fn text(&self, name: &str) -> &str {
        self.ready[name].as_str().unwrap_or_else(|| panic!("no {name} in the ready line"))
    }

    /// Port of HTTPS.
    ///
    /// # Panics
    /// When the ready line has no URL with a port.
    pub fn https_port(&self) -> u16 {
        let port = self.text("url").rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        port.expect("the URL of the ready line has a port")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_a_test_needs_wins() {
        let kept = unless_given(&FREE_MEDIA_PORTS, &["--shards", "2", "--turn-port", "1"]);
        assert_eq!(kept, ["--media-port", "0", "--turn-tls-port", "0"]);
    }
}
