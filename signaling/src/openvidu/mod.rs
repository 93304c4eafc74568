//! The OpenVidu 2 protocol: REST, the WebSocket RPC and their JSON.

pub mod cdr;
pub mod errors;
pub mod events;
pub mod first;
pub mod ice_servers;
pub mod ids;
pub mod json;
pub mod negotiation;
pub mod peer_stats;
pub mod rest;
pub mod rpc;
pub mod shapes;

/// The release whose clients are served, and that we say we are where nothing else is wanted.
pub const VERSION: &str = "2.32.2";
