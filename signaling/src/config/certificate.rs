//! The certificate of HTTPS.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::ConfigError;
use crate::origin::Origin;
use crate::tls::Choice;

/// The default certificate authority.
pub const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// The port to which a certificate authority connects for HTTP-01 (RFC 8555, section 8.3).
const CHALLENGE_PORT: u16 = 80;

/// Where the certificate comes from. The names are OpenVidu's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CertificateType {
    /// Self-signed, made here.
    #[value(name = "selfsigned")]
    SelfSigned,
    /// The operator's files.
    #[value(name = "owncert")]
    OwnCert,
    /// Fetched from a certificate authority, and renewed.
    #[value(name = "letsencrypt")]
    LetsEncrypt,
}

/// Options of both processes: the relay's edge and signaling read the same files.
#[derive(Clone, Debug, Args)]
#[allow(missing_docs, reason = "see the group of garbage")]
pub struct Certificate {
    /// Certificate of HTTPS: selfsigned (created here), owncert (your two files) or letsencrypt (fetched for the host
    /// name in the public URL, and renewed). Without it, owncert if the files are set, else selfsigned.
    #[arg(long, value_name = "TYPE")]
    pub certificate_type: Option<CertificateType>,

    /// Certificate chain of HTTPS, a PEM file.
    #[arg(long, value_name = "FILE")]
    pub certificate_file: Option<PathBuf>,

    /// Private key of that certificate, a PEM file.
    #[arg(long, value_name = "FILE")]
    pub certificate_key_file: Option<PathBuf>,

    /// URL at which applications and browsers reach this server, such as `https://meet.example.org`. Tokens contain it.
    /// Without it, tokens contain the host name of the request that created them.
    #[arg(long, value_parser = Origin::parse)]
    pub public_url: Option<Origin>,

    /// Port of plain HTTP, on every address. It redirects to HTTPS and answers the certificate authority. Without it 80 with
    /// certificate type letsencrypt, otherwise none. 0 takes any free port.
    #[arg(long, value_name = "N")]
    pub redirect_port: Option<u16>,
}

/// How certificates are fetched (ACME, RFC 8555).
#[derive(Clone, Debug, Args)]
#[allow(missing_docs, reason = "see the group of garbage")]
pub struct Acme {
    /// Contact address for the certificate authority.
    #[arg(long, value_name = "ADDRESS")]
    pub letsencrypt_email: Option<String>,

    /// Directory URL of the certificate authority (ACME, RFC 8555) for certificate type letsencrypt.
    #[arg(long, default_value = LETS_ENCRYPT, value_name = "URL", value_parser = directory)]
    pub acme_directory: String,
}

impl Certificate {
    /// The certificate that the options choose.
    ///
    /// # Errors
    /// When the options contradict each other, or letsencrypt has no host name.
    pub fn choice(&self) -> Result<Choice<'_>, ConfigError> {
        let files = match (self.certificate_file.as_deref(), self.certificate_key_file.as_deref()) {
            (Some(certificate), Some(key)) => Some(Choice::Own { certificate, key }),
            (None, None) => None,
            _ => return Err(ConfigError::HalfCertificate),
        };
        match (self.certificate_type, files) {
            (None | Some(CertificateType::OwnCert), Some(own)) => Ok(own),
            (None | Some(CertificateType::SelfSigned), None) => Ok(Choice::SelfSigned),
            (Some(CertificateType::OwnCert), None) => Err(ConfigError::Certificate(
                "owncert needs --certificate-file and --certificate-key-file".into(),
            )),
            (Some(CertificateType::LetsEncrypt), None) => Ok(Choice::Fetched { name: self.name()? }),
            (Some(_), Some(_)) => Err(ConfigError::Certificate(
                "--certificate-file and --certificate-key-file are for owncert; leave them out, or the type"
                    .into(),
            )),
        }
    }

    /// The host name to fetch a certificate for.
    fn name(&self) -> Result<String, ConfigError> {
        let host = self.public_url.as_ref().map(Origin::host).unwrap_or_default();
        let is_ip = host.starts_with('[') || host.parse::<std::net::IpAddr>().is_ok();
        if host.is_empty() || is_ip {
            let what = if is_ip { format!("; {host} is an address") } else { String::new() };
            return Err(ConfigError::Certificate(format!(
                "letsencrypt needs a name in the public URL, such as --public-url=https://meet.example.org{what}"
            )));
        }
        Ok(host.trim_end_matches('.').to_ascii_lowercase())
    }

    /// The port that redirects to HTTPS, if there is one.
    pub fn plain_port(&self) -> Option<u16> {
        let is_fetched = matches!(self.choice(), Ok(Choice::Fetched { .. }));
        self.redirect_port.or(is_fetched.then_some(CHALLENGE_PORT))
    }

    /// The host of the public URL, if a certificate authority may have signed the certificate.
    pub fn vouched_host(&self) -> Option<&str> {
        let is_own = matches!(self.choice(), Ok(Choice::SelfSigned) | Err(_));
        self.public_url.as_ref().filter(|_| !is_own).map(Origin::host)
    }

    /// The host of the public URL, for a self-signed certificate.
    pub fn public_host(&self) -> Option<String> {
        self.public_url.as_ref().map(|url| url.host().trim_matches(['[', ']']).to_owned())
    }
}

