//! The command line of `millrace`: every option of the relay and of signaling, and its own.

use clap::{Arg, ArgMatches, Command, CommandFactory, FromArgMatches, Parser};

/// Options that `-h` shows; `--help` shows all.
const OFTEN_USED: [&str; 18] = [
    "backend",
    "certificate-file",
    "certificate-key-file",
    "certificate-type",
    "config",
    "data-dir",
    "http-port",
    "https-port",
    "ice-tcp",
    "json",
    "log",
    "media-port",
    "public-ip",
    "public-url",
    "secret",
    "shards",
    "turn",
    "turn-port",
];

/// Options that the front command sets itself.
const SET_FOR_CHILDREN: [&str; 1] = ["ready-file"];

/// Video calls on your own machine: starts the media relay and signaling, and keeps both running.
///
/// No flag is needed: every option has a default, and the first start creates a certificate and a secret in the data
/// directory. `-h` shows the options used most often, `--help` shows all. `millrace config --help` describes the
/// settings file.
#[derive(Clone, Debug, Parser)]
#[command(name = "millrace", version)]
struct Own {
    /// Prints one line of JSON on standard output once everything is ready, for programs. Logs go to standard error.
    #[arg(long)]
    json: bool,
}

/// The options of `millrace`.
#[derive(Clone, Debug)]
pub struct Options {
    /// Those of the relay.
    pub relay: crate::config::Config,
    /// Those of signaling.
    pub signaling: millrace_signaling::Config,
    /// Whether the ready line is JSON.
    pub json: bool,
}

impl CommandFactory for Options {
    fn command() -> Command {
        let mut command = Own::command();
        for arg in relay().get_arguments().chain(signaling().get_arguments()) {
            // An option of both processes is one struct, flattened into both.
            if !command.get_arguments().any(|known| known.get_id() == arg.get_id()) {
                command = command.arg(arg.clone());
            }
        }
        command.mut_args(presented)
    }

    fn command_for_update() -> Command {
        Self::command()
    }
}

impl FromArgMatches for Options {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self {
            relay: crate::config::Config::from_arg_matches(matches)?,
            signaling: millrace_signaling::Config::from_arg_matches(matches)?,
            json: Own::from_arg_matches(matches)?.json,
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// The options of the relay's process.
pub(super) fn relay() -> Command {
    crate::config::Config::command()
}

/// The options of signaling's process.
pub(super) fn signaling() -> Command {
    millrace_signaling::Config::command()
}

fn presented(arg: Arg) -> Arg {
    let flag = arg.get_long().unwrap_or_default();
    let is_often_used = OFTEN_USED.contains(&flag);
    let is_hidden = arg.is_hide_set() || SET_FOR_CHILDREN.contains(&flag);
    arg.hide_short_help(!is_often_used).hide(is_hidden)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_option_is_declared_twice() {
        for arg in relay().get_arguments() {
            let Some(other) =
                signaling().get_arguments().find(|other| other.get_long() == arg.get_long()).cloned()
            else {
                continue;
            };
            let declared = |arg: &Arg| {
                let help = arg.get_long_help().or(arg.get_help()).map(ToString::to_string);
                (arg.get_id().clone(), help, arg.get_default_values().to_vec())
            };
            assert_eq!(declared(arg), declared(&other), "put it into a struct that both flatten");
        }
    }

    #[test]
    fn every_option_of_both_processes_is_an_option_of_the_front_command() {
        let words = ["x", "--ice-tcp", "--webhook", "--shards", "2", "--https-port", "1", "--json"];
        let matches = Options::command().try_get_matches_from(words).unwrap();
        let options = Options::from_arg_matches(&matches).unwrap();
        assert!(options.relay.media.ice_tcp && options.signaling.events.webhook && options.json);
        assert_eq!(options.relay.media.shards, 2);
        assert_eq!((options.relay.server.https_port, options.signaling.server.https_port), (1, 1));
    }

    #[test]
    fn what_short_help_shows_is_there() {
        let command = Options::command();
        for flag in OFTEN_USED.iter().filter(|flag| **flag != "config") {
            assert!(command.get_arguments().any(|arg| arg.get_long() == Some(flag)), "--{flag}");
        }
    }
}
