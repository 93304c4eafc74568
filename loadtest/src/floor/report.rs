//! What came of it, for people and for machines.

use std::fmt::Write;

use serde_json::{Value, json};

use super::ports::Method;
use super::shape::{Audience, Shape, Traffic};
use super::stretch::Measured;

/// Stretches by method.
#[derive(Clone, Debug)]
pub struct Report {
    /// What was measured.
    pub shape: Shape,
    /// In the order they took turns; each has one stretch or more.
    pub methods: Vec<(Method, Vec<Measured>)>,
}

/// The middle one by CPU time, the upper of two.
fn median(rounds: &[Measured]) -> Option<Measured> {
    let mut sorted = rounds.to_vec();
    sorted.sort_by(|a, b| a.cpu_ns_per_packet.total_cmp(&b.cpu_ns_per_packet));
    sorted.get(sorted.len() / 2).copied()
}

impl Report {
    /// The cheapest method's CPU time for a packet, by its median: the floor.
    #[must_use]
    pub fn floor_ns(&self) -> f64 {
        let medians = self.methods.iter().filter_map(|(_, rounds)| median(rounds));
        medians.map(|measured| measured.cpu_ns_per_packet).fold(f64::INFINITY, f64::min)
    }

    /// Packets that did not reach a viewer, in all stretches.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.methods.iter().flat_map(|(_, rounds)| rounds).map(|measured| measured.lost).sum()
    }

    /// For people.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = format!("{}\n\n", self.title());
        let _ = writeln!(
            text,
            "{:<14}{:>14}{:>16}{:>12}{:>10}{:>16}",
            "method", "ns/delivered", "(least..most)", "delivered", "lost", "packets/send"
        );
        for (method, rounds) in &self.methods {
            let Some(middle) = median(rounds) else { continue };
            let of = |pick: fn(f64, f64) -> f64, start| {
                rounds.iter().map(|measured| measured.cpu_ns_per_packet).fold(start, pick)
            };
            let spread = format!("({:.0}..{:.0})", of(f64::min, f64::INFINITY), of(f64::max, 0.0));
            let delivered: u64 = rounds.iter().map(|measured| measured.delivered).sum();
            let lost: u64 = rounds.iter().map(|measured| measured.lost).sum();
            let _ = writeln!(
                text,
                "{:<14}{:>14.0}{spread:>16}{delivered:>12}{lost:>10}{:>16.2}",
                method.name(),
                middle.cpu_ns_per_packet,
                middle.packets_per_send
            );
        }
        text
    }

    fn title(&self) -> String {
        let audience = match self.shape.audience {
            Audience::All { publishers, viewers } => format!("{publishers} -> {viewers}"),
            Audience::Rooms { rooms, size } => format!("{rooms} rooms of {size}"),
        };
        let traffic = match &self.shape.traffic {
            Traffic::Even { rate, payload_len, burst } => {
                format!("{rate} packets/s of {payload_len} B each, {burst} at once")
            }
            Traffic::Frames(frames) => format!(
                "{} recorded frames at {}/s, {:.0} packets/s and {:.2} Mbit/s each",
                frames.frames.len(),
                frames.per_second,
                frames.packet_rate(),
                frames.bit_rate() / 1e6
            ),
        };
        let cipher = self.shape.cipher.name();
        format!("floor: {audience}, {traffic}, {cipher}, {} B of extensions", self.shape.extension_len)
    }

    /// For machines.
    #[must_use]
    pub fn json(&self) -> Value {
        let methods = self.methods.iter().map(
            |(method, rounds)| json!({ "method": method.name(), "median": median(rounds), "rounds": rounds }),
        );
        json!({
            "shape": self.title(),
            "floor_ns": self.floor_ns(),
            "lost": self.lost(),
            "methods": methods.collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::shape::tests::even;
    use super::*;

    fn measured(cpu_ns_per_packet: f64, lost: u64) -> Measured {
        Measured { cpu_ns_per_packet, delivered: 10, lost, packets_per_send: 1.0, cpu_ns: 1, seconds: 1.0 }
    }

    #[test]
    fn medians_decide_and_losses_add_up() {
        let shape = even(Audience::All { publishers: 1, viewers: 2 }, 10.0, 100, 1);
        let sendto = vec![measured(900.0, 1), measured(100.0, 0), measured(800.0, 2)];
        let uring = vec![measured(700.0, 0), measured(5000.0, 0), measured(600.0, 0)];
        let report = Report { shape, methods: vec![(Method::Sendto, sendto), (Method::Uring, uring)] };
        assert_eq!((report.floor_ns(), report.lost()), (700.0, 3));
        let table = report.table();
        assert!(
            table.contains("1 -> 2") && table.contains("(600..5000)") && table.contains("800"),
            "{table}"
        );
        let json = report.json();
        assert_eq!(json["methods"][0]["median"]["cpu_ns_per_packet"], 800.0);
        assert_eq!(json["methods"][1]["rounds"].as_array().unwrap().len(), 3);
    }
}
