//! A deterministic world for tests of the whole relay: one shard over records in plain memory, simulated browsers, a
//! seeded network, virtual time.
//!
//! ```text
//!   Browser ── Net ──> Shard ── Outbox ── audit: it verifies, no nonce twice ── Net ──> Browser
//! ```
//!
//! [`pair::Pair`] is two such worlds whose shards hand each other packets.
//!
//! [`world::World::freeze`] drops the shard and keeps the rest, so that another shard can be made over the same
//! [`memory::Memory`]. The stories that are told with it are in [`stories`].

mod browser;
mod media;
pub(crate) mod memory;
mod net;
pub(crate) mod outbox;
mod pair;
mod stories;
pub(crate) mod world;
