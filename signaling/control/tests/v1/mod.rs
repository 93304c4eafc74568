//! Version 1 of the contract, pinned: the messages as of commit 0a7aebb, the last one that spoke only that.
//!
//! Never change this file. Tests speak it to today's relay and to today's signaling; `messages.rs` is a copy, and frames
//! have not changed since.

#![allow(dead_code, reason = "each test uses a part of it")]
#![allow(missing_docs, unreachable_pub, clippy::doc_markdown, reason = "a pinned copy")]

mod messages;

pub use messages::*;

/// The version; each side refused the `Hello` of any other.
pub const VERSION: u32 = 1;
