//! What `compare` is asked for.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::failure::Failure;
use crate::floor::shape::EXTENSION_LEN_MID;
use crate::floor::{Audience, Cipher, Method, Shape, Traffic};
use crate::frames::Frames;
use crate::load::relay::beside_us;
use crate::load::scenario::{Layer, Scenario, Suite};
use crate::turn::options::CoturnOptions;

/// Whom our relay is held against.
#[derive(Clone, Debug, Subcommand)]
pub enum Rival {
    /// Debian's Janus and its VideoRoom, in a network namespace: takes root, and `apt-get install janus`.
    Janus(JanusOptions),
    /// Debian's coturn as a TURN server, on loopback: takes `apt-get install coturn`.
    Coturn(CoturnOptions),
}

/// Options of `compare janus`.
#[derive(Args, Clone, Debug)]
pub struct JanusOptions {
    /// Viewers of the one publisher.
    #[arg(long, default_value_t = 50)]
    pub viewers: usize,
    /// Packets a second.
    #[arg(long, default_value_t = 1000.0)]
    pub rate: f64,
    /// RTP payload in bytes.
    #[arg(long, default_value_t = 1100)]
    pub size: u16,
    /// Packets the publisher sends at once.
    #[arg(long, default_value_t = 1)]
    pub burst: u16,
    /// Recorded frames instead, each at once.
    #[arg(long, conflicts_with_all = ["rate", "size", "burst"], value_name = "FILE")]
    pub frames: Option<PathBuf>,
    /// How packets are sealed.
    #[arg(long, value_enum, default_value = "gcm128")]
    pub profile: Cipher,
    /// Stretches of each, which take turns; medians count.
    #[arg(long, default_value_t = 5)]
    pub pairs: u32,
    /// Seconds of one stretch.
    #[arg(long, default_value_t = 4.0)]
    pub seconds: f64,
    /// How the floor sends.
    #[arg(long, value_enum, default_value = "uring-gso")]
    pub floor: Method,
    /// Our relay; without it, the one beside this program.
    #[arg(long, value_name = "PROGRAM")]
    pub relay: Option<PathBuf>,
    /// Janus' program.
    #[arg(long, default_value = "/usr/bin/janus", value_name = "PROGRAM")]
    pub janus: PathBuf,
    /// One JSON object on stdout instead of the table.
    #[arg(long)]
    pub json: bool,
}

impl JanusOptions {
    /// What the floor is measured with.
    ///
    /// # Errors
    /// [`Failure::Usage`] when it cannot be measured.
    pub fn shape(&self) -> Result<Shape, Failure> {
        if !(0.1..=600.0).contains(&self.seconds) || self.pairs == 0 {
            return Err(Failure::Usage("--seconds must be 0.1 to 600, --pairs 1 or more".to_owned()));
        }
        let traffic = match &self.frames {
            Some(path) => Traffic::Frames(Arc::new(Frames::load(path)?)),
            None => Traffic::Even { rate: self.rate, payload_len: self.size, burst: self.burst },
        };
        let shape = Shape {
            audience: Audience::All { publishers: 1, viewers: self.viewers },
            traffic,
            cipher: self.profile,
            extension_len: EXTENSION_LEN_MID,
        };
        shape.check()?;
        Ok(shape)
    }

    /// What the crowds play.
    ///
    /// # Errors
    /// [`Failure::Usage`] when it is impossible.
    pub fn scenario(&self) -> Result<Scenario, Failure> {
        let even = self.frames.is_none();
        Scenario::resolve(Layer {
            publishers: Some(1),
            viewers: Some(self.viewers),
            frames: self.frames.clone(),
            rate: even.then_some(self.rate),
            size: even.then_some(self.size),
            burst: even.then_some(usize::from(self.burst)),
            profile: Some(match self.profile {
                Cipher::Gcm128 => Suite::Gcm128,
                Cipher::Gcm256 => Suite::Gcm256,
            }),
            ..Layer::default()
        })
    }

    /// Our relay's program.
    ///
    /// # Errors
    /// [`Failure::Usage`] when there is none.
    pub fn relay(&self) -> Result<PathBuf, Failure> {
        self.relay.clone().map_or_else(beside_us, Ok)
    }

    /// Of one stretch.
    #[must_use]
    pub fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(subcommand)]
        rival: Rival,
    }

    fn parse(line: &str) -> JanusOptions {
        let words = ["x", "janus"].into_iter().chain(line.split_whitespace());
        match Cli::parse_from(words).rival {
            Rival::Janus(options) => options,
            Rival::Coturn(_) => unreachable!("janus is asked for"),
        }
    }

    #[test]
    fn floor_and_crowds_play_the_same() {
        let recorded = concat!("--frames ", env!("CARGO_MANIFEST_DIR"), "/scenarios/chromium-2500k.frames");
        for line in ["", "--viewers 7 --rate 300 --burst 3 --size 500 --profile gcm256", recorded] {
            let options = parse(line);
            let (shape, scenario) = (options.shape().unwrap(), options.scenario().unwrap());
            assert_eq!(shape.deliveries_per_packet(), scenario.copies());
            let rate = scenario.streams[0].frames.packet_rate();
            assert!((shape.packet_rate() - rate).abs() < 1e-6, "{line}: {rate}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for line in ["--pairs 0", "--seconds 0", "--size 2", "--viewers 0", "--frames /nonexistent"] {
            let options = parse(line);
            assert!(options.shape().is_err() || options.scenario().is_err(), "{line}");
        }
    }
}
