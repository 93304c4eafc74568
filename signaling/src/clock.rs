//! The wall clock, read in this file only.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970; 0 if the machine believes to be before that.
#[allow(clippy::disallowed_methods, reason = "this is signaling's clock")]
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
