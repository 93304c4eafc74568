//! Chooses one value for each key among all sources.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::file;
use crate::keys::{KEYS, Key};
use crate::openvidu;
use crate::suggest::nearest;

/// Environment variables, by name.
pub type Environment = BTreeMap<String, String>;

/// The variable that names the settings file, as `--config` does.
pub const FILE_VARIABLE: &str = "MILLRACE_CONFIG";

/// Variables with our prefix that are not in the table of keys.
const OTHER_VARIABLES: [&str; 3] = [FILE_VARIABLE, "MILLRACE_READY_FILE", "MILLRACE_ALLOW_FAULT_INJECTION"];

/// Longest file of a secret that is read, in bytes.
const SECRET_LEN_MAX: usize = 4096;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// An environment variable `MILLRACE_…`.
    Variable(String),
    /// A variable of an OpenVidu deployment.
    OpenVidu(String),
    /// A line of the settings file, counted from 1.
    File(PathBuf, usize),
    /// A file with nothing but the secret, and the source that named it.
    SecretFile(PathBuf, Box<Self>),
    /// A flag of the command line, without dashes.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(name) => write!(f, "{name}"),
            Self::OpenVidu(name) => write!(f, "{name} (OpenVidu)"),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::SecretFile(path, named_by) => write!(f, "{} ({named_by})", path.display()),
            Self::Flag(flag) => write!(f, "--{flag}"),
        }
    }
}

/// The value of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// As on the command line. Only a list has more than one.
    pub texts: Vec<String>,
    /// Its source.
    pub origin: Origin,
}

/// Everything that is wrong, one message each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(pub Vec<String>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for Problems {}

/// What is set. [`Settings::load`] reads all sources but the flags, which [`parse`](crate::parse) adds.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The file that was read.
    pub file: Option<PathBuf>,
    /// Likely mistakes that do not stop the program.
    pub warnings: Vec<String>,
    values: BTreeMap<&'static str, Value>,
}

impl Settings {
    /// Reads all sources but the flags. Our variables win over those of OpenVidu, and these over the file. `file` must
    /// exist; without it, the file that the environment names is read, or the default file if it exists.
    ///
    /// # Errors
    /// Everything that is wrong, each with its place.
    pub fn load(file: Option<&Path>, environment: &Environment) -> Result<Self, Problems> {
        let mut problems = Vec::new();
        let mut settings = Self { file: chosen(file, environment), ..Self::default() };
        settings.read_file(&mut problems);
        settings.read_openvidu(environment, &mut problems);
        for key in KEYS {
            match from_environment(key, environment) {
                Ok(Some(value)) => _ = settings.values.insert(key.path, value),
                Ok(None) => {}
                Err(words) => problems.push(words),
            }
        }
        settings.warn_of_variables(environment);
        if problems.is_empty() { Ok(settings) } else { Err(Problems(problems)) }
    }

    /// The value of a key, unless it has its default.
    pub fn get(&self, key: &Key) -> Option<&Value> {
        self.values.get(key.path)
    }

    /// Sets a key by its flag, which wins over all other sources.
    pub(crate) fn set_by_flag(&mut self, key: &'static Key, texts: Vec<String>) {
        self.values.insert(key.path, Value { texts, origin: Origin::Flag(key.flag) });
    }

