//! Signaling of Millrace: a process of its own that serves clients and applications and tells the relay what to hold.
//!
//! # The journey of a command
//!
//! ```text
//! browser ─ wss ─► http ─► openvidu::rpc ─► app (use-case) ─► session (may it?) ─► app::negotiation ─► sdp
//!                            ▲                                                          │ PutPeer, PutTrack, …
//!                            │ answer, notices                                          ▼
//!                            └── delivery ◄── store::Writer ◄── app (carry out) ◄── relay::Link ─► Unix socket ─► shard
//! ```
//!
//! * [`openvidu`] is an adapter: it turns bytes of OpenVidu's clients into use-cases, and notices into bytes. Nothing below
//!   knows it. [`stats`], [`web`] and [`openvidu`] are the only rooms that a client sees.
//! * [`app`] holds the use-cases (join, publish, watch, point at another stream, leave, …) and carries out what follows: the store
//!   first, then answers and notices in the order of the changes.
//! * [`registry`] holds every session behind a lock of its own, the indexes over them, and the ledger of shards.
//! * [`session`] is the model: pure, given the time and the ids, it says what follows from a change. Its graph says what the relay
//!   is to hold. [`sdp`] ends above the relay, which knows no session description.
//! * [`relay`] keeps the link and brings the relay back to what the model says it should hold.
//! * [`store`] keeps sessions as small records. [`delivery`] holds what a client is sent until a socket takes it.
//! * `cdr` records what happened, in the same order.
//! * [`supervise`] ends the process when a thread or task dies that it cannot do without.
//! * [`access`] says which principal a request comes from, and what that principal may do. [`rate`] bounds how often.
//! * [`memory`] gives memory back that a crowd has left.
//! * `acme` fetches and renews a certificate.
//! * [`http`], [`tls`], [`config`] and [`clock`] reach the world outside.
//!
//! Either process may be killed while calls go on: this one because the relay holds the media, a shard of the relay because its
//! records hold what a call needs. What the relay lost, clients negotiate anew.

pub mod access;
mod acme;
pub mod app;
mod cdr;
pub mod clock;
pub mod config;
pub mod delivery;
mod descriptors;
mod files;
pub mod http;
pub mod ice_servers;
pub mod ids;
pub mod memory;
pub mod net;
pub mod openvidu;
pub mod origin;
pub mod rate;
mod readiness;
pub mod registry;
pub mod relay;
mod routes;
pub mod sdp;
pub mod server;
pub mod session;
pub mod stats;
pub mod store;
pub mod supervise;
pub mod tls;
pub mod web;

pub use config::Config;
pub use server::{Server, StartError, run, run_to_the_end};
