//! The floor: what a packet costs when nothing is done but what cannot be left out.
//!
//! A bare loop on one pinned thread receives, seals each payload for everyone who is to have it, and sends: no parsing,
//! no maps, no records. Traffic, sockets, sizes, bursts and the sockets that drain are those of a measured relay, so
//! relay over floor says what the relay itself costs, whatever the machine and its mood.
//!
//! - [`shape`]: who sends what to whom; [`schedule`]: and when;
//! - `source` and `drain`: both ends, on the other cores;
//! - `ports`: the ways in and out ([`Method`]); [`fan`]: sealing in between;
//! - `stretch`: one measurement of all that; [`report`]: several, for people and machines.

pub mod fan;
pub mod options;
pub mod report;
pub mod schedule;
pub mod shape;

mod drain;
mod ports;
mod source;
mod stretch;

pub use self::ports::Method;
pub use self::shape::{Audience, Cipher, Shape, Traffic};
pub use self::stretch::{Measured, Place, measure, measure_at};

use std::time::Duration;

use self::options::FloorOptions;
use self::report::Report;
use crate::failure::Failure;

/// Measures what the options ask for, the methods taking turns. Blocks.
///
/// # Errors
/// [`Failure::Usage`] for options that do not fit together, else what the kernel refuses.
pub fn run(options: &FloorOptions) -> Result<Report, Failure> {
    let shape = options.shape()?;
    let methods = options.methods();
    let duration = Duration::from_secs_f64(options.seconds);
    let mut rounds = vec![Vec::new(); methods.len()];
    for _ in 0..options.rounds {
        for (method, rounds) in methods.iter().zip(&mut rounds) {
            rounds.push(measure(&shape, *method, duration)?);
        }
    }
    Ok(Report { shape, methods: methods.into_iter().zip(rounds).collect() })
}
