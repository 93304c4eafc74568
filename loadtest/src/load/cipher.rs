//! SRTP of a simulated peer, cheap enough for load: AES-GCM (RFC 7714) and AES-CM with HMAC-SHA1 (RFC 3711) on the crypto
//! library itself. Shares no line with the relay's; its tests hold it against the independent stack.

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{AES_128, AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::hmac;
use aws_lc_rs::iv::FixedLength;
use bytes::Bytes;

use crate::failure::Failure;
use crate::peer::srtp::{Half, Keys};

const GCM_TAG_LEN: usize = 16;
const GCM_SALT_LEN: usize = 12;
/// HMAC-SHA1-80 (RFC 3711 §4.2.1).
const CM_TAG_LEN: usize = 10;
const CM_AUTH_KEY_LEN: usize = 20;
const CM_SALT_LEN: usize = 14;
/// Part of an RTCP packet that is not encrypted (RFC 3711 §3.4).
const RTCP_HEADER_LEN: usize = 8;
/// The E bit: the packet is encrypted (RFC 3711 §3.4).
const ENCRYPTED: u32 = 1 << 31;

/// Labels of the key derivation (RFC 3711 §4.3.2) for RTP; RTCP's are [`LABEL_RTCP`] more.
const LABEL_KEY: u8 = 0;
const LABEL_AUTH: u8 = 1;
const LABEL_SALT: u8 = 2;
const LABEL_RTCP: u8 = 3;

/// Both directions of one peer.
pub struct Cipher {
    sealing: Direction,
    opening: Direction,
    rtcp_index: u32,
}

struct Direction {
    rtp: Session,
    rtcp: Session,
}

impl Cipher {
    /// From the keys of a handshake.
    ///
    /// # Errors
    /// [`Failure::Srtp`] when a key has the wrong length.
    pub fn new(keys: &Keys) -> Result<Self, Failure> {
        Ok(Self {
            sealing: Direction::new(&keys.local)?,
            opening: Direction::new(&keys.remote)?,
            rtcp_index: 0,
        })
    }

    /// Bytes that sealing adds to an RTP packet.
    #[must_use]
    pub const fn rtp_overhead(&self) -> usize {
        self.sealing.rtp.tag_len()
    }

    /// Seals the RTP packet in `packet`, whose last [`Cipher::rtp_overhead`] bytes are free. `index` is roll-over
    /// counter and sequence number in one, and used once.
    pub fn seal_rtp(&self, ssrc: u32, index: u64, header_len: usize, packet: &mut [u8]) {
        match &self.sealing.rtp {
            Session::Gcm(session) => {
                let (header, rest) = packet.split_at_mut(header_len);
                let (payload, tag) = rest.split_at_mut(rest.len() - GCM_TAG_LEN);
                session.seal(rtp_nonce(ssrc, index), header, payload, tag);
            }
            Session::Cm(session) => {
                let (plain, tag) = packet.split_at_mut(packet.len() - CM_TAG_LEN);
                session.crypt(ssrc, index, &mut plain[header_len..]);
                let rollover = ((index >> 16) as u32).to_be_bytes();
                tag.copy_from_slice(&session.tag(&[plain, &rollover])[..CM_TAG_LEN]);
            }
        }
    }

    /// Opens an RTP packet whose roll-over counter is one of `rollovers`: gives that one and puts the payload into
    /// `out`; nothing if it does not verify.
    pub fn open_rtp(
        &self,
        ssrc: u32,
        header_len: usize,
        rollovers: impl IntoIterator<Item = u32>,
        packet: &[u8],
        out: &mut Vec<u8>,
    ) -> Option<u32> {
        let sequence = u64::from(u16::from_be_bytes([*packet.get(2)?, *packet.get(3)?]));
        let (header, sealed) = packet.split_at_checked(header_len)?;
        rollovers.into_iter().find(|rollover| {
            let index = (u64::from(*rollover) << 16) | sequence;
            match &self.opening.rtp {
                Session::Gcm(session) => session.open(rtp_nonce(ssrc, index), header, sealed, out),
                Session::Cm(session) => {
                    let Some((payload, tag)) = sealed.split_last_chunk::<CM_TAG_LEN>() else { return false };
                    let rollover = rollover.to_be_bytes();
                    let good = session.tag(&[header, payload, &rollover])[..CM_TAG_LEN] == *tag;
                    out.clear();
                    out.extend_from_slice(payload);
                    session.crypt(ssrc, index, out);
                    good
                }
            }
        })
    }

    /// Seals a compound RTCP packet; `None` when it has no header.
    pub fn seal_rtcp(&mut self, plain: &[u8]) -> Option<Vec<u8>> {
        let index = self.rtcp_index;
        self.rtcp_index += 1;
        let (ssrc, word) = (ssrc_of(plain)?, (ENCRYPTED | index).to_be_bytes());
        let mut sealed = plain.to_vec();
        match &self.sealing.rtcp {
            Session::Gcm(session) => {
                sealed.resize(plain.len() + GCM_TAG_LEN, 0);
                let (header, rest) = sealed.split_at_mut(RTCP_HEADER_LEN);
                let (payload, tag) = rest.split_at_mut(plain.len() - RTCP_HEADER_LEN);
                let aad = [&*header, &word].concat();
                session.seal(rtcp_nonce(ssrc, index), &aad, payload, tag);
                sealed.extend_from_slice(&word);
            }
            Session::Cm(session) => {
                session.crypt(ssrc, u64::from(index), &mut sealed[RTCP_HEADER_LEN..]);
                sealed.extend_from_slice(&word);
                let tag = session.tag(&[&sealed]);
                sealed.extend_from_slice(&tag[..CM_TAG_LEN]);
            }
        }
        Some(sealed)
    }

    /// Opens a compound RTCP packet, or nothing if it does not verify.
    #[must_use]
    pub fn open_rtcp(&self, sealed: &[u8]) -> Option<Bytes> {
        let ssrc = ssrc_of(sealed)?;
        let mut plain = Vec::new();
        match &self.opening.rtcp {
            Session::Gcm(session) => {
                let (rest, word) = sealed.split_last_chunk::<4>()?;
                let (header, body) = rest.split_at_checked(RTCP_HEADER_LEN)?;
                let nonce = rtcp_nonce(ssrc, u32::from_be_bytes(*word) & !ENCRYPTED);
                let good = session.open(nonce, &[header, word].concat(), body, &mut plain);
                good.then(|| [header, &plain].concat().into())
            }
            Session::Cm(session) => {
                let (signed, tag) = sealed.split_last_chunk::<CM_TAG_LEN>()?;
                let (packet, word) = signed.split_last_chunk::<4>()?;
                let index = u64::from(u32::from_be_bytes(*word) & !ENCRYPTED);
                plain.extend_from_slice(packet);
                session.crypt(ssrc, index, plain.get_mut(RTCP_HEADER_LEN..)?);
                (session.tag(&[signed])[..CM_TAG_LEN] == *tag).then(|| plain.into())
            }
        }
    }
}

impl Direction {
    fn new(half: &Half) -> Result<Self, Failure> {
        let session = |label| {
            Session::derive(half, label).ok_or_else(|| Failure::Srtp("a key of the wrong length".to_owned()))
        };
        Ok(Self { rtp: session(0)?, rtcp: session(LABEL_RTCP)? })
    }
}

/// The session keys of RTP or RTCP in one direction.
enum Session {
    Gcm(Box<Gcm>),
    Cm(Box<Cm>),
}

impl Session {
    fn derive(half: &Half, labels: u8) -> Option<Self> {
        let mut key = vec![0; half.key.len()];
        derive(half, labels + LABEL_KEY, &mut key)?;
        if half.salt.len() == GCM_SALT_LEN {
            let mut salt = [0; GCM_SALT_LEN];
            derive(half, labels + LABEL_SALT, &mut salt)?;
            let algorithm = if key.len() == 16 { &AES_128_GCM } else { &AES_256_GCM };
            let key = LessSafeKey::new(UnboundKey::new(algorithm, &key).ok()?);
            return Some(Self::Gcm(Box::new(Gcm { key, salt })));
        }
        let (mut salt, mut auth) = ([0; CM_SALT_LEN], [0; CM_AUTH_KEY_LEN]);
        derive(half, labels + LABEL_SALT, &mut salt)?;
        derive(half, labels + LABEL_AUTH, &mut auth)?;
        let auth = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &auth);
        Some(Self::Cm(Box::new(Cm { key: counter_mode(&key)?, auth, salt })))
    }

    const fn tag_len(&self) -> usize {
        match self {
            Self::Gcm(_) => GCM_TAG_LEN,
            Self::Cm(_) => CM_TAG_LEN,
        }
    }
}

