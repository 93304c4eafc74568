//! What is said when a thread panics. A shard must go on at once, so the slow part, finding names for a backtrace
//! (more than a second with full debug information), is left to a thread of its own.

use std::backtrace::Backtrace;
use std::panic::{self, PanicHookInfo};
use std::thread;

/// From now on panics are logged, with a backtrace, by a thread that nobody waits for.
pub fn log_aside() {
    panic::set_hook(Box::new(|info| {
        let message = describe(info);
        let shard = thread::current().name().unwrap_or("unnamed").to_owned();
        // Only walks the stack; the names are found when it is formatted.
        let backtrace = Backtrace::force_capture();
        let log = move || tracing::error!("thread {shard} panicked: {message}\n{backtrace}");
        // Without a thread there is no log either; the rebuilt shard reports itself all the same.
        let _ = thread::Builder::new().name("panic-log".into()).spawn(log);
    }));
}

fn describe(info: &PanicHookInfo<'_>) -> String {
    let payload = info.payload();
    let text = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let place = info.location().map_or_else(String::new, |location| format!(" at {location}"));
    format!("{}{place}", text.unwrap_or("no message"))
}
