//! The link to the relay: one Unix socket, any number of requests under way, each answered by its number, and after
//! every loss the same order: `Hello`, `Snapshot`, remove what nobody claims, say again what the relay lacks.
//!
//! While the link is down nothing is forgotten: whoever owns the model also owns the desired state ([`Owner`]).

mod handle;
mod link;
mod reconcile;
mod wire;

use millrace_control::{Command, Event, Rejection, RelayHello, Snapshot};

pub use handle::Link;

/// The side of signaling that knows what the relay should hold.
pub trait Owner: Send + Sync + 'static {
    /// Everything the relay is to hold now, as `Put…` commands with their shards: a peer before what goes over it.
    /// Called for each new connection, before anything else is sent on it; `held` is what the relay holds.
    fn desired(&self, relay: &RelayHello, held: &Snapshot) -> Vec<(u32, Command)>;

    /// What the relay did not take of that, and why; called once for each new connection, if at all.
    fn handle_refusals(&self, refused: Vec<(Command, String)>);

    /// The relay tells something of its own accord.
    fn handle_event(&self, event: Event);
}

/// Why a request to the relay failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// There was no relay to ask, for as long as the caller could wait.
    #[error("the relay is not reachable")]
    Down,
    /// The link broke before the answer.
    #[error("the link to the relay was lost")]
    Lost,
    /// The relay did not answer in time.
    #[error("the relay did not answer in time")]
    Timeout,
    /// The relay said no.
    #[error("the relay refused: {1} ({0:?})")]
    Rejected(Rejection, String),
    /// The relay answered something else than was asked.
    #[error("the relay gave an answer that does not fit")]
    Mismatch,
}
