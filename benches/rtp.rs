//! Reading a publisher's RTP header and its extensions, and writing a viewer's.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use millrace::wire::carried::Carried;
use millrace::wire::extension::{Collected, Entry, ExtensionMap, Kind, write_block};
use millrace::wire::rtp::{FixedHeader, Header};

/// Ids as Chromium offers them.
const IDS: [(Kind, u8); 5] = [
    (Kind::AbsSendTime, 2),
    (Kind::TransportCc, 3),
    (Kind::Mid, 4),
    (Kind::VideoOrientation, 13),
    (Kind::PlayoutDelay, 5),
];

fn map() -> ExtensionMap {
    let mut map = ExtensionMap::EMPTY;
    assert!(IDS.into_iter().all(|(kind, id)| map.insert(kind, id)));
    map
}

fn header(extension: bool) -> FixedHeader {
    FixedHeader {
        padding: false,
        extension,
        marker: true,
        payload_type: 96,
        sequence: 7,
        timestamp: 90_000,
        ssrc: 0x5501_a0b2,
    }
}

/// A video packet as Chromium sends it.
fn packet() -> Vec<u8> {
    let mut packet = vec![0; 1200];
    let entries = [
        Entry { id: 2, value: &[1, 2, 3] },
        Entry { id: 3, value: &[0, 9] },
        Entry { id: 4, value: b"1" },
        Entry { id: 13, value: &[0] },
        Entry { id: 5, value: &[0, 0, 0] },
    ];
    let len = header(true).write(&mut packet);
    write_block(&mut packet[len..], &entries);
    packet
}

fn rtp(criterion: &mut Criterion) {
    let (packet, map) = (packet(), map());
    let parsed = Header::parse(&packet).expect("the packet is well formed");
    let collected = Collected::parse(&packet, &parsed, &map).expect("its extensions too");
    let carried = Carried::collect(&packet, &collected);
    assert_eq!(carried.iter().count(), 2, "orientation and playout delay travel on");

    criterion.bench_function("rtp/header", |bencher| bencher.iter(|| Header::parse(black_box(&packet))));
    criterion.bench_function("rtp/extensions", |bencher| {
        bencher.iter(|| Collected::parse(black_box(&packet), &parsed, &map));
    });
    criterion.bench_function("rtp/carried", |bencher| {
        bencher.iter(|| Carried::collect(black_box(&packet), &collected));
    });
    criterion.bench_function("rtp/write", |bencher| {
        let mut slot = [0; 64];
        bencher.iter(|| {
            let mut entries = [Entry::NONE; millrace::wire::carried::ENTRIES_MAX];
            let filled = carried.entries(&map, b"0", &mut entries);
            let len = header(true).write(&mut slot);
            black_box(write_block(&mut slot[len..], &entries[..filled]))
        });
    });
}

criterion_group!(benches, rtp);
criterion_main!(benches);
