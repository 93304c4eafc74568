//! Load: as many simulated peers as one core can play against a relay on another.

pub mod account;
pub mod cast;
pub mod cipher;
pub mod frames;
pub mod payload;
pub mod scenario;
pub mod source;