    fn read_file(&mut self, problems: &mut Vec<String>) {
        let Some(path) = self.file.clone() else { return };
        let mut lines = BTreeMap::new();
        for entry in file::read(&path, problems) {
            let mut origin = Origin::File(path.clone(), entry.line);
            let mut texts = entry.texts;
            if let Some(before) = lines.insert(entry.key.path, entry.line) {
                problems.push(format!("{origin}: {} is set in line {before} already", entry.key.path));
                continue;
            }
            if entry.in_file {
                let holder = PathBuf::from(texts.concat());
                match secret_in(&holder) {
                    Ok(secret) => texts = vec![secret],
                    Err(words) => {
                        problems.push(format!("{origin}: {words}"));
                        continue;
                    }
                }
                origin = Origin::SecretFile(holder, Box::new(origin));
            } else if entry.key.secret && texts.iter().any(String::is_empty) {
                problems.push(format!("{origin}: {} is empty", entry.key.path));
                continue;
            } else if entry.key.secret && is_public(&path) {
                self.warnings.push(format!(
                    "{}: contains a secret and every user may read it; run chmod 640",
                    path.display()
                ));
            }
            self.values.insert(entry.key.path, Value { texts, origin });
        }
    }

    fn read_openvidu(&mut self, environment: &Environment, problems: &mut Vec<String>) {
        let translation = openvidu::translate(&openvidu::among(environment), Path::new(""));
        let mut values: BTreeMap<&'static str, Value> = BTreeMap::new();
        for taken in translation.taken {
            let value = values
                .entry(taken.key.path)
                .or_insert_with(|| Value { texts: Vec::new(), origin: Origin::OpenVidu(taken.name) });
            value.texts.push(taken.text);
        }
        self.values.append(&mut values);
        for left in translation.left {
            if left.refused {
                problems.push(format!("{}: {}", left.name, left.why));
            } else if left.why.contains("did you mean") {
                self.warnings.push(format!("{}: {}", left.name, left.why));
            }
        }
    }

    fn warn_of_variables(&mut self, environment: &Environment) {
        let names: Vec<String> = KEYS.iter().map(Key::variable).collect();
        for name in environment.keys().filter(|name| name.starts_with("MILLRACE_")) {
            let known = OTHER_VARIABLES.contains(&name.as_str()) || KEYS.iter().any(|key| owns(key, name));
            let near = || nearest(name, names.iter().map(String::as_str));
            if !known && let Some(near) = near() {
                self.warnings.push(format!("{name} is not a setting; did you mean {near}?"));
            }
        }
    }

    /// Environment variables that give a child process the same settings, without reading the file again. They contain only
    /// `wanted` keys, so a process gets no secret that it does not use.
    pub fn environment(&self, wanted: impl Fn(&Key) -> bool) -> Vec<(String, String)> {
        let mut variables = vec![(FILE_VARIABLE.to_owned(), "/dev/null".to_owned())];
        for key in KEYS.iter().filter(|key| wanted(key)) {
            let Some(value) = self.get(key) else { continue };
            match value.texts.as_slice() {
                [text] => variables.push((key.variable(), text.clone())),
                texts => variables.extend(
                    texts
                        .iter()
                        .enumerate()
                        .map(|(at, text)| (format!("{}_{at}", key.variable()), text.clone())),
                ),
            }
        }
        variables
    }
}

/// The variables of an environment that set a key: ours and those of OpenVidu.
pub fn setting_variables(environment: &Environment) -> Vec<String> {
    let theirs = openvidu::among(environment);
    let sets = |name: &String| theirs.contains_key(name) || KEYS.iter().any(|key| owns(key, name));
    environment.keys().filter(|name| sets(name)).cloned().collect()
}

/// Whether a variable sets the key: its value, one value of a list, or the file of a secret.
fn owns(key: &Key, name: &str) -> bool {
    match name.strip_prefix(&key.variable()) {
        Some("") => true,
        Some("_FILE") => key.secret,
        Some(index) => key.list && index.strip_prefix('_').is_some_and(|at| at.parse::<u8>().is_ok()),
        None => false,
    }
}

