//! How what happens in a session reaches its clients.
//!
//! The core says [`Notice`](crate::session::Notice)s. A [`Dialect`] turns a notice into the text that the clients of one
//! protocol read. An [`Outbox`] holds the texts of one participant until a socket takes them, and outlives the socket.
//! A [`Budget`] bounds what one participant may make the others be sent.

mod budget;
mod dialect;
mod outbox;

pub use budget::Budget;
pub use dialect::{Dialect, Text};
pub use outbox::{Outbox, Pull};
