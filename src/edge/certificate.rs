//! The certificate of TLS, reloaded when its files change.

use std::cell::{Cell, RefCell};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use millrace_signaling::tls::{self, TlsError};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use super::{Count, Counters};

/// Time between two looks at the files.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// ALPN name of TURN over TLS (RFC 7443). Browsers do not send it.
const TURN_PROTOCOL: &[u8] = b"stun.turn";

/// Files of the certificate. Signaling uses the same ones.
#[derive(Clone, Debug)]
pub struct CertificateFiles {
    /// The chain, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
}

/// The certificate in use.
pub(super) struct Keeper {
    files: CertificateFiles,
    acceptor: RefCell<TlsAcceptor>,
    read: Cell<Option<Stamp>>,
    looked: Cell<Option<Instant>>,
}

/// Tells whether the two files have changed: inode, length, and time of the last change of each.
type Stamp = [(u64, u64, i64, i64); 2];

impl Keeper {
    pub(super) fn load(files: CertificateFiles) -> Result<Self, TlsError> {
        // Taken before the files are read, so that a change in between is seen at the next look.
        let read = stamp(&files).ok();
        let acceptor = read_files(&files)?;
        Ok(Self { files, acceptor: RefCell::new(acceptor), read: Cell::new(read), looked: Cell::new(None) })
    }

    /// The acceptor for a new connection. Looks at the files at most once a second.
    pub(super) fn acceptor(&self, now: Instant, counters: &Counters) -> TlsAcceptor {
        let due = self.looked.get().is_none_or(|looked| now.duration_since(looked) >= LOOK_INTERVAL);
        if due {
            self.looked.set(Some(now));
            self.reload_if_changed(counters);
        }
        self.acceptor.borrow().clone()
    }

    fn reload_if_changed(&self, counters: &Counters) {
        let Ok(stamp) = stamp(&self.files) else { return };
        if self.read.replace(Some(stamp)) != Some(stamp) {
            self.reload(counters);
        }
    }

    /// Reads the files. If they cannot be used, the certificate before stays.
    pub(super) fn reload(&self, counters: &Counters) {
        match read_files(&self.files) {
            Ok(acceptor) => {
                tracing::info!(file = %self.files.certificate.display(), "the certificate was read anew");
                self.acceptor.replace(acceptor);
                counters.add(Count::CertificateRenewed);
            }
            // The key may not be written yet. Then the stamp changes again.
            Err(error) => {
                tracing::warn!("the new certificate is not taken: {error}");
                counters.add(Count::CertificateRefused);
            }
        }
    }
}

fn read_files(files: &CertificateFiles) -> Result<TlsAcceptor, TlsError> {
    let mut config = tls::from_files(&files.certificate, &files.key)?;
    Arc::make_mut(&mut config).alpn_protocols.push(TURN_PROTOCOL.to_vec());
    Ok(config.into())
}

fn stamp(files: &CertificateFiles) -> io::Result<Stamp> {
    let of = |path: &Path| {
        fs::metadata(path).map(|file| (file.ino(), file.size(), file.mtime(), file.mtime_nsec()))
    };
    Ok([of(&files.certificate)?, of(&files.key)?])
}
