//! TLS with a certificate made here on the first start, or with the operator's own in its place.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;
use tokio_rustls::TlsAcceptor;

use crate::files::write_new;

/// Name of the certificate chain in the data directory.
pub const CERTIFICATE_FILE: &str = "tls-certificate.pem";
/// Name of the private key in the data directory.
pub const KEY_FILE: &str = "tls-key.pem";

/// Name of the certificate that was fetched, in the data directory: its key and its chain in one file, which so changes in
/// one step. Until there is one it holds one of our own.
pub const FETCHED_FILE: &str = "tls-letsencrypt.pem";

/// Which certificate HTTPS has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice<'a> {
    /// One that is made here, which no browser trusts by itself.
    SelfSigned,
    /// The operator's files.
    Own {
        /// The chain.
        certificate: &'a Path,
        /// Its key.
        key: &'a Path,
    },
    /// One that a certificate authority makes.
    Fetched {
        /// The name it is made for.
        name: String,
    },
}

impl Choice<'_> {
    /// The file of the chain, with `dir` as the data directory.
    pub fn certificate_file(&self, dir: &Path) -> PathBuf {
        match self {
            Self::Own { certificate, .. } => certificate.to_path_buf(),
            Self::SelfSigned => dir.join(CERTIFICATE_FILE),
            Self::Fetched { .. } => dir.join(FETCHED_FILE),
        }
    }
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or written.
    #[error("{path}: {error}")]
    File {
        /// Which one.
        path: String,
        /// What the system says.
        error: io::Error,
    },
    /// A file is there but does not hold what it should.
    #[error("{path}: {error}; both files have to be right, or neither there to have new ones made")]
    Content {
        /// Which one.
        path: String,
        /// What is wrong.
        error: String,
    },
    /// Making a certificate failed.
    #[error("cannot make a certificate: {0}")]
    Generate(#[from] rcgen::Error),
}

/// The files that TLS is done with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The chain, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM. It may be the same file.
    pub key: PathBuf,
}

impl Files {
    /// The files of a choice, in `dir` unless they are the operator's; what is to be there and is not, is made.
    ///
    /// A certificate that is made names `names`, this machine by loopback besides.
    ///
    /// # Errors
    /// When something cannot be made.
    pub fn of(choice: &Choice<'_>, dir: &Path, names: &[String]) -> Result<Self, TlsError> {
        match *choice {
            Choice::Own { certificate, key } => Ok(Self { certificate: certificate.into(), key: key.into() }),
            Choice::SelfSigned => {
                let (certificate, key) = (dir.join(CERTIFICATE_FILE), dir.join(KEY_FILE));
                if !certificate.exists() && !key.exists() {
                    let made = generate(names)?;
                    // The key first: a certificate without its key would not be made anew.
                    write(&key, made.key.as_bytes(), 0o600)?;
                    write(&certificate, made.certificate.as_bytes(), 0o644)?;
                }
                Ok(Self { certificate, key })
            }
            Choice::Fetched { .. } => {
                let file = dir.join(FETCHED_FILE);
                if !file.exists() {
                    let made = generate(names)?;
                    replace(&file, format!("{}{}", made.key, made.certificate).as_bytes())?;
                }
                Ok(Self { certificate: file.clone(), key: file })
            }
        }
    }

    /// The server's TLS settings with them.
    ///
    /// # Errors
    /// As [`from_files`].
    pub fn read(&self) -> Result<Arc<ServerConfig>, TlsError> {
        from_files(&self.certificate, &self.key)
    }
}

/// Files in use, which may be read anew.
pub(crate) struct InUse {
    files: Files,
    acceptor: RwLock<TlsAcceptor>,
}

impl InUse {
    pub(crate) fn read(files: Files) -> Result<Self, TlsError> {
        let acceptor = RwLock::new(files.read()?.into());
        Ok(Self { files, acceptor })
    }

    /// For a new connection.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        self.acceptor.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the files anew; what cannot be used does not take the place of what can.
    pub(crate) fn reload(&self) {
        match self.files.read() {
            Ok(config) => {
                *self.acceptor.write().unwrap_or_else(PoisonError::into_inner) = config.into();
                tracing::info!(file = %self.files.certificate.display(), "the certificate was read anew");
            }
            Err(error) => tracing::warn!("the new certificate is not taken: {error}"),
        }
    }
}

