//! Secrets that both processes know: given, or made once and kept.

use std::fs;
use std::io;
use std::path::Path;

use crate::crypto::random;
use crate::io::private_file;

/// Random bytes of a secret that we make.
const SECRET_BYTES: usize = 16;

/// File of the REST API's secret.
pub(crate) const REST: &str = "secret";
/// File of the secret that TURN credentials are made from.
pub(crate) const TURN: &str = "turn.secret";

/// A secret in use.
pub(crate) struct Secret {
    pub(crate) text: String,
    /// Whether this start made it, so that nobody knows it yet.
    pub(crate) is_new: bool,
}

impl Secret {
    fn known(text: &str) -> Self {
        Self { text: text.to_owned(), is_new: false }
    }
}

/// The secret in use: `given`, else the one in that file of the data directory, else a new one that is written there.
pub(crate) fn load_or_make(data_dir: &Path, file: &str, given: Option<&str>) -> io::Result<Secret> {
    if let Some(given) = given {
        return Ok(Secret::known(given));
    }
    let path = data_dir.join(file);
    match fs::read_to_string(&path) {
        Ok(kept) if !kept.trim().is_empty() => Ok(Secret::known(kept.trim())),
        Ok(_) => make(&path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => make(&path),
        Err(error) => Err(error),
    }
}

fn make(path: &Path) -> io::Result<Secret> {
    let text: String = random::array::<SECRET_BYTES>().iter().map(|byte| format!("{byte:02x}")).collect();
    private_file::write(path, format!("{text}\n").as_bytes())?;
    Ok(Secret { text, is_new: true })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_made_once_and_a_given_one_wins() {
        let scratch = millrace_testkit::scratch();
        let dir = &scratch;
        let first = load_or_make(dir, REST, None).unwrap();
        assert!(first.is_new && first.text.len() == 2 * SECRET_BYTES);
        let again = load_or_make(dir, REST, None).unwrap();
        assert!(!again.is_new && again.text == first.text);
        let given = load_or_make(dir, REST, Some("given")).unwrap();
        assert!(!given.is_new && given.text == "given");
    }
}
