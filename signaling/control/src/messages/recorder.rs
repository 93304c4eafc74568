//! Room for what has media and no browser: a recorder takes tracks (a sink), a player brings them (a source). A relay of
//! this version refuses all four commands; the fields are what both are known to need.

use prost::Message;

/// Something that takes tracks without being a peer, such as a recording.
#[derive(Clone, PartialEq, Message)]
pub struct PutSink {
    /// Id of the room.
    #[prost(uint64, tag = "1")]
    pub room: u64,
    /// Id of the sink.
    #[prost(uint64, tag = "2")]
    pub sink: u64,
    /// Tracks it takes.
    #[prost(uint64, repeated, tag = "3")]
    pub tracks: Vec<u64>,
    /// Where the media goes, as the recorder understands it.
    #[prost(string, tag = "4")]
    pub target: String,
}

/// Ends a sink.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct RemoveSink {
    /// The sink's id.
    #[prost(uint64, tag = "1")]
    pub sink: u64,
}

/// Something that brings tracks without being a peer, such as a file that is played.
#[derive(Clone, PartialEq, Message)]
pub struct PutSource {
    /// Id of the room.
    #[prost(uint64, tag = "1")]
    pub room: u64,
    /// Id of the source.
    #[prost(uint64, tag = "2")]
    pub source: u64,
    /// Tracks it brings.
    #[prost(uint64, repeated, tag = "3")]
    pub tracks: Vec<u64>,
    /// Where the media comes from, as the player understands it.
    #[prost(string, tag = "4")]
    pub origin: String,
}

/// Ends a source.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct RemoveSource {
    /// The source's id.
    #[prost(uint64, tag = "1")]
    pub source: u64,
}