/// The server's TLS settings, from the files in `dir`; both are made when neither is there.
///
/// # Errors
/// When the files cannot be read, written or understood.
pub fn server_config(dir: &Path, names: &[String]) -> Result<Arc<ServerConfig>, TlsError> {
    Files::of(&Choice::SelfSigned, dir, names)?.read()
}

/// The server's TLS settings, with a certificate chain and its key, both PEM.
///
/// TLS 1.2 and up, HTTP/1.1 only.
///
/// # Errors
/// When the files cannot be read or understood, or do not belong together.
pub fn from_files(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let content = |path: &Path| {
        let path = path.display().to_string();
        move |error: String| TlsError::Content { path, error }
    };
    let chain = CertificateDer::pem_slice_iter(&read(certificate)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| content(certificate)(error.to_string()))?;
    let private =
        PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|error| content(key)(error.to_string()))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| content(key)(error.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|error| content(certificate)(error.to_string()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // Who comes back brings along what is needed to go on, so that nothing is kept of those who do not.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = Ticketer::new().map_err(|error| content(key)(error.to_string()))?;
    Ok(Arc::new(config))
}

/// As PEM.
struct Made {
    certificate: String,
    key: String,
}

fn generate(more: &[String]) -> Result<Made, TlsError> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    names.extend_from_slice(more);
    names.sort();
    names.dedup();
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "Millrace self-signed");
    params.not_before = date_time_ymd(2025, 1, 1);
    params.not_after = date_time_ymd(2045, 1, 1);
    let pair = KeyPair::generate()?;
    let made = params.self_signed(&pair)?;
    Ok(Made { certificate: made.pem(), key: pair.serialize_pem() })
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|error| TlsError::File { path: path.display().to_string(), error })
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), TlsError> {
    write_new(path, bytes, mode).map_err(|error| TlsError::File { path: path.display().to_string(), error })
}

/// Puts a file that only its owner may read in the place of another, in one step.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), TlsError> {
    let new = path.with_extension("new");
    let replaced = match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => write_new(&new, bytes, 0o600).and_then(|()| std::fs::rename(&new, path)),
    };
    replaced.map_err(|error| TlsError::File { path: path.display().to_string(), error })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use millrace_testkit::scratch;

    use super::*;

    #[test]
    fn a_certificate_is_made_once_and_its_key_is_private() {
        let dir = scratch();
        server_config(&dir, &["192.0.2.1".into(), "meet.example.org".into()]).unwrap();
        let first = std::fs::read(dir.join(CERTIFICATE_FILE)).unwrap();
        server_config(&dir, &[]).unwrap();
        assert_eq!(std::fs::read(dir.join(CERTIFICATE_FILE)).unwrap(), first);
        let mode = std::fs::metadata(dir.join(KEY_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_broken_file_is_named_and_not_replaced() {
        let dir = scratch();
        server_config(&dir, &[]).unwrap();
        std::fs::write(dir.join(CERTIFICATE_FILE), "garbage").unwrap();
        let error = server_config(&dir, &[]).unwrap_err().to_string();
        assert!(error.contains(CERTIFICATE_FILE), "{error}");
        std::fs::remove_file(dir.join(KEY_FILE)).unwrap();
        let error = server_config(&dir, &[]).unwrap_err().to_string();
        assert!(error.contains(CERTIFICATE_FILE) || error.contains(KEY_FILE), "{error}");
    }
    #[test]
    fn until_one_is_fetched_there_is_one_of_our_own_in_one_private_file() {
        let dir = scratch();
        let choice = Choice::Fetched { name: "meet.example.org".into() };
        let files = Files::of(&choice, &dir, &["meet.example.org".into()]).unwrap();
        assert_eq!(files.certificate, files.key);
        files.read().unwrap();
        assert_eq!(std::fs::metadata(&files.key).unwrap().permissions().mode() & 0o777, 0o600);
        let first = std::fs::read(&files.key).unwrap();
        assert_eq!(std::fs::read(Files::of(&choice, &dir, &[]).unwrap().key).unwrap(), first);
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 1, "nothing is left beside it");
    }
}
