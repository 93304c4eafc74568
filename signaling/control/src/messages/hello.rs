//! Who the two sides are.

use prost::Message;

/// Who signaling is.
#[derive(Clone, PartialEq, Message)]
pub struct ClientHello {
    /// The lowest version of the contract that signaling speaks. A relay of version 1 looks at nothing else.
    #[prost(uint32, tag = "1")]
    pub version: u32,
    /// The same, next to its other end. 0 in version 1.
    #[prost(uint32, tag = "2")]
    pub version_min: u32,
    /// The highest version that signaling speaks. 0 in version 1.
    #[prost(uint32, tag = "3")]
    pub version_max: u32,
    /// Name of the machine that signaling runs on.
    #[prost(string, tag = "4")]
    pub node: String,
    /// Random number of this signaling process: another one is another process.
    #[prost(uint64, tag = "5")]
    pub boot: u64,
}

/// Who the relay is.
#[derive(Clone, PartialEq, Message)]
pub struct RelayHello {
    /// The version that both speak on this connection: the highest that both know.
    #[prost(uint32, tag = "1")]
    pub version: u32,
    /// Changes with every loss of state: the same epoch means that the relay still holds what it held.
    #[prost(uint64, tag = "2")]
    pub epoch: u64,
    /// Every shard, in order of its id.
    #[prost(message, repeated, tag = "3")]
    pub shards: Vec<ShardInfo>,
    /// SHA-256 of the relay's DTLS certificate, 32 bytes.
    #[prost(bytes = "vec", tag = "4")]
    pub fingerprint: Vec<u8>,
    /// Announced IP addresses, one host candidate each, best first, as text.
    #[prost(string, repeated, tag = "5")]
    pub addresses: Vec<String>,
    /// Name of the IO backend in use, `uring` or `mmsg`.
    #[prost(string, tag = "6")]
    pub backend: String,
    /// Process id of the relay.
    #[prost(uint32, tag = "7")]
    pub pid: u32,
    /// Whether a viewer may be on another shard than the publisher
    /// ([`PutSubscription::home`](super::PutSubscription::home)).
    #[prost(bool, tag = "8")]
    pub bridges: bool,
    /// Port of the relay's TURN server, UDP; 0 when it is off.
    #[prost(uint32, tag = "9")]
    pub turn_port: u32,
    /// Those of the shards' ports that take media by TCP too (RFC 6544).
    #[prost(uint32, repeated, tag = "10")]
    pub ice_tcp_ports: Vec<u32>,
    /// Port of TURN over TLS; 0 when there is none.
    #[prost(uint32, tag = "11")]
    pub turn_tls_port: u32,
    /// Port of HTTPS where the relay has it, and TURN over TLS and TCP with it; 0 when it has not.
    #[prost(uint32, tag = "12")]
    pub https_port: u32,
    /// The lowest version that the relay speaks. 0 in version 1.
    #[prost(uint32, tag = "13")]
    pub version_min: u32,
    /// The highest version that the relay speaks. 0 in version 1.
    #[prost(uint32, tag = "14")]
    pub version_max: u32,
    /// Name of the machine that the relay runs on. Empty in version 1.
    #[prost(string, tag = "15")]
    pub node: String,
    /// Random number of this relay process: another one is another process. 0 in version 1.
    #[prost(uint64, tag = "16")]
    pub boot: u64,
    /// Whether it drains ([`SetDrain`](super::SetDrain)).
    #[prost(bool, tag = "17")]
    pub draining: bool,
}

/// One shard.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct ShardInfo {
    /// Id, from 0.
    #[prost(uint32, tag = "1")]
    pub shard: u32,
    /// UDP media port; a plain STUN Binding is answered there too.
    #[prost(uint32, tag = "2")]
    pub port: u32,
    /// Peers it holds now.
    #[prost(uint32, tag = "3")]
    pub peers: u32,
    /// Most peers it can hold. 0 in version 1, as the two below.
    #[prost(uint32, tag = "4")]
    pub peers_max: u32,
    /// Most tracks it can hold, mirrors included.
    #[prost(uint32, tag = "5")]
    pub tracks_max: u32,
    /// Most subscriptions it can hold.
    #[prost(uint32, tag = "6")]
    pub subscriptions_max: u32,
}
