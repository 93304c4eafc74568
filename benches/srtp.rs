//! Sealing and opening one video packet, beside an independent implementation.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use millrace::srtp::{OpenKeys, Profile, SealKeys};
use webrtc_srtp::context::Context;
use webrtc_srtp::protection_profile::ProtectionProfile;

const SSRC: u32 = 0x5501_a0b2;
const HEADER_BYTES: usize = 12;
const PAYLOAD_BYTES: usize = 1100;

const PROFILES: [(&str, Profile, ProtectionProfile); 3] = [
    ("gcm128", Profile::AeadAes128Gcm, ProtectionProfile::AeadAes128Gcm),
    ("gcm256", Profile::AeadAes256Gcm, ProtectionProfile::AeadAes256Gcm),
    ("cm_sha1", Profile::AesCm128HmacSha1_80, ProtectionProfile::Aes128CmHmacSha1_80),
];

fn master(profile: Profile) -> (Vec<u8>, Vec<u8>) {
    (vec![0x5a; profile.key_len()], vec![0xa5; profile.salt_len()])
}

fn packet(index: u64) -> Vec<u8> {
    let mut packet = vec![0x80, 96];
    packet.extend((index as u16).to_be_bytes());
    packet.extend(90_000_u32.to_be_bytes());
    packet.extend(SSRC.to_be_bytes());
    packet.extend([7; PAYLOAD_BYTES]);
    packet
}

fn seal(criterion: &mut Criterion) {
    for (name, profile, theirs) in PROFILES {
        let (key, salt) = master(profile);
        let mut group = criterion.benchmark_group(format!("seal/{name}"));
        group.throughput(Throughput::Bytes(PAYLOAD_BYTES as u64));
        let (keys, plain) = (SealKeys::new(profile, &key, &salt), packet(7));
        let mut slot = [0; 1472];
        slot[..HEADER_BYTES].copy_from_slice(&plain[..HEADER_BYTES]);
        // The same index again and again: what is sealed here leaves no one's machine.
        group.bench_function("millrace", |bencher| {
            bencher
                .iter(|| keys.seal_rtp(SSRC, 7, HEADER_BYTES, black_box(&plain[HEADER_BYTES..]), &mut slot));
        });
        let mut context = Context::new(&key, &salt, theirs, None, None).expect("keys of the right length");
        group.bench_function("webrtc-srtp", |bencher| {
            bencher.iter(|| context.encrypt_rtp(black_box(&plain)));
        });
        group.finish();
    }
}

fn open(criterion: &mut Criterion) {
    for (name, profile, theirs) in PROFILES {
        let (key, salt) = master(profile);
        let mut group = criterion.benchmark_group(format!("open/{name}"));
        group.throughput(Throughput::Bytes(PAYLOAD_BYTES as u64));
        let mut sender = Context::new(&key, &salt, theirs, None, None).expect("keys of the right length");
        let sealed = sender.encrypt_rtp(&packet(7)).expect("the packet is well formed");
        let keys = OpenKeys::new(profile, &key, &salt);
        let mut buffer = sealed.to_vec();
        assert!(keys.open_rtp(7, HEADER_BYTES, &mut buffer).is_ok());
        // Opening is in place, so that each round needs the sealed bytes anew.
        group.bench_function("millrace", |bencher| {
            bencher.iter(|| {
                buffer.copy_from_slice(black_box(&sealed));
                keys.open_rtp(7, HEADER_BYTES, &mut buffer)
            });
        });
        // A context refuses what it has opened before: every round has its own, made outside of the measurement.
        group.bench_function("webrtc-srtp", |bencher| {
            bencher.iter_batched_ref(
                || Context::new(&key, &salt, theirs, None, None).expect("keys of the right length"),
                |context| context.decrypt_rtp(black_box(&sealed)),
                BatchSize::SmallInput,
            );
        });
        group.finish();
    }
}

criterion_group!(benches, seal, open);
criterion_main!(benches);
