//! Ids in the shapes OpenVidu gives them, drawn from the thread's cryptographic generator.

use rand::Rng as _;
use rand::seq::IndexedRandom as _;

const UPPERCASE: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const LOWERCASE_DIGITS: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
const ALPHANUMERIC: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// `ses_` + one uppercase letter + 9 alphanumerics.
pub fn session() -> String {
    tagged("ses_", 9)
}

/// `con_` + one uppercase letter + 9 alphanumerics.
pub fn connection() -> String {
    tagged("con_", 9)
}

/// `tok_` + one uppercase letter + 15 alphanumerics: 94 bits, good for one use, and dead with its session.
pub fn token() -> String {
    tagged("tok_", 15)
}

/// `str_<kind>_<Uxxx>_<connection>`.
pub fn stream(kind: &str, connection: &str) -> String {
    let mut id = tagged(&format!("str_{kind}_"), 3);
    id.push('_');
    id.push_str(connection);
    id
}

/// Private id of an RPC session: 26 characters, 134 bits.
pub fn rpc_session() -> String {
    drawn(LOWERCASE_DIGITS, 26)
}

/// Id for logs: 16 hexadecimal digits.
pub fn final_user() -> String {
    format!("{:016X}", rand::rng().random::<u64>())
}

/// A secret for a first start: 32 alphanumerics.
pub fn secret() -> String {
    drawn(ALPHANUMERIC, 32)
}

/// `len` ice-chars (RFC 8839 §5.4).
pub fn ice(len: usize) -> String {
    drawn(ALPHANUMERIC, len)
}

/// An id for the relay: any number but 0.
pub fn relay() -> u64 {
    rand::rng().random_range(1..=u64::MAX)
}

/// An SSRC: any number but 0.
pub fn ssrc() -> u32 {
    rand::rng().random_range(1..=u32::MAX)
}

/// Whether `id` may be a session id the application chose: `[a-zA-Z0-9_-]+`, of bearable length.
pub fn is_custom_session(id: &str) -> bool {
    const LEN_MAX: usize = 255;
    (1..=LEN_MAX).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

fn tagged(tag: &str, len: usize) -> String {
    format!("{tag}{}{}", drawn(UPPERCASE, 1), drawn(ALPHANUMERIC, len))
}

fn drawn(alphabet: &[u8], len: usize) -> String {
    let mut rng = rand::rng();
    let letter = |_| char::from(*alphabet.choose(&mut rng).expect("the alphabet is not empty"));
    (0..len).map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has_shape(id: &str, tag: &str, len: usize) -> bool {
        let Some(rest) = id.strip_prefix(tag) else { return false };
        rest.len() == len + 1
            && rest.starts_with(|c: char| c.is_ascii_uppercase())
            && rest.chars().all(|c| c.is_ascii_alphanumeric())
    }

    #[test]
    fn ids_have_the_shapes_clients_parse() {
        for _ in 0..200 {
            assert!(has_shape(&session(), "ses_", 9));
            assert!(has_shape(&connection(), "con_", 9));
            assert!(has_shape(&token(), "tok_", 15));
        }
        let id = stream("CAM", "con_A");
        assert!(has_shape(id.strip_suffix("_con_A").unwrap(), "str_CAM_", 3), "{id}");
        assert!(ice(24).len() == 24 && ice(24).bytes().all(|byte| byte.is_ascii_alphanumeric()));
        assert_ne!(ice(24), ice(24));
        assert_eq!(rpc_session().len(), 26);
        assert_ne!(rpc_session(), rpc_session());
    }

    #[test]
    fn a_chosen_session_id_is_plain() {
        for good in ["a", "Room-1_x", &"x".repeat(255)] {
            assert!(is_custom_session(good));
        }
        for bad in ["", "a b", "ä", "a/b", "../a", &"x".repeat(256)] {
            assert!(!is_custom_session(bad), "{bad}");
        }
    }
}
