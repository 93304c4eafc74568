//! Drives the DTLS library. The only file that names it.
//!
//! Settings measured with a real browser: 100 ms until the first repeat of a flight, because a flight lost twice costs
//! 2 s with the library's default of 1 s; no cookie, because the path is validated by ICE already and it would cost a
//! round trip; `handle_timeout` once right after construction, because the library makes its random and its first
//! flight there.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use dimpl::{CertificateError, Config, ConfigBuilder, Dtls, DtlsCertificate, Error, SrtpProfile};

use super::certificate::Certificate;
use super::filter::{Filter, Stage};
use super::{Role, SrtpKeys};
use crate::crypto::digest::Fingerprint;
use crate::discard::Discard;
use crate::records::keys::Profile;
use crate::time::{Epoch, Timestamp};

/// First wait before a flight is repeated; doubles each time.
const FLIGHT_START_RTO: Duration = Duration::from_millis(100);
/// Repeats of one flight: the waits add up to more than [`HANDSHAKE_TIME_MAX`], which ends it.
const FLIGHT_RETRIES: usize = 9;
/// A handshake that has not finished by then has failed.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(30);
/// A ClientHello that is not whole by then will never be: a stray fragment stands in its way.
const HELLO_STALL: Duration = Duration::from_millis(600);
/// Least time between two associations, which bounds their number.
const RESTART_PAUSE: Duration = Duration::from_millis(100);

/// Least time between two timeouts of the library: there is a state of its client, reached by a damaged server flight,
/// in which it asks for one at once for ever.
const TIMEOUT_PAUSE: Duration = Duration::from_millis(10);

/// Longest datagram we send, in bytes: fits every path, VPNs included.
const MTU_BYTES: usize = 1150;
/// Longest datagram we take.
const DATAGRAM_BYTES_MAX: usize = 1500;
/// Most bytes one association takes before it is connected: some repeats of a flight of four kilobytes.
const INPUT_BYTES_MAX: usize = 64 * 1024;
/// Datagrams that wait for their predecessors.
const QUEUE_DATAGRAMS_MAX: usize = 30;
/// Size of the buffer that the library writes into once connected.
const SCRATCH_BYTES: usize = 2 * 1024;
/// Its size before: the library **panics** when the peer's certificate does not fit, so it holds the longest that the
/// filter (DTLS 1.2) or the input allowance (1.3, where certificates are encrypted) lets through.
const SCRATCH_BYTES_12: usize = super::filter::MESSAGE_BYTES_MAX as usize;
const SCRATCH_BYTES_13: usize = INPUT_BYTES_MAX;

/// bad_certificate, fatal, in plaintext as before ChangeCipherSpec (RFC 5246 §7.2.2). The record number is far above
/// any that the handshake has used, so that it is not taken for a repeat.
const BAD_CERTIFICATE: [u8; 15] = [21, 0xfe, 0xfd, 0, 0, 0, 1, 0, 0, 0, 0, 0, 2, 2, 42];

/// Which versions of DTLS are spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// DTLS 1.2. The library's 1.2 server prefers AES-256-GCM, whatever the order of the client's offer.
    #[default]
    Dtls12,
    /// DTLS 1.3, and 1.2 for peers without it. Not the default: the library's 1.3 server takes the client's first
    /// offer, which with Chromium is AES128_CM_HMAC_SHA1_80, six times dearer a packet than GCM. To be turned round
    /// when the library lets a server prefer.
    Auto,
}

/// What all handshakes of a process share. Cheap to clone.
#[derive(Clone)]
pub struct Settings {
    config: Arc<Config>,
    certificate: Arc<DtlsCertificate>,
    version: Version,
}

impl Settings {
    /// Checks the library's crypto, which takes some milliseconds: once a process.
    pub fn new(certificate: &Certificate, version: Version) -> Self {
        Self::build(certificate, version, Config::builder())
    }

    /// With fixed jitter: the same seed gives the same run.
    #[cfg(test)]
    pub(super) fn seeded(certificate: &Certificate, version: Version, seed: u64) -> Self {
        Self::build(certificate, version, Config::builder().dangerously_set_rng_seed(seed))
    }

    fn build(certificate: &Certificate, version: Version, builder: ConfigBuilder) -> Self {
        let config = builder
            .mtu(MTU_BYTES)
            .max_queue_rx(QUEUE_DATAGRAMS_MAX)
            .use_server_cookie(false)
            .require_client_certificate(true)
            .flight_start_rto(FLIGHT_START_RTO)
            .flight_retries(FLIGHT_RETRIES)
            .handshake_timeout(HANDSHAKE_TIME_MAX)
            .build()
            .expect("the settings are within the library's ranges");
        let certificate = DtlsCertificate {
            certificate: certificate.der().to_vec(),
            private_key: certificate.key_pkcs8().to_vec(),
        };
        Self { config: Arc::new(config), certificate: Arc::new(certificate), version }
    }

