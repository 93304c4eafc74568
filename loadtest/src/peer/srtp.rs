//! Sealing and opening of one transport's packets with the keys of its handshake.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use webrtc_dtls::conn::DTLSConn;
use webrtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use webrtc_srtp::config::Config;
use webrtc_srtp::context::Context;
use webrtc_srtp::option::srtcp_replay_protection;
use webrtc_srtp::protection_profile::ProtectionProfile;

use crate::failure::Failure;

/// Window of the SRTCP replay check: a relay that repeats an index after a restart is found out.
const SRTCP_WINDOW: usize = 64;

/// The protection profiles a peer can offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Profile {
    /// All of them, in Chromium's order; the server chooses.
    Any,
    /// `AEAD_AES_128_GCM` (RFC 7714).
    Gcm128,
    /// `AEAD_AES_256_GCM` (RFC 7714).
    Gcm256,
    /// `AES_CM_128_HMAC_SHA1_80` (RFC 3711).
    Sha1,
}

impl Profile {
    pub(super) fn offered(self) -> Vec<SrtpProtectionProfile> {
        use SrtpProtectionProfile::{
            Srtp_Aead_Aes_128_Gcm, Srtp_Aead_Aes_256_Gcm, Srtp_Aes128_Cm_Hmac_Sha1_80,
        };
        match self {
            Self::Any => vec![Srtp_Aes128_Cm_Hmac_Sha1_80, Srtp_Aead_Aes_256_Gcm, Srtp_Aead_Aes_128_Gcm],
            Self::Gcm128 => vec![Srtp_Aead_Aes_128_Gcm],
            Self::Gcm256 => vec![Srtp_Aead_Aes_256_Gcm],
            Self::Sha1 => vec![Srtp_Aes128_Cm_Hmac_Sha1_80],
        }
    }
}

/// Master key and salt of one direction.
#[derive(Clone)]
pub struct Half {
    /// Key.
    pub key: Vec<u8>,
    /// Salt.
    pub salt: Vec<u8>,
}

/// What a handshake agreed on for SRTP.
#[derive(Clone)]
pub struct Keys {
    /// The profile.
    pub profile: ProtectionProfile,
    /// For what we send.
    pub local: Half,
    /// For what we receive.
    pub remote: Half,
}

impl Keys {
    /// Keys from a finished handshake (RFC 5764 §4.2), and the profile's IANA name.
    pub(crate) async fn from_handshake(
        dtls: &DTLSConn,
        is_client: bool,
    ) -> Result<(Self, &'static str), Failure> {
        let (profile, name) = match dtls.selected_srtpprotection_profile() {
            SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm => {
                (ProtectionProfile::AeadAes128Gcm, "AEAD_AES_128_GCM")
            }
            SrtpProtectionProfile::Srtp_Aead_Aes_256_Gcm => {
                (ProtectionProfile::AeadAes256Gcm, "AEAD_AES_256_GCM")
            }
            SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80 => {
                (ProtectionProfile::Aes128CmHmacSha1_80, "AES_CM_128_HMAC_SHA1_80")
            }
            other => return Err(Failure::Srtp(format!("unusable profile {other:?}"))),
        };
        let mut config = Config { profile, ..Config::default() };
        let state = dtls.connection_state().await;
        let failed = |error: webrtc_srtp::Error| Failure::Srtp(error.to_string());
        config.extract_session_keys_from_dtls(state, is_client).await.map_err(failed)?;
        let keys = config.keys;
        let local = Half { key: keys.local_master_key, salt: keys.local_master_salt };
        let remote = Half { key: keys.remote_master_key, salt: keys.remote_master_salt };
        Ok((Self { profile, local, remote }, name))
    }
}

/// One transport's two directions.
pub struct Srtp {
    // The library's contexts are not `Sync`; a mutex that is only ever reached through `&mut` makes them so for free.
    sealing: Mutex<Context>,
    opening: Mutex<Context>,
    /// The negotiated profile's IANA name.
    pub profile: &'static str,
}

impl Srtp {
    /// Keys from a finished handshake (RFC 5764 §4.2).
    pub(super) async fn from_handshake(dtls: &DTLSConn, is_client: bool) -> Result<Self, Failure> {
        let (keys, name) = Keys::from_handshake(dtls, is_client).await?;
        let (Half { key, salt }, profile) = (&keys.local, keys.profile);
        let failed = |error: webrtc_srtp::Error| Failure::Srtp(error.to_string());
        let sealing = Context::new(key, salt, profile, None, None).map_err(failed)?;
        // No SRTP replay check: a doubled packet must reach the tally, not vanish here.
        let replay = Some(srtcp_replay_protection(SRTCP_WINDOW));
        let Half { key, salt } = &keys.remote;
        let opening = Context::new(key, salt, profile, None, replay).map_err(failed)?;
        Ok(Self { sealing: Mutex::new(sealing), opening: Mutex::new(opening), profile: name })
    }

    pub(super) fn seal_rtp(&mut self, plain: &[u8]) -> Result<Bytes, Failure> {
        exclusive(&mut self.sealing).encrypt_rtp(plain).map_err(|error| Failure::Srtp(error.to_string()))
    }

    pub(super) fn seal_rtcp(&mut self, plain: &[u8]) -> Result<Bytes, Failure> {
        exclusive(&mut self.sealing).encrypt_rtcp(plain).map_err(|error| Failure::Srtp(error.to_string()))
    }

    /// The whole packet in the clear, or nothing if it does not verify.
    pub(super) fn open_rtp(&mut self, sealed: &[u8], header: &rtp::header::Header) -> Option<Bytes> {
        exclusive(&mut self.opening).decrypt_rtp_with_header(sealed, header).ok()
    }

    pub(super) fn open_rtcp(&mut self, sealed: &[u8]) -> Option<Bytes> {
        exclusive(&mut self.opening).decrypt_rtcp(sealed).ok()
    }
}

fn exclusive(context: &mut Mutex<Context>) -> &mut Context {
    context.get_mut().unwrap_or_else(PoisonError::into_inner)
}
