//! What the relay answers.

use prost::{Enumeration, Message, Oneof};

use super::{Event, RelayHello, Snapshot};

/// One frame from the relay to signaling.
#[derive(Clone, PartialEq, Message)]
pub struct FromRelay {
    /// Number of the request this answers; 0 for an event.
    #[prost(uint64, tag = "1")]
    pub request: u64,
    /// The answer or the event.
    #[prost(oneof = "Reply", tags = "2, 3, 4, 5, 6, 7")]
    pub reply: Option<Reply>,
}

/// What the relay says.
#[derive(Clone, PartialEq, Oneof)]
pub enum Reply {
    /// Answer to `Hello`.
    #[prost(message, tag = "2")]
    Hello(RelayHello),
    /// The command was carried out.
    #[prost(message, tag = "3")]
    Done(Done),
    /// The command was refused and changed nothing.
    #[prost(message, tag = "4")]
    Rejected(Rejected),
    /// One page of the answer to `Snapshot`. The only answer of several frames: the last page is
    /// [complete](Snapshot::complete).
    #[prost(message, tag = "5")]
    Snapshot(Snapshot),
    /// Answer to `Counters`.
    #[prost(message, tag = "6")]
    Counters(Counters),
    /// Something happened that no request asked for.
    #[prost(message, tag = "7")]
    Event(Event),
}

/// The command was carried out.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Done {}

/// The command was refused.
#[derive(Clone, PartialEq, Message)]
pub struct Rejected {
    /// Why, for programs.
    #[prost(enumeration = "Rejection", tag = "1")]
    pub reason: i32,
    /// Why, in words an operator can act on.
    #[prost(string, tag = "2")]
    pub message: String,
    /// With [`Rejection::Stale`]: the fence that the shard knows for the room. Else 0.
    #[prost(uint64, tag = "3")]
    pub fence: u64,
}

/// Reasons of a refusal. A receiver takes a reason it does not know for `Refused`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum Rejection {
    /// A field is missing or out of range.
    Invalid = 0,
    /// The shard's mailbox is full; try again.
    Busy = 1,
    /// A table of the shard is full; place the session elsewhere.
    Full = 2,
    /// No such shard, peer or track.
    Unknown = 3,
    /// The contract versions do not match, or the command is not allowed here.
    Refused = 4,
    /// Another signaling process owns the room by now ([`ToRelay::fence`](super::ToRelay::fence)).
    Stale = 5,
    /// The relay does not know how to do this yet.
    Unsupported = 6,
}

/// Counters of every shard, and of what is beside them.
#[derive(Clone, PartialEq, Message)]
pub struct Counters {
    /// One entry a shard. A shard that does not answer within 2 s has none.
    #[prost(message, repeated, tag = "1")]
    pub shards: Vec<ShardCounters>,
    /// Those of the thread that TCP and TLS clients reach, in a fixed order; none when there is none.
    #[prost(message, repeated, tag = "2")]
    pub edge: Vec<Counter>,
}

/// Counters of one shard since it started.
#[derive(Clone, PartialEq, Message)]
pub struct ShardCounters {
    /// The shard.
    #[prost(uint32, tag = "1")]
    pub shard: u32,
    /// Its counters, in a fixed order.
    #[prost(message, repeated, tag = "2")]
    pub counters: Vec<Counter>,
}

/// One counter.
#[derive(Clone, PartialEq, Message)]
pub struct Counter {
    /// Its name, snake case, as in the relay's documentation.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its value.
    #[prost(uint64, tag = "2")]
    pub value: u64,
}
