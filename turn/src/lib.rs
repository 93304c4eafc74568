//! STUN (RFC 8489) as views and writers over byte slices, and a TURN server (RFC 8656) on top: no sockets, no clock, no
//! allocation per packet.
//!
//! ```text
//!   datagram ──► Message::parse ──► typed attributes, integrity(&key), fingerprint()
//!   slot     ◄── Writer::success / error / request, attributes in order, integrity, fingerprint, finish
//! ```
//!
//! [`Message`] borrows the datagram and never fails half way: what parses is within bounds for good, and what follows
//! an integrity attribute is out of reach (RFC 8489 §14.5). [`Writer`] fills a slot that the caller owns.
//! [`IntegrityKey`] holds an HMAC state that was set up once, so a check costs hashing and nothing else.
//! [`Allowance`] bounds what strangers may make us answer, and [`answer_binding`] is that answer. [`server`] relays, and [`stream`] cuts
//! streams into messages.
//!
//! ```
//! use millrace_turn::{IntegrityKey, Message, Method, TransactionId, Verdict, Writer};
//!
//! let key = IntegrityKey::short_term(b"secret");
//! let mut slot = [0; 128];
//! let mut writer = Writer::request(&mut slot, Method::BINDING, TransactionId([7; 12]));
//! writer.username(b"them:us");
//! writer.integrity(&key);
//! writer.fingerprint();
//! let len = writer.finish()?;
//!
//! let message = Message::parse(&slot[..len])?;
//! assert_eq!(message.username(), Some(&b"them:us"[..]));
//! assert_eq!(message.integrity(&key), Verdict::Valid);
//! assert_eq!(message.fingerprint(), Verdict::Valid);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Nothing in here panics on bytes from the network.

#![forbid(unsafe_code)]

mod address;
mod allowance;
mod attribute;
mod binding;
mod error_code;
mod fingerprint;
mod integrity;
mod md5;
mod message;
pub mod server;
pub mod stream;
mod writer;

#[cfg(test)]
mod rfc5769;

pub use allowance::{ALLOWANCE_BURST, ALLOWANCE_PER_SECOND, Allowance};
pub use attribute::{Attribute, AttributeType, UNKNOWN_MAX, UnknownAttributes};
pub use binding::answer_binding;
pub use error_code::ErrorCode;
pub use integrity::{INTEGRITY_BYTES, IntegrityKey, IntegrityKeySha256};
pub use message::{
    Attributes, Class, HEADER_BYTES, Malformed, Message, Method, TransactionId, Verdict, is_stun,
};
pub use writer::{SlotTooSmall, Writer};
