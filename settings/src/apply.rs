//! Gives a program's command line the settings of all sources.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::Resettable;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory, FromArgMatches, error::ErrorKind};

use crate::keys::{self, KEYS, Key};
use crate::load::{Environment, FILE_VARIABLE, Problems, Settings};

/// Exit status of a program that refuses its settings (`EX_CONFIG` of sysexits.h). Another start would fail in the same way.
pub const EXIT_CONFIG: u8 = 78;

/// Why a program does not start.
#[derive(Debug)]
pub enum Failure {
    /// The command line is wrong, or asks for help.
    Usage(Box<clap::Error>),
    /// The file or the environment is wrong.
    Settings(Problems),
}

impl Failure {
    /// Prints it: help on standard output, errors on standard error. Returns the exit status.
    pub fn report(&self, program: &str) -> ExitCode {
        match self {
            Self::Usage(error) => {
                // If printing fails, there is no other way to report it.
                let _ = error.print();
                u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from)
            }
            Self::Settings(problems) => {
                for problem in &problems.0 {
                    eprintln!("{program}: {problem}");
                }
                ExitCode::from(EXIT_CONFIG)
            }
        }
    }
}

/// The environment variables of this process that are UTF-8.
pub fn environment() -> Environment {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// A program's options, and everything that is set by flags, the environment or the file.
///
/// # Errors
/// Everything that is wrong with the file and the environment, or the first thing that is wrong with the flags.
pub fn parse<C: CommandFactory + FromArgMatches>(
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<(C, Settings), Failure> {
    parse_with(arguments, &environment())
}

fn parse_with<C: CommandFactory + FromArgMatches>(
    arguments: impl IntoIterator<Item = OsString>,
    environment: &Environment,
) -> Result<(C, Settings), Failure> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let command = C::command().arg(file_option());
    let usage = |error: clap::Error| Failure::Usage(Box::new(error));
    // Help works even if the settings are wrong.
    let asked =
        arguments.iter().any(|word| ["-h", "--help", "-V", "--version"].iter().any(|help| word == help));
    if asked {
        let matches = described(command).try_get_matches_from(arguments).map_err(usage)?;
        return Ok((C::from_arg_matches(&matches).map_err(usage)?, Settings::default()));
    }
    let mut settings =
        Settings::load(named_file(&arguments).as_deref(), environment).map_err(Failure::Settings)?;
    let problems = faults(&command, &settings);
    if !problems.is_empty() {
        return Err(Failure::Settings(Problems(problems.into_iter().map(|(_, words)| words).collect())));
    }
    let command = applied(command, &settings);
    let mut matches = command.clone().try_get_matches_from(arguments).map_err(usage)?;
    add_flags(&mut settings, &command, &matches);
    Ok((C::from_arg_matches_mut(&mut matches).map_err(usage)?, settings))
}

fn file_option() -> Arg {
    Arg::new("config")
        .long("config")
        .value_name("FILE")
        .env(FILE_VARIABLE)
        .value_parser(clap::value_parser!(PathBuf))
        .help(format!("File of settings, TOML [default: {} where it exists]", crate::DEFAULT_FILE))
}

/// The file that `--config` names. It is read before clap reads the flags, because it sets their defaults.
fn named_file(arguments: &[OsString]) -> Option<PathBuf> {
    let mut words = arguments.iter().skip(1);
    while let Some(word) = words.next() {
        if word == "--config" {
            return words.next().map(PathBuf::from);
        }
        if let Some(path) = word.to_str().and_then(|word| word.strip_prefix("--config=")) {
            return Some(path.into());
        }
    }
    None
}

/// The options with what is set as their defaults.
fn applied(command: Command, settings: &Settings) -> Command {
    command.mut_args(|arg| {
        let Some(key) = arg.get_long().and_then(keys::by_flag) else { return arg };
        // The environment has been read already, so clap must not read it again.
        let arg = arg.env(Resettable::Reset);
        match settings.get(key) {
            Some(value) => arg.default_values(value.texts.clone()),
            None => arg,
        }
    })
}

/// The options as help shows them: each with its variable, in groups named like the tables of the file.
fn described(command: Command) -> Command {
    command.mut_args(|arg| match arg.get_long().and_then(keys::by_flag) {
        Some(key) => arg.env(key.variable()).hide_env_values(true).help_heading(key.parts().0),
        None => arg,
    })
}

/// Adds what the flags say to what is set otherwise.
fn add_flags(settings: &mut Settings, command: &Command, matches: &ArgMatches) {
    for arg in command.get_arguments() {
        let Some(key) = arg.get_long().and_then(keys::by_flag) else { continue };
        let id = arg.get_id().as_str();
        if matches.value_source(id) == Some(ValueSource::CommandLine) {
            let words = matches.get_raw(id).into_iter().flatten();
            settings.set_by_flag(key, words.map(|word| word.to_string_lossy().into_owned()).collect());
        }
    }
}

/// The values that the options of a program refuse: the key, and a message with the place of the value.
pub fn faults(command: &Command, settings: &Settings) -> Vec<(&'static Key, String)> {
    // Each key is tried alone, so one mistake does not hide the next.
    let bare = command.clone().mut_args(|arg| arg.env(Resettable::Reset));
    let mut faults = Vec::new();
    for key in KEYS {
        let Some(arg) = bare.get_arguments().find(|arg| arg.get_long() == Some(key.flag)) else { continue };
        let Some(value) = settings.get(key) else { continue };
        let told = |what: String| (key, format!("{}: {}: {what}", value.origin, key.path));
        if matches!(arg.get_action(), ArgAction::SetTrue | ArgAction::SetFalse) {
            let is_switch = |text: &String| matches!(text.as_str(), "true" | "false");
            faults.extend(
                value
                    .texts
                    .iter()
                    .filter(|text| !is_switch(text))
                    .map(|text| told(format!("'{text}' is neither true nor false"))),
            );
            continue;
        }
        let words = value.texts.iter().map(|text| format!("--{}={text}", key.flag));
        let words = std::iter::once(command.get_name().to_owned()).chain(words);
        if let Err(error) = bare.clone().try_get_matches_from(words)
            && error.kind() != ErrorKind::MissingRequiredArgument
        {
            // Clap's message repeats the value, which may be a secret.
            let inner = std::error::Error::source(&error).map(ToString::to_string);
            let words = match inner {
                inner if key.secret => inner.unwrap_or_else(|| "is not what it has to be".into()),
                _ => first_words(&error),
            };
            faults.push(told(words));
        }
    }
    faults
}

/// Clap's message without its hints.
fn first_words(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let lines = text.lines().take_while(|line| !line.trim().is_empty()).map(str::trim);
    lines.collect::<Vec<_>>().join(" ").trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    #[command(name = "program")]
    struct Options {
        #[arg(long, env = "OPENVIDU_OWN_NAME", default_value_t = 4443)]
        https_port: u16,
        #[arg(long = "public-ip", env = "MILLRACE_PUBLIC_IP", value_delimiter = ',')]
        public_ips: Vec<std::net::IpAddr>,
        #[arg(long, default_value_t = 7)]
        shards: u16,
        #[arg(long)]
        backend: bool,
    }

    fn parsed(words: &[&str], pairs: &[(&str, &str)]) -> Result<Options, Failure> {
        let none = [(FILE_VARIABLE, "/dev/null")];
        let environment =
            none.iter().chain(pairs).map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let words = std::iter::once("program").chain(words.iter().copied()).map(OsString::from);
        parse_with(words, &environment).map(|(options, _)| options)
    }

    #[test]
    fn a_flag_wins_over_what_is_set_and_that_over_the_default() {
        let pairs = [
            ("MILLRACE_HTTPS_PORT", "1"),
            ("MILLRACE_PUBLIC_IP", "192.0.2.1,192.0.2.2"),
            ("MILLRACE_BACKEND", "true"),
        ];
        let options = parsed(&["--public-ip", "::1"], &pairs).unwrap();
        assert_eq!((options.https_port, options.shards, options.backend), (1, 7, true));
        assert_eq!(options.public_ips.len(), 1);
        let options = parsed(&["--https-port=2"], &pairs).unwrap();
        assert_eq!((options.https_port, options.public_ips.len()), (2, 2));
        let options =
            parsed(&[], &[("MILLRACE_PUBLIC_IP_0", "::1"), ("MILLRACE_PUBLIC_IP_1", "::2")]).unwrap();
        assert_eq!((options.https_port, options.public_ips.len(), options.backend), (4443, 2, false));
    }

    #[test]
    fn every_value_that_cannot_be_is_told_with_its_place() {
        let pairs =
            [("MILLRACE_HTTPS_PORT", "x"), ("MILLRACE_PUBLIC_IP", "a,::1"), ("MILLRACE_BACKEND", "maybe")];
        let Err(Failure::Settings(problems)) = parsed(&[], &pairs) else { panic!("they are wrong") };
        assert_eq!(problems.0.len(), 3, "{problems}");
        for (place, what) in
            [("MILLRACE_HTTPS_PORT", "'x'"), ("MILLRACE_PUBLIC_IP", "'a'"), ("MILLRACE_BACKEND", "maybe")]
        {
            let told = |problem: &String| problem.starts_with(place) && problem.contains(what);
            assert!(problems.0.iter().any(told), "{place}: {problems}");
        }
        assert!(matches!(parsed(&["--https-port=x"], &[]), Err(Failure::Usage(_))));
    }

    #[test]
    fn the_file_is_found_wherever_it_stands() {
        let dir = millrace_testkit::scratch();
        let file = dir.join("a.toml");
        std::fs::write(&file, "[relay]\nshards = 3\nbackend = true\n").unwrap();
        let path = file.to_str().unwrap();
        for words in [
            vec!["--config", path],
            vec![&*format!("--config={path}")],
            vec!["--https-port=1", "--config", path],
        ] {
            let options = parsed(&words, &[]).unwrap();
            assert_eq!((options.shards, options.backend), (3, true));
        }
        assert_eq!(parsed(&[], &[(FILE_VARIABLE, path)]).unwrap().shards, 3);
        assert!(matches!(parsed(&["--config", "/nowhere"], &[]), Err(Failure::Settings(_))));
        let help = parsed(&["--config", "/nowhere", "--help"], &[]);
        assert!(matches!(help, Err(Failure::Usage(error)) if error.exit_code() == 0));
    }
}
