//! What came of it, for people and for machines.

use std::fmt::Write;

use serde_json::{Value, json};

use super::case::Case;
use super::stage::Stretch;

/// Stretches of one contestant, in the order of the rounds.
#[derive(Clone, Debug)]
pub struct Contestant {
    /// Who it is.
    pub name: String,
    /// One for each round.
    pub stretches: Vec<Stretch>,
}

/// One case: both floors first, then our relay, then the others.
#[derive(Clone, Debug)]
pub struct CaseFigures {
    /// What was played.
    pub case: Case,
    /// Who played.
    pub contestants: Vec<Contestant>,
}

/// What came of all cases.
#[derive(Clone, Debug)]
pub struct Report {
    /// Of a stretch.
    pub seconds: f64,
    /// Stretches of each contestant.
    pub rounds: u32,
    /// In the order they were played.
    pub cases: Vec<CaseFigures>,
}

/// Floors at the head of the contestants.
const FLOORS: usize = 2;

impl Contestant {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), stretches: Vec::new() }
    }

    fn median(&self, figure: fn(&Stretch) -> f64) -> f64 {
        median(self.stretches.iter().map(figure))
    }

    fn sum(&self, figure: fn(&Stretch) -> u64) -> u64 {
        self.stretches.iter().map(figure).sum()
    }
}

impl CaseFigures {
    /// The cheaper floor of a round.
    fn floor_ns(&self, round: usize) -> f64 {
        let floors = self.contestants.iter().take(FLOORS).filter_map(|floor| floor.stretches.get(round));
        floors.map(Stretch::ns_per_packet).fold(f64::INFINITY, f64::min)
    }

    /// The median over the rounds of how many times the cheaper floor it took.
    fn times_floor(&self, contestant: &Contestant) -> f64 {
        let rounds = contestant.stretches.iter().enumerate();
        median(rounds.map(|(round, stretch)| stretch.ns_per_packet() / self.floor_ns(round)))
    }

    /// The median over the rounds of the part that it took of what the last contestant did: of a rival's.
    fn part_of_rival(&self, contestant: &Contestant) -> Option<f64> {
        let rival = self.contestants.get(FLOORS + 1)?;
        let rounds = contestant.stretches.iter().zip(&rival.stretches);
        Some(median(rounds.map(|(own, other)| own.ns_per_packet() / other.ns_per_packet())))
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
        let mut text = format!("TURN on loopback, {} rounds of {} s; medians\n", self.rounds, self.seconds);
        for figures in &self.cases {
            let _ = writeln!(
                text,
                "\n{:<46}{:>11}{:>9}{:>10}{:>13}{:>10}{:>7}",
                figures.case.name(),
                "ns/packet",
                "x floor",
                "x coturn",
                "delivered/s",
                "lost",
                "wrong"
            );
            for contestant in &figures.contestants {
                let part = figures.part_of_rival(contestant);
                let _ = writeln!(
                    text,
                    "  {:<44}{:>11.0}{:>9.2}{:>10}{:>13.0}{:>10}{:>7}",
                    contestant.name,
                    contestant.median(Stretch::ns_per_packet),
                    figures.times_floor(contestant),
                    part.map_or("-".to_owned(), |part| format!("{part:.2}")),
                    contestant.median(Stretch::delivered_per_s),
                    contestant.sum(Stretch::lost),
                    contestant.sum(|stretch| stretch.wrong),
                );
            }
        }
        text
    }

    /// For machines.
    #[must_use]
    pub fn json(&self) -> Value {
        let cases = self.cases.iter().map(|figures| {
            let contestants = figures.contestants.iter().map(|contestant| {
                json!({
                    "name": contestant.name,
                    "cpu_ns_per_packet": contestant.median(Stretch::ns_per_packet),
                    "times_floor": figures.times_floor(contestant),
                    "part_of_coturn": figures.part_of_rival(contestant),
                    "delivered_per_s": contestant.median(Stretch::delivered_per_s),
                    "stretches": contestant.stretches,
                })
            });
            let contestants = contestants.collect::<Vec<_>>();
            json!({ "name": figures.case.name(), "case": figures.case, "contestants": contestants })
        });
        json!({ "seconds": self.seconds, "rounds": self.rounds, "cases": cases.collect::<Vec<_>>() })
    }

    /// What a server must not do, in a sentence each; lost packets too when `lossless` is asked for.
    #[must_use]
    pub fn problems(&self, lossless: bool) -> Vec<String> {
        let mut problems = Vec::new();
        for figures in &self.cases {
            for contestant in &figures.contestants {
                let who = format!("{}: {}:", figures.case.name(), contestant.name);
                let (wrong, lost) = (contestant.sum(|stretch| stretch.wrong), contestant.sum(Stretch::lost));
                if wrong > 0 {
                    problems.push(format!("{who} {wrong} wrong datagrams arrived"));
                }
                if contestant.stretches.iter().any(|stretch| stretch.delivered == 0) {
                    problems.push(format!("{who} a stretch in which nothing arrived"));
                } else if lossless && lost > 0 {
                    problems.push(format!("{who} {lost} packets lost"));
                }
            }
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::super::case::{Load, Way};
    use super::*;

    fn contestant(name: &str, figures: &[u64]) -> Contestant {
        let stretch =
            |ns: &u64| Stretch { sent: 11, delivered: 10, wrong: 0, seconds: 1.0, cpu_ns: *ns * 10 };
        Contestant { name: name.to_owned(), stretches: figures.iter().map(stretch).collect() }
    }

    fn report() -> Report {
        let load = Load::Paced { rate: 20_000.0, tick_us: 0 };
        let case = Case { way: Way::ClientToClient, allocations: 1, payload_len: 120, load };
        let contestants = vec![
            contestant("floor, single packets", &[200, 200, 500]),
            contestant("floor, in runs", &[300, 100, 400]),
            contestant("millrace, uring", &[300, 200, 440]),
            contestant("coturn", &[3000, 2600, 880]),
        ];
        Report { seconds: 1.0, rounds: 3, cases: vec![CaseFigures { case, contestants }] }
    }

    #[test]
    fn ratios_are_medians_of_rounds_to_the_cheaper_floor() {
        let table = report().table();
        assert!(table.contains("client-to-client, 2 allocations, 120 B, 20000/s evenly"), "{table}");
        let line = table.lines().find(|line| line.trim_start().starts_with("millrace")).unwrap();
        let words: Vec<_> = line.split_whitespace().collect();
        assert_eq!(words, ["millrace,", "uring", "300", "1.50", "0.10", "10", "3", "0"]);
        let json = report().json();
        assert_eq!(json["cases"][0]["contestants"][2]["times_floor"], 1.5);
    }

    #[test]
    fn losses_are_a_problem_only_where_they_were_asked_for() {
        let mut report = report();
        assert_eq!(report.problems(false), Vec::<String>::new());
        assert_eq!(report.problems(true).len(), 4);
        report.cases[0].contestants[2].stretches[1].wrong = 2;
        report.cases[0].contestants[3].stretches[0].delivered = 0;
        let problems = report.problems(false);
        assert!(problems[0].contains("2 wrong") && problems[1].contains("nothing arrived"), "{problems:?}");
    }
}
