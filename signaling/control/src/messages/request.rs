//! What signaling asks.

use prost::{Message, Oneof};

use super::{
    ClientHello, PutPeer, PutSink, PutSource, PutSubscription, PutTrack, RemovePeer, RemovePeers, RemoveSink,
    RemoveSource, RemoveSubscription, RemoveTrack, RequestKeyframe, SnapshotRequest,
};

/// One frame from signaling to the relay.
#[derive(Clone, PartialEq, Message)]
pub struct ToRelay {
    /// Number of this request, from 1. Every answer carries it back.
    #[prost(uint64, tag = "1")]
    pub request: u64,
    /// The shard that carries it out: the room's own, or for a viewer of a large room another one. `Hello`, `Counters`
    /// and `SetDrain` are about the whole relay and ignore it.
    #[prost(uint32, tag = "2")]
    pub shard: u32,
    /// What is asked.
    #[prost(oneof = "Command", tags = "3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 16, 17, 18, 19, 20, 21, 22")]
    pub command: Option<Command>,
    /// How often the room of this command has changed its owner, from 1. A shard refuses a command whose fence is lower
    /// than one it has seen for the same room ([`Rejection::Stale`](super::Rejection::Stale)), so a signaling process
    /// that lost a room cannot change it any more. Always [`FENCE`](crate::FENCE) for now; 0 is never refused
    /// (version 1).
    #[prost(uint64, tag = "23")]
    pub fence: u64,
}

/// What signaling can ask of the relay.
#[derive(Clone, PartialEq, Oneof)]
pub enum Command {
    /// First frame on every connection.
    #[prost(message, tag = "3")]
    Hello(ClientHello),
    /// Create a peer or bring it to this state.
    #[prost(message, tag = "4")]
    PutPeer(PutPeer),
    /// End a peer with its tracks and subscriptions. An unknown id is `Done`.
    #[prost(message, tag = "5")]
    RemovePeer(RemovePeer),
    /// Create a published stream or bring it to this state.
    #[prost(message, tag = "6")]
    PutTrack(PutTrack),
    /// End a published stream. Its subscriptions stay and wait for the track to come back.
    #[prost(message, tag = "7")]
    RemoveTrack(RemoveTrack),
    /// Create one viewer's subscription to one track, bring it to this state, or point it at another track.
    #[prost(message, tag = "8")]
    PutSubscription(PutSubscription),
    /// End a subscription.
    #[prost(message, tag = "9")]
    RemoveSubscription(RemoveSubscription),
    /// Ask for everything that one shard holds.
    #[prost(message, tag = "10")]
    Snapshot(SnapshotRequest),
    /// Ask for the counters of every shard.
    #[prost(message, tag = "11")]
    Counters(CountersRequest),
    /// Make the shard panic. Refused unless the relay runs with fault injection switched on.
    #[prost(message, tag = "12")]
    InjectPanic(InjectPanic),
    /// Ask the publisher of a track for a key frame, subject to the relay's own throttle.
    #[prost(message, tag = "13")]
    RequestKeyframe(RequestKeyframe),
    /// End several peers. Unknown ids are `Done`. Since version 2.
    #[prost(message, tag = "16")]
    RemovePeers(RemovePeers),
    /// Say whether the relay drains. Since version 2.
    #[prost(message, tag = "17")]
    SetDrain(SetDrain),
    /// Stop the shard's thread for a while. Refused unless the relay runs with fault injection switched on. Since
    /// version 2.
    #[prost(message, tag = "18")]
    InjectStall(InjectStall),
    /// Room for the recorder: refused as [`Rejection::Unsupported`](super::Rejection::Unsupported).
    #[prost(message, tag = "19")]
    PutSink(PutSink),
    /// Room for the recorder: refused as [`Rejection::Unsupported`](super::Rejection::Unsupported).
    #[prost(message, tag = "20")]
    RemoveSink(RemoveSink),
    /// Room for the player: refused as [`Rejection::Unsupported`](super::Rejection::Unsupported).
    #[prost(message, tag = "21")]
    PutSource(PutSource),
    /// Room for the player: refused as [`Rejection::Unsupported`](super::Rejection::Unsupported).
    #[prost(message, tag = "22")]
    RemoveSource(RemoveSource),
}

/// Asks for [`Counters`](super::Counters).
#[derive(Clone, Copy, PartialEq, Message)]
pub struct CountersRequest {}

/// Makes one shard panic, for tests of recovery.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct InjectPanic {}

/// Makes the thread of one shard sleep after it has answered, for tests of what waits for it.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct InjectStall {
    /// How long, in milliseconds, at most 60 000.
    #[prost(uint32, tag = "1")]
    pub for_ms: u32,
}

/// Whether the relay drains. A relay that drains goes on with what it has; signaling gives it no new rooms. The relay
/// only repeats the flag, in its hello and with each [`Load`](super::Load).
#[derive(Clone, Copy, PartialEq, Message)]
pub struct SetDrain {
    /// True from now on it drains, false it no longer does.
    #[prost(bool, tag = "1")]
    pub on: bool,
}
