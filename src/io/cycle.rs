//! The loop of a shard's thread.
//!
//! ```text
//!   read the clock -> receive and deliver -> reports, if it is their turn -> commands -> deferred work -> timers -> flush -> park
//! ```
//! Every step is bounded, so none starves another. Under load a cycle takes longer, more datagrams wait at its next
//! turn, and runs grow by themselves.

use super::counters::Counters;
use super::reports::Turn;
use super::{Backend, clock};
use crate::egress::Egress;
use crate::ingress::Trains;
use crate::time::Timestamp;

/// What the loop drives: a shard. All of it without IO; `now` is the same through one cycle.
pub trait Core {
    /// Datagrams came. They may be changed in place.
    fn handle_datagrams(&mut self, now: Timestamp, trains: Trains<'_>, egress: &mut impl Egress);

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
/// Call it again on the same backend after a panic of the core: no datagram but those in hand is lost. The backend
/// is whole at every point where the core runs, so `AssertUnwindSafe` around it is justified; the core is not.
pub fn run<B: Backend, C: Core>(backend: &mut B, core: &mut C) {
    let mut reports = Turn::default();
    loop {
        cycle(backend, core, &mut reports);
        if core.stopping() {
            backend.park(Timestamp::ZERO);
            return;
        }
        let until = if core.has_deferred() { Timestamp::ZERO } else { core.next_deadline() };
        backend.park(until.min(reports.latest(backend.counters())));
    }
}

fn cycle<B: Backend, C: Core>(backend: &mut B, core: &mut C, reports: &mut Turn) {
    // Left behind by a core that panicked between reserve and commit.
    backend.forget_reservation();
    let now = clock::now();
    backend.receive(|trains, egress| core.handle_datagrams(now, trains, egress));
    if reports.has_come(now) {
        let more = backend.receive_reports(|trains, egress| core.handle_datagrams(now, trains, egress));
        reports.took(now, more, backend.counters());
    }
    core.handle_commands(now, backend.egress());
    core.handle_deferred(now, backend.egress());
    if core.next_deadline() <= now {
        core.handle_timeout(now, backend.egress());
    }
    backend.flush();
    backend.count_cycle();
    core.end_of_cycle(backend.counters());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::egress::{Path, RunKey};
    use crate::ingress::Train;
    use crate::io::BackendKind;
    use crate::io::waker::{Parker, Waker};
    use std::cell::RefCell;
    use std::rc::Rc;

    type Log = Rc<RefCell<Vec<String>>>;

    struct NoEgress;

    impl Egress for NoEgress {
        fn reserve(&mut self, _: RunKey, _: &Path) -> Option<&mut [u8]> {
            None
        }

        fn commit(&mut self, _: usize) {}

        fn reserved(&mut self) -> &mut [u8] {
            unreachable!("nothing is reserved")
        }
    }

    struct FakeBackend {
        log: Log,
        egress: NoEgress,
        counters: Counters,
    }

    impl Backend for FakeBackend {
        type Egress = NoEgress;

        fn kind(&self) -> BackendKind {
            BackendKind::Mmsg
        }

        fn receive(&mut self, mut deliver: impl FnMut(Trains<'_>, &mut NoEgress)) -> usize {
            deliver([Train::single(Path::NONE, &mut [1])].into_iter().collect(), &mut self.egress);
            1
        }

        fn receive_reports(&mut self, _: impl FnMut(Trains<'_>, &mut NoEgress)) -> bool {
            self.log.borrow_mut().push("reports".into());
            false
        }

        fn egress(&mut self) -> &mut NoEgress {
            &mut self.egress
        }

        fn forget_reservation(&mut self) {}

        fn flush(&mut self) {
            self.log.borrow_mut().push("flush".into());
        }

        fn park(&mut self, until: Timestamp) {
            self.log.borrow_mut().push(match until {
                Timestamp::ZERO => "no sleep".into(),
                until => format!("sleep until {}", until.as_nanos()),
            });
        }

        fn waker(&self) -> Waker {
            Parker::new().unwrap().waker()
        }

        fn counters(&self) -> &Counters {
            &self.counters
        }

        fn count_cycle(&mut self) {
            self.counters.cycles += 1;
        }
    }

    struct FakeCore {
        log: Log,
        deadline: Timestamp,
        deferred: bool,
        cycles_left: u32,
    }

    impl FakeCore {
        fn say(&self, what: &str) {
            self.log.borrow_mut().push(what.into());
        }
    }

    impl Core for FakeCore {
        fn handle_datagrams(&mut self, _: Timestamp, _: Trains<'_>, _: &mut impl Egress) {
            self.say("datagrams");
        }

        fn handle_commands(&mut self, _: Timestamp, _: &mut impl Egress) {
            self.say("commands");
        }

        fn handle_deferred(&mut self, _: Timestamp, _: &mut impl Egress) {
            self.say("deferred");
        }

        fn handle_timeout(&mut self, now: Timestamp, _: &mut impl Egress) {
            assert!(now >= self.deadline);
            self.say("timeout");
            self.deadline = Timestamp::from_nanos(u64::MAX - 1);
        }

        fn next_deadline(&self) -> Timestamp {
            self.deadline
        }

        fn has_deferred(&self) -> bool {
            self.deferred
        }

        fn end_of_cycle(&mut self, counters: &Counters) {
            self.say(&format!("end of {}", counters.cycles));
            self.cycles_left -= 1;
        }

        fn stopping(&self) -> bool {
            self.cycles_left == 0
        }
    }

    fn log_of(deadline: Timestamp, deferred: bool, cycles: u32) -> Vec<String> {
        let log = Log::default();
        let mut backend =
            FakeBackend { log: Rc::clone(&log), egress: NoEgress, counters: Counters::default() };
        run(&mut backend, &mut FakeCore { log: Rc::clone(&log), deadline, deferred, cycles_left: cycles });
        log.take()
    }

    #[test]
    fn media_goes_before_commands_handshakes_and_timers_and_what_is_queued_last_is_sent() {
        let steps =
            ["datagrams", "reports", "commands", "deferred", "timeout", "flush", "end of 1", "no sleep"];
        assert_eq!(log_of(Timestamp::from_nanos(1), false, 1), steps);
    }

    #[test]
    fn the_thread_sleeps_until_the_deadline_unless_work_waits() {
        assert_eq!(log_of(Timestamp::from_nanos(1), false, 2)[7], format!("sleep until {}", u64::MAX - 1));
        assert_eq!(log_of(Timestamp::NEVER, true, 2)[6], "no sleep");
    }
}
