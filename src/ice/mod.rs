//! ICE-lite (RFC 8445 §2.5, RFC 8839): answers connectivity checks and follows what they say.
//!
//! ```text
//!   datagram ─► Message ─► username_local_ufrag ─► the peer's IceRecord and Agent
//!                                                    │
//!                     Agent::handle_binding ◄────────┘   ─► answer in the slot, Effect for the shard
//!                     handle_timeout, next_deadline       ─► consent (RFC 7675)
//! ```
//!
//! All that must survive a restart is in the [`IceRecord`]; an [`Agent`] is its keys made ready and nothing else.
//!
//! Rules, each with a test of its name:
//! - Nothing changes without a fresh check under our password; a wrong one is met with silence.
//! - The first valid path is sent on until a nomination; after that USE-CANDIDATE alone moves what is sent, never the
//!   mere arrival of checks or media (after a gap a browser pings from several ports).
//! - DTLS and media are listened to from every valid path and from no other.
//! - A path without a check for [`CONSENT_TIMEOUT`] is forgotten; with the last one the peer is gone.
//!
//! # What a lite agent can know, and what not
//!
//! A check proves that somebody knew our password when it was made. It covers neither the address it came from nor
//! the time. Whoever can copy a check on its way may send it again from elsewhere, and the HMAC will be right. So each
//! transaction counts once: a second datagram under it changes nothing, keeps no consent alive, and from an address
//! that is not valid it is dropped. What remains: a copy that overtakes its original, an original that was kept from
//! arriving, and a copy older than the last [`SEEN_CHECKS_MAX`](crate::records::ice::SEEN_CHECKS_MAX) checks. Such a
//! copy draws the (sealed) media to another address until the peer's next nominating check, which with browsers is at
//! most 2.5 s away. Ruling that out takes a check of our own towards the new address, which a lite agent does not send;
//! the peer's credentials are in the record should that ever change.

mod agent;
mod consent;
mod seen;
#[cfg(test)]
mod tests;

pub use crate::records::ice::{BadCredentials, CredentialsRecord, IceRecord};
pub use agent::{Agent, Effect, Handled};
pub use consent::{CONSENT_TIMEOUT, Lapse, handle_timeout, is_validated, next_deadline, selected};

use millrace_turn::Message;

/// Our user fragment in a check's USERNAME, which is `ours:theirs` (RFC 8445 §7.2.2); `None` when there is none.
pub fn username_local_ufrag<'a>(check: &Message<'a>) -> Option<&'a [u8]> {
    let username = check.username()?;
    let colon = username.iter().position(|byte| *byte == b':')?;
    username.get(..colon).filter(|ufrag| !ufrag.is_empty())
}
