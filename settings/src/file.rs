//! The settings file: TOML, one table for each group of keys.

use std::fs;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use crate::keys::{self, KEYS, Key};
use crate::suggest::nearest;

/// The file that is read if none is named and it exists.
pub const DEFAULT_FILE: &str = "/etc/millrace/millrace.toml";

/// Longest file that is read, in bytes.
const LEN_BYTES_MAX: u64 = 1 << 20;

/// The value of one key in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) key: &'static Key,
    pub(crate) texts: Vec<String>,
    /// Whether the text names a file that holds the value, as `secret-file = "…"` does.
    pub(crate) in_file: bool,
    /// From 1.
    pub(crate) line: usize,
}

/// Reads a file. Adds everything that is wrong with it to `problems`.
pub(crate) fn read(path: &Path, problems: &mut Vec<String>) -> Vec<Entry> {
    let shown = path.display();
    let text = match fs::metadata(path).and_then(|meta| {
        if meta.len() > LEN_BYTES_MAX { Ok(None) } else { fs::read_to_string(path).map(Some) }
    }) {
        Ok(Some(text)) => text,
        Ok(None) => {
            problems.push(format!("{shown}: longer than {LEN_BYTES_MAX} bytes"));
            return Vec::new();
        }
        Err(error) => {
            problems.push(format!("{shown}: {error}"));
            return Vec::new();
        }
    };
    let (entries, found) = parse(&text);
    problems.extend(found.into_iter().map(|(line, words)| format!("{shown}:{line}: {words}")));
    entries
}

/// The entries of a text, and its problems with their lines.
pub(crate) fn parse(text: &str) -> (Vec<Entry>, Vec<(usize, String)>) {
    let line_of = |offset: usize| 1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count();
    let (mut entries, mut problems) = (Vec::new(), Vec::new());
    let tables = match DeTable::parse(text) {
        Ok(tables) => tables,
        Err(error) => {
            let line = error.span().map_or(1, |span| line_of(span.start));
            return (entries, vec![(line, error.message().to_owned())]);
        }
    };
    for (table, content) in tables.get_ref() {
        let line = line_of(table.span().start);
        let table = table.get_ref().as_ref();
        if !KEYS.iter().any(|key| key.parts().0 == table) {
            problems.push((line, unknown_table(table)));
            continue;
        }
        let Some(content) = content.get_ref().as_table() else {
            problems.push((line, format!("{table} is a table, [{table}], not a value")));
            continue;
        };
        for (name, value) in content {
            let line = line_of(name.span().start);
            match entry(table, name.get_ref(), value.get_ref(), line) {
                Ok(entry) => entries.push(entry),
                Err(words) => problems.push((line, words)),
            }
        }
    }
    (entries, problems)
}

fn unknown_table(table: &str) -> String {
    // More likely, a key stands outside of its table.
    if let Some(key) = KEYS.iter().find(|key| key.flag == table || key.parts().1 == table) {
        let (table, name) = key.parts();
        return format!("{name} belongs to the table [{table}]");
    }
    match nearest(table, KEYS.iter().map(|key| key.parts().0)) {
        Some(known) => format!("unknown table [{table}]; did you mean [{known}]?"),
        None => format!("unknown table [{table}]; `millrace config keys` lists what there is"),
    }
}

fn entry(table: &str, name: &str, value: &DeValue<'_>, line: usize) -> Result<Entry, String> {
    let path = format!("{table}.{name}");
    let holder = path.strip_suffix("-file").and_then(keys::by_path).filter(|key| key.secret);
    let key = match (keys::by_path(&path), holder) {
        (Some(key), _) => key,
        (None, Some(key)) => {
            let texts = vec![scalar(&path, value)?];
            return Ok(Entry { key, texts, in_file: true, line });
        }
        (None, None) => return Err(unknown_key(table, &path)),
    };
    let texts = match value {
        DeValue::Array(values) if key.list => {
            values.iter().map(|value| scalar(&path, value.get_ref())).collect::<Result<_, _>>()?
        }
        value => vec![scalar(&path, value)?],
    };
    Ok(Entry { key, texts, in_file: false, line })
}

