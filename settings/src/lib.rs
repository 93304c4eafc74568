//! Settings of every program: one table of keys, one loader.
//!
//! A value comes from the first that has one: a flag, a variable of ours (`MILLRACE_…`, for secrets also a file that
//! `…_FILE` names), an OpenVidu 2 deployment's own variable, the TOML file, the default. What a value may be, what it
//! means and its default stand in the programs' clap options alone; [`parse`] gives clap what is set as defaults.
//!
//! * [`keys`] is the table; a new option gets its line there.
//! * `file` reads the TOML, `load` weighs the sources, `apply` hands the outcome to clap.
//! * [`openvidu`] knows the `.env` keys and what becomes of them, [`coturn`] the lines of a `turnserver.conf`.

#![deny(unsafe_code)]

mod apply;
pub mod coturn;
mod file;
pub mod keys;
mod load;
pub mod openvidu;
mod suggest;

pub use apply::{EXIT_CONFIG, Failure, environment, faults, parse};
pub use file::DEFAULT_FILE;
pub use load::{Environment, FILE_VARIABLE, Origin, Problems, Settings, Value, setting_variables};
