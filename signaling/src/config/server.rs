//! What the relay and signaling both have to know: ports, sockets, addresses and the data directory.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use clap::Args;

use super::{Addresses, Certificate, ConfigError, private_dir};

#[derive(Clone, Debug, Args)]
#[allow(missing_docs, reason = "see the group of garbage")]
pub struct Server {
    /// Port of HTTPS on every address: web page, REST API and WebSocket. 0 takes any free port.
    #[arg(long, default_value_t = 4443, value_name = "N")]
    pub https_port: u16,

    /// Unix socket between the relay and signaling. With it, the relay serves the HTTPS port together with TURN and passes
    /// HTTP on to signaling. Without it, signaling serves HTTPS itself. `millrace` uses `http.sock` in the data directory.
    #[arg(long, value_name = "PATH")]
    pub http_socket: Option<PathBuf>,

    /// Directory for everything that must survive a restart: secrets, certificates, sessions. Created if it does not exist,
    /// for the owner only.
    #[arg(long, default_value = "millrace-data", value_name = "DIR")]
    pub data_dir: PathBuf,

    /// The certificate of HTTPS, and the public URL.
    #[command(flatten)]
    pub certificate: Certificate,

    /// Addresses that the operator names.
    #[command(flatten)]
    pub addresses: Addresses,

    /// Unix socket on which signaling commands the relay. Without it, `control.sock` in the data directory.
    #[arg(long, value_name = "PATH")]
    pub control_socket: Option<PathBuf>,

    /// Address to announce to browsers before those of this machine's interfaces, such as the public address of a 1:1 NAT.
    /// Repeatable; announced in this order. The first one is used in URLs when a request names no host, or loopback.
    #[arg(long, value_delimiter = ',', value_name = "IP")]
    pub public_ip: Vec<IpAddr>,

    /// File to write, once the process is ready, with its ports and its process id as one line of JSON.
    #[arg(long, env = "MILLRACE_READY_FILE", value_name = "FILE")]
    pub ready_file: Option<PathBuf>,

    /// Lets tests make parts of the server fail on purpose: `POST /millrace/debug/panic/{shard}`. Also lets them
    /// point a viewer at another stream: `POST /millrace/debug/repoint`.
    #[arg(long, env = "MILLRACE_ALLOW_FAULT_INJECTION", hide = true)]
    pub allow_fault_injection: bool,
}

impl Server {
    /// Creates the data directory for its owner only (mode 0700). Takes the rights of everybody else from one that exists.
    ///
    /// # Errors
    /// When the directory cannot be created or read.
    pub fn make_data_dir(&self) -> Result<(), ConfigError> {
        private_dir::make(&self.data_dir).map_err(data_dir_error(&self.data_dir))
    }

    /// The socket on which signaling commands the relay.
    pub fn control_socket(&self) -> PathBuf {
        self.control_socket.clone().unwrap_or_else(|| self.data_dir.join("control.sock"))
    }

    /// The host names and addresses of this server, for a self-signed certificate.
    pub fn names(&self) -> Vec<String> {
        self.public_ip.iter().map(ToString::to_string).chain(self.certificate.public_host()).collect()
    }
}

/// An error about `path`, which lies in the data directory.
pub(super) fn data_dir_error(path: &Path) -> impl FnOnce(std::io::Error) -> ConfigError {
    let path = path.display().to_string();
    move |error| ConfigError::DataDir { path, error }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::Config;

    #[test]
    fn a_certificate_of_our_own_names_the_public_address() {
        let names = |url: &str| {
            let words = ["x", "--public-ip", "192.0.2.1", "--public-url", url];
            Config::try_parse_from(words).unwrap().server.names()
        };
        assert_eq!(names("https://meet.example.org:4443"), ["192.0.2.1", "meet.example.org"]);
        assert_eq!(names("https://[2001:db8::1]"), ["192.0.2.1", "2001:db8::1"]);
    }

    #[test]
    fn the_control_socket_is_in_the_data_directory_unless_it_is_set() {
        let socket = |words: &[&str]| {
            let words = ["x", "--data-dir", "/d"].iter().chain(words);
            Config::try_parse_from(words).unwrap().server.control_socket()
        };
        assert_eq!(socket(&[]).to_str(), Some("/d/control.sock"));
        assert_eq!(socket(&["--control-socket", "/run/c"]).to_str(), Some("/run/c"));
    }
}
