//! What tests and measuring programs share: scratch directories, programs that end with the test, the server on free ports.
//!
//! No product code depends on this crate.

mod process;
mod scratch;
mod server;

use std::thread;
use std::time::{Duration, Instant};

pub use process::{Program, Running};
pub use scratch::{Scratch, scratch};
pub use server::{FREE_MEDIA_PORTS, Server};

/// Longest wait for something that a test expects to happen. Far beyond what a slow machine needs.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Pause between two looks at something that gives no event.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// Asks again and again until there is an answer.
///
/// # Panics
/// When there is none within [`PATIENCE`]; the message says `what` was expected.
pub fn awaited<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "not in time: {what}");
        thread::sleep(LOOK_INTERVAL);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_comes_later_is_awaited() {
        let mut looks = 0;
        let third = super::awaited("the third look", || {
            looks += 1;
            (looks == 3).then_some(looks)
        });
        assert_eq!(third, 3);
    }
}
