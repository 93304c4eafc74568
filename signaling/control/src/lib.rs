//! The contract between the two processes of Millrace, owned by neither.
//!
//! Signaling connects to the relay's Unix socket and sends [`ToRelay`] frames; the relay answers each with exactly
//! one [`FromRelay`] frame that carries the same `request` number, and adds events (`request` 0) of its own.
//!
//! * **Ids are minted by signaling**, so a repeated command is harmless: every `Put…` carries the whole desired
//!   state of one thing and replaces what was there under the same id.
//! * **Order of a reconnect**: `Hello` both ways, [`SnapshotRequest`], then signaling removes what nobody claims and
//!   replays what the relay lacks, but for peers whose keys went with the relay's memory.
//! * **Growth**: fields are only ever added (protobuf rules), so a relay one release older or newer still
//!   understands the frames; [`VERSION`] changes only when that is no longer true.
//!
//! Frames are protobuf messages behind a four-byte big-endian length (see [`frame`]).

pub mod frame;
mod messages;

pub use messages::*;

/// Version of this contract. Each side refuses the `Hello` of any other.
pub const VERSION: u32 = 1;
