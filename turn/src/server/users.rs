//! What each user has at the moment, and all together: quotas are held against it.
//!
//! A user is known while one of its allocations lives, so there are never more users than allocations and a stranger
//! costs nothing.

use crate::server::config::{Limits, Quota};
use crate::server::seeded::{Map, Seeded};

/// Half a second of data may come at once.
const BURST_NS: u64 = 500_000_000;

/// A bandwidth limit as the time that one byte takes, in 2^-20 nanoseconds. 0: no limit.
#[derive(Clone, Copy)]
struct Pace(u64);

impl Pace {
    const fn new(bytes_per_s: u64) -> Self {
        match (1_000_000_000_u64 << 20).checked_div(bytes_per_s) {
            Some(pace) => Self(pace),
            None => Self(0),
        }
    }

    fn duration_ns(self, bytes: usize) -> u64 {
        self.0.saturating_mul(u64::try_from(bytes).unwrap_or(u64::MAX)) >> 20
    }
}

/// What one user has, or all.
#[derive(Clone, Copy, Default)]
pub(super) struct Use {
    pub(super) allocations: u32,
    pub(super) permissions: u32,
    pub(super) channels: u32,
    /// When all that was relayed is paid for.
    paid_at_ns: u64,
}

impl Use {
    fn paid_after(&self, now_ns: u64, duration_ns: u64) -> Option<u64> {
        let paid_at_ns = self.paid_at_ns.max(now_ns);
        (paid_at_ns - now_ns <= BURST_NS).then(|| paid_at_ns.saturating_add(duration_ns))
    }
}

struct User {
    name: [u8; 16],
    uses: Use,
}

/// A change of what somebody has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Permission,
    Channel,
}

pub(super) struct Users {
    by_name: Map<[u8; 16], u32>,
    users: Vec<User>,
    free: Vec<u32>,
    total: Use,
    limits: Limits,
    user_pace: Pace,
    total_pace: Pace,
}

impl Users {
    pub(super) fn new(limits: Limits, seed: u64, capacity: usize) -> Self {
        Self {
            by_name: Map::with_capacity_and_hasher(capacity, Seeded(seed)),
            users: Vec::new(),
            free: Vec::new(),
            total: Use::default(),
            limits,
            user_pace: Pace::new(limits.user.bandwidth_max_bytes_per_s),
            total_pace: Pace::new(limits.total.bandwidth_max_bytes_per_s),
        }
    }

