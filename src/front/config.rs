//! `millrace config`: shows settings and their sources, and checks them.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Arg, ArgAction, CommandFactory, Parser, ValueEnum as _};
use millrace_settings::keys::{KEYS, Key, by_flag};
use millrace_settings::{EXIT_CONFIG, Problems, Settings};
use millrace_signaling::access::SECRET_LEN_MIN;
use millrace_signaling::config::{Certificate, CertificateType};
use millrace_signaling::origin::Origin;

use super::{Options, import};
use crate::edge::shares::Shares;
use crate::io::descriptors;

/// First argument of these commands.
pub(super) const NAME: &str = "config";

/// Flags of the secrets that signaling compares, and whose length it checks.
const REST_SECRETS: [&str; 3] = ["secret", "secret-previous", "monitor-secret"];

/// Shows and checks settings. They are in a TOML file: the one that `--config` or MILLRACE_CONFIG names, else
/// `/etc/millrace/millrace.toml`.
///
/// A value comes from the first source that has one: a flag, an environment variable (MILLRACE_…, for secrets also a file
/// that MILLRACE_…_FILE names), a variable of an OpenVidu 2 deployment, the file, the default.
#[derive(Debug, Parser)]
#[command(name = "millrace config")]
struct Line {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Reads all settings as a start would, and reports what is wrong. Ends with status 78 if something is.
    Check {
        /// Settings file.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Shows every key with its value and its source. Secrets are not shown.
    Show {
        /// Settings file.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Lists every key with its variable, default and meaning, as a Markdown table.
    Keys,
    /// Converts the `.env` of an OpenVidu 2 deployment to a settings file, and reports what was taken and what was not.
    ImportOpenvidu {
        /// The `.env` file.
        #[arg(value_name = "ENV")]
        env_file: PathBuf,
        /// File to write; it must not exist. Without it, standard output.
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Converts the `turnserver.conf` of a coturn to a settings file, and reports what was taken and what was not.
    ImportCoturn {
        /// The `turnserver.conf`.
        #[arg(value_name = "FILE")]
        conf: PathBuf,
        /// File to write; it must not exist. Without it, standard output.
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

/// Runs the command in the arguments after the first.
pub(super) fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let line = Line::parse_from(std::iter::once("millrace config".into()).chain(arguments.skip(1)));
    let mut out = io::stdout().lock();
    let done = match line.what {
        What::Check { config } => check(config.as_deref(), &mut out),
        What::Show { config } => show(config.as_deref(), &mut out),
        What::Keys => out.write_all(key_table().as_bytes()).map(|()| ExitCode::SUCCESS),
        What::ImportOpenvidu { env_file, output } => import::openvidu(&env_file, output.as_deref(), &mut out),
        What::ImportCoturn { conf, output } => import::coturn(&conf, output.as_deref(), &mut out),
    };
    done.and_then(|code| out.flush().map(|()| code)).unwrap_or_else(|error| {
        eprintln!("millrace: {error}");
        ExitCode::FAILURE
    })
}

fn check(file: Option<&Path>, out: &mut impl Write) -> io::Result<ExitCode> {
    let problems = match Settings::load(file, &millrace_settings::environment()) {
        Ok(settings) => {
            settings.warnings.iter().for_each(|warning| eprintln!("millrace: warning: {warning}"));
            let problems = faults(&settings);
            if problems.0.is_empty() {
                match &settings.file {
                    Some(path) => writeln!(out, "{}: nothing is wrong", path.display())?,
                    None => writeln!(out, "There is no file of settings, and nothing is wrong.")?,
                }
                if let Some(words) = connections(file) {
                    writeln!(out, "{words}")?;
                }
                return Ok(ExitCode::SUCCESS);
            }
            problems
        }
        Err(problems) => problems,
    };
    eprintln!("{problems}");
    Ok(ExitCode::from(EXIT_CONFIG))
}

/// How many connections the ports would take. Warns if they are too few for the participants.
fn connections(file: Option<&Path>) -> Option<String> {
    let file = file.map(|file| [OsString::from("--config"), file.into()]);
    let arguments = std::iter::once("millrace".into()).chain(file.into_iter().flatten());
    let (options, _) = millrace_settings::parse::<Options>(arguments).ok()?;
    let mut relay = options.relay;
    // As the front command and the units have it.
    relay.server.http_socket.get_or_insert_default();
    let descriptors = descriptors::raise_limit().ok()?;
    let served = crate::relay::edge_ports(&relay, relay.turn.enabled, relay.media.shard_count());
    let sockets_max = relay.sockets.sockets_max;
    let shares = Shares::new(descriptors, sockets_max, served);
    if let Some(fault) = shares.fault(sockets_max, options.signaling.limits.participants_max) {
        eprintln!("millrace: warning: {fault}");
    }
    Some(format!("Connections at a time, with {descriptors} open files: {shares}."))
}

/// What the relay or signaling would refuse.
pub(super) fn faults(settings: &Settings) -> Problems {
    let found = millrace_settings::faults(&Options::command(), settings);
    let mut faults: Vec<String> = found.into_iter().map(|(_, words)| words).collect();
    for value in
        KEYS.iter().filter(|key| REST_SECRETS.contains(&key.flag)).filter_map(|key| settings.get(key))
    {
        if value.texts.iter().any(|text| text.len() < SECRET_LEN_MIN) {
            faults.push(format!("{}: the secret has less than {SECRET_LEN_MIN} bytes", value.origin));
        }
    }
    if let Err(error) = certificate(settings).choice() {
        faults.push(error.to_string());
    }
    Problems(faults)
}

/// The certificate's settings. Values that cannot be parsed are reported elsewhere.
fn certificate(settings: &Settings) -> Certificate {
    let text = |flag| by_flag(flag).and_then(|key| settings.get(key)).map(|value| value.texts.concat());
    Certificate {
        certificate_type: text("certificate-type")
            .and_then(|name| CertificateType::from_str(&name, false).ok()),
        certificate_file: text("certificate-file").map(PathBuf::from),
        certificate_key_file: text("certificate-key-file").map(PathBuf::from),
        redirect_port: None,
        public_url: text("public-url").and_then(|url| Origin::parse(&url).ok()),
    }
}

fn show(file: Option<&Path>, out: &mut impl Write) -> io::Result<ExitCode> {
    let settings = match Settings::load(file, &millrace_settings::environment()) {
        Ok(settings) => settings,
        Err(problems) => {
            eprintln!("{problems}");
            return Ok(ExitCode::from(EXIT_CONFIG));
        }
    };
    let rows: Vec<[String; 3]> = KEYS.iter().map(|key| row(key, &settings)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let (first, second) = (width(0), width(1));
    for [path, value, origin] in &rows {
        writeln!(out, "{path:first$}  {value:second$}  {origin}")?;
    }
    Ok(ExitCode::SUCCESS)
}

fn row(key: &Key, settings: &Settings) -> [String; 3] {
    let (value, origin) = match settings.get(key) {
        Some(_) if key.secret => ("(not shown)".into(), settings.get(key)),
        Some(value) => (value.texts.join(" "), Some(value)),
        None => (default_of(key).unwrap_or_else(|| "-".into()), None),
    };
    [key.path.into(), value, origin.map_or_else(|| "default".into(), |value| value.origin.to_string())]
}

fn option(key: &Key) -> Option<Arg> {
    Options::command().get_arguments().find(|arg| arg.get_long() == Some(key.flag)).cloned()
}

fn default_of(key: &Key) -> Option<String> {
    let option = option(key)?;
    let values: Vec<_> =
        option.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
    match option.get_action() {
        ArgAction::SetTrue => Some("false".into()),
        _ if values.concat().is_empty() => None,
        _ => Some(values.join(" ")),
    }
}

/// The table of keys of `docs/configuration.md`.
pub(super) fn key_table() -> String {
    let mut table = String::from("| Key | Variable | Default | Meaning |\n|---|---|---|---|\n");
    for key in KEYS {
        let default = default_of(key).map_or_else(String::new, |default| format!("`{default}`"));
        let meaning = option(key).and_then(|option| option.get_help().map(ToString::to_string));
        let meaning = meaning.unwrap_or_default().replace('|', "\\|").replace('\n', " ");
        let or = key.openvidu.map_or_else(String::new, |name| format!(", `{name}`"));
        let file = if key.secret { format!(", `{}_FILE`", key.variable()) } else { String::new() };
        table += &format!("| `{}` | `{}`{file}{or} | {default} | {meaning} |\n", key.path, key.variable());
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Options without a key: for one start only, or between the front command and its children.
    const NO_SETTINGS: [&str; 3] = ["json", "ready-file", "allow-fault-injection"];

    #[test]
    fn every_option_is_a_key_and_every_key_an_option() {
        for option in Options::command().get_arguments() {
            let flag = option.get_long().expect("options have long names");
            if NO_SETTINGS.contains(&flag) {
                continue;
            }
            let key =
                by_flag(flag).unwrap_or_else(|| panic!("--{flag} needs its line in settings/src/keys.rs"));
            let takes_many = matches!(option.get_action(), ArgAction::Append);
            assert_eq!(takes_many, key.list, "--{flag}");
        }
        for key in KEYS {
            assert!(option(key).is_some(), "no program has --{}", key.flag);
        }
    }
}
