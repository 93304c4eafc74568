//! A report as one page that opens offline: figures, plots, light and dark.

use std::fmt::Write;
use std::path::Path;

use super::compare::CompareReport;
use super::curve::{Point, Raise, SaturateReport};
use super::joiner::JoinRecord;
use super::measurement::{Quantiles, Second};
use super::plot::{Axis, Scale, Series, escape, lines, number};
use super::report::LoadReport;
use crate::failure::Failure;

const STYLE: &str = include_str!("report.css");

const TIME: Axis<'static> = Axis { label: "seconds", scale: Scale::Linear };
const MICROSECONDS: Axis<'static> = Axis { label: "us", scale: Scale::Log };
const NS_PER_PACKET: Axis<'static> = Axis { label: "ns a packet", scale: Scale::Linear };
const PERCENT: Axis<'static> = Axis { label: "% of a core", scale: Scale::Linear };

/// Writes a page to a file.
///
/// # Errors
/// [`Failure::Usage`] when the file cannot be written.
pub fn save(path: &Path, page: &str) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::Usage(format!("--html {}: {error}", path.display()));
    std::fs::write(path, page).map_err(failed)
}

impl LoadReport {
    /// The report as a page.
    #[must_use]
    pub fn html(&self) -> String {
        page(&self.scenario, &self.body())
    }

    fn body(&self) -> String {
        let measured = &self.measurement;
        let cpu = &measured.cpu;
        let mut body = tiles(&[
            ("CPU a delivered packet", format!("{} ns", number(cpu.ns_per_packet))),
            ("delivered a second", number(measured.received_per_s)),
            ("Gbit/s", format!("{:.3}", measured.gbit_s)),
            ("relay's shards", format!("{:.0} % of a core", cpu.shard_cores * 100.0)),
            ("delay p50 / p99", two(&measured.crowd.delay_us, " us")),
            ("lost", measured.crowd.packets.lost.to_string()),
        ]);
        for problem in self.problems() {
            let _ = writeln!(body, "<p class=\"problem\">{}</p>", escape(&problem));
        }
        body += &timeline(&measured.timeline);
        body += &joins(&self.join_records);
        let _ = writeln!(body, "<h2>All figures</h2><pre>{}</pre>", escape(&self.table()));
        body
    }
}

impl SaturateReport {
    /// The report as a page.
    #[must_use]
    pub fn html(&self) -> String {
        let mut body = format!("<p class=\"verdict\">{}</p>\n", escape(&self.verdict()));
        let label = match self.raise {
            Raise::Viewers => "viewers",
            Raise::Rate => "times the rate",
        };
        let level = Axis { label, scale: Scale::Linear };
        let of = |name: &str, value: fn(&Point) -> f64| {
            Series::new(name, self.points.iter().map(|point| (point.level, value(point))))
        };
        let delays = [of("p50", |point| point.p50_us), of("p99", |point| point.p99_us)];
        body += &lines("One-way delay", &level, &MICROSECONDS, &delays);
        let cores = [
            of("relay's shards", |point| point.shard_cores * 100.0),
            of("load tool's engine", |point| point.engine_cores * 100.0),
        ];
        body += &lines("CPU", &level, &PERCENT, &cores);
        let cost = [of("ns", |point| point.ns_per_packet)];
        body += &lines("Relay CPU for a delivered packet", &level, &NS_PER_PACKET, &cost);
        let packets = Axis { label: "packets a second", scale: Scale::Linear };
        let rates =
            [of("offered", |point| point.offered_per_s), of("delivered", |point| point.received_per_s)];
        body += &lines("Packets to viewers", &level, &packets, &rates);
        let loss = Axis { label: "% lost", scale: Scale::Linear };
        body += &lines("Loss", &level, &loss, &[of("lost", |point| point.loss * 100.0)]);
        let _ = writeln!(body, "<h2>All figures</h2><pre>{}</pre>", escape(&self.table()));
        if let Some((share, report)) = &self.at {
            let _ = writeln!(body, "<h2>At {:.0} % of the knee</h2>", share * 100.0);
            body += &report.html_part();
        }
        page(&self.scenario, &body)
    }
}

impl LoadReport {
    fn html_part(&self) -> String {
        timeline(&self.measurement.timeline) + &joins(&self.join_records)
    }
}

impl CompareReport {
    /// The report as a page.
    #[must_use]
    pub fn html(&self) -> String {
        let last = self.names.len().saturating_sub(1);
        let ratios: Vec<(String, String)> = (0..last)
            .map(|at| {
                let name = format!("{} to {}", self.names[at], self.names[last]);
                (name, format!("{:.3}", self.median_ratio(at)))
            })
            .collect();
        let tiles: Vec<(&str, String)> =
            ratios.iter().map(|(name, ratio)| (name.as_str(), ratio.clone())).collect();
        let mut body = self::tiles(&tiles);
        let round = Axis { label: "round", scale: Scale::Linear };
        let cost: Vec<Series> = self
            .names
            .iter()
            .enumerate()
            .map(|(at, name)| {
                let points = self.rounds.iter().enumerate();
                let cost = |(number, round): (usize, &Vec<super::compare::Stretch>)| {
                    (number as f64 + 1.0, round[at].ns_per_packet)
                };
                Series::new(name.clone(), points.map(cost))
            })
            .collect();
        body += &lines("CPU for a delivered packet", &round, &NS_PER_PACKET, &cost);
        let _ = writeln!(body, "<h2>All figures</h2><pre>{}</pre>", escape(&self.table()));
        page(&self.scenario, &body)
    }
}