struct Gcm {
    key: LessSafeKey,
    salt: [u8; GCM_SALT_LEN],
}

impl Gcm {
    fn seal(&self, nonce: [u8; GCM_SALT_LEN], aad: &[u8], payload: &mut [u8], tag: &mut [u8]) {
        let made = self.key.seal_in_place_separate_tag(self.nonce(nonce), Aad::from(aad), payload);
        let made = made.expect("a payload far below GCM's limit can be sealed");
        tag.copy_from_slice(made.as_ref());
    }

    fn open(&self, nonce: [u8; GCM_SALT_LEN], aad: &[u8], sealed: &[u8], out: &mut Vec<u8>) -> bool {
        let Some((payload, tag)) = sealed.split_last_chunk::<GCM_TAG_LEN>() else { return false };
        out.clear();
        out.resize(payload.len(), 0);
        self.key.open_separate_gather(self.nonce(nonce), Aad::from(aad), payload, tag, out).is_ok()
    }

    fn nonce(&self, mut nonce: [u8; GCM_SALT_LEN]) -> Nonce {
        nonce.iter_mut().zip(&self.salt).for_each(|(byte, salt)| *byte ^= salt);
        Nonce::assume_unique_for_key(nonce)
    }
}

struct Cm {
    key: EncryptingKey,
    auth: hmac::Key,
    salt: [u8; CM_SALT_LEN],
}

