//! The only folder of the media path that touches the kernel, and the only one with `unsafe`.
//!
//! A shard's thread binds [`Sockets`](socket::Sockets), [`open`]s a [`Backend`] on them and lives in [`cycle::run`]:
//! receive, deliver, commands, handshakes, timers, flush, park. Two backends do the same thing:
//!
//! - `uring/`, the default: one `io_uring_enter` a cycle submits the sends, reaps what came and sleeps;
//! - `mmsg/`, where io_uring is refused: `ppoll`, `recvmmsg`, `sendmmsg`.
//!
//! Reports of viewers come to sockets of their own, which are read in passing (`reports`): waking for each would cost
//! more than a third of what the media costs.
//!
//! What TURN clients speak to, and what their allocations send from, are side sockets (`side`) of the same loop.
//!
//! Both send through a `send_queue` of GSO runs out of one `pool` of slots, and both receive into buffers laid out by
//! `receive_buffer`. Nothing here looks into a datagram. After the start nothing here allocates.

pub mod affinity;
pub mod alloc;
pub mod clock;
pub mod counters;
pub mod credentials;
pub mod cycle;
pub mod descriptors;
pub mod interfaces;
pub mod mapping;
pub mod private_file;
pub mod socket;
pub mod waker;

mod address;
mod cmsg;
mod mmsg;
mod open;
mod pool;
mod receive_buffer;
mod receiver;
mod reports;
mod send_error;
mod send_queue;
mod side;
mod uring;

#[cfg(test)]
mod contract;

pub use mmsg::Mmsg;
pub use open::{AnyBackend, BackendKind, OpenError, Opened, open};
pub use receive_buffer::RECEIVED_BYTES_MAX;
pub use send_queue::QueueSize;
pub use uring::{Uring, UringRefused};

use crate::egress::Egress;
use crate::ingress::Trains;
use crate::time::Timestamp;
use counters::Counters;
use std::time::Duration;
use waker::Waker;

/// Datagrams delivered in one cycle, so that commands and timers get their turn; the batch that reaches it is the last.
pub const RECEIVE_BATCH_MAX: usize = 128;

/// Longest sleep: an idle shard still shows its watchdog that it lives.
pub const PARK_MAX: Duration = if cfg!(test) {
    // A test of waking is to hang, not to pass a second late.
    Duration::from_secs(3600)
} else {
    Duration::from_secs(1)
};

/// One way to the kernel. Belongs to the thread that opened it.
///
/// A panic of the code that is given datagrams leaves a backend whole: the buffers in hand return, datagrams behind them
/// are delivered by the next [`Backend::receive`], committed datagrams leave with the next [`Backend::flush`].
pub trait Backend {
    /// Where the shard writes what it sends.
    type Egress: Egress;

    /// Which one it is.
    fn kind(&self) -> BackendKind;

    /// Delivers what has come in batches, until [`RECEIVE_BATCH_MAX`] datagrams are reached; returns how many. Never
    /// blocks.
    fn receive(&mut self, deliver: impl FnMut(Trains<'_>, &mut Self::Egress)) -> usize;

    /// Delivers reports that have come, which nobody was woken for ([`cycle`] gives them their turn). True when more may
    /// be there. Never blocks.
    fn receive_reports(&mut self, deliver: impl FnMut(Trains<'_>, &mut Self::Egress)) -> bool;

    /// For sending outside of [`Backend::receive`].
    fn egress(&mut self) -> &mut Self::Egress;

    /// Takes back a reservation that was never committed.
    fn forget_reservation(&mut self);

    /// Sends what is queued. With io_uring the kernel takes it at the next [`Backend::park`].
    fn flush(&mut self);

    /// Sleeps until a datagram comes, a [`Waker`] calls, or `until`; at most [`PARK_MAX`]. A time in the past only
    /// collects what is there.
    fn park(&mut self, until: Timestamp);

    /// A handle that ends [`Backend::park`] from any thread.
    fn waker(&self) -> Waker;

    /// What has happened so far.
    fn counters(&self) -> &Counters;

    /// Counts one more cycle of the loop.
    fn count_cycle(&mut self);
}
