//! What a datagram is: the first question about every one that arrives.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use millrace::wire::demux::kind;

/// First two bytes of a busy shard's traffic: mostly RTP, some RTCP, STUN, DTLS, and what nobody speaks.
const MIX: [[u8; 2]; 16] = [
    [0x90, 0x60],
    [0x90, 0xe0],
    [0x90, 0x60],
    [0x80, 0x6f],
    [0x90, 0x60],
    [0x90, 0x61],
    [0x81, 0xc9],
    [0x90, 0x60],
    [0x80, 0xc8],
    [0x90, 0xe0],
    [0x00, 0x01],
    [0x90, 0x60],
    [0x8f, 0xcd],
    [0x16, 0xfe],
    [0x40, 0x00],
    [0xff, 0xff],
];

fn demux(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("demux");
    group.throughput(Throughput::Elements(MIX.len() as u64));
    group.bench_function("mix", |bencher| {
        bencher.iter(|| {
            for datagram in black_box(&MIX) {
                black_box(kind(datagram));
            }
        });
    });
    group.finish();
}

criterion_group!(benches, demux);
criterion_main!(benches);
