//! The secret of the REST API, and who may use which part of it.

use std::io;
use std::path::Path;

use clap::Args;

use super::ConfigError;
use super::server::data_dir_error;
use crate::access::{INVITATION_KEY_LEN, Invitations, SecretTexts};
use crate::files::write_new;
use crate::ids;
use crate::net::Net;

/// Name of the secret's file in the data directory.
pub const SECRET_FILE: &str = "secret";

/// Name of the file that holds the key of invitations, in the data directory.
const INVITATION_KEY_FILE: &str = "invitation.key";

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

    /// Addresses and ranges that may open the page about the REST API with its OpenAPI file, and /openvidu/info. Other
    /// addresses get 403. Empty, or `all`, allows every address. This machine is always allowed. The call page is open to
    /// everybody. Repeatable.
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

/// The signer of invitations, with the key in the data directory. The first start creates the key. It is a key of its
/// own, so that links already sent stay valid when the secret changes.
///
/// # Errors
/// When the file cannot be read or written, or holds no key.
pub fn invitations(data_dir: &Path) -> Result<Invitations, ConfigError> {
    let path = data_dir.join(INVITATION_KEY_FILE);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let key = rand::random::<[u8; INVITATION_KEY_LEN]>();
            write_new(&path, &key, 0o600).map_err(data_dir_error(&path))?;
            key.to_vec()
        }
        Err(error) => return Err(data_dir_error(&path)(error)),
    };
    let key = bytes.as_slice().try_into().map_err(|_| {
        let why = format!(
            "has {} bytes, and a key has {INVITATION_KEY_LEN}; remove it, which ends all invitations",
            bytes.len()
        );
        data_dir_error(&path)(io::Error::new(io::ErrorKind::InvalidData, why))
    })?;
    Ok(Invitations::new(key))
}

fn secret_on_file(path: &Path) -> Result<String, ConfigError> {
    match std::fs::read_to_string(path) {
        Ok(secret) => Ok(secret.trim().to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
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
    use crate::access::{Access, AccessRates, CURRENT, Invitation, SecretsError};
    use crate::session::Role;

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
        let refusal = |rest: Rest| {
            let invitations = invitations(&dir).unwrap();
            Access::new(&rest.secrets(&dir).unwrap(), invitations, AccessRates::default()).err()
        };
        let short = |len| Some(SecretsError::TooShort { option: CURRENT, len });
        assert_eq!(refusal(rest(&["--secret", "1234567"])), short(7));
        std::fs::write(dir.join(SECRET_FILE), "\n").unwrap();
        assert_eq!(refusal(rest(&[])), short(0));
    }

    #[test]
    fn the_key_of_invitations_is_drawn_once_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let claims = || Invitation {
            session: "a".into(),
            role: Role::Publisher,
            expires_at_s: 1,
            creates: false,
            name: None,
            nonce: String::new(),
        };
        let text = invitations(dir.path()).unwrap().sign(&claims());
        assert_eq!(invitations(dir.path()).unwrap().verify(&text, 0), Ok(claims()));
        std::fs::write(dir.path().join(INVITATION_KEY_FILE), "short").unwrap();
        let error = invitations(dir.path()).err().expect("that is no key").to_string();
        assert!(error.contains("invitation.key") && error.contains("5 bytes"), "{error}");
    }
}