fn page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{title}</title>\n<style>{STYLE}</style></head>\n<body><main><h1>{title}</h1>\n{body}</main></body></html>\n",
        title = escape(title)
    )
}

fn tiles(values: &[(&str, String)]) -> String {
    let mut text = "<dl class=\"tiles\">".to_owned();
    for (name, value) in values {
        let _ = write!(text, "<div><dt>{}</dt><dd>{}</dd></div>", escape(name), escape(value));
    }
    text + "</dl>\n"
}

fn two(quantiles: &Quantiles, unit: &str) -> String {
    format!("{} / {}{unit}", number(quantiles.p50), number(quantiles.p99))
}

fn timeline(seconds: &[Second]) -> String {
    let of = |name: &str, value: fn(&Second) -> f64| {
        Series::new(name, seconds.iter().map(|second| (second.t_s, value(second))))
    };
    let mut delays = vec![
        of("p50", |second| second.delay_us.p50),
        of("p99", |second| second.delay_us.p99),
        of("max", |second| second.delay_us.max),
    ];
    if seconds.iter().any(|second| second.bystander_us.count > 0) {
        delays.push(of("bystander p99", |second| second.bystander_us.p99));
    }
    let cores = [
        of("relay's shards", |second| second.shard_cores * 100.0),
        of("load tool's engine", |second| second.engine_cores * 100.0),
    ];
    let packets = Axis { label: "packets a second", scale: Scale::Linear };
    lines("One-way delay", &TIME, &MICROSECONDS, &delays)
        + &lines(
            "Relay CPU for a delivered packet",
            &TIME,
            &NS_PER_PACKET,
            &[of("ns", |second| second.ns_per_packet)],
        )
        + &lines("CPU", &TIME, &PERCENT, &cores)
        + &lines("Packets delivered", &TIME, &packets, &[of("packets", |second| second.received_per_s)])
}

/// What share of the peers had got so far within a time.
fn joins(records: &[JoinRecord]) -> String {
    let of = |name: &str, value: &dyn Fn(&JoinRecord) -> Option<f64>| {
        let mut times: Vec<f64> = records.iter().filter_map(value).collect();
        times.sort_by(f64::total_cmp);
        let count = times.len().max(1) as f64;
        let share = |(at, time): (usize, f64)| (time, (at + 1) as f64 / count * 100.0);
        Series::new(name, times.into_iter().enumerate().map(share))
    };
    let steps = [
        of("signaling", &|record| Some(record.signaling)),
        of("ICE", &|record| Some(record.ice)),
        of("DTLS", &|record| Some(record.dtls)),
        of("first packet, from the beginning", &|record| record.first_packet),
    ];
    let time = Axis { label: "ms", scale: Scale::Log };
    let share = Axis { label: "% of peers", scale: Scale::Linear };
    lines("Time of each step of joining, and how many took no longer", &time, &share, &steps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::compare::Stretch;
    use crate::load::curve::tests::point;
    use crate::load::plot::tests::assert_well_formed;

    #[test]
    fn a_curve_is_one_page_without_anything_from_elsewhere() {
        let report = SaturateReport {
            scenario: "1 -> n & more <x>".into(),
            backend: "uring".into(),
            raise: Raise::Viewers,
            points: vec![point(20.0, true), point(40.0, true), point(80.0, false)],
            shards: 1,
            bounds: "loss <= 0".into(),
            ended: None,
            at: None,
        };
        let page = report.html();
        // The style has no markup; everything else is held to it.
        assert_well_formed(&page.replace(STYLE, ""));
        assert!(!STYLE.contains('<') && STYLE.contains("prefers-color-scheme: dark"));
        assert!(!page.contains("http") && !page.contains("<script"), "it opens offline");
        assert_eq!(page.matches("<svg").count(), 5);
        assert!(page.contains("40 viewers hold") && page.contains("&lt;x&gt;"));
    }

    #[test]
    fn joins_are_shown_as_shares() {
        let record = |peer| JoinRecord {
            peer,
            signaling: 1.0 + peer as f64,
            ice: 2.0,
            dtls: 3.0,
            started_ns: 1,
            first_packet: (peer > 0).then_some(50.0),
        };
        let plot = joins(&[record(0), record(1), record(2), record(3)]);
        assert_well_formed(&plot);
        assert!(plot.contains("signaling: 25 at 1") && plot.contains("signaling: 100 at 4"), "{plot}");
    }

    #[test]
    fn pairs_have_a_page_too() {
        let stretch = |ns_per_packet| Stretch { ns_per_packet, ..Stretch::default() };
        let report = CompareReport {
            scenario: "s".into(),
            names: vec!["a".into(), "b".into()],
            rounds: vec![vec![stretch(200.0), stretch(100.0)]],
        };
        let page = report.html();
        assert_well_formed(&page.replace(STYLE, ""));
        assert!(page.contains("<dd>2.000</dd>"));
    }
}
