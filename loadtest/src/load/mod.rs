//! Load: as many simulated peers as one core can play against a relay on another.

pub mod account;
pub mod cast;
pub mod cipher;
pub mod compare;
pub mod control;
pub mod direct;
pub mod engine;
pub mod html;
pub mod join;
pub mod measurement;
pub mod net;
pub mod options;
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
pub mod world;
