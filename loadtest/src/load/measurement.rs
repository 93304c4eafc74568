//! What one measured stretch showed, in figures.

use serde::Serialize;
use tokio::time::Instant;

use super::account::Counts;
use super::control::Counters;
use super::engine::{GroupOutcome, Outcome, Snapshot};
use super::joiner::JoinRecord;
use super::proc::{CpuTimes, MachineTime, Used, resident_bytes};
use super::rig::{Rig, SHARD_THREADS};
use crate::histogram::Histogram;

/// Name of the engine's thread.
const ENGINE_THREAD: &str = "engine";

/// Everything that is counted, at one moment.
#[derive(Clone)]
pub struct Reading {
    /// When.
    pub taken: Instant,
    /// The engine's own account.
    pub snapshot: Snapshot,
    /// The relay's CPU times.
    pub relay: CpuTimes,
    /// Ours.
    pub own: CpuTimes,
    /// The whole machine's.
    pub machine: MachineTime,
    /// The relay's counters.
    pub counters: Counters,
}

/// Percentiles of a distribution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Quantiles {
    /// How many values there were.
    pub count: u64,
    /// Half are not above this.
    pub p50: f64,
    /// Nine in ten.
    pub p90: f64,
    /// 99 in a hundred.
    pub p99: f64,
    /// All.
    pub max: f64,
}

impl Quantiles {
    /// Of a histogram, in its unit.
    #[must_use]
    pub fn of(histogram: &Histogram) -> Self {
        let at = |share| histogram.quantile(share) as f64;
        let max = histogram.max() as f64;
        Self { count: histogram.count(), p50: at(0.5), p90: at(0.9), p99: at(0.99), max }
    }

    /// Of values.
    #[must_use]
    pub fn of_values(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let rank = (share * values.len() as f64).ceil() as usize;
            values.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
        };
        Self { count: values.len() as u64, p50: at(0.5), p90: at(0.9), p99: at(0.99), max: at(1.0) }
    }
}

/// One second of a measurement.
#[derive(Clone, Debug, Serialize)]
pub struct Second {
    /// Seconds since the counting began.
    pub t_s: f64,
    /// Packets that publishers sent, each second.
    pub sent_per_s: f64,
    /// Packets that viewers received, each second.
    pub received_per_s: f64,
    /// Bits of datagrams to viewers each second, in 10^9.
    pub gbit_s: f64,
    /// One-way delay of the crowd in microseconds.
    pub delay_us: Quantiles,
    /// The bystander's.
    pub bystander_us: Quantiles,
    /// CPU of the relay's shards, in cores.
    pub shard_cores: f64,
    /// CPU of the engine's thread, in cores.
    pub engine_cores: f64,
    /// CPU of the relay's shards for each delivered packet.
    pub ns_per_packet: f64,
}

impl Second {
    /// What happened between two readings; `began` is the one at the beginning.
    #[must_use]
    pub fn between(before: &Reading, after: &Reading, began: &Reading) -> Self {
        let seconds = (after.taken - before.taken).as_secs_f64().max(1e-9);
        let (old, new) = (&before.snapshot.totals, &after.snapshot.totals);
        let received = new.received.saturating_sub(old.received);
        let shards = after.relay.since(&before.relay, SHARD_THREADS).named_ns;
        let engine = after.snapshot.cpu_ns.saturating_sub(before.snapshot.cpu_ns);
        Self {
            t_s: (after.taken - began.taken).as_secs_f64(),
            sent_per_s: new.sent.saturating_sub(old.sent) as f64 / seconds,
            received_per_s: received as f64 / seconds,
            gbit_s: new.received_bytes.saturating_sub(old.received_bytes) as f64 * 8.0 / 1e9 / seconds,
            delay_us: Quantiles::of(&after.snapshot.recent_us[0]),
            bystander_us: Quantiles::of(&after.snapshot.recent_us[1]),
            shard_cores: shards as f64 / 1e9 / seconds,
            engine_cores: engine as f64 / 1e9 / seconds,
            ns_per_packet: ratio(shards as f64, received as f64),
        }
    }
}

/// What a group of viewers saw.
#[derive(Clone, Debug, Serialize)]
pub struct GroupFigures {
    /// By sequence numbers.
    pub packets: Counts,
    /// Most packets lost by one track.
    pub lost_by_one_max: u64,
    /// Tracks.
    pub tracks: usize,
    /// Tracks that never showed a packet.
    pub silent: usize,
    /// Packets looked into.
    pub sampled: u64,
    /// Those that did not verify.
    pub undecryptable: u64,
    /// Those with changed content.
    pub corrupt: u64,
    /// Those whose number does not fit the publisher's.
    pub misnumbered: u64,
    /// One-way delay in microseconds.
    pub delay_us: Quantiles,
}