    /// A new association, its first timeout handled; `None` if even that fails.
    fn associate(&self, role: Role, now: std::time::Instant) -> Option<Dtls> {
        let (config, certificate) = (Arc::clone(&self.config), DtlsCertificate::clone(&self.certificate));
        let mut dtls = match self.version {
            Version::Dtls12 => Dtls::new_12(config, certificate, now),
            Version::Auto => Dtls::new_auto(config, certificate, now),
        };
        dtls.set_active(role == Role::Client);
        dtls.handle_timeout(now).is_ok().then_some(dtls)
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Settings").field("version", &self.version).finish_non_exhaustive()
    }
}

/// Why a handshake gave no keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// Nobody answered, or not to the end.
    #[error("the DTLS handshake did not finish in time")]
    NetworkTimedOut,
    /// The last attempt broke on what the peer, or somebody in its place, sent.
    #[error("the DTLS handshake broke on what the peer sent")]
    PeerBroke,
    /// The peer sent no certificate.
    #[error("the peer sent no DTLS certificate")]
    PeerNoCertificate,
    /// The peer's certificate is not the one that signaling announced.
    #[error("the peer's DTLS certificate does not match its announced fingerprint")]
    PeerFingerprintMismatch,
    /// No SRTP profile in common.
    #[error("the peer offers no SRTP profile that we speak")]
    PeerNoProfile,
}

/// What [`Handshake::poll_output`] gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send the first that many bytes of the buffer to the peer.
    Datagram(usize),
    /// Nothing more for now; call [`Handshake::handle_timeout`] then, or earlier.
    Timeout(Timestamp),
    /// Verified: the keys. Comes once.
    Connected(SrtpKeys),
    /// Never will be. Comes once, and nothing after it.
    Failed(HandshakeError),
    /// The authenticated peer has closed. Comes once, and nothing after it but a last datagram.
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Handshaking,
    Connected,
    /// Failed or closed; what is queued still leaves.
    Over,
}

/// One DTLS-SRTP handshake with one peer, and the little that comes after it.
pub struct Handshake {
    role: Role,
    settings: Settings,
    expected: Fingerprint,
    epoch: Epoch,
    state: State,
    /// The association, or `None` when it broke and the next has not begun.
    dtls: Option<Dtls>,
    /// A datagram of ours, ahead of the library's.
    alert: Option<[u8; 15]>,
    /// How it ended, told when the library's datagrams have left.
    ended: Option<Output>,
    /// What the library writes into: a peer's certificate may be longer than a datagram.
    scratch: Vec<u8>,
    deadline: Timestamp,
    /// When time was last handled.
    handled_at: Timestamp,
    attempt: Attempt,
    /// What is to blame if time runs out.
    cause: HandshakeError,
}

/// What we know of the association in use.
#[derive(Clone, Copy, Debug)]
struct Attempt {
    started_at: Timestamp,
    /// When the first datagram was taken, for the server's stall.
    heard_at: Option<Timestamp>,
    /// Whether a datagram of ours has left.
    has_sent: bool,
    /// Whether the handshake has ended well, in the library's eyes.
    has_finished: bool,
    input_bytes: usize,
    peer: Option<Fingerprint>,
}

impl Attempt {
    fn new(now: Timestamp) -> Self {
        Self {
            started_at: now,
            heard_at: None,
            has_sent: false,
            has_finished: false,
            input_bytes: 0,
            peer: None,
        }
    }
}

impl Handshake {
    /// Begins a handshake; as client there is a datagram to poll at once. To be made when ICE has validated the path,
    /// never before. `expected` is what signaling announced for the peer.
    pub fn new(role: Role, settings: &Settings, expected: Fingerprint, epoch: Epoch, now: Timestamp) -> Self {
        let settings = settings.clone();
        let scratch_bytes = match settings.version {
            Version::Dtls12 => SCRATCH_BYTES_12,
            Version::Auto => SCRATCH_BYTES_13,
        };
        let dtls = settings.associate(role, epoch.instant(now));
        Self {
            role,
            settings,
            expected,
            epoch,
            state: State::Handshaking,
            dtls,
            alert: None,
            ended: None,
            scratch: vec![0; scratch_bytes],
            deadline: now + HANDSHAKE_TIME_MAX,
            handled_at: now,
            attempt: Attempt::new(now),
            cause: HandshakeError::NetworkTimedOut,
        }
    }

