//! The only place that reads clocks.

use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Seconds between the NTP epoch (1900) and the Unix epoch (RFC 5905 §6).
const NTP_OFFSET_S: u64 = 2_208_988_800;

static START: OnceLock<Instant> = OnceLock::new();

/// Microseconds since the process first asked. Publishers and viewers live in one process, so differences between
/// their stamps are true one-way delays.
#[must_use]
pub fn now_us() -> u64 {
    let elapsed = START.get_or_init(Instant::now).elapsed();
    u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX)
}

/// Wall clock as a 64-bit NTP timestamp, for sender reports (RFC 3550 §6.4.1).
#[must_use]
#[allow(clippy::disallowed_methods, reason = "the load generator's one reading of the wall clock")]
pub fn ntp_now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let fraction = (u64::from(since.subsec_nanos()) << 32) / 1_000_000_000;
    ((since.as_secs() + NTP_OFFSET_S) << 32) | fraction
}

/// The `abs-send-time` extension's 24 bits: seconds as 6.18 fixed point.
#[must_use]
pub fn abs_send_time(now_us: u64) -> [u8; 3] {
    let fixed = ((u128::from(now_us) << 18) / 1_000_000) as u64;
    let bytes = (fixed & 0x00ff_ffff).to_be_bytes();
    [bytes[5], bytes[6], bytes[7]]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn abs_send_time_is_seconds_in_6_18() {
        assert_eq!(abs_send_time(1_000_000), [0x04, 0, 0]);
        assert_eq!(abs_send_time(64_000_000), [0, 0, 0], "wraps after 64 s");
        assert_eq!(abs_send_time(500_000), [0x02, 0, 0]);
    }
}