impl From<&GroupOutcome> for GroupFigures {
    fn from(outcome: &GroupOutcome) -> Self {
        let samples = &outcome.samples;
        Self {
            packets: outcome.counts,
            lost_by_one_max: outcome.lost_by_one_max,
            tracks: outcome.tracks,
            silent: outcome.silent,
            sampled: samples.opened,
            undecryptable: samples.undecryptable,
            corrupt: samples.corrupt,
            misnumbered: samples.misnumbered,
            delay_us: Quantiles::of(&samples.delay_us),
        }
    }
}

/// CPU time of a measurement.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct CpuFigures {
    /// Shard threads, in cores.
    pub shard_cores: f64,
    /// What shard threads waited for their cores while others had them, in cores.
    pub shard_waited_cores: f64,
    /// The whole relay, in cores.
    pub relay_cores: f64,
    /// The engine's thread, in cores.
    pub engine_cores: f64,
    /// The whole load tool, in cores.
    pub loadtest_cores: f64,
    /// Shard threads, for each packet that reached a viewer.
    pub ns_per_packet: f64,
    /// The whole relay, likewise.
    pub relay_ns_per_packet: f64,
    /// The engine's thread, likewise.
    pub engine_ns_per_packet: f64,
    /// Everybody else on the machine, in cores: above a few hundredths, judge by ratios of pairs alone.
    pub others_cores: f64,
    /// What the machine's host took, in cores.
    pub stolen_cores: f64,
}

/// How peers came up, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct JoinFigures {
    /// Peers.
    pub peers: usize,
    /// Until the relay knew them.
    pub signaling_ms: Quantiles,
    /// ICE.
    pub ice_ms: Quantiles,
    /// DTLS.
    pub dtls_ms: Quantiles,
    /// From the beginning to the first packet.
    pub first_packet_ms: Quantiles,
    /// From the first peer's beginning to the last one's keys, in seconds.
    pub span_s: f64,
}

impl JoinFigures {
    /// Of these peers.
    #[must_use]
    pub fn of(records: &[JoinRecord]) -> Self {
        let of = |value: fn(&JoinRecord) -> f64| Quantiles::of_values(records.iter().map(value));
        let ended = |record: &JoinRecord| {
            record.started_ns as f64 / 1e9 + (record.signaling + record.ice + record.dtls) / 1e3
        };
        let first = records.iter().map(|record| record.started_ns as f64 / 1e9).fold(f64::MAX, f64::min);
        let last = records.iter().map(ended).fold(first, f64::max);
        Self {
            peers: records.len(),
            signaling_ms: of(|record| record.signaling),
            ice_ms: of(|record| record.ice),
            dtls_ms: of(|record| record.dtls),
            first_packet_ms: Quantiles::of_values(records.iter().filter_map(|record| record.first_packet)),
            span_s: if records.is_empty() { 0.0 } else { last - first },
        }
    }
}

/// What happened while peers came up in the measured time.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct StormFigures {
    /// Peers that came up.
    pub peers: usize,
    /// From the first one's beginning to the last one's keys.
    pub seconds: f64,
    /// One-way delay of the bystander meanwhile, in microseconds.
    pub bystander_us: Quantiles,
}

/// What one measured stretch showed.
#[derive(Clone, Debug, Serialize)]
pub struct Measurement {
    /// Seconds that CPU and rates were measured over.
    pub seconds: f64,
    /// Packets that publishers sent.
    pub sent: u64,
    /// Packets that reached viewers in that time.
    pub received: u64,
    /// Likewise, each second.
    pub received_per_s: f64,
    /// Bits of datagrams to viewers each second, in 10^9.
    pub gbit_s: f64,
    /// Datagrams for each train the kernel handed us: what our receiver was spared.
    pub datagrams_per_train: f64,
    /// Datagrams for each send of the relay.
    pub datagrams_per_send: f64,
    /// CPU time.
    pub cpu: CpuFigures,
    /// The load.
    pub crowd: GroupFigures,
    /// Those beside it.
    pub bystander: Option<GroupFigures>,
    /// The storm, if there was one.
    pub storm: Option<StormFigures>,
    /// How late publishers' frames left, in microseconds: above the delays, the load tool is what is measured.
    pub lateness_us: Quantiles,
    /// Datagrams of ours that the kernel refused.
    pub refused: u64,
    /// Packets on other SSRCs: retransmissions.
    pub repairs: u64,
    /// Memory of the relay.
    pub relay_bytes: u64,
    /// By how much the relay's counters grew.
    pub counters: Counters,
    /// Second by second.
    pub timeline: Vec<Second>,
}

