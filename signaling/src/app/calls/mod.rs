//! What participants and applications may do. Each use-case takes its caller as a [`Member`](super::Member) or as an
//! application's own request, never a socket, and hands its answer to the same queue as the notices that follow from it.
//!
//! | File | Use-cases |
//! |---|---|
//! | [`sessions`] | an application makes and closes sessions, makes and takes back connections |
//! | [`join`] | a client joins, comes back, leaves |
//! | [`publish`] | a member publishes, comes back with its stream, ends it |
//! | [`watch`] | a member watches, is offered a stream, is pointed at another one |
//! | [`moderate`] | signals, properties, forced ends |
//! | [`negotiate`] | the path that everything with media takes |

mod join;
mod moderate;
mod negotiate;
mod publish;
mod sessions;
mod watch;

pub use join::{JoinRequest, Joined};
pub use moderate::SignalError;
pub use publish::{PublishRequest, Published};
pub use sessions::NewConnection;
