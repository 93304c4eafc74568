//! Settings of every program: one table of keys, one loader.
//!
//! A value comes from the first source that has one: a flag, a variable `MILLRACE_…` (for secrets also a file that `…_FILE`
//! names), a variable of an OpenVidu 2 deployment, the TOML file, the default. Type, help text and default of an option are
//! in the programs' clap structs only; [`parse`] gives clap the values as defaults.
//!
//! * [`keys`] is the table; a new option needs its line there.
//! * `file` reads the TOML, `load` chooses among the sources, `apply` gives the values to clap.
//! * [`wait_before_start`] slows down a program that fails at every start.
//! * [`openvidu`] translates the variables of an `.env` file, [`coturn`] the lines of a `turnserver.conf`.

#![deny(unsafe_code)]

mod apply;
pub mod coturn;
mod file;
pub mod keys;
mod load;
pub mod openvidu;
mod restarts;
mod suggest;

pub use apply::{EXIT_CONFIG, Failure, environment, faults, parse};
pub use file::DEFAULT_FILE;
pub use load::{Environment, FILE_VARIABLE, Origin, Problems, Settings, Value, setting_variables};
pub use restarts::wait_before_start;
