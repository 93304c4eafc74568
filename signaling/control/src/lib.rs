//! The contract between the two processes of Millrace, owned by neither.
//!
//! Signaling connects to the relay's Unix socket and sends [`ToRelay`] frames. The relay answers each with one
//! [`FromRelay`] frame that carries the same `request` number, or for a snapshot with several, and adds events (`request`
//! 0) of its own.
//!
//! * **Signaling makes the ids**, so a repeated command is harmless: every `Put…` carries the whole desired state of one
//!   thing and replaces what was there under the same id.
//! * **Commands may be pipelined.** Those of one shard are carried out in the order in which they were sent.
//! * **No answer is lost.** When signaling does not read, the relay cuts the connection. Events are merged by peer
//!   instead.
//! * **After a reconnect**: `Hello` both ways, a snapshot of each shard, then for each shard that answered completely
//!   signaling removes what it does not want and puts what is missing, but for peers whose keys went with the relay's
//!   memory. What a shard holds that did not answer is unknown, and nothing of it is removed.
//! * **Growth**: fields are only ever added (protobuf rules). Each side says which [versions](VERSION) it speaks; both
//!   use the highest that both know, and each release speaks the one of the release before it.
//!
//! Frames are protobuf messages behind a four-byte big-endian length (see [`frame`]).

pub mod frame;
mod messages;
mod version;

pub use messages::*;
pub use version::{VERSION, VERSION_MIN, agree};

/// The only [fence](ToRelay::fence) there is as long as one signaling process owns all rooms.
pub const FENCE: u64 = 1;

/// Longest [memo](PutPeer::memo), in bytes.
pub const MEMO_BYTES_MAX: usize = 1_024;

/// Most ids in one [`RemovePeers`]: as many commands as a shard carries out between two looks at its media.
pub const REMOVED_PEERS_MAX: usize = 32;

/// Most entries in one page of a [`Snapshot`]: peers, tracks and subscriptions together.
pub const PAGE_ENTRIES_MAX: usize = 1_024;
