//! Who took how much for a packet, for people and for machines.

use std::fmt::Write;

use serde_json::{Value, json};

use super::crowd::Stretch;
use crate::floor::Measured;

/// Stretches of one contestant, in the order of the rounds.
#[derive(Clone, Debug)]
pub struct Contestant {
    /// Who it is.
    pub name: String,
    /// One for each round.
    pub stretches: Vec<Stretch>,
}

/// What came of a comparison.
#[derive(Clone, Debug)]
pub struct Report {
    /// What was played.
    pub scenario: String,
    /// The floor first, then our relay, then the others.
    pub contestants: Vec<Contestant>,
}

impl From<Measured> for Stretch {
    fn from(measured: Measured) -> Self {
        Self {
            cpu_ns_per_packet: measured.cpu_ns_per_packet,
            cores: measured.cpu_ns as f64 / 1e9 / measured.seconds,
            delivered: measured.delivered,
            lost: measured.lost,
            delay_p50_us: 0,
            delay_p99_us: 0,
        }
    }
}

impl Contestant {
    fn median(&self, figure: fn(&Stretch) -> f64) -> f64 {
        median(self.stretches.iter().map(figure))
    }

    fn sum(&self, figure: fn(&Stretch) -> u64) -> u64 {
        self.stretches.iter().map(figure).sum()
    }

    /// The median over the rounds of how many times as much CPU as `other` it took.
    fn times(&self, other: &Self) -> f64 {
        let rounds = self.stretches.iter().zip(&other.stretches);
        median(rounds.map(|(own, other)| own.cpu_ns_per_packet / other.cpu_ns_per_packet))
    }
}

/// The middle one, the upper of two; 0 when there is none.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

impl Report {
    /// For people.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = format!("{}, behind a veth pair; medians\n\n", self.scenario);
        let _ = writeln!(
            text,
            "{:<26}{:>12}{:>8}{:>11}{:>11}{:>11}{:>9}{:>10}{:>10}",
            "", "ns/packet", "cores", "x floor", "x millrace", "delivered", "lost", "p50 us", "p99 us"
        );
        for contestant in &self.contestants {
            let times = |other: Option<&Contestant>| {
                other.map_or(String::new(), |other| format!("{:.2}", contestant.times(other)))
            };
            let delay = |figure: fn(&Stretch) -> f64| match contestant.median(figure) {
                0.0 => "-".to_owned(),
                delay => format!("{delay:.0}"),
            };
            let _ = writeln!(
                text,
                "{:<26}{:>12.0}{:>8.2}{:>11}{:>11}{:>11}{:>9}{:>10}{:>10}",
                contestant.name,
                contestant.median(|stretch| stretch.cpu_ns_per_packet),
                contestant.median(|stretch| stretch.cores),
                times(self.contestants.first()),
                times(self.contestants.get(1)),
                contestant.sum(|stretch| stretch.delivered),
                contestant.sum(|stretch| stretch.lost),
                delay(|stretch| stretch.delay_p50_us as f64),
                delay(|stretch| stretch.delay_p99_us as f64),
            );
        }
        text
    }

    /// For machines.
    #[must_use]
    pub fn json(&self) -> Value {
        let contestants = self.contestants.iter().map(|contestant| {
            json!({
                "name": contestant.name,
                "cpu_ns_per_packet": contestant.median(|stretch| stretch.cpu_ns_per_packet),
                "times_floor": self.contestants.first().map(|other| contestant.times(other)),
                "times_millrace": self.contestants.get(1).map(|other| contestant.times(other)),
                "stretches": contestant.stretches,
            })
        });
        json!({ "scenario": self.scenario, "contestants": contestants.collect::<Vec<_>>() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contestant(name: &str, figures: &[f64]) -> Contestant {
        let stretch = |ns: &f64| Stretch {
            cpu_ns_per_packet: *ns,
            cores: 0.5,
            delivered: 10,
            lost: 1,
            delay_p50_us: 500,
            delay_p99_us: 900,
        };
        Contestant { name: name.to_owned(), stretches: figures.iter().map(stretch).collect() }
    }

    #[test]
    fn ratios_are_medians_of_rounds_not_ratios_of_medians() {
        let report = Report {
            scenario: "1 -> 2".to_owned(),
            contestants: vec![
                contestant("floor", &[100.0, 200.0, 400.0]),
                contestant("millrace", &[300.0, 260.0, 440.0]),
                contestant("janus", &[3000.0, 2600.0, 8800.0]),
            ],
        };
        let json = report.json();
        assert_eq!(json["contestants"][1]["cpu_ns_per_packet"], 300.0);
        assert_eq!(json["contestants"][1]["times_floor"], 1.3);
        assert_eq!(json["contestants"][2]["times_millrace"], 10.0);
        let table = report.table();
        let line = table.lines().find(|line| line.starts_with("janus")).unwrap();
        let words: Vec<_> = line.split_whitespace().collect();
        assert_eq!(words, ["janus", "3000", "0.50", "22.00", "10.00", "30", "3", "500", "900"]);
    }
}