impl Cm {
    /// Encrypts or decrypts (RFC 3711 §4.1.1).
    fn crypt(&self, ssrc: u32, index: u64, payload: &mut [u8]) {
        let mut counter = [0; 16];
        counter[..CM_SALT_LEN].copy_from_slice(&self.salt);
        let mix = |bytes: &mut [u8], with: &[u8]| bytes.iter_mut().zip(with).for_each(|(a, b)| *a ^= b);
        mix(&mut counter[4..8], &ssrc.to_be_bytes());
        mix(&mut counter[8..14], &index.to_be_bytes()[2..]);
        let context = EncryptionContext::Iv128(FixedLength::from(counter));
        // Counter mode takes any length.
        let _ = self.key.less_safe_encrypt(payload, context);
    }

    fn tag(&self, parts: &[&[u8]]) -> [u8; 20] {
        let mut context = hmac::Context::with_key(&self.auth);
        parts.iter().for_each(|part| context.update(part));
        let mut tag = [0; 20];
        tag.copy_from_slice(context.sign().as_ref());
        tag
    }
}

/// RFC 7714 §8.1, before the salt is mixed in.
fn rtp_nonce(ssrc: u32, index: u64) -> [u8; GCM_SALT_LEN] {
    let mut nonce = [0; GCM_SALT_LEN];
    nonce[2..6].copy_from_slice(&ssrc.to_be_bytes());
    nonce[6..].copy_from_slice(&index.to_be_bytes()[2..]);
    nonce
}

/// RFC 7714 §9.1, before the salt is mixed in.
fn rtcp_nonce(ssrc: u32, index: u32) -> [u8; GCM_SALT_LEN] {
    let mut nonce = [0; GCM_SALT_LEN];
    nonce[2..6].copy_from_slice(&ssrc.to_be_bytes());
    nonce[8..].copy_from_slice(&index.to_be_bytes());
    nonce
}

fn ssrc_of(rtcp: &[u8]) -> Option<u32> {
    rtcp.get(4..8).map(|ssrc| u32::from_be_bytes([ssrc[0], ssrc[1], ssrc[2], ssrc[3]]))
}

/// RFC 3711 §4.3.1 with a key derivation rate of 0: AES in counter mode over the master salt, to which the label is
/// added. A 96-bit salt is padded with zeros (RFC 7714 §11).
fn derive(half: &Half, label: u8, out: &mut [u8]) -> Option<()> {
    let mut counter = [0; 16];
    counter[..half.salt.len()].copy_from_slice(&half.salt);
    counter[7] ^= label;
    let key = counter_mode(&half.key)?;
    out.fill(0);
    key.less_safe_encrypt(out, EncryptionContext::Iv128(FixedLength::from(counter))).ok()?;
    Some(())
}

