//! How signaling reaches the shards, and how shards run: the control socket, the mailboxes, the shard threads.

pub mod bridge;
pub mod current;
pub mod lanes;
pub mod listener;
pub mod mailbox;
pub mod panics;
pub mod worker;