fn chosen(file: Option<&Path>, environment: &Environment) -> Option<PathBuf> {
    let named = || environment.get(FILE_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
    let usual = || Some(PathBuf::from(file::DEFAULT_FILE)).filter(|path| path.exists());
    file.map(Path::to_path_buf).or_else(named).or_else(usual)
}

fn from_environment(key: &Key, environment: &Environment) -> Result<Option<Value>, String> {
    let name = key.variable();
    let direct = environment.get(&name).filter(|text| key.secret || !text.is_empty());
    let indexed: Vec<String> =
        (0..u8::MAX).map_while(|at| environment.get(&format!("{name}_{at}")).cloned()).collect();
    let file_name = format!("{name}_FILE");
    let holder = environment.get(&file_name).filter(|path| key.secret && !path.is_empty());
    match (direct, holder) {
        (Some(_), Some(_)) => Err(format!("{name} and {file_name} are both set; remove one")),
        (Some(text), None) if text.is_empty() => Err(format!("{name} is empty")),
        (Some(text), None) => Ok(Some(Value { texts: vec![text.clone()], origin: Origin::Variable(name) })),
        (None, Some(path)) => {
            let secret = secret_in(Path::new(path)).map_err(|words| format!("{file_name}: {words}"))?;
            let origin = Origin::SecretFile(path.into(), Box::new(Origin::Variable(file_name)));
            Ok(Some(Value { texts: vec![secret], origin }))
        }
        (None, None) if key.list && !indexed.is_empty() => {
            Ok(Some(Value { texts: indexed, origin: Origin::Variable(format!("{name}_0…")) }))
        }
        (None, None) => Ok(None),
    }
}

/// The secret in a file, without white space around it. An empty file is an error; no secret is made in its place.
fn secret_in(path: &Path) -> Result<String, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    match text.trim() {
        "" => Err(format!("{} is empty", path.display())),
        secret if secret.len() > SECRET_LEN_MAX => Err(format!("{} is no secret: too long", path.display())),
        secret => Ok(secret.to_owned()),
    }
}

fn is_public(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata().is_ok_and(|meta| meta.permissions().mode() & 0o004 != 0)
}

#[cfg(test)]
mod tests {
    use millrace_testkit::scratch;

    use super::*;
    use crate::keys::by_path;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        let none = [(FILE_VARIABLE, "/dev/null")];
        none.iter().chain(pairs).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn said(settings: &Settings, path: &str) -> (String, String) {
        let value = settings.get(by_path(path).unwrap()).unwrap();
        (value.texts.join(" "), value.origin.to_string())
    }

    fn refused(file: Option<&Path>, pairs: &[(&str, &str)]) -> String {
        Settings::load(file, &environment(pairs)).unwrap_err().to_string()
    }

    #[test]
    fn the_environment_wins_over_openvidu_and_both_over_the_file() {
        let dir = scratch();
        let file = dir.join("a.toml");
        std::fs::write(&file, "[server]\nhttps-port = 1\nhttp-port = 1\n[relay]\nshards = 1\n").unwrap();
        let pairs = [
            ("MILLRACE_HTTPS_PORT", "3"),
            ("HTTPS_PORT", "2"),
            ("OPENVIDU_SECRET", "secret of a deployment"),
            ("MILLRACE_HTTP_PORT", "3"),
            ("MILLRACE_SHARDS", ""),
        ];
        let settings = Settings::load(Some(&file), &environment(&pairs)).unwrap();
        assert_eq!(said(&settings, "server.https-port"), ("3".into(), "MILLRACE_HTTPS_PORT".into()));
        assert_eq!(said(&settings, "server.http-port").0, "3");
        assert_eq!(said(&settings, "relay.shards"), ("1".into(), format!("{}:5", file.display())));
        assert_eq!(said(&settings, "server.secret").1, "OPENVIDU_SECRET (OpenVidu)");
        let settings = Settings::load(Some(&file), &environment(&pairs[1..])).unwrap();
        assert_eq!(said(&settings, "server.https-port"), ("2".into(), "HTTPS_PORT (OpenVidu)".into()));
    }