    /// Whether keys have been given and the peer has not closed.
    pub fn is_connected(&self) -> bool {
        self.state == State::Connected
    }

    /// Takes one datagram from the validated path; then poll.
    ///
    /// # Errors
    /// It cannot be part of the handshake now, and nothing has changed.
    pub fn handle_datagram(&mut self, now: Timestamp, datagram: &[u8]) -> Result<(), Discard> {
        self.handle_timeout(now);
        if datagram.len() > DATAGRAM_BYTES_MAX {
            return Err(Discard::PeerTooLong);
        }
        let filter = Filter {
            role: self.role,
            stage: self.stage(now),
            allows_13: self.settings.version == Version::Auto,
        };
        let input_bytes = self.attempt.input_bytes + datagram.len();
        let is_over_budget = self.state == State::Handshaking && input_bytes > INPUT_BYTES_MAX;
        let Some(dtls) = self.dtls.as_mut() else { return Err(Discard::PeerDtlsUnexpected) };
        if self.state == State::Over || is_over_budget || !filter.passes(datagram) {
            return Err(Discard::PeerDtlsUnexpected);
        }
        self.attempt.input_bytes = input_bytes;
        self.attempt.heard_at = self.attempt.heard_at.or(Some(now));
        if let Err(error) = dtls.handle_packet(datagram) {
            self.handle_error(&error);
        }
        Ok(())
    }

    /// Tells a connected peer that we close; then poll. A handshake under way just ends.
    pub fn close(&mut self) {
        if self.dtls.as_mut().is_some_and(|dtls| dtls.close().is_err()) {
            self.dtls = None;
        }
        self.state = State::Over;
    }

