//! RFC 7714 §16 and §17. The vectors give session keys, so they enter below the key derivation.

use super::super::suite::Suite;
use crate::crypto::unhex;
use crate::discard::Discard;
use crate::srtp::{OpenKeys, Profile, SealKeys};

const RTP: &str = "8040f17b8041f8d35501a0b2\
    47616c6c696120657374206f6d6e69732064697669736120696e207061727465732074726573";
/// §16.1.1.
const SRTP_128: &str = "8040f17b8041f8d35501a0b2\
    f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833\
    899d7f27beb16a9152cf765ee4390cce";
/// §16.2.1.
const SRTP_256: &str = "8040f17b8041f8d35501a0b2\
    32b1de78a822fe12ef9f78fa332e33aab18012389a58e2f3b50b2a0276ffae0f1ba63799b87b\
    7aa3db36dfffd6b0f9bb7878d7a76c13";
/// The packet that §17.1 to §17.4 work on; the head of §17 prints another one.
const RTCP: &str = "81c8000d4d617273\
    4e5450314e545032525450200000042a0000e9304c756e61deadbeefdeadbeefdeadbeefdeadbeefdeadbeef";
/// §17.1.
const SRTCP_128: &str = "81c8000d4d617273\
    63e94885dcdab67ca727d7662f6b7e997ff5c0f76c06f32dc676a5f1730d6fda4ce09b4686303ded0bb9275b\
    c84aa45896cf4d2fc5abf87245d9eade800005d4";
/// §17.2.
const SRTCP_256: &str = "81c8000d4d617273\
    d50ae4d1f5ce5d304ba297e47d470c282c3ece5dbffe0a50a2eaa5c1110555be8415f658c61de0476f1b6fad\
    1d1eb30c4446839f57ff6f6cb26ac3be800005d4";
/// §17.3: tagged, not encrypted.
const SRTCP_128_CLEAR: &str = "81c8000d4d617273\
    4e5450314e545032525450200000042a0000e9304c756e61deadbeefdeadbeefdeadbeefdeadbeefdeadbeef\
    841dd9683dd78ec92ae58790125f62b3000005d4";

fn suite(profile: Profile) -> Suite {
    let key: Vec<u8> = (0..32).take(profile.key_len()).collect();
    Suite::gcm(&key, *b"Quid pro quo")
}

fn keys(profile: Profile) -> (SealKeys, OpenKeys) {
    let seal = SealKeys::from_suites(profile, suite(profile), suite(profile));
    (seal, OpenKeys::from_suites(profile, suite(profile), suite(profile)))
}

#[test]
fn srtp_of_rfc_7714_16() {
    for (profile, wanted) in [(Profile::AeadAes128Gcm, SRTP_128), (Profile::AeadAes256Gcm, SRTP_256)] {
        let (seal, open) = keys(profile);
        let (plain, wanted) = (unhex(RTP), unhex(wanted));
        let mut slot = vec![0; wanted.len()];
        slot[..12].copy_from_slice(&plain[..12]);
        assert_eq!(seal.seal_rtp(0x5501_a0b2, 0xf17b, 12, &plain[12..], &mut slot), Some(wanted.len()));
        assert_eq!(slot, wanted);
        assert_eq!(open.open_rtp(0xf17b, 12, &mut slot), Ok(plain.len()));
        assert_eq!(slot[..plain.len()], plain);
    }
}

#[test]
fn srtcp_of_rfc_7714_17() {
    for (profile, wanted) in [(Profile::AeadAes128Gcm, SRTCP_128), (Profile::AeadAes256Gcm, SRTCP_256)] {
        let (seal, open) = keys(profile);
        let (plain, wanted) = (unhex(RTCP), unhex(wanted));
        let mut packet = plain.clone();
        packet.resize(wanted.len(), 0);
        assert_eq!(seal.seal_rtcp(0x4d61_7273, 0x5d4, &mut packet, plain.len()), Some(wanted.len()));
        assert_eq!(packet, wanted);
        assert_eq!(open.open_rtcp(&mut packet), Ok((plain.len(), 0x5d4)));
        assert_eq!(packet[..plain.len()], plain);
    }
}

#[test]
fn srtcp_in_the_clear_is_refused_though_its_tag_is_right() {
    let (_, open) = keys(Profile::AeadAes128Gcm);
    assert_eq!(open.open_rtcp(&mut unhex(SRTCP_128_CLEAR)), Err(Discard::PeerSrtcpUnencrypted));
}
