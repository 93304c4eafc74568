//! A whole shard with memory for an egress: a packet in, its fan-out out, alone and in bursts; everything but the kernel.

mod rig;

use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rig::{Media, Rig};

const VIDEO_BYTES: usize = 1100;
const AUDIO_BYTES: usize = 100;

/// Times `rounds` deliveries of `burst` packets; sealing them is not counted.
fn time(rig: &mut Rig, rounds: u64, burst: usize, len: usize) -> Duration {
    let mut spent = Duration::ZERO;
    for _ in 0..rounds {
        let mut packets = rig.packets(0, burst, len);
        rig.now = rig.now + Duration::from_millis(1);
        let start = Instant::now();
        rig.deliver(0, &mut packets);
        spent += start.elapsed();
    }
    spent
}

fn shard(criterion: &mut Criterion) {
    for (name, media, len) in [("video", Media::Video, VIDEO_BYTES), ("audio", Media::Audio, AUDIO_BYTES)] {
        let mut group = criterion.benchmark_group(format!("shard/{name}"));
        for (viewers, burst) in [(1, 1), (3, 1), (50, 1), (50, 8), (200, 1), (200, 8)] {
            let mut rig = Rig::room(media, 1, viewers);
            time(&mut rig, 10, burst, len);
            let before = rig.egress.datagrams;
            time(&mut rig, 1, burst, len);
            assert_eq!(
                rig.egress.datagrams - before,
                (viewers * burst) as u64,
                "every packet goes to everyone"
            );
            group.throughput(Throughput::Elements((viewers * burst) as u64));
            group.bench_function(BenchmarkId::new(format!("burst of {burst}"), viewers), |bencher| {
                bencher.iter_custom(|rounds| time(&mut rig, rounds, burst, len));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, shard);
criterion_main!(benches);
