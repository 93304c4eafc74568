//! Nothing forged, cut or repeated passes, and nothing panics.

use bytemuck::Zeroable;

use super::{SSRC, both, payload, rtcp_packet, rtp_header, seal_rtcp, seal_rtp};
use crate::discard::Discard;
use crate::records::keys::KeyRecord;
use crate::records::replay::ReplayWindow;
use crate::srtp::{OpenKeys, Profile, SealKeys};

#[test]
fn every_length_of_rubbish_is_dropped() {
    for profile in Profile::ALL {
        let (_, open) = both(profile);
        for fill in [0x00, 0x80, 0xff] {
            for len in 0..=1500 {
                let mut packet = vec![fill; len];
                for header_len in [0, 11, 12, 13, 28, 72, len.saturating_sub(1), len, len + 1] {
                    let refused = open.open_rtp(u64::from(fill), header_len, &mut packet);
                    if len < header_len + profile.rtp_overhead() || header_len < 12 {
                        assert_eq!(refused, Err(Discard::PeerSrtpTooShort));
                    } else {
                        assert_eq!(refused, Err(Discard::PeerSrtpUnauthenticated));
                    }
                    assert!(open.open_rtp_any([0, 1 << 16], header_len, &mut packet).is_err());
                    packet.fill(fill);
                }
                let refused = open.open_rtcp(&mut packet).unwrap_err();
                if len < 8 + profile.rtcp_overhead() {
                    assert_eq!(refused, Discard::PeerSrtpTooShort);
                } else if fill == 0 {
                    assert_eq!(refused, Discard::PeerSrtcpUnencrypted);
                } else {
                    assert_eq!(refused, Discard::PeerSrtpUnauthenticated);
                }
            }
        }
    }
}

#[test]
fn every_cut_of_a_sealed_packet_is_dropped() {
    for profile in Profile::ALL {
        let (seal, open) = both(profile);
        let rtp = seal_rtp(&seal, 7, &rtp_header(7), &payload(90));
        for len in 0..rtp.len() {
            assert!(open.open_rtp(7, 24, &mut rtp[..len].to_vec()).is_err(), "{profile:?} {len}");
        }
        let rtcp = seal_rtcp(&seal, 7, &rtcp_packet());
        for len in 0..rtcp.len() {
            assert!(open.open_rtcp(&mut rtcp[..len].to_vec()).is_err(), "{profile:?} {len}");
        }
    }
}

#[test]
fn a_flipped_bit_anywhere_is_refused() {
    for profile in Profile::ALL {
        let (seal, open) = both(profile);
        let rtp = seal_rtp(&seal, 7, &rtp_header(7), &payload(90));
        for bit in 0..rtp.len() * 8 {
            let mut forged = rtp.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open.open_rtp(7, 24, &mut forged), Err(Discard::PeerSrtpUnauthenticated), "bit {bit}");
        }
        let rtcp = seal_rtcp(&seal, 7, &rtcp_packet());
        for bit in 0..rtcp.len() * 8 {
            let mut forged = rtcp.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(open.open_rtcp(&mut forged).is_err(), "bit {bit}");
        }
        open.open_rtp(7, 24, &mut rtp.clone()).unwrap();
        open.open_rtcp(&mut rtcp.clone()).unwrap();
    }
}

#[test]
fn another_index_or_another_key_does_not_open() {
    for profile in Profile::ALL {
        let (seal, open) = both(profile);
        let rtp = seal_rtp(&seal, 7, &rtp_header(7), &payload(90));
        for index in [8, 7 + (1 << 16), 7 + (1 << 32)] {
            assert!(open.open_rtp(index, 24, &mut rtp.clone()).is_err());
        }
        let other = OpenKeys::new(profile, &[1; 32][..profile.key_len()], &[2; 14][..profile.salt_len()]);
        assert!(other.open_rtp(7, 24, &mut rtp.clone()).is_err());
    }
}

/// The order of work of the module's doc, as a receiver does it.
fn receive(open: &OpenKeys, window: &mut ReplayWindow, mut packet: Vec<u8>) -> Result<Vec<u8>, Discard> {
    let index = window.estimate(u16::from_be_bytes([packet[2], packet[3]]));
    window.check(index)?;
    let len = open.open_rtp(index, 24, &mut packet)?;
    window.accept(index);
    packet.truncate(len);
    Ok(packet)
}

