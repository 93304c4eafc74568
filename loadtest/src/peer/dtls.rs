//! The DTLS side of a peer: its certificate, the handshake over a fed pipe, the check of the far certificate.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use tokio::net::UdpSocket;
use tokio::sync::{Mutex, mpsc};
use webrtc_dtls::config::{ClientAuthType, Config, ExtendedMasterSecretType};
use webrtc_dtls::conn::DTLSConn;
use webrtc_dtls::crypto::Certificate;
use webrtc_util::conn::Conn;

use super::srtp::Profile;
use crate::failure::Failure;

/// Retransmission interval of our flights.
const FLIGHT_INTERVAL: Duration = Duration::from_millis(200);
/// Datagrams that may wait for the DTLS library.
const PIPE_DEPTH: usize = 64;

/// A self-signed ECDSA P-256 certificate with its key.
#[derive(Clone)]
pub struct Identity {
    certificate: Certificate,
    /// SHA-256 of the certificate.
    pub digest: [u8; 32],
}

impl Identity {
    /// Makes a new one.
    ///
    /// # Errors
    /// [`Failure::Dtls`] when the key cannot be made.
    pub fn generate() -> Result<Self, Failure> {
        install_provider();
        let certificate = Certificate::generate_self_signed(vec!["WebRTC".to_owned()])
            .map_err(|error| Failure::Dtls(error.to_string()))?;
        let der =
            certificate.certificate.first().ok_or_else(|| Failure::Dtls("no certificate".to_owned()))?;
        let digest = Sha256::digest(der).into();
        Ok(Self { certificate, digest })
    }

    /// The digest as SDP writes it (RFC 8122 §5).
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let hex: Vec<String> = self.digest.iter().map(|byte| format!("{byte:02X}")).collect();
        hex.join(":")
    }

    /// The library's configuration for a handshake with whoever owns `far_digest`.
    fn config(&self, far_digest: [u8; 32], profile: Profile) -> Config {
        Config {
            certificates: vec![self.certificate.clone()],
            srtp_protection_profiles: profile.offered(),
            extended_master_secret: ExtendedMasterSecretType::Require,
            client_auth: ClientAuthType::RequireAnyClientCert,
            flight_interval: FLIGHT_INTERVAL,
            // WebRTC trusts the fingerprint in the SDP, not an authority.
            insecure_skip_verify: true,
            verify_peer_certificate: Some(Arc::new(
                move |chain: &[Vec<u8>], _: &[CertificateDer<'static>]| {
                    let digest = chain.first().map(|der| <[u8; 32]>::from(Sha256::digest(der)));
                    if digest == Some(far_digest) {
                        Ok(())
                    } else {
                        Err(webrtc_dtls::Error::Other(
                            "the certificate does not match the SDP's fingerprint".to_owned(),
                        ))
                    }
                },
            )),
            ..Config::default()
        }
    }
}

/// Two TLS back ends are linked (the DTLS library brings its own), so rustls wants to be told which is meant.
fn install_provider() {
    // Only the first call can succeed, and any provider will do.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// Runs a handshake over `pipe`.
pub(crate) async fn handshake(
    identity: &Identity,
    pipe: Arc<dyn Conn + Send + Sync>,
    far_digest: [u8; 32],
    profile: Profile,
    is_client: bool,
) -> Result<Association, Failure> {
    let config = identity.config(far_digest, profile);
    let dtls = DTLSConn::new(pipe, config, is_client, None)
        .await
        .map_err(|error| Failure::Dtls(error.to_string()))?;
    Ok(Association::watch(Arc::new(dtls)))
}

/// A finished handshake, kept for its alerts.
pub(crate) struct Association {
    pub(crate) dtls: Arc<DTLSConn>,
    closed: Arc<AtomicBool>,
}

impl Association {
    fn watch(dtls: Arc<DTLSConn>) -> Self {
        let closed = Arc::new(AtomicBool::new(false));
        let (reader, flag) = (Arc::clone(&dtls), Arc::clone(&closed));
        tokio::spawn(async move {
            let mut ignored = [0; 2048];
            while reader.read(&mut ignored, None).await.is_ok() {}
            flag.store(true, Ordering::Relaxed);
        });
        Self { dtls, closed }
    }

    /// Whether the far side ended the association (close_notify or a fatal alert).
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }
}

/// What the DTLS library takes for a socket: reads what the transport's demultiplexer feeds, writes to the real one.
pub(super) struct Pipe {
    socket: Arc<UdpSocket>,
    remote: SocketAddr,
    inbox: Mutex<mpsc::Receiver<Vec<u8>>>,
}

impl Pipe {
    /// A pipe to `remote`, and the end that feeds it.
    pub(super) fn new(socket: Arc<UdpSocket>, remote: SocketAddr) -> (Arc<Self>, mpsc::Sender<Vec<u8>>) {
        let (feed, inbox) = mpsc::channel(PIPE_DEPTH);
        (Arc::new(Self { socket, remote, inbox: Mutex::new(inbox) }), feed)
    }

    async fn read(&self, buffer: &mut [u8]) -> webrtc_util::Result<usize> {
        let datagram = self.inbox.lock().await.recv().await;
        let datagram = datagram.ok_or_else(|| webrtc_util::Error::Other("transport closed".to_owned()))?;
        let len = datagram.len().min(buffer.len());
        buffer[..len].copy_from_slice(&datagram[..len]);
        Ok(len)
    }

    async fn write(&self, datagram: &[u8]) -> webrtc_util::Result<usize> {
        Ok(self.socket.send_to(datagram, self.remote).await?)
    }
}

#[async_trait::async_trait]
impl Conn for Pipe {
    async fn connect(&self, _: SocketAddr) -> webrtc_util::Result<()> {
        Ok(())
    }

    async fn recv(&self, buffer: &mut [u8]) -> webrtc_util::Result<usize> {
        self.read(buffer).await
    }

    async fn recv_from(&self, buffer: &mut [u8]) -> webrtc_util::Result<(usize, SocketAddr)> {
        Ok((self.read(buffer).await?, self.remote))
    }

    async fn send(&self, datagram: &[u8]) -> webrtc_util::Result<usize> {
        self.write(datagram).await
    }

    async fn send_to(&self, datagram: &[u8], _: SocketAddr) -> webrtc_util::Result<usize> {
        self.write(datagram).await
    }

    fn local_addr(&self) -> webrtc_util::Result<SocketAddr> {
        Ok(self.socket.local_addr()?)
    }

    fn remote_addr(&self) -> Option<SocketAddr> {
        Some(self.remote)
    }

    async fn close(&self) -> webrtc_util::Result<()> {
        Ok(())
    }

    fn as_any(&self) -> &(dyn std::any::Any + Send + Sync) {
        self
    }
}
