//! The release build of the server, started for one check: free ports, a data folder of its own, ended when dropped.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::shell::root;

/// After this time a server that does not end on SIGTERM is killed.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// A running server. Its first line on stdout has all of this.
pub(crate) struct Server {
    child: Child,
    data: PathBuf,
    /// Address of its HTTP port, else of its HTTPS port.
    pub(crate) url: String,
    /// Port of HTTPS, on every address.
    pub(crate) https_port: String,
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

    fn start_with(mut program: Command, backend: &str, more: &[&str]) -> Result<Self, String> {
        let data = std::env::temp_dir().join(format!("millrace-xtask-{}-{backend}", std::process::id()));
        let mut child = program
            .args([
                "--json",
                "--http-port",
                "0",
                "--https-port",
                "0",
                "--media-port",
                "0",
                "--turn-port",
                "0",
                "--shards",
                "1",
            ])
            .args(more)
            .args(["--backend", backend, "--data-dir"])
            .arg(&data)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("target/release/millrace could not be started: {error}"))?;
        let stdout = child.stdout.take().expect("stdout was asked to be a pipe");
        let mut line = String::new();
        let read = BufReader::new(stdout).read_line(&mut line);
        let mut server = Self {
            child,
            data,
            url: String::new(),
            https_port: String::new(),
            secret: String::new(),
            backend: String::new(),
        };
        if !matches!(read, Ok(1..)) {
            return Err("the server ended before it was ready; its log is above".into());
        }
        let field = |name: &str| text_field(&line, name);
        server.https_port = field("url")
            .and_then(|url| Some(url.rsplit_once(':')?.1.to_owned()))
            .ok_or(format!("no url in: {line}"))?;
        server.url = field("http_url").or_else(|| field("url")).ok_or(format!("no url in: {line}"))?;
        server.secret = field("secret").ok_or(format!("no secret in: {line}"))?;
        server.backend = field("backend").ok_or(format!("no backend in: {line}"))?;
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // On SIGTERM the front command ends its children in order.
        let asked = Command::new("kill").arg(self.child.id().to_string()).status();
        let deadline = Instant::now() + END_TIMEOUT;
        while asked.is_ok() && Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
            thread::sleep(Duration::from_millis(50));
        }
        // Both fail where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.data);
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

/// The value of a text field in one line of JSON without escapes.
pub(crate) fn text_field(line: &str, name: &str) -> Option<String> {
    let after = line.split(&format!("\"{name}\":")).nth(1)?.trim_start();
    let value = after.strip_prefix('"')?.split('"').next()?;
    Some(value.to_owned())
}

/// The value of a number field in such a line, if it fits a port.
pub(crate) fn number_field(line: &str, name: &str) -> Option<u16> {
    let after = line.split(&format!("\"{name}\":")).nth(1)?.trim_start();
    after.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_first_line() {
        let line = r#"{"url":"https://192.0.2.1:4443","http_url": "http://localhost:4480","shards":[{"id":0,"port":1}]}"#;
        assert_eq!(text_field(line, "url").as_deref(), Some("https://192.0.2.1:4443"));
        assert_eq!(text_field(line, "http_url").as_deref(), Some("http://localhost:4480"));
        assert_eq!(text_field(line, "secret"), None);
        assert_eq!(text_field(line, "shards"), None);
        assert_eq!(number_field(line, "port"), Some(1));
        assert_eq!(number_field(line, "url"), None);
    }
}
