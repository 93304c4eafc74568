//! `millrace config import-openvidu` and `import-coturn`: convert another server's settings.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::ExitCode;

use millrace_settings::EXIT_CONFIG;
use millrace_settings::coturn;
use millrace_settings::openvidu::{Translation, parse_env, translate};

/// Reads the `.env` of an OpenVidu 2 deployment, writes the settings to `output` or `out`, and reports on standard error what
/// became of each variable.
pub(super) fn openvidu(env_file: &Path, output: Option<&Path>, out: &mut impl Write) -> io::Result<ExitCode> {
    let text = fs::read_to_string(env_file).map_err(|error| named(env_file, error))?;
    let variables = match parse_env(&text) {
        Ok(variables) => variables,
        Err(words) => {
            eprintln!("millrace: {}: {words}", env_file.display());
            return Ok(ExitCode::from(EXIT_CONFIG));
        }
    };
    // The certificate is beside the file. Its path is absolute, because the server may start in another directory.
    let dir = fs::canonicalize(env_file).map_err(|error| named(env_file, error))?;
    let translation = translate(&variables, dir.parent().unwrap_or(&dir));
    finish(
        "Made of the .env of an OpenVidu 2 deployment by `millrace config import-openvidu`.",
        &translation,
        output,
        out,
    )
}

/// The same for a coturn's `turnserver.conf`.
pub(super) fn coturn(conf: &Path, output: Option<&Path>, out: &mut impl Write) -> io::Result<ExitCode> {
    let text = fs::read_to_string(conf).map_err(|error| named(conf, error))?;
    let translation = coturn::translate(&coturn::parse_conf(&text));
    finish("Made of a turnserver.conf by `millrace config import-coturn`.", &translation, output, out)
}

fn named(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn finish(
    made_of: &str,
    translation: &Translation,
    output: Option<&Path>,
    out: &mut impl Write,
) -> io::Result<ExitCode> {
    let settings = toml(made_of, translation);
    match output {
        // It may hold a secret.
        Some(path) => fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .and_then(|mut file| file.write_all(settings.as_bytes()))
            .map_err(|error| named(path, error))?,
        None => out.write_all(settings.as_bytes())?,
    }
    eprint!("{}", report(translation));
    Ok(ExitCode::SUCCESS)
}

/// The settings file, in the order of the table of keys.
fn toml(made_of: &str, translation: &Translation) -> String {
    let mut text = format!("# {made_of}\n");
    let mut table = "";
    let mut rest = translation.taken.as_slice();
    while let Some(first) = rest.first() {
        let many = rest.iter().take_while(|taken| taken.key == first.key).count();
        let values: Vec<String> = rest[..many].iter().map(|taken| quoted(&taken.text)).collect();
        let (group, name) = first.key.parts();
        if group != table {
            text += &format!("\n[{group}]\n");
            table = group;
        }
        let value = if first.key.list { format!("[{}]", values.join(", ")) } else { values[0].clone() };
        text += &format!("{name} = {value}\n");
        rest = &rest[many..];
    }
    text
}

/// A number or a boolean as it is, everything else as a TOML string.
fn quoted(text: &str) -> String {
    let is_number = text.parse::<u32>().is_ok_and(|number| number.to_string() == text);
    if is_number || matches!(text, "true" | "false") {
        return text.to_owned();
    }
    let escape = |letter: char| match letter {
        '"' | '\\' => format!("\\{letter}"),
        control if control.is_control() => format!("\\u{:04X}", u32::from(control)),
        other => other.to_string(),
    };
    format!("\"{}\"", text.chars().map(escape).collect::<String>())
}

fn report(translation: &Translation) -> String {
    let taken = translation.taken.iter().map(|taken| {
        let value = if taken.key.secret { "(not shown)" } else { &taken.text };
        ("taken", &taken.name, format!("{} = {value}", taken.key.path))
    });
    let left = translation.left.iter().map(|left| {
        let what = if left.refused { "LEFT" } else { "left" };
        (what, &left.name, left.why.clone())
    });
    let mut rows: Vec<_> = taken.chain(left).collect();
    rows.sort_by_key(|(what, ..)| *what != "LEFT");
    let width = rows.iter().map(|(_, name, _)| name.len()).max().unwrap_or(0);
    let mut text: String =
        rows.iter().map(|(what, name, words)| format!("{what:5}  {name:width$}  {words}\n")).collect();
    if rows.iter().any(|(what, ..)| *what == "LEFT") {
        text += "Look after what is LEFT in capitals: without it, this is not the server that you had.\n";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_says_what_was_taken() {
        let variables = parse_env(
            "DOMAIN_OR_PUBLIC_IP=192.0.2.1\nPROXY_PUBLIC_IP=192.0.2.2\nHTTPS_PORT=4443\nOPENVIDU_SECRET=a\"b\\c\n\
             OPENVIDU_SESSIONS_GARBAGE_INTERVAL=0\n",
        )
        .unwrap();
        let text = toml("Made.", &translate(&variables, Path::new("/x")));
        let lines: Vec<_> = text.lines().skip(2).collect();
        assert_eq!(
            lines,
            [
                "[server]",
                "public-url = \"https://192.0.2.1:4443\"",
                "public-ip = [\"192.0.2.1\", \"192.0.2.2\"]",
                "https-port = 4443",
                "secret = \"a\\\"b\\\\c\"",
                "",
                "[garbage]",
                "interval-s = 0",
            ]
        );
    }

    #[test]
    fn the_table_shows_no_secret_and_shouts_what_matters() {
        let variables =
            parse_env("OPENVIDU_SECRET=very secret\nOPENVIDU_RECORDING=true\nCALL_X=1\n").unwrap();
        let text = report(&translate(&variables, Path::new("/x")));
        assert!(text.starts_with("LEFT   OPENVIDU_RECORDING") && text.contains("no recording"), "{text}");
        assert!(text.contains("left   CALL_X") && !text.contains("very secret"), "{text}");
    }
}
