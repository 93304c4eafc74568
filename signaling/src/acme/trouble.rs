//! Why there is no certificate, and what an operator can do about it.

use std::error::Error as _;
use std::fmt;
use std::time::Duration;

use instant_acme::{Error, Problem};

use crate::tls::TlsError;

/// Least pause after the authority said that it has been asked too often.
const RATE_LIMITED_PAUSE: Duration = Duration::from_secs(3_600);

/// What went wrong.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The authority says no, and why (RFC 8555, section 6.7).
    Refused(Problem),
    /// It was not to be talked to.
    Unreachable(Error),
    /// It took too long.
    Timeout,
    /// It does not look over plain HTTP.
    NoHttp,
    /// What it gave is no certificate.
    NoCertificate,
    /// This machine cannot do TLS with anybody.
    Machine(String),
    /// What came cannot be kept or used.
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
                write!(f, "the certificate authority cannot be talked to: {error}")?;
                error.source().map_or(Ok(()), |source| write!(f, ": {source}"))
            }
            Self::Timeout => f.write_str("the certificate authority takes too long"),
            Self::NoHttp => f.write_str("the certificate authority does not look over plain HTTP (HTTP-01)"),
            Self::NoCertificate => f.write_str("what the certificate authority gave is no certificate"),
            Self::Machine(words) => f.write_str(words),
            Self::Files(error) => write!(f, "{error}"),
        }
    }
}

impl Trouble {
    /// What to look at.
    pub(super) fn advice(&self) -> &'static str {
        match self {
            Self::Refused(problem) => match kind(problem) {
                "dns" => "Has the name an A or AAAA record in the public DNS that leads to this machine?",
                "connection" => {
                    "Is TCP port 80 of this machine open to the internet: in the firewall, in the router before it, \
                     and for every A and AAAA record of the name?"
                }
                "unauthorized" | "incorrectResponse" => {
                    "Somebody else answers on port 80 of the name. Do all its A and AAAA records lead here, and no \
                     proxy or other web server on the way?"
                }
                "rateLimited" => "It was asked too often, by this server or by others of the domain.",
                "rejectedIdentifier" | "malformed" => {
                    "It gives certificates for public names only; which one is asked for stands in server.public-url."
                }
                "caa" => "The CAA record of the name has to allow this authority.",
                "accountDoesNotExist" => "A new account is made next time.",
                "invalidContact" | "unsupportedContact" => "Look at server.letsencrypt-email.",
                _ => "Its status page may know more.",
            },
            Self::Unreachable(_) | Self::Timeout => {
                "Does this machine get out to the address in server.acme-directory, and does it trust whom it finds there?"
            }
            Self::NoHttp | Self::NoCertificate => "Look at server.acme-directory.",
            Self::Machine(_) => "It is asked over TLS.",
            Self::Files(_) => "Look at server.data-dir.",
        }
    }

    /// Whether the authority does not know the account any more.
    pub(super) fn is_of_the_account(&self) -> bool {
        matches!(self, Self::Refused(problem) if kind(problem) == "accountDoesNotExist")
    }

    /// How long to wait where it would be `pause` otherwise.
    pub(super) fn pause(&self, pause: Duration) -> Duration {
        match self {
            Self::Refused(problem) if kind(problem) == "rateLimited" => pause.max(RATE_LIMITED_PAUSE),
            _ => pause,
        }
    }
}

/// The last word of its type.
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
