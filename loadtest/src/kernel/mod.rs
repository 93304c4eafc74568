//! The only folder of the load generator that touches the kernel, and the only one with `unsafe`.
//!
//! Load is made and counted with as few system calls as the kernel allows, so that one core keeps the relay's core
//! busy: [`receive`] takes whole GRO trains with one `recvmmsg`, [`send`] gives whole batches to one `sendmmsg`,
//! [`uring`] does both in one `io_uring_enter`. The rest is what threads of a measurement need: a core of their own
//! ([`affinity`]) and exact clocks ([`clock`]). Nothing here looks into a datagram.

pub mod affinity;
pub mod clock;
pub mod descriptors;
pub mod netns;
pub mod priority;
pub mod ready;
pub mod receive;
pub mod send;
pub mod socket;
pub mod uring;

mod address;
mod cmsg;
mod memory;
