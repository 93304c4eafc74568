//! The `Authorization` header of the REST API: HTTP Basic, user `OPENVIDUAPP`, the secret as password (RFC 7617).

use axum::http::HeaderValue;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// User name of the REST API.
const USER: &str = "OPENVIDUAPP";

/// The secret in a header. `None` when it holds none: another scheme, another user, or no Base64 of a text.
pub(super) fn secret_of(header: &HeaderValue) -> Option<String> {
    let (scheme, encoded) = header.to_str().ok()?.split_once(' ')?;
    // The scheme's name is case-insensitive (RFC 7235 §2.1).
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim_start()).ok()?).ok()?;
    let (user, secret) = decoded.split_once(':')?;
    (user == USER).then(|| secret.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Option<String> {
        secret_of(&HeaderValue::from_str(text).unwrap())
    }

    #[test]
    fn the_secret_is_the_password_of_one_user() {
        let of = |pair: &str| STANDARD.encode(pair);
        let right = of("OPENVIDUAPP:my:secret");
        for header in [format!("Basic {right}"), format!("bAsIc   {right}")] {
            assert_eq!(secret(&header).as_deref(), Some("my:secret"), "{header}");
        }
        for header in [
            String::new(),
            "Basic".into(),
            "Basic !".into(),
            format!("Bearer {right}"),
            format!("Basic{right}"),
            format!("Basic {}", of("OPENVIDUAPP")),
            format!("Basic {}", of("openviduapp:my:secret")),
        ] {
            assert_eq!(secret(&header), None, "{header}");
        }
        let no_text = [b"OPENVIDUAPP:".as_slice(), &[0xff]].concat();
        assert_eq!(secret(&format!("Basic {}", STANDARD.encode(no_text))), None);
    }
}
