//! Which version of the contract two sides speak.
//!
//! Signaling says its range in [`ClientHello`](crate::ClientHello). The relay picks the highest version that both know and
//! says so in [`RelayHello::version`](crate::RelayHello::version); when there is none it refuses. A side of version 1 knows
//! no ranges: its one number is both ends of its range.

use std::ops::RangeInclusive;

/// The highest version that this release speaks.
///
/// * 1: one snapshot of the whole relay, one answer to each command, commands one after the other.
/// * 2: pages by shard, `RemovePeers`, `SetDrain`, fences, memos, loads, flows, re-pointing of subscriptions.
pub const VERSION: u32 = 2;

/// The lowest version that this release speaks: that of the release before.
pub const VERSION_MIN: u32 = 1;

/// The highest version in both our range and that of the other side, whose hello says `version`, `min` and `max`.
pub fn agree(version: u32, min: u32, max: u32) -> Option<u32> {
    let theirs = range(version, min, max);
    let highest = VERSION.min(*theirs.end());
    (highest >= VERSION_MIN && highest >= *theirs.start()).then_some(highest)
}

/// The range that a hello says. A hello of version 1 has only `version`.
fn range(version: u32, min: u32, max: u32) -> RangeInclusive<u32> {
    if max == 0 { version..=version } else { min..=max }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_common_version_is_spoken() {
        assert_eq!(agree(1, 0, 0), Some(1), "the release before had no range");
        assert_eq!(agree(1, 1, 2), Some(2), "this release");
        assert_eq!(agree(2, 2, 3), Some(2), "the next release");
        assert_eq!(agree(3, 3, 4), None, "two releases ahead");
        assert_eq!(agree(0, 0, 0), None, "no hello of any release");
        assert_eq!(agree(1, 2, 1), None, "a range that is empty");
    }
}
