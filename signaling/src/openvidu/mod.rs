//! The OpenVidu 2 protocol: REST, the WebSocket RPC and their JSON.

pub mod cdr;
pub mod errors;
pub mod events;
pub mod first;
mod generation;
pub mod info;
pub mod json;
pub mod peer_stats;
mod reasons;
pub mod records;
pub mod rest;
pub mod rpc;
pub mod shapes;

pub use generation::{DIALECTS, Generation};
