//! Header extensions on their way: found in a publisher's packet, carried apart from it, written and stamped for a viewer.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use millrace::time::Timestamp;
use millrace::wire::block::Block;
use millrace::wire::carried::Carried;
use millrace::wire::extension::{Collected, Entry, ExtensionMap, Kind, write_block};
use millrace::wire::rtp::{FixedHeader, Header};

const NOW: Timestamp = Timestamp::from_nanos(1_234_567_890_123);
const MID: &[u8] = b"0";
const SLOT_BYTES: usize = 256;

/// A dependency descriptor of the usual length, and one of a key frame with its template structure.
const DESCRIPTOR: &[u8] = &[7; 4];
const STRUCTURE: &[u8] = &[7; 60];

/// Ids as Chromium offers them.
const IDS: [(Kind, u8); 8] = [
    (Kind::AudioLevel, 1),
    (Kind::AbsSendTime, 2),
    (Kind::TransportCc, 3),
    (Kind::Mid, 4),
    (Kind::PlayoutDelay, 5),
    (Kind::DependencyDescriptor, 12),
    (Kind::VideoOrientation, 13),
    (Kind::AbsCaptureTime, 14),
];

/// What every packet of Chromium begins with.
const STAMPS: [Entry<'_>; 3] =
    [Entry { id: 2, value: &[1, 2, 3] }, Entry { id: 3, value: &[0, 9] }, Entry { id: 4, value: b"1" }];

/// Name, what follows the stamps, how many of it are carried. A value above 16 bytes takes the block's longer form.
const SHAPES: [(&str, &[Entry<'_>], usize); 4] = [
    ("audio", &[Entry { id: 1, value: &[0x5a] }], 1),
    ("video", &[Entry { id: 13, value: &[0] }, Entry { id: 5, value: &[0; 3] }], 2),
    ("descriptor", &[Entry { id: 12, value: DESCRIPTOR }], 1),
    ("structure", &[Entry { id: 12, value: STRUCTURE }], 1),
];

fn map() -> ExtensionMap {
    let mut map = ExtensionMap::EMPTY;
    assert!(IDS.into_iter().all(|(kind, id)| map.insert(kind, id)));
    map
}

fn packet(more: &[Entry<'_>]) -> Vec<u8> {
    let header = FixedHeader {
        padding: false,
        extension: true,
        marker: true,
        payload_type: 96,
        sequence: 7,
        timestamp: 90_000,
        ssrc: 0x5501_a0b2,
    };
    let mut packet = vec![0; 1200];
    let len = header.write(&mut packet);
    assert!(write_block(&mut packet[len..], &[&STAMPS, more].concat()) > 0);
    packet
}

fn extensions(criterion: &mut Criterion) {
    let map = map();
    for (name, more, carries) in SHAPES {
        let packet = packet(more);
        let header = Header::parse(&packet).expect("the packet is well formed");
        let collected = Collected::parse(&packet, &header, &map).expect("its extensions too");
        let carried = Carried::collect(&packet, &collected);
        assert_eq!(carried.iter().count(), carries, "stamps and MID belong to one hop");
        let block = Block::new(&map, MID, &carried, NOW);
        assert!(block.is_numbered());

        let mut group = criterion.benchmark_group(format!("extensions/{name}"));
        group.bench_function("parse", |bencher| {
            bencher.iter(|| Collected::parse(black_box(&packet), &header, &map));
        });
        group.bench_function("carry", |bencher| {
            bencher.iter(|| Carried::collect(black_box(&packet), &collected));
        });
        // Once for all viewers with the same ids and MID.
        group.bench_function("write", |bencher| {
            bencher.iter(|| Block::new(&map, black_box(MID), &carried, NOW));
        });
        // Once for each viewer.
        group.bench_function("stamp", |bencher| {
            let (mut slot, mut number) = ([0; SLOT_BYTES], 0_u16);
            bencher.iter(|| {
                number = number.wrapping_add(1);
                black_box(&block).copy_to(black_box(&mut slot), number);
            });
        });
        group.finish();
    }
}

criterion_group!(benches, extensions);
criterion_main!(benches);
