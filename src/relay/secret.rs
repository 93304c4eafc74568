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

/// The secret in use: `given`, else the one in that file of the data directory, else a new one that is put there.
pub(crate) fn load_or_make(data_dir: &Path, file: &str, given: Option<&str>) -> io::Result<String> {
    if let Some(given) = given {
        return Ok(given.to_owned());
    }
    let path = data_dir.join(file);
    match fs::read_to_string(&path) {
        Ok(kept) if !kept.trim().is_empty() => Ok(kept.trim().to_owned()),
        Ok(_) => make(&path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => make(&path),
        Err(error) => Err(error),
    }
}

fn make(path: &Path) -> io::Result<String> {
    let secret: String = random::array::<SECRET_BYTES>().iter().map(|byte| format!("{byte:02x}")).collect();
    private_file::write(path, format!("{secret}\n").as_bytes())?;
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_made_once_and_a_given_one_wins() {
        let dir = std::env::temp_dir().join(format!("millrace-secret-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let first = load_or_make(&dir, REST, None).unwrap();
        assert_eq!(first.len(), 2 * SECRET_BYTES);
        assert_eq!(load_or_make(&dir, REST, None).unwrap(), first);
        assert_eq!(load_or_make(&dir, REST, Some("given")).unwrap(), "given");
        fs::remove_dir_all(&dir).unwrap();
    }
}
