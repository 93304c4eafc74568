//! What `floor` is asked for.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::ports::Method;
use super::shape::{Audience, Cipher, EXTENSION_LEN, Shape, Traffic};
use crate::failure::Failure;
use crate::frames::Frames;

/// Options of `floor`.
#[derive(Args, Clone, Debug)]
pub struct FloorOptions {
    /// Publishers; every viewer gets the packets of each.
    #[arg(long, default_value_t = 1)]
    pub publishers: usize,
    /// Viewers.
    #[arg(long, default_value_t = 200)]
    pub viewers: usize,
    /// Rooms instead, in which everybody sends to everybody else.
    #[arg(long, conflicts_with_all = ["publishers", "viewers"])]
    pub rooms: Option<usize>,
    /// People in a room.
    #[arg(long, default_value_t = 4, requires = "rooms")]
    pub room_size: usize,
    /// Packets a second of each publisher.
    #[arg(long, default_value_t = 1000.0)]
    pub rate: f64,
    /// RTP payload in bytes.
    #[arg(long, default_value_t = 1100)]
    pub size: u16,
    /// Packets a publisher sends at once.
    #[arg(long, default_value_t = 1)]
    pub burst: u16,
    /// Recorded frames instead, each at once.
    #[arg(long, conflicts_with_all = ["rate", "size", "burst"], value_name = "FILE")]
    pub frames: Option<PathBuf>,
    /// How packets are sealed.
    #[arg(long, value_enum, default_value = "gcm128")]
    pub profile: Cipher,
    /// Bytes of the header extension block that viewers get.
    #[arg(long, default_value_t = EXTENSION_LEN, value_name = "BYTES")]
    pub extensions: usize,
    /// Only these ways of sending.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub method: Vec<Method>,
    /// Seconds of one stretch.
    #[arg(long, default_value_t = 2.0)]
    pub seconds: f64,
    /// Stretches of each method, which take turns; the median counts.
    #[arg(long, default_value_t = 5)]
    pub rounds: u32,
    /// One JSON object on stdout instead of the table.
    #[arg(long)]
    pub json: bool,
}

impl FloorOptions {
    /// The shape they describe.
    ///
    /// # Errors
    /// [`Failure::Usage`] when it cannot be measured.
    pub fn shape(&self) -> Result<Shape, Failure> {
        if !(0.01..=3600.0).contains(&self.seconds) || self.rounds == 0 {
            return Err(Failure::Usage("--seconds must be 0.01 to 3600, --rounds 1 or more".to_owned()));
        }
        let audience = match self.rooms {
            Some(rooms) => Audience::Rooms { rooms, size: self.room_size },
            None => Audience::All { publishers: self.publishers, viewers: self.viewers },
        };
        let traffic = match &self.frames {
            Some(path) => Traffic::Frames(Arc::new(Frames::load(path)?)),
            None => Traffic::Even { rate: self.rate, payload_len: self.size, burst: self.burst },
        };
        let shape = Shape { audience, traffic, cipher: self.profile, extension_len: self.extensions };
        shape.check()?;
        Ok(shape)
    }

    /// The methods to be compared.
    #[must_use]
    pub fn methods(&self) -> Vec<Method> {
        if self.method.is_empty() { Method::ALL.to_vec() } else { self.method.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        floor: FloorOptions,
    }

    fn parse(line: &str) -> Result<FloorOptions, clap::Error> {
        let words = std::iter::once("x").chain(line.split_whitespace());
        Cli::try_parse_from(words).map(|cli| cli.floor)
    }

    #[test]
    fn shapes_follow_the_options() {
        let shape = parse("--rooms 250 --rate 50 --size 120").unwrap().shape().unwrap();
        assert_eq!(shape.audience, Audience::Rooms { rooms: 250, size: 4 });
        assert_eq!(shape.packet_rate(), 50_000.0);
        let options = parse("--method uring,sendto").unwrap();
        assert_eq!(options.methods(), [Method::Uring, Method::Sendto]);
        assert_eq!(options.shape().unwrap().deliveries_per_packet(), 200);
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        assert!(parse("--rooms 2 --viewers 3").is_err());
        assert!(parse("--frames x --burst 3").is_err());
        assert!(parse("--frames /nonexistent").unwrap().shape().is_err());
        assert!(parse("--rounds 0").unwrap().shape().is_err());
        assert!(parse("--seconds 0").unwrap().shape().is_err());
    }
}