fn counter_mode(key: &[u8]) -> Option<EncryptingKey> {
    let algorithm = if key.len() == 16 { &AES_128 } else { &AES_256 };
    EncryptingKey::ctr(UnboundCipherKey::new(algorithm, key).ok()?).ok()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use webrtc_srtp::context::Context;
    use webrtc_srtp::protection_profile::ProtectionProfile;

    fn keys(profile: ProtectionProfile) -> Keys {
        let half = |seed: u8| Half {
            key: (0..profile.key_len()).map(|at| at as u8 ^ seed).collect(),
            salt: (0..profile.salt_len()).map(|at| at as u8 ^ !seed).collect(),
        };
        Keys { profile, local: half(3), remote: half(9) }
    }

    /// Two ends of one transport.
    pub(in crate::load) fn pair() -> (Cipher, Cipher) {
        let keys = keys(ProtectionProfile::AeadAes128Gcm);
        (Cipher::new(&keys).unwrap(), Cipher::new(&mirrored(&keys)).unwrap())
    }

    fn mirrored(keys: &Keys) -> Keys {
        Keys { profile: keys.profile, local: keys.remote.clone(), remote: keys.local.clone() }
    }

    fn context(profile: ProtectionProfile, half: &Half) -> Context {
        Context::new(&half.key, &half.salt, profile, None, None).unwrap()
    }

    /// A header of twelve bytes with this sequence number, and a payload.
    fn packet(sequence: u16) -> Vec<u8> {
        let mut packet = vec![0x80, 96, 0, 0, 0, 0, 0, 1, 0, 0, 0, 7];
        packet[2..4].copy_from_slice(&sequence.to_be_bytes());
        packet.extend_from_slice(b"payload of a packet");
        packet
    }

    const PROFILES: [ProtectionProfile; 3] = [
        ProtectionProfile::AeadAes128Gcm,
        ProtectionProfile::AeadAes256Gcm,
        ProtectionProfile::Aes128CmHmacSha1_80,
    ];

    #[test]
    fn the_other_stack_opens_what_is_sealed_across_a_rollover() {
        for profile in PROFILES {
            let keys = keys(profile);
            let (mut ours, mut theirs) = (Cipher::new(&keys).unwrap(), context(profile, &keys.local));
            for index in 65_530..65_540_u64 {
                let plain = packet(index as u16);
                let mut sealed = plain.clone();
                sealed.resize(plain.len() + ours.rtp_overhead(), 0);
                ours.seal_rtp(7, index, 12, &mut sealed);
                assert_eq!(theirs.decrypt_rtp(&sealed).unwrap(), plain, "{index}");
            }
            let rtcp = crate::feedback::receiver_report(7, Vec::new(), "c");
            for _ in 0..3 {
                let sealed = ours.seal_rtcp(&rtcp).unwrap();
                assert_eq!(theirs.decrypt_rtcp(&sealed).unwrap(), rtcp);
            }
        }
    }

    #[test]
    fn what_the_other_stack_seals_is_opened_and_nothing_else() {
        for profile in PROFILES {
            let keys = keys(profile);
            let (ours, mut theirs) = (Cipher::new(&keys).unwrap(), context(profile, &keys.remote));
            let mut out = Vec::new();
            for index in 65_530..65_540_u64 {
                let plain = packet(index as u16);
                let mut sealed = theirs.encrypt_rtp(&plain).unwrap().to_vec();
                assert!(ours.open_rtp(7, 12, [0, 1], &sealed, &mut out).is_some());
                assert_eq!(out, plain[12..]);
                *sealed.last_mut().unwrap() ^= 1;
                assert_eq!(ours.open_rtp(7, 12, [0, 1], &sealed, &mut out), None);
            }
            let rtcp = crate::feedback::receiver_report(7, Vec::new(), "c");
            let sealed = theirs.encrypt_rtcp(&rtcp).unwrap();
            assert_eq!(ours.open_rtcp(&sealed).unwrap(), rtcp);
        }
    }

    #[test]
    fn both_halves_fit_together() {
        let (near, far) = pair();
        let mut sealed = packet(9);
        sealed.resize(sealed.len() + near.rtp_overhead(), 0);
        near.seal_rtp(7, 9, 12, &mut sealed);
        let mut out = Vec::new();
        assert_eq!(far.open_rtp(7, 12, [1, 0], &sealed, &mut out), Some(0), "the counter it was sealed with");
        for len in 0..sealed.len() {
            assert_eq!(far.open_rtp(7, 12.min(len), [0], &sealed[..len], &mut out), None, "cut to {len}");
            assert_eq!(far.open_rtcp(&sealed[..len]), None);
        }
    }
}
