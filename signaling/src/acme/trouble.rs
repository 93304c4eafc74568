//! Why there is no certificate, and what an operator can do.

use std::error::Error as _;
use std::fmt;
use std::time::Duration;

use instant_acme::{Error, Problem};

use crate::tls::TlsError;

/// Shortest pause after the authority answered `rateLimited`.
const RATE_LIMITED_PAUSE: Duration = Duration::from_secs(3_600);

/// What went wrong.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The authority refused, with its reason (RFC 8555, section 6.7).
    Refused(Problem),
    /// The authority could not be reached, or its answer could not be read.
    Unreachable(Error),
    /// The authority took too long.
    Timeout,
    /// The authority offers no check over plain HTTP.
    NoHttp,
    /// The answer held no certificate.
    NoCertificate,
    /// This machine has no certificates to check the authority with.
    Machine(String),
    /// The certificate cannot be written or used.
    Files(TlsError),
}

impl From<TlsError> for Trouble {
    fn from(error: TlsError) -> Self {
        Self::Files(error)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(problem) => match &problem.detail {
                Some(detail) => write!(f, "the certificate authority says: {}", detail.trim_end_matches('.')),
                None => write!(f, "the certificate authority refuses ({})", kind(problem)),
            },
            Self::Unreachable(error) => {
                write!(f, "the certificate authority cannot be reached: {error}")?;
                error.source().map_or(Ok(()), |source| write!(f, ": {source}"))
            }
            Self::Timeout => f.write_str("the certificate authority took too long"),
            Self::NoHttp => {
                f.write_str("the certificate authority does not check names over plain HTTP (HTTP-01)")
            }
            Self::NoCertificate => {
                f.write_str("the answer of the certificate authority holds no certificate")
            }
            Self::Machine(words) => f.write_str(words),
            Self::Files(error) => write!(f, "{error}"),
        }
    }
}

impl Trouble {
    /// What the operator should check.
    pub(super) fn advice(&self) -> &'static str {
        match self {
            Self::Refused(problem) => match kind(problem) {
                "dns" => {
                    "Does the name have an A or AAAA record in the public DNS that leads to this machine?"
                }
                "connection" => {
                    "Is TCP port 80 of this machine open to the internet: in the firewall, in the router before it, \
                     and for every A and AAAA record of the name?"
                }
                "unauthorized" | "incorrectResponse" => {
                    "Another server answers on port 80 of the name. Do all its A and AAAA records lead here, with no \
                     proxy or other web server in between?"
                }
                "rateLimited" => {
                    "Too many certificates were requested, by this server or by others of the domain."
                }
                "rejectedIdentifier" | "malformed" => {
                    "It signs public names only. Look at the name in server.public-url."
                }
                "caa" => "The CAA record of the name must allow this authority.",
                "accountDoesNotExist" => "The next attempt makes a new account.",
                "invalidContact" | "unsupportedContact" => "Look at server.letsencrypt-email.",
                _ => "Its status page may know more.",
            },
            Self::Unreachable(_) | Self::Timeout => {
                "Can this machine connect to the address in server.acme-directory, and does it trust the certificate there?"
            }
            Self::NoHttp | Self::NoCertificate => "Look at server.acme-directory.",
            Self::Machine(_) => "The authority is reached over TLS.",
            Self::Files(_) => "Look at server.data-dir.",
        }
    }

    /// Whether the authority no longer knows the account.
    pub(super) fn is_of_the_account(&self) -> bool {
        matches!(self, Self::Refused(problem) if kind(problem) == "accountDoesNotExist")
    }

    /// The pause before the next attempt, at least `pause`.
    pub(super) fn pause(&self, pause: Duration) -> Duration {
        match self {
            Self::Refused(problem) if kind(problem) == "rateLimited" => pause.max(RATE_LIMITED_PAUSE),
            _ => pause,
        }
    }
}

/// The last part of the problem's type, such as `dns`.
fn kind(problem: &Problem) -> &str {
    problem.r#type.as_deref().unwrap_or_default().rsplit(':').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(kind: &str) -> Trouble {
        let text = format!(r#"{{"type":"urn:ietf:params:acme:error:{kind}","detail":"No such host."}}"#);
        Trouble::Refused(serde_json::from_str(&text).unwrap())
    }

    #[test]
    fn an_operator_is_told_what_it_was_and_where_to_look() {
        for (kind, word) in [
            ("dns", "A or AAAA"),
            ("connection", "port 80"),
            ("unauthorized", "proxy"),
            ("caa", "CAA"),
            ("x", "status"),
        ] {
            let trouble = refused(kind);
            assert_eq!(trouble.to_string(), "the certificate authority says: No such host");
            assert!(trouble.advice().contains(word), "{kind}: {}", trouble.advice());
            assert_eq!(trouble.pause(Duration::from_secs(1)), Duration::from_secs(1));
        }
        assert_eq!(refused("rateLimited").pause(Duration::from_secs(1)), RATE_LIMITED_PAUSE);
    }
}
