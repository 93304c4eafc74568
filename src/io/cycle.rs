//! The loop of a shard's thread.
//!
//! ```text
//!   read the clock -> receive and deliver -> commands -> deferred work -> timers -> flush -> park
//! ```
//! Every step is bounded, so none starves another. Under load a cycle takes longer, more datagrams wait at its next
//! turn, and runs grow by themselves.

use super::counters::Counters;
use super::{Backend, clock};
use crate::egress::{Egress, Path};
use crate::time::Timestamp;

/// What the loop drives: a shard. All of it without IO; `now` is the same through one cycle.
pub trait Core {
    /// A datagram came. It may be changed in place.
    fn handle_datagram(&mut self, now: Timestamp, path: &Path, datagram: &mut [u8], egress: &mut impl Egress);

    /// A bounded number of commands from the mailbox.
    fn handle_commands(&mut self, now: Timestamp, egress: &mut impl Egress);

    /// A bounded amount of work that media goes before, such as handshakes.
    fn handle_deferred(&mut self, now: Timestamp, egress: &mut impl Egress);

    /// [`Core::next_deadline`] has come.
    fn handle_timeout(&mut self, now: Timestamp, egress: &mut impl Egress);

    /// When [`Core::handle_timeout`] is due; [`Timestamp::NEVER`] for not at all.
    fn next_deadline(&self) -> Timestamp;

    /// True while deferred work or commands wait, so that the thread does not sleep on them.
    fn has_deferred(&self) -> bool;

    /// Everything is queued for sending; a look at the backend's counters.
    fn end_of_cycle(&mut self, counters: &Counters);

    /// True when the loop is to end.
    fn stopping(&self) -> bool;
}

/// Runs cycles until the core is [stopping](Core::stopping); what it queued last is still sent.
///
/// Call it again on the same backend after a panic of the core: no datagram but the one in hand is lost.
pub fn run<B: Backend, C: Core>(backend: &mut B, core: &mut C) {
    loop {
        cycle(backend, core);
        if core.stopping() {
            backend.park(Timestamp::ZERO);
            return;
        }
        let until = if core.has_deferred() { Timestamp::ZERO } else { core.next_deadline() };
        backend.park(until);
    }
}

fn cycle<B: Backend, C: Core>(backend: &mut B, core: &mut C) {
    // Left behind by a core that panicked between reserve and commit.
    backend.forget_reservation();
    let now = clock::now();
    backend.receive(|path, datagram, egress| core.handle_datagram(now, path, datagram, egress));
    core.handle_commands(now, backend.egress());
    core.handle_deferred(now, backend.egress());
    if core.next_deadline() <= now {
        core.handle_timeout(now, backend.egress());
    }
    backend.flush();
    backend.count_cycle();
    core.end_of_cycle(backend.counters());
}