#[test]
fn forged_packets_never_move_the_window() {
    for profile in Profile::ALL {
        let (seal, open) = both(profile);
        let mut window = ReplayWindow::zeroed();
        let packet = |index: u64| seal_rtp(&seal, index, &rtp_header(index as u16), &payload(index));
        for index in 65_000..65_010 {
            // A forged packet half a turn ahead, and one of the next turn, before each real one.
            for seq in [(index + 30_000) as u16, 200, 64_990] {
                let mut forged = packet(index);
                forged[2..4].copy_from_slice(&seq.to_be_bytes());
                let before = window;
                assert!(receive(&open, &mut window, forged).is_err());
                assert_eq!(window, before);
            }
            receive(&open, &mut window, packet(index)).unwrap();
            assert_eq!(receive(&open, &mut window, packet(index)), Err(Discard::NetworkReplayed));
        }
    }
}

#[test]
fn loss_and_reordering_around_the_wrap_lose_nothing() {
    for profile in Profile::ALL {
        let (seal, open) = both(profile);
        let mut window = ReplayWindow::zeroed();
        for index in [65_530, 65_534, 65_538, 65_531, 65_536, 65_535, 65_700, 65_699, 65_533] {
            let plain = [rtp_header(index as u16), payload(index)].concat();
            let sealed = seal_rtp(&seal, index, &rtp_header(index as u16), &payload(index));
            assert_eq!(receive(&open, &mut window, sealed), Ok(plain), "{profile:?} {index}");
        }
    }
}

#[test]
fn after_a_restart_the_roll_over_counter_is_found_again() {
    for profile in Profile::ALL {
        let (seal, open) = both(profile);
        let mut window = ReplayWindow::zeroed();
        window.accept((4 << 16) | 60_000);
        window.mark_restored();

        let index: u64 = (5 << 16) | 30;
        let plain = [rtp_header(30), payload(index)].concat();
        let sealed = seal_rtp(&seal, index, &rtp_header(30), &payload(index));
        // A forged packet first: it is refused, stays as it was, and the counter stays in doubt.
        let mut forged = sealed.clone();
        forged[40] ^= 1;
        let before = forged.clone();
        let refused = open.open_rtp_any(window.candidates(30), 24, &mut forged);
        assert_eq!(refused, Err(Discard::PeerSrtpUnauthenticated));
        assert_eq!(forged, before);

        let mut packet = sealed.clone();
        let candidates = [(4 << 16) | 30, (6 << 16) | 30].into_iter().chain(window.candidates(30));
        let (len, found) = open.open_rtp_any(candidates, 24, &mut packet).unwrap();
        assert_eq!((&packet[..len], found), (&plain[..], index));
        window.accept(found);
        // What was recorded before the restart is not taken again.
        let old = seal_rtp(&seal, (4 << 16) | 60_000, &rtp_header(60_000), &[]);
        assert!(receive(&open, &mut window, old).is_err());
    }
}

#[test]
fn a_trial_takes_no_packet_of_a_jumbo_frame() {
    let (_, open) = both(Profile::AeadAes128Gcm);
    let mut packet = vec![0; 9_000];
    assert_eq!(open.open_rtp_any([0], 12, &mut packet), Err(Discard::PeerTooLong));
    assert_eq!(open.open_rtp(0, 12, &mut packet), Err(Discard::PeerSrtpUnauthenticated));
}

#[test]
fn keys_made_anew_from_their_record_are_the_same_keys() {
    for profile in Profile::ALL {
        let mut record = KeyRecord { profile: profile.code(), ..KeyRecord::NONE };
        record.inbound_key.fill(1);
        record.inbound_salt.fill(2);
        record.outbound_key.fill(3);
        record.outbound_salt.fill(4);
        let far = KeyRecord {
            inbound_key: record.outbound_key,
            inbound_salt: record.outbound_salt,
            outbound_key: record.inbound_key,
            outbound_salt: record.inbound_salt,
            ..record
        };
        let copy: KeyRecord = bytemuck::pod_read_unaligned(bytemuck::bytes_of(&record));
        let seal = SealKeys::from_record(&copy).unwrap();
        let open = OpenKeys::from_record(&far).unwrap();
        let mut packet = seal_rtp(&seal, 3, &rtp_header(3), b"payload");
        open.open_rtp(3, 24, &mut packet).unwrap();
        // The directions differ, and no key is ever shown.
        let mut reflected = seal_rtp(&seal, 3, &rtp_header(3), b"payload");
        assert!(OpenKeys::from_record(&copy).unwrap().open_rtp(3, 24, &mut reflected).is_err());
        let text = format!("{seal:?} {open:?}");
        assert!(!text.contains('['), "{text}");
    }
    assert_eq!(SSRC, 0x5501_a0b2);
}