    pub(super) const fn total(&self) -> Use {
        self.total
    }

    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.by_name.len()).unwrap_or(u32::MAX)
    }

    /// Whether the user is at its quota of allocations.
    pub(super) fn is_at_quota(&self, name: &[u8; 16]) -> bool {
        let has = self.by_name.get(name).map_or(0, |&at| self.users[at as usize].uses.allocations);
        has >= self.limits.user.allocations_max
    }

    pub(super) const fn is_full(&self) -> bool {
        self.total.allocations >= self.limits.total.allocations_max
    }

    /// Counts an allocation; gives the place of its user.
    pub(super) fn add(&mut self, name: [u8; 16]) -> u32 {
        self.total.allocations += 1;
        if let Some(&at) = self.by_name.get(&name) {
            self.users[at as usize].uses.allocations += 1;
            return at;
        }
        let user = User { name, uses: Use { allocations: 1, ..Use::default() } };
        let at = if let Some(at) = self.free.pop() {
            self.users[at as usize] = user;
            at
        } else {
            self.users.push(user);
            // There are no more users than records, whose number fits.
            u32::try_from(self.users.len() - 1).unwrap_or(u32::MAX)
        };
        self.by_name.insert(name, at);
        at
    }

    /// Counts an allocation off; the user is forgotten with its last.
    pub(super) fn remove(&mut self, at: u32) {
        let user = &mut self.users[at as usize];
        self.total.allocations -= 1;
        user.uses.allocations -= 1;
        if user.uses.allocations == 0 {
            debug_assert!(user.uses.permissions == 0 && user.uses.channels == 0);
            self.by_name.remove(&user.name);
            self.free.push(at);
        }
    }

    /// Whether the user may have so many more.
    pub(super) fn has_room(&self, at: u32, kind: Kind, more: u32) -> bool {
        let has = self.users[at as usize].uses;
        let fits = |uses: Use, quota: Quota| match kind {
            Kind::Permission => uses.permissions.saturating_add(more) <= quota.permissions_max,
            Kind::Channel => uses.channels.saturating_add(more) <= quota.channels_max,
        };
        fits(has, self.limits.user) && fits(self.total, self.limits.total)
    }

    pub(super) fn grow(&mut self, at: u32, kind: Kind) {
        for uses in [&mut self.users[at as usize].uses, &mut self.total] {
            match kind {
                Kind::Permission => uses.permissions += 1,
                Kind::Channel => uses.channels += 1,
            }
        }
    }

    pub(super) fn shrink(&mut self, at: u32, kind: Kind) {
        for uses in [&mut self.users[at as usize].uses, &mut self.total] {
            match kind {
                Kind::Permission => uses.permissions -= 1,
                Kind::Channel => uses.channels -= 1,
            }
        }
    }

    /// Whether so many bytes may be relayed now. They are charged to the user and to all, or to neither.
    pub(super) fn admit(&mut self, at: u32, now_ns: u64, bytes: usize) -> bool {
        if self.user_pace.0 | self.total_pace.0 == 0 {
            return true;
        }
        let uses = &mut self.users[at as usize].uses;
        let user = uses.paid_after(now_ns, self.user_pace.duration_ns(bytes));
        let total = self.total.paid_after(now_ns, self.total_pace.duration_ns(bytes));
        let (Some(user), Some(total)) = (user, total) else { return false };
        uses.paid_at_ns = user;
        self.total.paid_at_ns = total;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn users(user: u64, total: u64) -> Users {
        let mut limits = Limits::default();
        limits.user.bandwidth_max_bytes_per_s = user;
        limits.total.bandwidth_max_bytes_per_s = total;
        Users::new(limits, 1, 8)
    }

    /// Bytes that get through in ten seconds of far more.
    fn relayed(users: &mut Users, at: &[u32]) -> u64 {
        let mut bytes = 0;
        for tick in 0..10_000 {
            for at in at {
                if users.admit(*at, tick * SECOND / 1000, 1000) {
                    bytes += 1000;
                }
            }
        }
        bytes
    }

    #[test]
    fn bandwidth_is_held_for_each_user_and_for_all() {
        let mut free = users(0, 0);
        let one = free.add([1; 16]);
        assert_eq!(relayed(&mut free, &[one]), 10_000_000);

        let mut slow = users(100_000, 0);
        let one = slow.add([1; 16]);
        let bytes = relayed(&mut slow, &[one]);
        assert!((1_000_000..=1_060_000).contains(&bytes), "{bytes}: ten seconds and half a second at once");

        let mut both = users(100_000, 150_000);
        let [one, other] = [[1; 16], [2; 16]].map(|name| both.add(name));
        let bytes = relayed(&mut both, &[one, other]);
        assert!((1_500_000..=1_590_000).contains(&bytes), "{bytes}");
    }

    #[test]
    fn a_user_is_forgotten_with_its_last_allocation() {
        let mut users = users(0, 0);
        let [first, second] = [users.add([1; 16]), users.add([1; 16])];
        assert_eq!((first, users.count(), users.total().allocations), (second, 1, 2));
        users.remove(first);
        assert_eq!(users.count(), 1);
        users.remove(second);
        assert_eq!((users.count(), users.total().allocations), (0, 0));
        assert_eq!(users.add([3; 16]), first, "its place is used again");
    }

    #[test]
    fn quotas_of_a_user_and_of_all() {
        let mut limits = Limits::default();
        limits.user.allocations_max = 2;
        limits.user.permissions_max = 3;
        limits.total = Quota { allocations_max: 3, channels_max: 1, ..Quota::UNLIMITED };
        let mut users = Users::new(limits, 1, 8);
        let one = users.add([1; 16]);
        assert!(!users.is_at_quota(&[1; 16]) && !users.is_full());
        users.add([1; 16]);
        assert!(users.is_at_quota(&[1; 16]) && !users.is_at_quota(&[2; 16]));
        users.add([2; 16]);
        assert!(users.is_full());
        assert!(users.has_room(one, Kind::Permission, 3) && !users.has_room(one, Kind::Permission, 4));
        assert!(users.has_room(one, Kind::Channel, 1));
        users.grow(one, Kind::Channel);
        assert!(!users.has_room(one, Kind::Channel, 1));
        users.shrink(one, Kind::Channel);
        assert!(users.has_room(one, Kind::Channel, 1));
    }
}
