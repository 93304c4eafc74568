//! The order thread: runs what happens after each submission, in the order of submission.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::queue::Next;
use super::{After, Durability, Shared};
use crate::supervise::Wanted;

/// Most that is run before the lock is taken again.
const RUN_MAX: usize = 256;

pub(super) fn run(shared: &Arc<Shared>) -> Wanted {
    while let Some(ready) = ready(shared) {
        for (after, durability) in ready {
            if durability == Durability::Late {
                shared.late.fetch_add(1, Ordering::Relaxed);
            }
            after(durability);
        }
    }
    Wanted
}

/// Waits until something may leave. `None` when the writer is closed and everything has left.
fn ready(shared: &Shared) -> Option<Vec<(After, Durability)>> {
    let mut queue = shared.lock();
    let mut ready = Vec::new();
    loop {
        match queue.next(Instant::now(), &shared.pace) {
            Next::Now(durability) if ready.len() < RUN_MAX => {
                ready.extend(queue.pop().map(|after| (after, durability)));
            }
            _ if !ready.is_empty() => return Some(ready),
            Next::Nothing if queue.is_closed => return None,
            Next::Until(latest) => {
                let wait = latest.saturating_duration_since(Instant::now());
                queue = shared.wait(&shared.for_order, queue, Some(wait));
            }
            _ => queue = shared.wait(&shared.for_order, queue, None),
        }
    }
}