    /// Does what is due at `now`; then poll. Harmless when nothing is due.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        self.handled_at = now;
        if self.state == State::Handshaking {
            if now >= self.deadline {
                self.fail(self.cause);
            } else if self.restart_at().is_some_and(|at| now >= at) {
                self.dtls = self.settings.associate(self.role, self.epoch.instant(now));
                self.attempt = Attempt::new(now);
            }
        }
        if let Some(dtls) = self.dtls.as_mut()
            && let Err(error) = dtls.handle_timeout(self.epoch.instant(now))
        {
            self.handle_error(&error);
        }
    }

    /// The next thing to do, until [`Output::Timeout`]. `out` has room for a datagram of 1 150 bytes.
    pub fn poll_output(&mut self, out: &mut [u8]) -> Output {
        if let Some(alert) = self.alert.take() {
            return copy(&alert, out);
        }
        loop {
            let Some(dtls) = self.dtls.as_mut() else { return self.rest(None) };
            match dtls.poll_output(&mut self.scratch) {
                dimpl::Output::Packet(packet) => {
                    self.attempt.has_sent = true;
                    return copy(packet, out);
                }
                dimpl::Output::Timeout(at) => {
                    // Finished, and keys would have come before this.
                    if self.attempt.has_finished && self.state == State::Handshaking {
                        self.fail(HandshakeError::PeerNoProfile);
                    }
                    return self.rest(Some(self.epoch.timestamp(at)));
                }
                dimpl::Output::PeerCert(der) => self.attempt.peer = Some(Fingerprint::of(der)),
                dimpl::Output::Connected => self.attempt.has_finished = true,
                dimpl::Output::KeyingMaterial(exported, profile) => {
                    if let Some(keys) = self.verify(profile, &exported) {
                        return Output::Connected(keys);
                    }
                    if let Some(alert) = self.alert.take() {
                        return copy(&alert, out);
                    }
                }
                dimpl::Output::CloseNotify if self.state == State::Connected => {
                    self.state = State::Over;
                    return Output::Closed;
                }
                // Cannot be: neither what comes nor what goes is as long as the scratch.
                dimpl::Output::BufferTooSmall { .. } => self.dtls = None,
                // We have no use for data.
                _ => {}
            }
        }
    }

    /// What is left when no datagram is: how it ended, or when to come again.
    fn rest(&mut self, library: Option<Timestamp>) -> Output {
        self.ended.take().unwrap_or_else(|| Output::Timeout(self.next_deadline(library)))
    }

    /// The library has finished: the one place where keys come into being, or not.
    fn verify(&mut self, profile: SrtpProfile, exported: &[u8]) -> Option<SrtpKeys> {
        if self.state != State::Handshaking || !self.attempt.has_finished {
            return None;
        }
        let keys = match self.attempt.peer {
            None => Err(HandshakeError::PeerNoCertificate),
            Some(peer) if peer != self.expected => Err(HandshakeError::PeerFingerprintMismatch),
            Some(_) => profile_of(profile)
                .and_then(|profile| SrtpKeys::from_exported(self.role, profile, exported))
                .ok_or(HandshakeError::PeerNoProfile),
        };
        match keys {
            Ok(keys) => {
                self.state = State::Connected;
                self.scratch = vec![0; SCRATCH_BYTES];
                Some(keys)
            }
            Err(error) => {
                self.refuse(error);
                None
            }
        }
    }

    /// Ends a handshake that has finished but must not count, with one alert for the peer.
    fn refuse(&mut self, error: HandshakeError) {
        let is_unprotected = self.role == Role::Server && self.settings.version == Version::Dtls12;
        if is_unprotected {
            // Our ChangeCipherSpec is still queued and never leaves: to the peer the handshake is not over.
            self.alert = Some(BAD_CERTIFICATE);
            self.fail(error);
        } else {
            let mut dtls = self.dtls.take();
            self.fail(error);
            if dtls.as_mut().is_some_and(|dtls| dtls.close().is_ok()) {
                self.dtls = dtls;
            }
        }
    }

    fn fail(&mut self, error: HandshakeError) {
        self.state = State::Over;
        self.dtls = None;
        self.ended = Some(Output::Failed(error));
    }

    /// Every error of the library ends the association; whether it ends more depends on how far we are.
    fn handle_error(&mut self, error: &Error) {
        self.dtls = None;
        match self.state {
            State::Handshaking => {
                self.cause = match error {
                    Error::CertificateError(CertificateError::NoClientCertificateReceived) => {
                        HandshakeError::PeerNoCertificate
                    }
                    Error::Timeout(_) => HandshakeError::NetworkTimedOut,
                    _ => HandshakeError::PeerBroke,
                };
            }
            // Plaintext is filtered by now, so a fatal alert comes from the peer itself: as good as close_notify.
            // Anything else is no reason to end a call.
            State::Connected => {
                if let Error::SecurityError(dimpl::SecurityError::FatalAlert { .. }) = error {
                    self.state = State::Over;
                    self.ended = Some(Output::Closed);
                }
            }
            State::Over => {}
        }
    }

    /// When the association is to be replaced, if it is.
    ///
    /// One that broke: after a pause. One whose ClientHello never becomes whole: then nothing of ours has left, and the
    /// peer sends its hello again. Once a flight of ours has left a silent peer gets the flight again and no new
    /// association, which would answer with another random and break what the peer has of the first.
    fn restart_at(&self) -> Option<Timestamp> {
        let not_before = self.attempt.started_at + RESTART_PAUSE;
        if self.dtls.is_none() {
            return Some(not_before);
        }
        let is_waiting = self.role == Role::Server && !self.attempt.has_sent;
        self.attempt.heard_at.filter(|_| is_waiting).map(|at| (at + HELLO_STALL).max(not_before))
    }

    fn next_deadline(&self, library: Option<Timestamp>) -> Timestamp {
        let library = library.unwrap_or(Timestamp::NEVER).max(self.handled_at + TIMEOUT_PAUSE);
        match self.state {
            State::Handshaking => {
                library.min(self.deadline).min(self.restart_at().unwrap_or(Timestamp::NEVER))
            }
            State::Connected => library,
            State::Over => Timestamp::NEVER,
        }
    }

    fn stage(&self, now: Timestamp) -> Stage {
        match self.state {
            State::Handshaking if self.role == Role::Server && !self.attempt.has_sent => Stage::AwaitingHello,
            State::Handshaking => Stage::Flights,
            _ if now < self.deadline => Stage::LastFlight,
            _ => Stage::Protected,
        }
    }
}

impl fmt::Debug for Handshake {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Handshake")
            .field("role", &self.role)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

/// A new certificate in DER and its key in PKCS #8.
pub(super) fn generate() -> (Vec<u8>, Vec<u8>) {
    let made = dimpl::certificate::generate_self_signed_certificate()
        .expect("a key pair and a signature need nothing but entropy");
    (made.certificate, made.private_key)
}

fn profile_of(profile: SrtpProfile) -> Option<Profile> {
    match profile {
        SrtpProfile::AES128_CM_SHA1_80 => Some(Profile::AesCm128HmacSha1_80),
        SrtpProfile::AEAD_AES_128_GCM => Some(Profile::AeadAes128Gcm),
        SrtpProfile::AEAD_AES_256_GCM => Some(Profile::AeadAes256Gcm),
        _ => None,
    }
}

/// Puts a datagram into the caller's buffer.
fn copy(datagram: &[u8], out: &mut [u8]) -> Output {
    out[..datagram.len()].copy_from_slice(datagram);
    Output::Datagram(datagram.len())
}
