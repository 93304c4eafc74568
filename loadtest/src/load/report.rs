//! A run's figures for people and for programs.

use std::fmt::Write;

use serde_json::{Value, json};

use super::joiner::JoinRecord;
use super::measurement::{CpuFigures, GroupFigures, JoinFigures, Measurement, Quantiles, Second};

/// What a run showed, and of what.
#[derive(Clone, Debug)]
pub struct LoadReport {
    /// The scenario in a few words.
    pub scenario: String,
    /// The relay's backend.
    pub backend: String,
    /// How peers came up.
    pub joins: JoinFigures,
    /// Likewise, one by one.
    pub join_records: Vec<JoinRecord>,
    /// Whether the relay's process is one of this machine, so that its CPU time and memory are known.
    pub knows_relay: bool,
    /// Memory of the relay before the first peer.
    pub empty_bytes: u64,
    /// Peers.
    pub peers: usize,
    /// Microseconds between two looks at the sockets.
    pub look_us: u64,
    /// The figures.
    pub measurement: Measurement,
    /// What the reader must know to judge them.
    pub notes: Vec<String>,
}

impl LoadReport {
    /// What no relay may do, in a sentence each.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        self.measurement.problems()
    }

    /// Everything, for programs.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "ok": self.problems().is_empty(),
            "problems": self.problems(),
            "notes": self.notes,
            "scenario": self.scenario,
            "backend": self.backend,
            "peers": self.peers,
            "look_us": self.look_us,
            "empty_bytes": self.empty_bytes,
            "joins": self.joins,
            "join_records": self.join_records,
            "measurement": self.measurement,
        })
    }

    /// The figures that matter, for people.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = String::new();
        let measured = &self.measurement;
        let cpu = &measured.cpu;
        line(&mut text, "scenario", &self.scenario);
        line(&mut text, "relay", &format!("{}, {} peers", self.backend, self.peers));
        line(
            &mut text,
            "delivered",
            &format!(
                "{} packets in {:.2} s: {:.0} pkt/s, {:.3} Gbit/s",
                measured.received, measured.seconds, measured.received_per_s, measured.gbit_s
            ),
        );
        group(&mut text, "", &measured.crowd);
        if let Some(bystander) = &measured.bystander {
            group(&mut text, "bystander ", bystander);
        }
        if let Some(storm) = &measured.storm {
            let what = format!("{} peers up within {:.2} s", storm.peers, storm.seconds);
            line(&mut text, "storm", &what);
            if storm.bystander_us.count > 0 {
                line(&mut text, "  bystander us", &short(&storm.bystander_us));
            }
        }
        line(&mut text, "relay CPU", &self.relay_cpu(cpu));
        line(
            &mut text,
            "load tool CPU",
            &format!(
                "{:.0} ns a packet, {:.1} % of a core; frames left late by {} us",
                cpu.engine_ns_per_packet,
                cpu.loadtest_cores * 100.0,
                short(&measured.lateness_us)
            ),
        );
        line(
            &mut text,
            "machine",
            &format!(
                "others {:.1} % of a core, the relay's shards waited {:.1} % for them; stolen by the host {:.1} %",
                cpu.others_cores * 100.0,
                cpu.shard_waited_cores * 100.0,
                cpu.stolen_cores * 100.0
            ),
        );
        line(
            &mut text,
            "runs",
            &format!(
                "{:.2} datagrams a send of the relay, {:.2} a receive of ours",
                measured.datagrams_per_send, measured.datagrams_per_train
            ),
        );
        line(&mut text, "relay memory", &self.memory());
        let joins = &self.joins;
        line(&mut text, "joins", &format!("{} peers in {:.2} s", joins.peers, joins.span_s));
        for (name, quantiles) in [
            ("  signaling ms", &joins.signaling_ms),
            ("  ICE ms", &joins.ice_ms),
            ("  DTLS ms", &joins.dtls_ms),
            ("  first packet ms", &joins.first_packet_ms),
        ] {
            line(&mut text, name, &of_milliseconds(quantiles));
        }
        for note in &self.notes {
            line(&mut text, "note", note);
        }
        for problem in self.problems() {
            line(&mut text, "PROBLEM", &problem);
        }
        text
    }

    fn relay_cpu(&self, cpu: &CpuFigures) -> String {
        if !self.knows_relay {
            return "not known, it is not on this machine".to_owned();
        }
        format!(
            "{:.0} ns a delivered packet (shards; {:.0} ns with all threads), {:.1} % of a core",
            cpu.ns_per_packet,
            cpu.relay_ns_per_packet,
            cpu.shard_cores * 100.0
        )
    }

    fn memory(&self) -> String {
        if !self.knows_relay {
            return "not known".to_owned();
        }
        let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let grown = self.measurement.relay_bytes.saturating_sub(self.empty_bytes);
        format!(
            "{:.1} MiB, {:.1} MiB empty: {:.1} KiB a peer",
            mebibytes(self.measurement.relay_bytes),
            mebibytes(self.empty_bytes),
            grown as f64 / 1024.0 / self.peers.max(1) as f64
        )
    }
}

/// One second, on one line.
#[must_use]
pub fn progress(second: &Second) -> String {
    format!(
        "{:6.1} s  {:9.0} pkt/s  {:6.3} Gbit/s  delay p50 {:.0} p99 {:.0} us  relay {:5.1} %  {:5.0} ns/pkt  tool {:5.1} %",
        second.t_s,
        second.received_per_s,
        second.gbit_s,
        second.delay_us.p50,
        second.delay_us.p99,
        second.shard_cores * 100.0,
        second.ns_per_packet,
        second.engine_cores * 100.0
    )
}

fn group(text: &mut String, who: &str, group: &GroupFigures) {
    let counts = &group.packets;
    line(
        text,
        &format!("{who}packets"),
        &format!(
            "{} once, {} lost (one track at most {}), {} doubled, {} out of order; {} looked into",
            counts.unique,
            counts.lost,
            group.lost_by_one_max,
            counts.doubled,
            counts.reordered,
            group.sampled
        ),
    );
    line(text, &format!("{who}delay us"), &short(&group.delay_us));
}

fn short(quantiles: &Quantiles) -> String {
    let Quantiles { p50, p90, p99, max, .. } = quantiles;
    format!("p50 {p50:.0}  p90 {p90:.0}  p99 {p99:.0}  max {max:.0}")
}

fn of_milliseconds(quantiles: &Quantiles) -> String {
    let Quantiles { p50, p99, max, .. } = quantiles;
    format!("p50 {p50:.1}  p99 {p99:.1}  max {max:.1}")
}

fn line(text: &mut String, name: &str, value: &str) {
    // Writing to a String does not fail.
    let _ = writeln!(text, "{name:<18} {value}");
}
