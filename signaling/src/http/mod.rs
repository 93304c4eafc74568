//! HTTP: listeners, the connections they take, and how a request came.

mod listener;
pub(crate) mod plain;
mod proxy;
mod room;
mod via;

pub use listener::Listener;
pub use room::{Room, Seat};
pub use via::Via;
