//! The secret of the REST API, and who may use which part of it.

use std::path::Path;

use clap::Args;

use super::ConfigError;
use super::server::data_dir_error;
use crate::access::SecretTexts;
use crate::files::write_new;
use crate::ids;
use crate::net::Net;

/// Name of the secret's file in the data directory.
pub const SECRET_FILE: &str = "secret";

#[derive(Clone, Debug, Args)]
#[allow(missing_docs, reason = "see the group of garbage")]
pub struct Rest {
    /// Secret of the REST API, at least 8 bytes: the password of the user OPENVIDUAPP. Without it, the file `secret` in the
    /// data directory is used; the first start creates it.
    #[arg(long, value_name = "S")]
    pub secret: Option<String>,

    /// Previous secret of the REST API. It is valid as well while it is set. To change the secret: set the new one
    /// as `secret` and the old one here, change the applications, then remove this.
    #[arg(long, value_name = "S")]
    pub secret_previous: Option<String>,

    /// Secret for dashboards and scrapers, at least 8 bytes. It may only read: sessions, connections, statistics,
    /// configuration and the names of call detail records. Tokens, passwords and session descriptions are hidden.
    #[arg(long, value_name = "S")]
    pub monitor_secret: Option<String>,

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
    /// The secrets. The application's is the one that is set, else the one in the file, else a new one that is written
    /// there. [`crate::access::Access::new`] says which secrets are valid.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn secrets(&self, data_dir: &Path) -> Result<SecretTexts, ConfigError> {
        let current = match &self.secret {
            Some(secret) => secret.clone(),
            None => secret_on_file(&data_dir.join(SECRET_FILE))?,
        };
        Ok(SecretTexts {
            current,
            previous: self.secret_previous.clone(),
            monitor: self.monitor_secret.clone(),
        })
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
    use crate::access::{Access, CURRENT, SecretsError};

    fn rest(more: &[&str]) -> Rest {
        Config::try_parse_from(["x"].iter().chain(more)).unwrap().rest
    }

    #[test]
    fn a_secret_is_drawn_once_and_kept() {
        let dir = millrace_testkit::scratch();
        let secret = rest(&[]).secrets(&dir).unwrap().current;
        assert_eq!(secret.len(), 32);
        assert_eq!(rest(&[]).secrets(&dir).unwrap().current, secret);
    }

    #[test]
    fn a_short_secret_is_refused_wherever_it_comes_from() {
        let dir = millrace_testkit::scratch();
        let refusal = |rest: Rest| Access::new(&rest.secrets(&dir).unwrap(), None).err();
        let short = |len| Some(SecretsError::TooShort { option: CURRENT, len });
        assert_eq!(refusal(rest(&["--secret", "1234567"])), short(7));
        std::fs::write(dir.join(SECRET_FILE), "\n").unwrap();
        assert_eq!(refusal(rest(&[])), short(0));
    }
}