    #[test]
    fn a_secret_may_stand_in_a_file_of_its_own() {
        let dir = scratch();
        let holder = dir.join("secret");
        let path = holder.to_str().unwrap();
        std::fs::write(&holder, "well kept\n").unwrap();
        let settings = Settings::load(None, &environment(&[("MILLRACE_SECRET_FILE", path)])).unwrap();
        assert_eq!(
            said(&settings, "server.secret"),
            ("well kept".into(), format!("{path} (MILLRACE_SECRET_FILE)"))
        );

        let file = dir.join("a.toml");
        std::fs::write(&file, format!("[server]\nsecret-file = \"{path}\"\n")).unwrap();
        let settings = Settings::load(Some(&file), &environment(&[])).unwrap();
        assert_eq!(said(&settings, "server.secret").0, "well kept");

        assert!(refused(None, &[("MILLRACE_SECRET_FILE", path), ("MILLRACE_SECRET", "x")]).contains("both"));
        std::fs::write(&holder, " \n").unwrap();
        assert!(refused(None, &[("MILLRACE_SECRET_FILE", path)]).contains("is empty"));
        assert!(refused(Some(&file), &[]).contains("is empty"));
        assert!(refused(None, &[("MILLRACE_SECRET_FILE", "/nowhere")]).contains("/nowhere"));
        assert!(refused(None, &[("MILLRACE_SECRET", "")]).contains("is empty"));
    }

    #[test]
    fn lists_come_at_once_or_by_index() {
        let settings = Settings::load(
            None,
            &environment(&[("MILLRACE_PUBLIC_IP_0", "192.0.2.1"), ("MILLRACE_PUBLIC_IP_1", "::1")]),
        )
        .unwrap();
        assert_eq!(said(&settings, "server.public-ip").0, "192.0.2.1 ::1");
        let settings =
            Settings::load(None, &environment(&[("MILLRACE_PUBLIC_IP", "192.0.2.1,::1")])).unwrap();
        assert_eq!(said(&settings, "server.public-ip").0, "192.0.2.1,::1");
    }

    #[test]
    fn a_child_is_told_the_same() {
        let pairs = [
            ("DOMAIN_OR_PUBLIC_IP", "192.0.2.1"),
            ("PROXY_PUBLIC_IP", "192.0.2.2"),
            ("MILLRACE_SHARDS", "2"),
        ];
        let settings = Settings::load(None, &environment(&pairs)).unwrap();
        let handed: Environment = settings.environment(|_| true).into_iter().collect();
        let again = Settings::load(None, &handed).unwrap();
        for key in KEYS {
            let texts = |settings: &Settings| settings.get(key).map(|value| value.texts.clone());
            assert_eq!(texts(&settings), texts(&again), "{}", key.path);
        }
        assert_eq!(said(&again, "server.public-ip").0, "192.0.2.1 192.0.2.2");
        let names = setting_variables(&environment(&[&pairs[..], &[("PATH", "/bin")]].concat()));
        assert_eq!(names, ["DOMAIN_OR_PUBLIC_IP", "MILLRACE_SHARDS", "PROXY_PUBLIC_IP"]);
    }

    #[test]
    fn a_slip_in_a_variable_is_noticed() {
        let settings = Settings::load(None, &environment(&[("MILLRACE_HTTPS_PROT", "1")])).unwrap();
        assert_eq!(
            settings.warnings,
            ["MILLRACE_HTTPS_PROT is not a setting; did you mean MILLRACE_HTTPS_PORT?"]
        );
        assert!(
            Settings::load(None, &environment(&[("MILLRACE_LOG", "debug")])).unwrap().warnings.is_empty()
        );
    }

    #[test]
    fn a_named_file_must_be_there() {
        assert!(refused(Some(Path::new("/nowhere.toml")), &[]).contains("/nowhere.toml"));
        assert!(
            refused(None, &[("OPENVIDU_RECORDING", "true"), ("OPENVIDU_SECRET", "x")])
                .contains("no recording")
        );
    }
}