fn directory(url: &str) -> Result<String, String> {
    let rest = url.strip_prefix("https://").unwrap_or_default();
    let host = rest.split('/').next().unwrap_or_default();
    if host.is_empty() || Origin::parse(&format!("https://{host}")).is_err() {
        return Err("not of the form https://host/path".into());
    }
    Ok(url.to_owned())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::Parser as _;

    use super::super::Config;
    use super::*;

    fn config(more: &[&str]) -> Config {
        Config::try_parse_from(["x"].iter().chain(more)).unwrap()
    }

    fn refused(more: &[&str]) -> String {
        config(more).server.certificate.choice().unwrap_err().to_string()
    }

    const FILES: [&str; 4] = ["--certificate-file", "c", "--certificate-key-file", "k"];

    #[test]
    fn a_certificate_needs_its_key() {
        assert_eq!(config(&[]).server.certificate.choice().unwrap(), Choice::SelfSigned);
        let own = Choice::Own { certificate: Path::new("c"), key: Path::new("k") };
        assert_eq!(config(&FILES).server.certificate.choice().unwrap(), own);
        let named = [&FILES[..], &["--certificate-type", "owncert"]].concat();
        assert_eq!(config(&named).server.certificate.choice().unwrap(), own);
        assert!(refused(&FILES[..2]).contains("both or neither"));
        assert!(refused(&["--certificate-type", "owncert"]).contains("needs"));
        for other in ["selfsigned", "letsencrypt"] {
            let both = [&FILES[..], &["--certificate-type", other]].concat();
            assert!(refused(&both).contains("are for owncert"), "{other}");
        }
    }

    #[test]
    fn one_is_fetched_for_a_name_only() {
        let fetched = |url| ["--certificate-type", "letsencrypt", "--public-url", url];
        for url in ["https://Meet.example.org.", "https://meet.example.org:4443"] {
            let choice = Choice::Fetched { name: "meet.example.org".into() };
            assert_eq!(config(&fetched(url)).server.certificate.choice().unwrap(), choice, "{url}");
        }
        for url in ["https://192.0.2.1", "https://[2001:db8::1]:4443"] {
            assert!(refused(&fetched(url)).contains("is an address"), "{url}");
        }
        assert!(refused(&["--certificate-type", "letsencrypt"]).contains("needs a name"));
    }

    #[test]
    fn plain_http_is_there_when_it_is_asked_for_or_needed() {
        let port = |more: &[&str]| config(more).server.certificate.plain_port();
        let fetched = ["--certificate-type", "letsencrypt", "--public-url", "https://meet.example.org"];
        assert_eq!(port(&[]), None);
        assert_eq!(port(&["--redirect-port", "8080"]), Some(8080));
        assert_eq!(port(&fetched), Some(80));
        assert_eq!(port(&[&fetched[..], &["--redirect-port", "8080"]].concat()), Some(8080));
        for bad in ["http://ca.example.org/dir", "ca.example.org", "https:///dir"] {
            assert!(Config::try_parse_from(["x", "--acme-directory", bad]).is_err(), "{bad}");
        }
    }
}
