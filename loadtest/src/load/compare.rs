//! `--pairs`: contenders measured in turns, so that the machine's mood is the same for all; what counts is the median of
//! the ratios of each round, never a ratio of figures from different minutes.

use std::fmt::Write;
use std::path::Path;
use std::thread;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use super::measurement::ratio;
use super::options::RunOptions;
use super::relay::all_cores;
use super::rig::{Plan, Rig};
use super::run::{bring_up, play, show};
use super::scenario::{Cast, Scenario, Suite};
use super::way::Target;
use crate::failure::Failure;
use crate::floor::{self, Audience, Cipher, Method, Shape, Traffic};
use crate::kernel::affinity::pin_this_thread;
use crate::kernel::priority::prefer_this_thread;
use crate::sdp::Kind;

/// Warm-up of every stretch but the first.
const WARM_UP_AGAIN: Duration = Duration::from_millis(300);

/// One stretch of one contender.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Stretch {
    /// CPU of what is measured for each delivered packet.
    pub ns_per_packet: f64,
    /// Packets delivered.
    pub delivered: u64,
    /// Packets lost.
    pub lost: u64,
    /// Datagrams of one send.
    pub datagrams_per_send: f64,
    /// Share of the measured core.
    pub cores: f64,
    /// 99th percentile of the one-way delay in microseconds; none for the floor, which stamps nothing.
    pub p99_us: Option<f64>,
}

