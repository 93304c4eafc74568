//! Signed invitations: a text that lets its holder into one session, with one role, until it expires.
//!
//! The server keeps no list of them. An invitation is its own proof: the claims as JSON and an HMAC-SHA256 over them, both
//! in base64url (RFC 4648 §5), with a dot between. Everybody may read the claims; only the holder of the key can write
//! them.

use aws_lc_rs::hmac::{self, HMAC_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::session::Role;

/// Length of the key, in bytes: that of the hash (RFC 2104 §3).
pub const INVITATION_KEY_LEN: usize = 32;

/// Longest text that is looked at, in bytes. Ours are shorter: a session's id has at most 255 bytes, a name 256.
const TEXT_LEN_MAX: usize = 2_048;

/// What the key signs besides the claims, so that a signature made for another purpose is none here.
const PURPOSE: &str = "millrace invitation 1\n";

/// What an invitation says.
///
/// A claim that this release does not know is refused, since it may restrict what the others allow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Invitation {
    /// The session it leads into.
    pub session: String,
    /// The role of everybody who enters by it.
    pub role: Role,
    /// When it expires, in seconds since 1970.
    pub expires_at_s: u64,
    /// Whether it makes the session when there is none.
    #[serde(default, skip_serializing_if = "is_false")]
    pub creates: bool,
    /// What the application says of the guest. The other participants see it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A random text, so that no two invitations are the same.
    pub nonce: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
const fn is_false(value: &bool) -> bool {
    !*value
}

/// Why an invitation does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvitationError {
    /// It is not one that this server signed, or it has been changed.
    Forged,
    /// It was good until some time ago.
    Expired,
}

/// Signs invitations, and checks them.
pub struct Invitations {
    key: hmac::Key,
}

impl Invitations {
    /// With this key.
    pub fn new(key: &[u8; INVITATION_KEY_LEN]) -> Self {
        Self { key: hmac::Key::new(HMAC_SHA256, key) }
    }

    /// The text of an invitation. It may stand in a URL as it is.
    pub fn sign(&self, invitation: &Invitation) -> String {
        let claims = serde_json::to_vec(invitation).expect("plain values with text keys are always JSON");
        let claims = URL_SAFE_NO_PAD.encode(claims);
        let tag = hmac::sign(&self.key, signed(&claims).as_bytes());
        format!("{claims}.{}", URL_SAFE_NO_PAD.encode(tag))
    }

    /// The invitation in a text, if this server signed it and it has not expired at `now_s` (seconds since 1970).
    ///
    /// # Errors
    /// When it does not count. The signature is checked first, in constant time.
    pub fn verify(&self, text: &str, now_s: u64) -> Result<Invitation, InvitationError> {
        let claims = self.authentic(text).ok_or(InvitationError::Forged)?;
        let invitation: Invitation = serde_json::from_slice(&claims).map_err(|_| InvitationError::Forged)?;
        if invitation.expires_at_s <= now_s {
            return Err(InvitationError::Expired);
        }
        Ok(invitation)
    }

    fn authentic(&self, text: &str) -> Option<Vec<u8>> {
        let (claims, tag) = text.split_once('.').filter(|_| text.len() <= TEXT_LEN_MAX)?;
        let tag = URL_SAFE_NO_PAD.decode(tag).ok()?;
        hmac::verify(&self.key, signed(claims).as_bytes(), &tag).ok()?;
        URL_SAFE_NO_PAD.decode(claims).ok()
    }
}

fn signed(claims: &str) -> String {
    format!("{PURPOSE}{claims}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_S: u64 = 1_000_000;

    fn invitation() -> Invitation {
        Invitation {
            session: "room-1".into(),
            role: Role::Publisher,
            expires_at_s: NOW_S + 1,
            creates: true,
            name: Some("Ann".into()),
            nonce: "abc".into(),
        }
    }

    fn invitations(byte: u8) -> Invitations {
        Invitations::new(&[byte; INVITATION_KEY_LEN])
    }

    #[test]
    fn it_says_what_was_signed_until_it_expires() {
        let server = invitations(1);
        let text = server.sign(&invitation());
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        assert!(text.chars().all(is_plain), "{text} may stand in a URL");
        assert_eq!(server.verify(&text, NOW_S), Ok(invitation()));
        assert_eq!(server.verify(&text, NOW_S + 1), Err(InvitationError::Expired));
        assert_eq!(invitations(2).verify(&text, NOW_S), Err(InvitationError::Forged), "another key");
    }

    #[test]
    fn no_letter_of_it_may_change() {
        let server = invitations(1);
        let text = server.sign(&invitation());
        for at in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(server.verify(&changed, NOW_S), Err(InvitationError::Forged), "{changed}");
        }
        for bad in
            ["", ".", "a.b", &text[1..], &format!("{text}A"), &format!("{text}.{text}"), &"A".repeat(9_999)]
        {
            assert_eq!(server.verify(bad, NOW_S), Err(InvitationError::Forged), "{bad}");
        }
    }

    #[test]
    fn a_claim_that_is_not_known_is_refused_though_it_is_signed() {
        let server = invitations(1);
        let mut claims = serde_json::to_value(invitation()).unwrap();
        claims["only_on_mondays"] = true.into();
        let claims = URL_SAFE_NO_PAD.encode(claims.to_string());
        let tag = URL_SAFE_NO_PAD.encode(hmac::sign(&server.key, signed(&claims).as_bytes()));
        assert_eq!(server.verify(&format!("{claims}.{tag}"), NOW_S), Err(InvitationError::Forged));
    }
}
