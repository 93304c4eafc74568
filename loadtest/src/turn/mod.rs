//! TURN: what a relayed packet costs a server, ours or another, beside the least that any server can reach.
//!
//! ```text
//!   options -> case: which way, how many allocations, how long the packets, how many of them
//!               │
//!               ├─ server: our relay or coturn ── client: allocations and channels ─┐
//!               └─ floor: a bare loop that receives and sends ──────────────────────┴─ stage ─► report
//! ```
//! A [`stage`] is a set of sockets and of flows between them; it neither knows nor cares who is in the middle. So all
//! contestants of a case have the same traffic, one stretch each in turns.
//!
//! The messages are those of webrtc-rs' `stun` crate and the channels are framed by hand: nothing of the relay's own.

pub mod case;
pub mod client;
pub mod dialogue;
pub mod floor;
pub mod options;
pub mod report;
pub mod server;
pub mod stage;

use std::net::Ipv4Addr;
use std::time::Duration;

use self::case::Case;
use self::floor::Floor;
use self::options::{CoturnOptions, Traffic, TurnOptions};
use self::report::{CaseFigures, Contestant, Report};
use self::server::Server;
use self::stage::Stage;
use crate::failure::Failure;
use crate::kernel::affinity::pin_this_thread;
use crate::kernel::clock::use_exact_timers;
use crate::kernel::priority::prefer_this_thread;
use crate::load::relay::all_cores;

/// Everything is on one machine.
const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// Traffic before the measured one: caches, pages, the tables of the kernel.
const WARM_UP: Duration = Duration::from_millis(60);

/// Measures our relay beside the floor. Blocks.
///
/// # Errors
/// Impossible options, a relay that does not start or refuses an allocation.
pub fn run(options: &TurnOptions) -> Result<Report, Failure> {
    let relay = Server::millrace(&options.program()?, options.backend)?;
    play(&options.traffic, &[relay])
}

/// Measures our relay beside coturn, and both beside the floor. Blocks.
///
/// # Errors
/// As [`run`], and when there is no coturn.
pub fn beside_coturn(options: &CoturnOptions) -> Result<Report, Failure> {
    let relay = Server::millrace(&options.turn.program()?, options.turn.backend)?;
    let coturn = Server::coturn(&options.coturn)?;
    play(&options.turn.traffic, &[relay, coturn])
}

/// Every case, with the contestants in turns.
fn play(traffic: &Traffic, servers: &[Server]) -> Result<Report, Failure> {
    let cases = traffic.cases()?;
    let cores = all_cores();
    // The servers have the first core, and we the others.
    pin_this_thread(if cores.len() > 1 { &cores[1..] } else { &cores })?;
    use_exact_timers()?;
    // Without the right to it we are measured beside others.
    let _ = prefer_this_thread();
    let mut figures = Vec::new();
    for case in cases {
        figures.push(play_case(traffic, servers, case, cores.first().copied())?);
    }
    Ok(Report { seconds: traffic.seconds, rounds: traffic.rounds, cases: figures })
}

fn play_case(
    traffic: &Traffic,
    servers: &[Server],
    case: Case,
    core: Option<usize>,
) -> Result<CaseFigures, Failure> {
    let floors = [Floor::start(false, core, case.flows())?, Floor::start(true, core, case.flows())?];
    let mut contestants = Vec::new();
    for floor in &floors {
        let stage = floor.stage(&case)?;
        contestants.push((Contestant::new(floor.name()), stage, Meter::Floor(floor)));
    }
    for server in servers {
        let named = |failure| Failure::Turn(format!("{}: {failure}", server.name));
        let stage = Stage::through(server, &case).map_err(named)?;
        contestants.push((Contestant::new(&server.name), stage, Meter::Server(server)));
    }
    let duration = Duration::from_secs_f64(traffic.seconds);
    for (_, stage, _) in &mut contestants {
        stage.play(case.load, WARM_UP)?;
    }
    for _ in 0..traffic.rounds {
        for (contestant, stage, meter) in &mut contestants {
            let before_ns = meter.cpu_ns();
            let mut stretch = stage.play(case.load, duration)?;
            stretch.cpu_ns = meter.cpu_ns().saturating_sub(before_ns);
            contestant.stretches.push(stretch);
        }
    }
    let contestants = contestants.into_iter().map(|(contestant, ..)| contestant).collect();
    Ok(CaseFigures { case, contestants })
}

/// Whose CPU time is read. Nothing is under way when it is.
enum Meter<'a> {
    Floor(&'a Floor),
    Server(&'a Server),
}

impl Meter<'_> {
    fn cpu_ns(&self) -> u64 {
        match self {
            Self::Floor(floor) => floor.cpu_ns(),
            Self::Server(server) => server.cpu_ns(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::case::{Load, Way};
    use super::*;

    /// That the stage counts what it should, whoever is in the middle: here the floor.
    #[test]
    fn every_packet_of_every_load_arrives_once_and_in_order() {
        for (load, in_runs) in [
            (Load::Paced { rate: 2000.0, tick_us: 0 }, false),
            (Load::Paced { rate: 2000.0, tick_us: 5000 }, true),
            (Load::Full { run: 8 }, true),
            (Load::Full { run: 1 }, false),
        ] {
            let case = Case { way: Way::ClientToPeer, allocations: 3, payload_len: 120, load };
            let floor = Floor::start(in_runs, None, case.flows()).unwrap();
            let mut stage = floor.stage(&case).unwrap();
            let stretch = stage.play(load, Duration::from_millis(50)).unwrap();
            assert!(stretch.delivered > 0 && stretch.wrong == 0, "{load:?} {stretch:?}");
            if let Load::Paced { .. } = load {
                // They fit every buffer, however slow the machine is.
                assert_eq!((stretch.sent, stretch.lost()), (100, 0), "{load:?}");
            }
            assert!(floor.cpu_ns() > 0, "its thread is known by its name");
        }
    }
}
