//! Everything that the relay holds, shard by shard.
//!
//! Signaling asks each shard by a request of its own. The shard answers with pages, all under that request, taken at one
//! moment between two commands. A shard that is too slow sends nothing, and one that panics refuses: in both cases what it
//! holds is *unknown*, which is not the same as *nothing*.

use prost::Message;

use super::{IceState, MediaFlow, PeerState};

/// Asks [the shard of the frame](super::ToRelay::shard) for [`Snapshot`]s. In version 1 it asks for the whole relay in one
/// frame, and the relay refuses when a shard does not answer or the frame would be too long.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct SnapshotRequest {}

/// One page of what a shard holds. In version 1 everything that the relay holds.
#[derive(Clone, PartialEq, Message)]
pub struct Snapshot {
    /// Peers.
    #[prost(message, repeated, tag = "1")]
    pub peers: Vec<PeerInfo>,
    /// Tracks that have a publisher.
    #[prost(message, repeated, tag = "2")]
    pub tracks: Vec<TrackInfo>,
    /// Subscriptions.
    #[prost(message, repeated, tag = "3")]
    pub subscriptions: Vec<SubscriptionInfo>,
    /// The shard.
    #[prost(uint32, tag = "4")]
    pub shard: u32,
    /// Whether this is the last page of the shard: together with those before it says everything.
    #[prost(bool, tag = "5")]
    pub complete: bool,
}

/// One peer in a snapshot.
#[derive(Clone, PartialEq, Message)]
pub struct PeerInfo {
    /// The shard that holds it.
    #[prost(uint32, tag = "1")]
    pub shard: u32,
    /// Its room.
    #[prost(uint64, tag = "2")]
    pub room: u64,
    /// Its id.
    #[prost(uint64, tag = "3")]
    pub peer: u64,
    /// How far it got.
    #[prost(enumeration = "PeerState", tag = "4")]
    pub state: i32,
    /// Selected remote address, empty before the first valid check.
    #[prost(string, tag = "5")]
    pub remote: String,
    /// What signaling noted with it ([`PutPeer::memo`](super::PutPeer::memo)).
    #[prost(bytes = "vec", tag = "6")]
    pub memo: Vec<u8>,
    /// State of its path.
    #[prost(enumeration = "IceState", tag = "7")]
    pub ice: i32,
    /// What flows; absent in version 1.
    #[prost(message, optional, tag = "8")]
    pub flow: Option<MediaFlow>,
}

/// One track in a snapshot.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct TrackInfo {
    /// The shard that holds it.
    #[prost(uint32, tag = "1")]
    pub shard: u32,
    /// Its id.
    #[prost(uint64, tag = "2")]
    pub track: u64,
    /// Its publisher.
    #[prost(uint64, tag = "3")]
    pub peer: u64,
}

/// One subscription in a snapshot.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct SubscriptionInfo {
    /// The shard that holds it.
    #[prost(uint32, tag = "1")]
    pub shard: u32,
    /// Its id.
    #[prost(uint64, tag = "2")]
    pub subscription: u64,
    /// Its viewer.
    #[prost(uint64, tag = "3")]
    pub peer: u64,
    /// Its track.
    #[prost(uint64, tag = "4")]
    pub track: u64,
    /// Where the track is fetched from, as in [`PutSubscription::home`](super::PutSubscription::home).
    #[prost(uint32, optional, tag = "5")]
    pub home: Option<u32>,
    /// Whether it is paused ([`PutSubscription::paused`](super::PutSubscription::paused)).
    #[prost(bool, tag = "6")]
    pub paused: bool,
}
