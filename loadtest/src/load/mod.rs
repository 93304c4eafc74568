//! Load: as many simulated peers as one core can play against a relay on another.
//!
//! ```text
//!   options, scenario -> rig: relay, engine and peers ---> run, saturate, compare -> report, curve, html
//!                         │
//!        joiner, join ────┤ each peer made known (way: direct or signaling), then ICE and DTLS
//!                         │ orders
//!                      engine ── world: every peer's tracks and streams, sans-IO
//!                         └───── net: one socket for all, or one for each
//! ```
//! Everything that a packet meets on its way (engine, net, world, track, account) allocates nothing and asks the clock
//! once a batch; what comes once a second (reports, consent) need not be so careful.

pub mod account;
pub mod cast;
pub mod cipher;
pub mod compare;
pub mod control;
pub mod curve;
pub mod direct;
pub mod engine;
pub mod html;
pub mod join;
pub mod joiner;
pub mod measurement;
pub mod net;
pub mod options;
pub mod order;
pub mod payload;
pub mod plot;
pub mod proc;
pub mod relay;
pub mod report;
pub mod rig;
pub mod run;
pub mod saturate;
pub mod scenario;
pub mod signaling;
pub mod source;
pub mod track;
pub mod way;
pub mod world;
