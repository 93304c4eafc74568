//! Transport-wide numbers both ways: what is sent to a viewer, noted and settled; what a publisher sent, noted and
//! reported; the debt that the pacer reckons.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use millrace::congestion::history::SendHistory;
use millrace::congestion::pacer::Pacer;
use millrace::feedback::arrival::ArrivalRecorder;
use millrace::time::Timestamp;
use millrace::wire::rtcp::twcc::{Arrival, Head, ticks, write};
use millrace::wire::rtcp::{Packet, packets};

const START: Timestamp = Timestamp::from_nanos(1_000_000_000_000);
const GAP: Duration = Duration::from_millis(1);
const PACKET_BYTES: usize = 1130;
const RTCP_BYTES: usize = 1200;
/// Where a feedback names its first packet.
const BASE_AT: usize = 12;
/// One that is lost breaks the runs that a feedback is made of.
const LOSSES: [(&str, u16); 2] = [("whole", u16::MAX), ("one in 10 lost", 10)];
/// Packets in a feedback: 250 and 1 000 packets/s, reported each 60 ms.
const PACKETS: [u16; 2] = [16, 64];

fn is_lost(number: u16, one_in: u16) -> bool {
    number % one_in == one_in - 1
}

/// A viewer's feedback about `count` packets from 0 on.
fn feedback(count: u16, one_in: u16) -> Vec<u8> {
    let head = Head { sender_ssrc: 1, media_ssrc: 2, base: 0, feedback_count: 0 };
    let arrived = (0..count).filter(|number| !is_lost(*number, one_in));
    let arrivals: Vec<_> = arrived
        .map(|sequence| Arrival { sequence, ticks: ticks(START + u32::from(sequence) * GAP) })
        .collect();
    let mut bytes = vec![0; RTCP_BYTES];
    let len = write(&mut bytes, &head, &arrivals).len;
    bytes.truncate(len);
    bytes
}

/// What fan-out does for each packet to each viewer.
fn sent(criterion: &mut Criterion) {
    criterion.bench_function("twcc/note", |bencher| {
        let mut history = SendHistory::new(0);
        bencher.iter(|| {
            black_box(history.next_number());
            history.note(black_box(START), black_box(PACKET_BYTES));
        });
    });
    criterion.bench_function("twcc/pace", |bencher| {
        let mut pacer = Pacer::UNLIMITED;
        pacer.set_rate(10_000_000);
        let mut now = START;
        bencher.iter(|| {
            now = now + GAP;
            pacer.note(now, black_box(PACKET_BYTES));
            pacer.admits(now)
        });
    });
}

fn settle(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("twcc/noted and settled");
    for (name, one_in) in LOSSES {
        for count in PACKETS {
            let mut bytes = feedback(count, one_in);
            let mut history = SendHistory::new(0);
            group.throughput(Throughput::Elements(u64::from(count)));
            group.bench_function(BenchmarkId::new(name, count), |bencher| {
                bencher.iter(|| {
                    bytes[BASE_AT..BASE_AT + 2].copy_from_slice(&history.next_number().to_be_bytes());
                    (0..count).for_each(|_| history.note(START, PACKET_BYTES));
                    let Some(Ok(Packet::TransportFeedback(feedback))) = packets(black_box(&bytes)).next()
                    else {
                        panic!("it was written as a feedback");
                    };
                    let settled = history.handle_feedback(START + GAP, &feedback);
                    assert_eq!(settled.delivered + settled.lost, u32::from(count));
                });
            });
        }
    }
    group.finish();
}

fn report(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("twcc/recorded and reported");
    for (name, one_in) in LOSSES {
        for count in PACKETS {
            let (mut recorder, mut number, mut now) = (ArrivalRecorder::new(), 0_u16, START);
            let mut out = [0; RTCP_BYTES];
            group.throughput(Throughput::Elements(u64::from(count)));
            group.bench_function(BenchmarkId::new(name, count), |bencher| {
                bencher.iter(|| {
                    for _ in 0..count {
                        (number, now) = (number.wrapping_add(1), now + GAP);
                        if !is_lost(number, one_in) {
                            recorder.handle_packet(now, number, 1130);
                        }
                    }
                    // Whenever it was due, it is by now.
                    now = now.max(recorder.next_deadline());
                    recorder.poll_feedback(now, 1, 2, black_box(&mut out)).expect("packets wait")
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, sent, settle, report);
criterion_main!(benches);
