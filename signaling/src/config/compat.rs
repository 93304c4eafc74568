//! Compatibility with older clients, and the version that clients see.

use clap::Args;

/// The OpenVidu release whose clients are served, and that this server reports where nothing else is set.
pub const VERSION: &str = "2.32.2";

/// What a client hears that does not say its own release, as openvidu-browser up to 2.20.0. Those from 2.17 on compare all
/// three numbers with their own and log a warning when one differs; the last of them hears its own here.
const LAST_SILENT: &str = "2.20.0";

#[derive(Clone, Debug, Args)]
#[allow(missing_docs, reason = "see the group of garbage")]
pub struct Compat {
    /// Lets applications with openvidu-browser 1.x create and join sessions by `?secret=` in the URL. For development
    /// only: everybody who opens such a page can read the secret.
    #[arg(long)]
    pub first_generation_secret: bool,

    /// OpenVidu release that clients see as the version of this server. `client` echoes each client's own version,
    /// which avoids a version-mismatch warning.
    #[arg(long, default_value = "client", value_parser = ReportedVersion::parse)]
    pub reported_version: ReportedVersion,
}

/// The OpenVidu release that this server reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReportedVersion {
    /// The release of the client that asks, if it has the form of one.
    Client,
    /// Always the same.
    Fixed(String),
}

impl ReportedVersion {
    /// Reads `client` or three numbers.
    ///
    /// # Errors
    /// When it is something else; the message is for operators.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "client" => Ok(Self::Client),
            _ if is_release(text) => Ok(Self::Fixed(text.to_owned())),
            _ => Err("neither client nor a release such as 2.32.2".into()),
        }
    }

    /// What a client of openvidu-browser 2 hears that says `its` own release, or none.
    pub fn to_client<'a>(&'a self, its: Option<&'a str>) -> &'a str {
        match self {
            // Anything but three numbers makes a client hang.
            Self::Client => match its {
                None => LAST_SILENT,
                Some(its) if is_release(its) => its,
                Some(_) => VERSION,
            },
            Self::Fixed(release) => release,
        }
    }

    /// What an application's server and openvidu-browser 1 hear, which do not say their own.
    pub fn to_application(&self) -> &str {
        match self {
            Self::Client => VERSION,
            Self::Fixed(release) => release,
        }
    }
}

/// Three numbers between dots.
fn is_release(text: &str) -> bool {
    let is_number =
        |part: &str| (1..=5).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
    text.split('.').count() == 3 && text.split('.').all(is_number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_release_is_repeated() {
        let client = ReportedVersion::parse("client").unwrap();
        assert_eq!(client.to_client(Some("2.30.1")), "2.30.1");
        for bad in ["", "2.30", "2.30.1.2", "2..1", "2.30.x", "2.30.1-beta", "2.30.123456", "é.1.1"] {
            assert_eq!(client.to_client(Some(bad)), VERSION, "{bad}");
            assert!(ReportedVersion::parse(bad).is_err(), "{bad}");
        }
        assert_eq!((client.to_client(None), client.to_application()), (LAST_SILENT, VERSION));
        let fixed = ReportedVersion::parse("2.29.0").unwrap();
        assert_eq!((fixed.to_client(Some("2.30.1")), fixed.to_application()), ("2.29.0", "2.29.0"));
    }
}
