//! Memory goes back to the system after a crowd has left.
//!
//! The indexes keep their size, and the allocator keeps what was freed, for the next crowd, which may never come. Two
//! things help: this, which has indexes shrink and free pages given back once many have gone, and the settings
//! [`TUNABLES`], without which thousands of pages are each held by a few bytes that are free too.

mod heap;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::app::App;
use crate::http::limiter::ConnectionLimiter;

/// Variable that the C library reads at the start of a process, and what is best for this one: no thread keeps freed
/// pieces at hand, so that neighbours that are free become one; the end of a heap goes back as soon as 128 KiB of it are
/// free, however large a block was freed before. At 100 joins a second that costs no time one could measure.
pub const TUNABLES: (&str, &str) = (
    "GLIBC_TUNABLES",
    "glibc.malloc.tcache_count=0:glibc.malloc.mxfast=0:glibc.malloc.trim_threshold=131072",
);

/// How often is looked whether many have gone.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Fewer than this are no crowd; what they leave is not worth the walk.
const CROWD_MIN: usize = 32;

/// Looks after the memory of `app`, whose connections have their permits of `limiters`, for as long as it lives.
pub(crate) fn look_after(app: &Arc<App>, limiters: Vec<Arc<ConnectionLimiter>>) {
    let app = Arc::downgrade(app);
    tokio::spawn(async move {
        let mut tide = Tide::default();
        loop {
            sleep(LOOK_INTERVAL).await;
            let Some(app) = app.upgrade() else { return };
            let in_model = app.registry.len() + app.registry.participants();
            let present = in_model + limiters.iter().map(|limiter| limiter.taken()).sum::<usize>();
            let is_out = tide.is_out(present);
            if is_out {
                app.registry.shrink();
            }
            drop(app);
            if is_out {
                tracing::debug!(present, "many have gone, free memory goes back to the system");
                let _ = tokio::task::spawn_blocking(heap::give_back).await;
            }
        }
    });
}

/// How many were there since memory was last given back.
#[derive(Default)]
struct Tide {
    most: usize,
    last: usize,
}

impl Tide {
    /// Whether it is time: half of a crowd has gone, and no more are going.
    fn is_out(&mut self, present: usize) -> bool {
        let is_going = present < self.last;
        self.last = present;
        self.most = self.most.max(present);
        let gone = self.most - present;
        let is_out = !is_going && gone >= CROWD_MIN && gone >= present;
        if is_out {
            self.most = present;
        }
        is_out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At which of the looks it was time.
    fn out(looks: &[usize]) -> Vec<usize> {
        let mut tide = Tide::default();
        (0..looks.len()).filter(|&at| tide.is_out(looks[at])).collect()
    }

    #[test]
    fn a_crowd_that_has_gone_is_noticed_once_and_when_it_is_gone() {
        assert_eq!(out(&[0, 2000, 2000, 900, 10, 0, 0, 0]), [6], "not while they go");
        assert_eq!(
            out(&[0, 2000, 1001, 1001, 1000, 1000, 1000, 600, 600, 500, 500]),
            [5, 10],
            "half by half"
        );
        assert_eq!(out(&[100, 40, 40, 100, 40, 40]), [2, 5], "every time");
    }

    #[test]
    fn the_unit_says_the_same_to_the_allocator() {
        let unit = include_str!("../../../systemd/millrace-signaling.service");
        let (name, value) = TUNABLES;
        assert!(unit.lines().any(|line| line == format!("Environment={name}={value}")));
    }

    #[test]
    fn small_rooms_that_come_and_go_are_left_alone() {
        assert!(out(&[31, 0, 0, 31, 0, 0]).is_empty());
        assert!(out(&[500, 400, 400, 500, 300, 300]).is_empty(), "most are there");
    }
}
