//! The secrets of the server, and the comparison with them.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{Digest, SHA256, digest};

use super::Principal;

/// Shortest secret that is accepted, in bytes.
pub const SECRET_LEN_MIN: usize = 8;

/// Where the application's secret comes from, for errors.
pub(crate) const CURRENT: &str = "--secret or the file 'secret'";

/// The secrets as the operator sets them.
#[derive(Clone)]
pub struct SecretTexts {
    /// The application's secret.
    pub current: String,
    /// The application's secret before the last change. It counts as long as it is set, so that a server and its
    /// applications need not change at the same moment.
    pub previous: Option<String>,
    /// The secret that may only read.
    pub monitor: Option<String>,
}

/// Secrets that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretsError {
    /// It is too easy to guess.
    #[error("the secret has {len} bytes; give {option} at least {SECRET_LEN_MIN}")]
    TooShort {
        /// The option that sets it.
        option: &'static str,
        /// Its length in bytes.
        len: usize,
    },
    /// The monitor secret would open everything.
    #[error("--monitor-secret is the same as another secret; give it one of its own")]
    MonitorIsApplication,
}

/// The secrets as they are compared.
pub(super) struct Secrets {
    known: Vec<(Digest, Principal)>,
}

impl Secrets {
    /// # Errors
    /// When one is too short, or the monitor's is also the application's.
    pub(super) fn new(texts: &SecretTexts) -> Result<Self, SecretsError> {
        let application = [(CURRENT, Some(&texts.current)), ("--secret-previous", texts.previous.as_ref())];
        let monitor = [("--monitor-secret", texts.monitor.as_ref())];
        for (option, text) in application.iter().chain(&monitor) {
            match text.map_or(SECRET_LEN_MIN, |text| text.len()) {
                len if len < SECRET_LEN_MIN => return Err(SecretsError::TooShort { option, len }),
                _ => {}
            }
        }
        if application.iter().any(|(_, text)| text.is_some() && *text == texts.monitor.as_ref()) {
            return Err(SecretsError::MonitorIsApplication);
        }
        let of = |texts: &[(&str, Option<&String>)], principal: &Principal| -> Vec<_> {
            texts.iter().filter_map(|(_, text)| Some((hashed((*text)?), principal.clone()))).collect()
        };
        let mut known = of(&application, &Principal::Application);
        known.extend(of(&monitor, &Principal::Monitor));
        Ok(Self { known })
    }

    /// The principal of a secret. Takes the same time for all texts of one length: hashes are compared, in constant
    /// time, and every one of them is looked at.
    pub(super) fn principal(&self, secret: &str) -> Option<Principal> {
        let given = hashed(secret);
        let mut found = None;
        for (digest, principal) in &self.known {
            if verify_slices_are_equal(digest.as_ref(), given.as_ref()).is_ok() {
                found = Some(principal);
            }
        }
        found.cloned()
    }
}

fn hashed(text: &str) -> Digest {
    digest(&SHA256, text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(current: &str, previous: Option<&str>, monitor: Option<&str>) -> SecretTexts {
        SecretTexts {
            current: current.into(),
            previous: previous.map(str::to_owned),
            monitor: monitor.map(str::to_owned),
        }
    }

    #[test]
    fn each_secret_stands_for_its_principal() {
        let secrets = Secrets::new(&texts("new-secret", Some("old-secret"), Some("monitor-secret"))).unwrap();
        assert_eq!(secrets.principal("new-secret"), Some(Principal::Application));
        assert_eq!(secrets.principal("old-secret"), Some(Principal::Application));
        assert_eq!(secrets.principal("monitor-secret"), Some(Principal::Monitor));
        for wrong in ["", "new-secre", "new-secret ", "New-secret"] {
            assert_eq!(secrets.principal(wrong), None, "{wrong}");
        }
        let alone = Secrets::new(&texts("new-secret", None, None)).unwrap();
        assert_eq!(alone.principal("old-secret"), None, "a secret that is no longer set counts no longer");
    }

    #[test]
    fn short_and_ambiguous_secrets_are_refused() {
        let refusal = |texts| Secrets::new(&texts).err();
        let short = |option, len| Some(SecretsError::TooShort { option, len });
        assert_eq!(refusal(texts("1234567", None, None)), short(CURRENT, 7));
        assert_eq!(refusal(texts("12345678", Some(""), None)), short("--secret-previous", 0));
        assert_eq!(refusal(texts("12345678", None, Some("x"))), short("--monitor-secret", 1));
        let same = Some(SecretsError::MonitorIsApplication);
        assert_eq!(refusal(texts("12345678", None, Some("12345678"))), same);
        assert_eq!(refusal(texts("12345678", Some("87654321"), Some("87654321"))), same);
    }
}