/// Who takes part.
enum Contender {
    Relay(Box<Rig>),
    Floor(Method, Box<Shape>),
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct CompareReport {
    /// The scenario in a few words.
    pub scenario: String,
    /// Names; the last is what the others are held against.
    pub names: Vec<String>,
    /// By round, in the order of the names.
    pub rounds: Vec<Vec<Stretch>>,
}

/// Runs the rounds that the options ask for.
///
/// # Errors
/// Impossible options, a relay that does not start, peers that do not come up.
pub fn run(options: &RunOptions, rounds: u32) -> Result<CompareReport, Failure> {
    let plans = options.plans()?;
    let scenario = plans.first().map(|plan| plan.scenario.clone()).ok_or_else(nobody)?;
    if plans.len() + usize::from(options.against_floor) < 2 {
        let why = "--pairs wants two: --against-floor, --relayed, two --backends or two --relay";
        return Err(Failure::Usage(why.to_owned()));
    }
    let floor = if options.against_floor { Some(shape(&scenario)?) } else { None };
    play(async {
        let mut names = Vec::new();
        let mut contenders = Vec::new();
        let several = plans.iter().any(|plan| program(plan) != program(&plans[0]));
        for plan in plans {
            let path = program(&plan).map(|path| path.display().to_string());
            let relayed = matches!(plan.target, Target::Start { relayed: true, .. });
            let rig = bring_up(plan).await?;
            let through = if relayed { ", through TURN" } else { "" };
            names.push(match path {
                Some(path) if several => format!("{path} {}{through}", rig.backend),
                _ => format!("relay {}{through}", rig.backend),
            });
            contenders.push(Contender::Relay(Box::new(rig)));
        }
        if let Some(shape) = floor {
            let uring = names.iter().any(|name| name.contains("uring"));
            let method = if uring { Method::UringGso } else { Method::SendmmsgGso };
            let method = options.floor_method.unwrap_or(method);
            names.push(format!("floor {}", method.name()));
            contenders.push(Contender::Floor(method, Box::new(shape)));
        }
        let mut all = Vec::new();
        for round in 0..rounds {
            all.push(play_round(&mut contenders, &scenario, round, options).await?);
            if options.shows_progress() {
                show_round(&names, all.last().map_or(&[], Vec::as_slice));
            }
        }
        Ok(CompareReport { scenario: scenario.summary(), names, rounds: all })
    })
}

fn nobody() -> Failure {
    Failure::Usage("there is nobody to compare".to_owned())
}

fn program(plan: &Plan) -> Option<&Path> {
    match &plan.target {
        Target::Start { program, .. } => Some(program),
        Target::Running(_) | Target::Server { .. } => None,
    }
}

/// Every contender once. They begin in turns, so that nobody is always the first.
async fn play_round(
    contenders: &mut [Contender],
    scenario: &Scenario,
    round: u32,
    options: &RunOptions,
) -> Result<Vec<Stretch>, Failure> {
    let count = contenders.len();
    let mut stretches = vec![Stretch::default(); count];
    for at in 0..count {
        // Forwards and backwards: of two, each is first as often as the other.
        let place = if round.is_multiple_of(2) { at } else { count - 1 - at };
        let warm_up = if round == 0 { scenario.warm_up } else { WARM_UP_AGAIN.min(scenario.warm_up) };
        stretches[place] = match &mut contenders[place] {
            Contender::Relay(rig) => play_relay(rig, warm_up, scenario.duration, options).await?,
            Contender::Floor(method, shape) => play_floor(*method, shape, scenario.duration)?,
        };
    }
    Ok(stretches)
}

async fn play_relay(
    rig: &mut Rig,
    warm_up: Duration,
    duration: Duration,
    options: &RunOptions,
) -> Result<Stretch, Failure> {
    let shows = options.shows_progress() && duration > Duration::from_secs(5);
    let measured = rig.measure(warm_up, duration, |second| show(shows, second)).await?;
    Ok(Stretch {
        ns_per_packet: measured.cpu.ns_per_packet,
        delivered: measured.received,
        lost: measured.crowd.packets.lost,
        datagrams_per_send: measured.datagrams_per_send,
        cores: measured.cpu.shard_cores,
        p99_us: Some(measured.crowd.delay_us.p99),
    })
}

/// On a thread of its own, which has every core and the same standing as the relay's.
fn play_floor(method: Method, shape: &Shape, duration: Duration) -> Result<Stretch, Failure> {
    let measured = thread::scope(|scope| {
        let measuring = scope.spawn(|| {
            pin_this_thread(&all_cores())?;
            let _ = prefer_this_thread();
            floor::measure(shape, method, duration)
        });
        measuring.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    Ok(Stretch {
        ns_per_packet: measured.cpu_ns_per_packet,
        delivered: measured.delivered,
        lost: measured.lost,
        datagrams_per_send: measured.packets_per_send,
        cores: ratio(measured.cpu_ns as f64 / 1e9, measured.seconds),
        p99_us: None,
    })
}

/// The same fan-out for the floor.
fn shape(scenario: &Scenario) -> Result<Shape, Failure> {
    let cannot = |why: &str| Failure::Usage(format!("the floor has no such shape: {why}"));
    let [stream] = &scenario.streams[..] else { return Err(cannot("audio and video together")) };
    let audience = match scenario.cast {
        Cast::Stage { publishers, viewers } if scenario.sessions == 1 => {
            Audience::All { publishers, viewers }
        }
        Cast::Stage { .. } => return Err(cannot("several sessions that are no rooms")),
        Cast::Room(size) => Audience::Rooms { rooms: scenario.sessions, size },
    };
    let cipher = match scenario.suite {
        Suite::Gcm128 => Cipher::Gcm128,
        Suite::Gcm256 => Cipher::Gcm256,
        Suite::Cm => return Err(cannot("it seals with AES-GCM alone")),
    };
    let traffic = if stream.steady {
        let (_, payload_len) = stream.frames.len_range();
        let burst = stream.frames.frames[0].len() as u16;
        Traffic::Even { rate: stream.frames.packet_rate(), payload_len, burst }
    } else {
        Traffic::Frames(stream.frames.clone())
    };
    Ok(Shape { audience, traffic, cipher, extension_len: extension_len(scenario, stream.kind) })
}

/// Bytes of the extension block that viewers get: head, MID of two letters, what is stamped, what is carried.
fn extension_len(scenario: &Scenario, kind: Kind) -> usize {
    let stamped = if scenario.twcc { 3 + 4 } else { 0 };
    let carried = if kind == Kind::Audio { 2 } else { 0 };
    4 + (3 + stamped + carried as usize).next_multiple_of(4)
}

/// The middle value, the mean of two.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        len if len.is_multiple_of(2) => f64::midpoint(values[middle - 1], values[middle]),
        _ => values[middle],
    }
}

impl CompareReport {
    fn column(&self, name: usize, of: impl Fn(&Stretch) -> f64) -> Vec<f64> {
        self.rounds.iter().map(|round| of(&round[name])).collect()
    }

    /// CPU for a packet of each against the last, round by round.
    #[must_use]
    pub fn ratios(&self, name: usize) -> Vec<f64> {
        let of = |round: &Vec<Stretch>| {
            round.last().map_or(0.0, |last| ratio(round[name].ns_per_packet, last.ns_per_packet))
        };
        self.rounds.iter().map(of).collect()
    }

    /// The median of those.
    #[must_use]
    pub fn median_ratio(&self, name: usize) -> f64 {
        median(self.ratios(name))
    }

