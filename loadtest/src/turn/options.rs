//! What `turn` and `compare coturn` are asked for.

use std::path::PathBuf;

use clap::Args;

use super::case::{Case, Load, Way};
use super::stage::STAMP_BYTES;
use crate::failure::Failure;
use crate::load::relay::{BackendName, beside_us};

/// Bytes that an unfragmented datagram has room for beside a channel's header.
const PAYLOAD_LEN_MAX: u16 = 1468;

/// The cases: every combination of what is listed.
#[derive(Args, Clone, Debug)]
pub struct Traffic {
    /// Between whom packets go.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Way::ClientToPeer, Way::ClientToClient])]
    pub way: Vec<Way>,
    /// Allocations; between clients there are two at least.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 10, 100], value_name = "N")]
    pub allocations: Vec<usize>,
    /// Bytes of data in a packet.
    #[arg(long, value_delimiter = ',', default_values_t = [120, 1200], value_name = "BYTES")]
    pub size: Vec<u16>,
    /// Packets a second over all allocations; 0 leaves the paced cases out.
    #[arg(long, default_value_t = 20_000.0)]
    pub rate: f64,
    /// Microseconds from one departure to the next where they are paced, each with what is due by then; with 0 every packet
    /// leaves at a time of its own, and wakes whoever is idle
    #[arg(long, value_delimiter = ',', default_values_t = [1000, 0], value_name = "MICROSECONDS")]
    pub tick_us: Vec<u32>,
    /// Packets of one flow in a piece at saturation: as many as get through, without a pace. 0 leaves those cases out.
    #[arg(long, value_delimiter = ',', default_values_t = [16], value_name = "PACKETS")]
    pub full: Vec<u16>,
    /// Seconds of one stretch.
    #[arg(long, default_value_t = 0.5)]
    pub seconds: f64,
    /// Stretches of each contestant, which take turns; medians count.
    #[arg(long, default_value_t = 5)]
    pub rounds: u32,
}

impl Traffic {
    /// The cases in the order they are played.
    ///
    /// # Errors
    /// [`Failure::Usage`] names what is impossible.
    pub fn cases(&self) -> Result<Vec<Case>, Failure> {
        let refuse = |why: &str| Err(Failure::Usage(why.to_owned()));
        if !(0.01..=600.0).contains(&self.seconds) || self.rounds == 0 {
            return refuse("--seconds must be 0.01 to 600, --rounds 1 or more");
        }
        if !self.size.iter().all(|size| (STAMP_BYTES as u16..=PAYLOAD_LEN_MAX).contains(size)) {
            return refuse("--size must be 12 to 1468 bytes");
        }
        if !self.allocations.iter().all(|count| (1..=1000).contains(count)) {
            return refuse("--allocations must be 1 to 1000");
        }
        if !(0.0..=1e7).contains(&self.rate) || self.tick_us.iter().any(|tick_us| *tick_us > 100_000) {
            return refuse("--rate must be 0 to 10000000 packets a second, --tick-us 0 to 100000");
        }
        if self.full.iter().any(|run| *run > 32) {
            return refuse("--full must be 0 to 32");
        }
        let ticks = self.tick_us.iter().filter(|_| self.rate > 0.0);
        let paced = ticks.map(|tick_us| Load::Paced { rate: self.rate, tick_us: *tick_us });
        let full = self.full.iter().filter(|run| **run > 0).map(|run| Load::Full { run: *run });
        let mut cases = Vec::new();
        for load in paced.chain(full) {
            for way in &self.way {
                for payload_len in &self.size {
                    let case = |allocations: &usize| Case {
                        way: *way,
                        allocations: *allocations,
                        payload_len: *payload_len,
                        load,
                    };
                    cases.extend(self.allocations.iter().map(case));
                }
            }
        }
        if cases.is_empty() { refuse("nothing is left to measure") } else { Ok(cases) }
    }
}

/// Options of `turn`.
#[derive(Args, Clone, Debug)]
pub struct TurnOptions {
    /// What is measured.
    #[command(flatten)]
    pub traffic: Traffic,
    /// Our relay; without it, the one beside this program.
    #[arg(long, value_name = "PROGRAM")]
    pub relay: Option<PathBuf>,
    /// How it reaches the kernel; without it, the best that works.
    #[arg(long, value_enum)]
    pub backend: Option<BackendName>,
    /// One JSON object on stdout instead of the table.
    #[arg(long)]
    pub json: bool,
    /// Fail unless every packet arrived. For a low --rate and `--full 0`: at saturation packets are lost.
    #[arg(long)]
    pub lossless: bool,
}

impl TurnOptions {
    /// Our relay's program.
    ///
    /// # Errors
    /// [`Failure::Usage`] when there is none.
    pub fn program(&self) -> Result<PathBuf, Failure> {
        self.relay.clone().map_or_else(beside_us, Ok)
    }
}

/// Options of `compare coturn`.
#[derive(Args, Clone, Debug)]
pub struct CoturnOptions {
    /// What is the same without it.
    #[command(flatten)]
    pub turn: TurnOptions,
    /// coturn's program.
    #[arg(long, default_value = "/usr/bin/turnserver", value_name = "PROGRAM")]
    pub coturn: PathBuf,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        coturn: CoturnOptions,
    }

    fn cases(line: &str) -> Result<Vec<Case>, Failure> {
        let words = std::iter::once("x").chain(line.split_whitespace());
        Cli::parse_from(words).coturn.turn.traffic.cases()
    }

    #[test]
    fn every_combination_is_a_case() {
        assert_eq!(cases("").unwrap().len(), 2 * 2 * 3 * 3);
        let one = cases("--way peer-to-client --allocations 7 --size 500 --rate 0 --full 4").unwrap();
        let case =
            Case { way: Way::PeerToClient, allocations: 7, payload_len: 500, load: Load::Full { run: 4 } };
        assert_eq!(one, [case]);
        assert_eq!(Case { way: Way::ClientToClient, ..case }.flows(), 8);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for line in [
            "--seconds 0",
            "--rounds 0",
            "--size 11",
            "--size 1469",
            "--allocations 0",
            "--tick-us 100001",
            "--full 33",
            "--rate 0 --full 0",
        ] {
            assert!(cases(line).is_err(), "{line}");
        }
    }
}
