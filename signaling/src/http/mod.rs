//! HTTP: listeners, the connections they take, and how a request came.

mod forwarded;
mod known;
pub mod limiter;
mod listener;
pub mod long_list;
mod paced;
pub mod plain;
pub mod proxy;
mod via;
pub mod websocket;

use std::sync::Arc;

use axum::extract::Request;

pub use known::KnownAddresses;
use limiter::{Permit, Stage};
pub use listener::{HTTPS_ONLY, Listener, Served, TLS_HANDSHAKE, UNAVAILABLE};
pub use via::Via;

/// The request has shown the right secret: its connection is not closed for others any more.
pub(crate) fn admit(request: &Request) {
    if let Some(permit) = request.extensions().get::<Arc<Permit>>() {
        permit.promote(Stage::Admitted);
    }
}
