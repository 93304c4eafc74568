//! Where the server is found, and what it keeps where.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use clap::Args;

use super::{Certificate, ConfigError};
use crate::files::write_new;
use crate::ids;

/// Shortest secret that is accepted, in bytes.
pub const SECRET_LEN_MIN: usize = 8;

/// Name of the secret's file in the data directory.
pub const SECRET_FILE: &str = "secret";

#[derive(Clone, Debug, Args)]
#[allow(missing_docs, reason = "see the group of garbage")]
pub struct Server {
    /// Port of HTTPS, on every address; 0 is any free one.
    #[arg(long, env = "MILLRACE_HTTPS_PORT", default_value_t = 4443)]
    pub https_port: u16,

    /// Port of plain HTTP, on loopback only; 0 is any free one.
    #[arg(long, env = "MILLRACE_HTTP_PORT", default_value_t = 4480)]
    pub http_port: u16,

    /// Unix socket between the relay and signaling. With it the relay serves the port of HTTPS, together with TURN, and signaling
    /// takes HTTP there; without it signaling serves HTTPS by itself.
    #[arg(long, env = "MILLRACE_HTTP_SOCKET", value_name = "PATH")]
    pub http_socket: Option<PathBuf>,

    /// Directory of the certificate, the secret and the session store. Made when it is not there.
    #[arg(long, env = "MILLRACE_DATA_DIR", default_value = "millrace-data")]
    pub data_dir: PathBuf,

    /// Password of the REST API. Without it the file `secret` in the data directory counts, and is made if need be.
    #[arg(long, env = "MILLRACE_SECRET", hide_env_values = true)]
    pub secret: Option<String>,

    /// Whose certificate it has, and where clients reach it.
    #[command(flatten)]
    pub certificate: Certificate,

    /// The relay's control socket.
    #[arg(long, env = "MILLRACE_CONTROL_SOCKET", default_value = "millrace-data/control.sock")]
    pub control_socket: PathBuf,

    /// Address clients know this machine by; repeatable. The first one counts for URLs when a request names no host,
    /// or names loopback.
    #[arg(long, env = "MILLRACE_PUBLIC_IP", value_delimiter = ',')]
    pub public_ip: Vec<IpAddr>,

    /// File to write, once everything is ready, with the ports in use and the process id as JSON.
    #[arg(long, env = "MILLRACE_READY_FILE")]
    pub ready_file: Option<PathBuf>,

    /// Lets `POST /millrace/debug/panic/{shard}` through to the relay. For tests.
    #[arg(long, env = "MILLRACE_ALLOW_FAULT_INJECTION")]
    pub allow_fault_injection: bool,
}

impl Server {
    /// Makes the data directory, readable by its owner only.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn make_data_dir(&self) -> Result<(), ConfigError> {
        use std::os::unix::fs::DirBuilderExt as _;
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(&self.data_dir).map_err(data_dir_error(&self.data_dir))
    }

    /// The names that clients know this machine by, for a certificate of our own.
    pub fn names(&self) -> Vec<String> {
        self.public_ip.iter().map(ToString::to_string).chain(self.certificate.public_host()).collect()
    }

    /// The secret: given, on file, or drawn now and written there.
    ///
    /// # Errors
    /// When it is too short, or its file cannot be used.
    pub fn resolve_secret(&self) -> Result<String, ConfigError> {
        let secret = match &self.secret {
            Some(secret) => secret.clone(),
            None => self.secret_on_file()?,
        };
        if secret.len() < SECRET_LEN_MIN {
            return Err(ConfigError::ShortSecret(secret.len()));
        }
        Ok(secret)
    }

    fn secret_on_file(&self) -> Result<String, ConfigError> {
        let path = self.data_dir.join(SECRET_FILE);
        match std::fs::read_to_string(&path) {
            Ok(secret) => Ok(secret.trim().to_owned()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let secret = ids::secret();
                write_new(&path, secret.as_bytes(), 0o600).map_err(data_dir_error(&path))?;
                Ok(secret)
            }
            Err(error) => Err(data_dir_error(&path)(error)),
        }
    }
}

fn data_dir_error(path: &Path) -> impl FnOnce(std::io::Error) -> ConfigError {
    let path = path.display().to_string();
    move |error| ConfigError::DataDir { path, error }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::Config;
    use super::*;

    fn config(name: &str, more: &[&str]) -> Server {
        let dir = std::env::temp_dir().join(format!("millrace-config-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        let dir = dir.display().to_string();
        let arguments = ["millrace-signaling", "--data-dir", &dir].into_iter().chain(more.iter().copied());
        let config = Config::try_parse_from(arguments).unwrap().server;
        config.make_data_dir().unwrap();
        config
    }

    #[test]
    fn a_secret_is_drawn_once_and_kept() {
        let config = config("drawn", &[]);
        let secret = config.resolve_secret().unwrap();
        assert_eq!(secret.len(), 32);
        assert_eq!(config.resolve_secret().unwrap(), secret);
    }

    #[test]
    fn a_certificate_of_our_own_names_the_public_address() {
        let names = |url: &str| config("names", &["--public-ip", "192.0.2.1", "--public-url", url]).names();
        assert_eq!(names("https://meet.example.org:4443"), ["192.0.2.1", "meet.example.org"]);
        assert_eq!(names("https://[2001:db8::1]"), ["192.0.2.1", "2001:db8::1"]);
    }

    #[test]
    fn a_short_secret_is_refused_wherever_it_comes_from() {
        assert!(matches!(
            config("short", &["--secret", "1234567"]).resolve_secret(),
            Err(ConfigError::ShortSecret(7))
        ));
        let config = config("short-file", &[]);
        std::fs::write(config.data_dir.join(SECRET_FILE), "\n").unwrap();
        assert!(matches!(config.resolve_secret(), Err(ConfigError::ShortSecret(0))));
    }
}