impl Measurement {
    pub(super) fn new(
        rig: &Rig,
        began_ns: u64,
        before: &Reading,
        after: &Reading,
        outcome: Outcome,
        timeline: Vec<Second>,
        storm: Option<StormFigures>,
    ) -> Self {
        let totals = &after.snapshot.totals;
        let seconds = after.snapshot.at_ns.saturating_sub(before.snapshot.at_ns.max(began_ns)) as f64 / 1e9;
        let Used { all_ns: relay_ns, named_ns: shard_ns, named_waited_ns: waited_ns } =
            after.relay.since(&before.relay, SHARD_THREADS);
        let Used { all_ns: own_ns, named_ns: engine_ns, .. } = after.own.since(&before.own, ENGINE_THREAD);
        let packets = totals.received as f64;
        let busy_s = after.machine.busy_s - before.machine.busy_s;
        let cores = |ns: u64| ratio(ns as f64 / 1e9, seconds);
        let counters = after.counters.since(&before.counters);
        let [crowd, bystander] = &outcome.groups;
        Self {
            seconds,
            sent: outcome.last.totals.sent,
            received: totals.received,
            received_per_s: ratio(packets, seconds),
            gbit_s: ratio(totals.received_bytes as f64 * 8.0 / 1e9, seconds),
            datagrams_per_train: ratio(after.snapshot.datagrams as f64, after.snapshot.trains as f64),
            datagrams_per_send: ratio(
                counters.get("io_datagrams_out") as f64,
                counters.get("io_sends") as f64,
            ),
            cpu: CpuFigures {
                shard_cores: cores(shard_ns),
                shard_waited_cores: cores(waited_ns),
                relay_cores: cores(relay_ns),
                engine_cores: cores(engine_ns),
                loadtest_cores: cores(own_ns),
                ns_per_packet: ratio(shard_ns as f64, packets),
                relay_ns_per_packet: ratio(relay_ns as f64, packets),
                engine_ns_per_packet: ratio(engine_ns as f64, packets),
                others_cores: (ratio(busy_s, seconds) - cores(relay_ns) - cores(own_ns)).max(0.0),
                stolen_cores: ratio(after.machine.stolen_s - before.machine.stolen_s, seconds),
            },
            crowd: crowd.into(),
            bystander: (bystander.tracks > 0).then(|| bystander.into()),
            storm,
            lateness_us: Quantiles::of(&outcome.lateness_us),
            refused: outcome.refused,
            repairs: outcome.last.totals.repairs,
            relay_bytes: resident_bytes(rig.pid),
            counters,
            timeline,
        }
    }

    /// What no relay may do, and what a load tool that cannot keep up does, in a sentence each.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let groups = [("", Some(&self.crowd)), ("bystander: ", self.bystander.as_ref())];
        for (who, group) in groups.iter().filter_map(|(who, group)| Some((*who, (*group)?))) {
            let counts = group.packets;
            for (count, what) in [
                (counts.lost, "packets lost"),
                (counts.doubled, "packets doubled"),
                (counts.reordered, "packets out of order"),
                (counts.stray, "packets long after their time"),
                (group.undecryptable, "sampled packets did not verify"),
                (group.corrupt, "sampled packets with changed content"),
                (group.misnumbered, "sampled packets with a number that does not fit"),
                (group.silent as u64, "tracks without a packet"),
            ] {
                if count > 0 {
                    problems.push(format!("{who}{count} {what}"));
                }
            }
        }
        if self.refused > 0 {
            problems.push(format!("{} of our own datagrams refused by the kernel", self.refused));
        }
        problems
    }
}

/// `a / b`, and 0 for nothing.
pub(super) fn ratio(a: f64, b: f64) -> f64 {
    if b > 0.0 { a / b } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_few_values() {
        let quantiles = Quantiles::of_values([3.0, 1.0, 2.0, 4.0]);
        assert_eq!((quantiles.p50, quantiles.p90, quantiles.max), (2.0, 4.0, 4.0));
        assert_eq!(Quantiles::of_values([]), Quantiles::default());
    }

    #[test]
    fn the_span_of_joins_is_from_first_to_last() {
        let record = |peer, started_ns| JoinRecord {
            peer,
            signaling: 100.0,
            ice: 200.0,
            dtls: 700.0,
            started_ns,
            first_packet: Some(5.0),
        };
        let figures = JoinFigures::of(&[record(0, 5_000_000_000), record(1, 6_000_000_000)]);
        assert!((figures.span_s - 2.0).abs() < 1e-9, "{figures:?}");
        assert_eq!(figures.first_packet_ms.count, 2);
    }
}
