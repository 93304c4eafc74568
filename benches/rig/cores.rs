//! Two ends, each on a core of its own: what they show depends on it, and the scheduler puts them now here, now there.

#![allow(unreachable_pub, reason = "part of each bench that names it")]

use std::sync::LazyLock;

use millrace::io::affinity::{allowed_cores, pin_this_thread};

/// As they were before the first thread was pinned: threads inherit what they may use.
static CORES: LazyLock<Vec<usize>> =
    LazyLock::new(|| allowed_cores().expect("a process may ask for its cores"));

/// One of the two.
#[derive(Clone, Copy)]
pub enum End {
    /// Where the time is taken.
    Near,
    /// The other.
    Far,
}

/// Keeps the calling thread where `end` runs. The near one first.
pub fn pin(end: End) {
    let core = match end {
        End::Near => CORES.first(),
        End::Far => CORES.last(),
    };
    pin_this_thread(*core.expect("there is one")).expect("it is allowed");
}
