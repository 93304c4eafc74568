//! The link to the relay: one Unix socket, many requests under way, each answered by its number.
//!
//! ```text
//!   Link (handle) ── orders ──► Keeper (link) ── Connection ──► relay
//!                                  └ asks the Owner what a shard is to hold: when the link comes up, and once a minute
//! ```
//!
//! After every loss the order is the same: `Hello`, a snapshot of each shard, then for each shard that answered the
//! difference to what the [`Owner`] desires. A shard that does not answer is unknown: nothing of it is removed, nothing of
//! it counts as lost, and it is asked again.
//!
//! While the link is down nothing is forgotten: the owner of the model also owns the desired state.

mod connection;
mod handle;
mod held;
mod link;
mod reconcile;
mod rounds;
mod wire;

use millrace_control::{Command, Event, Rejection, RelayHello};

pub use handle::Link;
pub use held::{Held, Presence};
pub use rounds::Pace;

/// The side of signaling that knows what the relay should hold.
pub trait Owner: Send + Sync + 'static {
    /// What the shards in `held` are to hold now, as `Put…` commands with their shards, a peer before what goes over it.
    ///
    /// Called when the link comes up, with every shard that answered, and then once a minute for each shard alone. Only
    /// what the shards in `held` hold can be missing: [`Held::presence`] says for each peer whether it is there, is not,
    /// or is not to be judged. What is returned for other shards is ignored.
    ///
    /// The owner must claim a peer before it asks the relay for it, and give it up before it has it removed. What was the
    /// subject of a command in the last [seconds](Pace::quiet) is left alone.
    fn desired(&self, relay: &RelayHello, held: &Held) -> Vec<(u32, Command)>;

    /// Gets the commands of [`Owner::desired`] that the relay refused, with the reasons. Called at most once after
    /// each call of [`Owner::desired`].
    fn handle_refusals(&self, refused: Vec<(Command, String)>);

    /// Gets an event that the relay sent.
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
    /// The relay refused.
    #[error("the relay refused: {1} ({0:?})")]
    Rejected(Rejection, String),
    /// The relay answered something else than was asked.
    #[error("the relay gave an answer that does not fit")]
    Mismatch,
}

/// A reason that this release does not know counts as a plain refusal.
fn reason(rejected: &millrace_control::Rejected) -> Rejection {
    Rejection::try_from(rejected.reason).unwrap_or(Rejection::Refused)
}
