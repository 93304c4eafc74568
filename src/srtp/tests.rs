//! Both halves against the RFCs' vectors, against an independent stack, and against hostile bytes.

mod hostile;
mod oracle;
mod vectors;

use super::{OpenKeys, Profile, SealKeys};

const SSRC: u32 = 0x5501_a0b2;

fn master(profile: Profile) -> (Vec<u8>, Vec<u8>) {
    let key = (0..32).map(|byte| byte ^ 0x5a).take(profile.key_len()).collect();
    let salt = (0..14).map(|byte| byte ^ 0xa5).take(profile.salt_len()).collect();
    (key, salt)
}

fn both(profile: Profile) -> (SealKeys, OpenKeys) {
    let (key, salt) = master(profile);
    (SealKeys::new(profile, &key, &salt), OpenKeys::new(profile, &key, &salt))
}

/// An RTP header with one CSRC and a header extension of one word: 24 bytes.
fn rtp_header(seq: u16) -> Vec<u8> {
    let mut header = vec![0x91, 0x60];
    header.extend(seq.to_be_bytes());
    header.extend(0x1234_5678_u32.to_be_bytes());
    header.extend(SSRC.to_be_bytes());
    header.extend(0xcafe_u32.to_be_bytes());
    header.extend([0xbe, 0xde, 0, 1, 0x10, 7, 0, 0]);
    header
}

fn payload(index: u64) -> Vec<u8> {
    (0..(index % 1_100)).map(|place| (place ^ index) as u8).collect()
}

/// A receiver report without blocks and a PLI.
fn rtcp_packet() -> Vec<u8> {
    let mut packet = vec![0x80, 201, 0, 1];
    packet.extend(SSRC.to_be_bytes());
    packet.extend([0x81, 206, 0, 2]);
    packet.extend(SSRC.to_be_bytes());
    packet.extend(0xdead_beef_u32.to_be_bytes());
    packet
}

fn seal_rtp(keys: &SealKeys, index: u64, header: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut slot = vec![0; 1472];
    slot[..header.len()].copy_from_slice(header);
    let len = keys.seal_rtp(SSRC, index, header.len(), payload, &mut slot).unwrap();
    slot.truncate(len);
    slot
}

fn seal_rtcp(keys: &SealKeys, index: u32, plain: &[u8]) -> Vec<u8> {
    let mut packet = plain.to_vec();
    packet.resize(1472, 0);
    let len = keys.seal_rtcp(SSRC, index, &mut packet, plain.len()).unwrap();
    packet.truncate(len);
    packet
}
