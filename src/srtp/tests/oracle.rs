//! An independent SRTP stack opens what we seal, and the other way round.

use bytemuck::Zeroable;
use webrtc_srtp::context::Context;
use webrtc_srtp::protection_profile::ProtectionProfile;

use super::{both, master, payload, rtcp_packet, rtp_header, seal_rtcp, seal_rtp};
use crate::records::replay::{ReplayWindow, RtcpReplayWindow};
use crate::srtp::Profile;

/// Starts below the wrap of the sequence number and goes well past it.
const INDICES: std::ops::Range<u64> = 65_500..65_600;

fn oracle(profile: Profile) -> Context {
    let (key, salt) = master(profile);
    let theirs = match profile {
        Profile::AesCm128HmacSha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
        Profile::AeadAes128Gcm => ProtectionProfile::AeadAes128Gcm,
        Profile::AeadAes256Gcm => ProtectionProfile::AeadAes256Gcm,
    };
    Context::new(&key, &salt, theirs, None, None).unwrap()
}

#[test]
fn the_oracle_opens_our_rtp_around_the_wrap() {
    for profile in Profile::ALL {
        let ((seal, _), mut oracle) = (both(profile), oracle(profile));
        for index in INDICES {
            let (header, payload) = (rtp_header(index as u16), payload(index));
            let sealed = seal_rtp(&seal, index, &header, &payload);
            let opened = oracle.decrypt_rtp(&sealed).unwrap();
            assert_eq!(opened[..], [header, payload].concat(), "{profile:?} {index}");
        }
    }
}

#[test]
fn we_open_the_oracles_rtp_around_the_wrap() {
    for profile in Profile::ALL {
        let ((_, open), mut oracle) = (both(profile), oracle(profile));
        let mut window = ReplayWindow::zeroed();
        for index in INDICES {
            let plain = [rtp_header(index as u16), payload(index)].concat();
            let mut packet = oracle.encrypt_rtp(&plain).unwrap().to_vec();
            let guess = window.estimate(index as u16);
            assert_eq!(guess, index);
            window.check(guess).unwrap();
            let len = open.open_rtp(guess, 24, &mut packet).unwrap();
            window.accept(guess);
            assert_eq!(packet[..len], plain, "{profile:?} {index}");
        }
    }
}

#[test]
fn the_oracle_opens_our_rtcp() {
    for profile in Profile::ALL {
        let ((seal, _), mut oracle) = (both(profile), oracle(profile));
        for index in [0, 1, 2, 70_000, (1 << 31) - 1] {
            let opened = oracle.decrypt_rtcp(&seal_rtcp(&seal, index, &rtcp_packet())).unwrap();
            assert_eq!(opened[..], rtcp_packet(), "{profile:?} {index}");
        }
    }
}

#[test]
fn we_open_the_oracles_rtcp() {
    for profile in Profile::ALL {
        let ((_, open), mut oracle) = (both(profile), oracle(profile));
        let mut window = RtcpReplayWindow::zeroed();
        for count in 1..300 {
            let mut packet = oracle.encrypt_rtcp(&rtcp_packet()).unwrap().to_vec();
            assert_eq!(open.rtcp_index(&packet), Ok(count));
            window.check(count).unwrap();
            let (len, index) = open.open_rtcp(&mut packet).unwrap();
            window.accept(index);
            assert_eq!((&packet[..len], index), (&rtcp_packet()[..], count), "{profile:?}");
        }
    }
}
