//! Reading a publisher's RTP header, and writing a viewer's. What stands in its extensions has a bench of its own.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use millrace::wire::extension::{Entry, write_block};
use millrace::wire::rtp::{FIXED_LEN, FixedHeader, Header};

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

/// A packet with the stamps of Chromium, or without any.
fn packet(extension: bool) -> Vec<u8> {
    let mut packet = vec![0; 1200];
    header(extension).write(&mut packet);
    if extension {
        let entries = [Entry { id: 2, value: &[1, 2, 3] }, Entry { id: 3, value: &[0, 9] }];
        write_block(&mut packet[FIXED_LEN..], &entries);
    }
    packet
}

fn rtp(criterion: &mut Criterion) {
    for (name, extension) in [("rtp/header", true), ("rtp/header alone", false)] {
        let packet = packet(extension);
        let parsed = Header::parse(&packet).expect("the packet is well formed");
        assert_eq!(parsed.extension.is_some(), extension);
        criterion.bench_function(name, |bencher| bencher.iter(|| Header::parse(black_box(&packet))));
    }
    criterion.bench_function("rtp/write", |bencher| {
        let mut slot = [0; FIXED_LEN];
        bencher.iter(|| black_box(header(true)).write(black_box(&mut slot)));
    });
}

criterion_group!(benches, rtp);
criterion_main!(benches);
