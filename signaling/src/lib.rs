//! Signaling of Millrace: a process of its own that speaks OpenVidu 2 with clients and the control contract with the
//! relay.
//!
//! # The journey of a command
//!
//! ```text
//! browser ─ wss ─► http ─► openvidu::rpc ─► session (may it? which ids?) ─► openvidu::negotiation ─► sdp
//!                            ▲                                                       │ PutPeer, PutTrack, …
//!                            │ answer, notifications                                 ▼
//!                            └──── store::Writer ◄──── app (carry out) ◄──── relay::Link ─► Unix socket ─► shard
//! ```
//!
//! * [`session`] is the model: pure, told the time and the ids, it says what follows from a change.
//! * [`app`] carries that out: the store first, then answers and notifications in the order of the changes.
//! * [`openvidu`] is everything the clients see: REST, the RPC, their JSON. [`sdp`] ends here; the relay has never
//!   heard of it.
//! * [`relay`] keeps the link and, after every loss, brings the relay back to what the model says it should hold.
//! * `cdr` is told what happened, in the same order.
//! * [`store`] is where a session survives a restart; [`placement`] decides which shard it lives on.
//! * [`access`] says who a request comes from, and what that principal may do.
//! * [`rate`] says how often somebody may do something.
//! * [`memory`] gives back what a crowd has left.
//! * `acme` has a certificate authority make and renew the certificate, where the operator wants that.
//! * [`http`], [`tls`], [`web`], [`config`] and [`clock`] are the doors to the world.
//!
//! Either process may be killed while calls go on: this one because the relay holds the media, the relay because it
//! keeps in its records what a call needs. What it did lose, the clients negotiate anew, and what they have not come
//! to use yet is said again.

pub mod access;
mod acme;
pub mod app;
mod cdr;
pub mod clock;
pub mod config;
pub mod delivery;
mod files;
pub mod http;
pub mod ice_servers;
pub mod ids;
pub mod memory;
pub mod net;
pub mod openvidu;
pub mod origin;
pub mod placement;
pub mod rate;
mod readiness;
pub mod relay;
mod routes;
pub mod sdp;
pub mod server;
pub mod session;
pub mod state;
pub mod stats;
pub mod store;
pub mod tls;
pub mod web;

pub use config::Config;
pub use server::{Server, StartError, run, run_to_the_end};