fn unknown_key(table: &str, path: &str) -> String {
    let name = path.strip_prefix(table).unwrap_or(path).trim_start_matches('.');
    // First the same name in another table, then the nearest name in this table, then in all tables.
    let elsewhere = KEYS.iter().find(|key| key.parts().1 == name || key.flag == name).map(|key| key.path);
    let here = || nearest(path, KEYS.iter().filter(|key| key.parts().0 == table).map(|key| key.path));
    let anywhere = || nearest(path, KEYS.iter().map(|key| key.path));
    match elsewhere.or_else(here).or_else(anywhere) {
        Some(known) => format!("unknown key {path}; did you mean {known}?"),
        None => format!("unknown key {path}; `millrace config keys` lists what there is"),
    }
}

/// A value as text, as on the command line.
fn scalar(path: &str, value: &DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map(|number| number.to_string())
            .map_err(|error| format!("{path}: {error}")),
        DeValue::Float(number) => Ok(number.as_str().to_owned()),
        DeValue::Boolean(on) => Ok(on.to_string()),
        other => Err(format!("{path}: a {} is not allowed here", other.type_str())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> (usize, String) {
        let (_, mut problems) = parse(text);
        assert_eq!(problems.len(), 1, "{text}: {problems:?}");
        problems.remove(0)
    }

    #[test]
    fn values_of_every_kind_are_read() {
        let (entries, problems) = parse(
            "[server]\nhttps-port = 4_443\npublic-ip = [\"192.0.2.1\", \"::1\"]\nsecret-file = \"/run/s\"\n\
             [streams]\nforced-video-codec = \"VP9\"\n",
        );
        assert_eq!(problems, []);
        let read: Vec<_> = entries
            .iter()
            .map(|entry| (entry.key.path, entry.texts.join(" "), entry.in_file, entry.line))
            .collect();
        assert_eq!(
            read,
            [
                ("server.https-port", "4443".into(), false, 2),
                ("server.public-ip", "192.0.2.1 ::1".into(), false, 3),
                ("server.secret", "/run/s".into(), true, 4),
                ("streams.forced-video-codec", "VP9".into(), false, 6),
            ]
        );
        assert_eq!(parse("").0, []);
    }

    #[test]
    fn an_unknown_key_comes_with_a_suggestion() {
        for (text, line, words) in [
            ("[server]\nhttps-prot = 1", 2, "did you mean server.https-port?"),
            ("[server]\n\nshards = 1", 3, "did you mean relay.shards?"),
            ("[sever]\nhttps-port = 1", 1, "did you mean [server]?"),
            ("https-port = 1", 1, "https-port belongs to the table [server]"),
            ("[garbage]\ngarbage-interval-s = 1", 2, "did you mean garbage.interval-s?"),
            ("[server]\nquite-something-else = 1", 2, "`millrace config keys`"),
            ("[server]\nhttps-port-file = \"x\"", 2, "unknown key server.https-port-file"),
        ] {
            let (at, said) = problem(text);
            assert!(said.contains(words) && at == line, "{text}: {at}: {said}");
        }
    }

    #[test]
    fn what_is_no_value_is_refused_where_it_stands() {
        for (text, line) in [
            ("[server]\nhttps-port = [1]", 2),
            ("[server]\nhttps-port = {a = 1}", 2),
            ("server = 1", 1),
            ("[server]\nhttps-port = 1979-05-27", 2),
            ("[server]\nhttps-port = 99999999999999999999", 2),
            ("[server]\nhttps-port = 1\nhttps-port = 2", 3),
            ("[server\n", 1),
        ] {
            assert_eq!(problem(text).0, line, "{text}");
        }
    }

    #[test]
    fn every_problem_is_told() {
        assert_eq!(parse("[server]\na = 1\nb = 2\n[nothing-like-it]\n").1.len(), 3);
    }
}
