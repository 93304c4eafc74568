//! The secret of the REST API, and who may use which part of it.

use std::path::Path;

use clap::Args;

use super::ConfigError;
use super::server::data_dir_error;
use crate::files::write_new;
use crate::ids;
use crate::net::Net;

/// Shortest secret that is accepted, in bytes.
pub const SECRET_LEN_MIN: usize = 8;

/// Name of the secret's file in the data directory.
pub const SECRET_FILE: &str = "secret";

#[derive(Clone, Debug, Args)]
#[allow(missing_docs, reason = "see the group of garbage")]
pub struct Rest {
    /// Secret of the REST API, at least 8 bytes: the password of the user OPENVIDUAPP. Without it, the file `secret` in the
    /// data directory is used; the first start creates it.
    #[arg(long, value_name = "S")]
    pub secret: Option<String>,

    /// Serves the paths of older OpenVidu releases too: /api for /openvidu/api, /config, /info, /accept-certificate and the
    /// old paths of files.
    #[arg(long)]
    pub support_deprecated_api: bool,

    /// Addresses and ranges, such as 198.51.100.0/24, that may use the REST API, call detail records and statistics; others
    /// get 403. Without it, or with `all`, every address may. This machine (loopback) always may. Repeatable.
    #[arg(long, value_name = "NET", value_delimiter = ',', value_parser = Net::parse)]
    pub rest_allow: Vec<Net>,

    /// Addresses and ranges that may open the operator's pages: the REST API's documentation with its OpenAPI file, and
    /// /openvidu/info. Same form as rest-allow. The call page is open to every address.
    #[arg(long, value_name = "NET", value_delimiter = ',', value_parser = Net::parse)]
    pub dashboard_allow: Vec<Net>,
}

impl Rest {
    /// The secret in use: the one that is set, else the one in the file, else a new one that is written there.
    ///
    /// # Errors
    /// When it is too short, or its file cannot be read or written.
    pub fn resolve_secret(&self, data_dir: &Path) -> Result<String, ConfigError> {
        let secret = match &self.secret {
            Some(secret) => secret.clone(),
            None => secret_on_file(&data_dir.join(SECRET_FILE))?,
        };
        if secret.len() < SECRET_LEN_MIN {
            return Err(ConfigError::ShortSecret(secret.len()));
        }
        Ok(secret)
    }
}

fn secret_on_file(path: &Path) -> Result<String, ConfigError> {
    match std::fs::read_to_string(path) {
        Ok(secret) => Ok(secret.trim().to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let secret = ids::secret();
            write_new(path, secret.as_bytes(), 0o600).map_err(data_dir_error(path))?;
            Ok(secret)
        }
        Err(error) => Err(data_dir_error(path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::Config;
    use super::*;

    fn rest(more: &[&str]) -> Rest {
        Config::try_parse_from(["x"].iter().chain(more)).unwrap().rest
    }

    #[test]
    fn a_secret_is_drawn_once_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let secret = rest(&[]).resolve_secret(dir.path()).unwrap();
        assert_eq!(secret.len(), 32);
        assert_eq!(rest(&[]).resolve_secret(dir.path()).unwrap(), secret);
    }

    #[test]
    fn a_short_secret_is_refused_wherever_it_comes_from() {
        let dir = tempfile::tempdir().unwrap();
        let short = rest(&["--secret", "1234567"]).resolve_secret(dir.path());
        assert!(matches!(short, Err(ConfigError::ShortSecret(7))));
        std::fs::write(dir.path().join(SECRET_FILE), "\n").unwrap();
        assert!(matches!(rest(&[]).resolve_secret(dir.path()), Err(ConfigError::ShortSecret(0))));
    }
}
