//! One opened video packet to 1, 10, 50 and 200 viewers: cache, switch, header, seal; the kernel left out.

use std::hint::black_box;

use bytemuck::Zeroable;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use millrace::egress::{DATAGRAM_BYTES_MAX, Egress, Path, RunKey};
use millrace::ids::{InboundSlot, PeerSlot, SubscriptionId};
use millrace::metrics::Counters;
use millrace::peer::outbound::Outbound;
use millrace::records::subscription::SubscriptionRecord;
use millrace::records::{CodecKind, CodecRecord, CodecTable, SwitchRecord, Table, Text};
use millrace::router::fanout::{Arrival, Burst, Viewers, fan_out};
use millrace::router::track::Track;
use millrace::srtp::{Profile, SealKeys};
use millrace::time::Timestamp;
use millrace::wire::carried::Carried;
use millrace::wire::extension::{ExtensionMap, Kind};

const FORMAT: u32 = 1;
const PAYLOAD_BYTES: usize = 1100;
const TAG_BYTES: usize = 16;
const VIDEO_CLOCK_HZ: u32 = 90_000;

/// Takes everything and keeps nothing, in one slot for each viewer as the send queue has them.
struct Memory {
    slots: Vec<[u8; DATAGRAM_BYTES_MAX]>,
    next: usize,
    bytes: usize,
}

impl Memory {
    fn new(slots: usize) -> Self {
        Self { slots: vec![[0; DATAGRAM_BYTES_MAX]; slots], next: 0, bytes: 0 }
    }
}

impl Egress for Memory {
    fn reserve(&mut self, _: RunKey, _: &Path) -> Option<&mut [u8]> {
        self.next = (self.next + 1) % self.slots.len();
        Some(&mut self.slots[self.next])
    }

    fn commit(&mut self, len: usize) {
        self.bytes += len;
    }

    fn reserved(&mut self) -> &mut [u8] {
        &mut self.slots[self.next]
    }
}

fn outbound(viewer: usize) -> Outbound {
    let profile = Profile::AeadAes128Gcm;
    let mut extensions = ExtensionMap::EMPTY;
    assert!(extensions.insert(Kind::Mid, 4));
    let mut outbound = Outbound::new(RunKey(viewer as u32), extensions);
    outbound.set_keys(Some(SealKeys::new(
        profile,
        &vec![viewer as u8; profile.key_len()],
        &vec![0; profile.salt_len()],
    )));
    outbound
}

fn subscription(viewer: usize) -> SubscriptionRecord {
    SubscriptionRecord {
        id: SubscriptionId(viewer as u64 + 1),
        switch: SwitchRecord::new(7),
        peer: PeerSlot::from(viewer),
        ssrc: 0x1000 + viewer as u32,
        codecs: CodecTable::new([CodecRecord::new(FORMAT, CodecKind::Vp8, VIDEO_CLOCK_HZ, 96, Some(97))]),
        mid: Text::new("0").expect("it is short"),
        ..SubscriptionRecord::zeroed()
    }
}

fn fanout(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("fanout");
    for count in [1, 10, 50, 200] {
        let (mut places, mut high) = (vec![SubscriptionRecord::zeroed(); count], 0);
        let mut subscriptions = Table::attach(&mut places, &mut high);
        let mut track = Track::default();
        for viewer in 0..count {
            track.subscribers.push(subscriptions.insert(subscription(viewer)).expect("there is room"));
        }
        let mut outbound: Vec<Outbound> = (0..count).map(outbound).collect();
        let (mut counters, mut egress) = (Counters::zeroed(), Memory::new(count));
        let mut payload = [7; PAYLOAD_BYTES + TAG_BYTES];
        let mut dense = 0;
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
            bencher.iter(|| {
                dense += 1;
                let mut burst = Burst::new();
                burst.push(Arrival {
                    source: InboundSlot(0),
                    dense,
                    rtp: dense as u32,
                    clock_rate_hz: VIDEO_CLOCK_HZ,
                    format: FORMAT,
                    marker: false,
                    padding: false,
                    switch_point: dense == 1,
                    keep: true,
                    carried: Carried::EMPTY,
                    bytes: black_box(&mut payload),
                    payload_len: PAYLOAD_BYTES,
                    run_padding: 0,
                });
                let mut viewers = Viewers {
                    subscriptions: &mut subscriptions,
                    outbound: &mut outbound,
                    counters: &mut counters,
                };
                let now = Timestamp::from_nanos(dense * 1_000_000);
                fan_out(now, &mut burst, &mut track, &mut viewers, &mut egress)
            });
        });
        assert_eq!(counters.rtp_out, dense * count as u64, "every packet went to everyone");
        black_box(egress.bytes);
    }
    group.finish();
}

criterion_group!(benches, fanout);
criterion_main!(benches);