    /// For people.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = format!("{}\n{} rounds in turns\n\n", self.scenario, self.rounds.len());
        let last = self.names.last().map_or("", String::as_str);
        let _ = writeln!(
            text,
            "{:<24}{:>12}{:>18}{:>14}{:>9}{:>9}{:>22}",
            "",
            "ns/packet",
            "(least..most)",
            "packets/send",
            "lost",
            "p99 us",
            format!("ratio to {last}")
        );
        for (at, name) in self.names.iter().enumerate() {
            let ns = self.column(at, |stretch| stretch.ns_per_packet);
            let of = |pick: fn(f64, f64) -> f64, start: f64, of: &[f64]| of.iter().copied().fold(start, pick);
            let spread = format!("({:.0}..{:.0})", of(f64::min, f64::MAX, &ns), of(f64::max, 0.0, &ns));
            let lost: u64 = self.rounds.iter().map(|round| round[at].lost).sum();
            let delays: Vec<f64> = self.rounds.iter().filter_map(|round| round[at].p99_us).collect();
            let delay = if delays.is_empty() { "-".to_owned() } else { format!("{:.0}", median(delays)) };
            let ratios = self.ratios(at);
            let share = format!(
                "{:.3} ({:.2}..{:.2})",
                self.median_ratio(at),
                of(f64::min, f64::MAX, &ratios),
                of(f64::max, 0.0, &ratios)
            );
            let sends = median(self.column(at, |stretch| stretch.datagrams_per_send));
            let _ = writeln!(
                text,
                "{name:<24}{:>12.0}{spread:>18}{sends:>14.2}{lost:>9}{delay:>9}{share:>22}",
                median(ns)
            );
        }
        text
    }

    /// For programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let contenders: Vec<Value> = (0..self.names.len())
            .map(|at| {
                json!({
                    "name": self.names[at],
                    "median_ns_per_packet": median(self.column(at, |stretch| stretch.ns_per_packet)),
                    "median_ratio": self.median_ratio(at),
                    "ratios": self.ratios(at),
                    "rounds": self.rounds.iter().map(|round| round[at]).collect::<Vec<_>>(),
                })
            })
            .collect();
        json!({ "ok": true, "scenario": self.scenario, "contenders": contenders })
    }
}

fn show_round(names: &[String], round: &[Stretch]) {
    use std::io::Write as _;
    let words: Vec<String> = names
        .iter()
        .zip(round)
        .map(|(name, stretch)| format!("{name} {:.0} ns", stretch.ns_per_packet))
        .collect();
    // Nobody may be reading any more.
    let _ = writeln!(std::io::stderr().lock(), "{}", words.join(", "));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::scenario::{Audio, Layer};

    fn scenario(layer: Layer) -> Scenario {
        Scenario::resolve(layer).unwrap()
    }

    #[test]
    fn the_floor_gets_the_scenarios_shape() {
        let found =
            shape(&scenario(Layer { burst: Some(4), viewers: Some(200), ..Layer::default() })).unwrap();
        assert_eq!(found.audience, Audience::All { publishers: 1, viewers: 200 });
        assert_eq!((found.packet_rate(), found.extension_len), (1000.0, 16));
        assert!(matches!(found.traffic, Traffic::Even { burst: 4, payload_len: 1100, .. }));
        let rooms = Layer {
            sessions: Some(250),
            room: Some(4),
            audio: Some(Audio::Only),
            twcc: Some(false),
            ..Layer::default()
        };
        let found = shape(&scenario(rooms)).unwrap();
        assert_eq!(found.audience, Audience::Rooms { rooms: 250, size: 4 });
        assert_eq!((found.packet_rate(), found.extension_len), (50_000.0, 12));
        for layer in [
            Layer { audio: Some(Audio::Beside), ..Layer::default() },
            Layer { sessions: Some(2), ..Layer::default() },
            Layer { profile: Some(Suite::Cm), ..Layer::default() },
        ] {
            assert!(shape(&scenario(layer)).is_err());
        }
    }

    #[test]
    fn the_median_of_the_ratios_counts_not_the_ratio_of_the_medians() {
        let stretch = |ns_per_packet| Stretch { ns_per_packet, ..Stretch::default() };
        let round = |a, b| vec![stretch(a), stretch(b)];
        let report = CompareReport {
            scenario: "s".into(),
            names: vec!["a".into(), "b".into()],
            rounds: vec![round(100.0, 50.0), round(300.0, 300.0), round(1000.0, 1000.0)],
        };
        assert_eq!((report.median_ratio(0), report.median_ratio(1)), (1.0, 1.0));
        assert_eq!(report.ratios(0), [2.0, 1.0, 1.0]);
        assert!(report.table().contains("1.000 (1.00..2.00)"), "{}", report.table());
        assert_eq!(report.json()["contenders"][0]["median_ns_per_packet"], 300.0);
        assert_eq!(median(vec![1.0, 4.0]), 2.5);
    }
}
