//! Which shard takes the next session or viewer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use millrace_control::{Load, RelayHello, ShardInfo};

/// Weight of a session on its shard before its first publisher. A publisher usually follows.
pub(super) const SESSION_WEIGHT: u64 = 1;

/// What is known of each shard, and what is promised to it.
///
/// A shard takes more while it exists, does not drain, and has fewer promises than it can hold. The shard with the
/// fewest promises is next, and the lowest id among equal ones. A look-up reads the first entry of an ordered set.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<Accounts>);

#[derive(Debug, Default)]
struct Accounts {
    shards: BTreeMap<u32, Account>,
    /// Shards that take more, by what is promised to them.
    open: BTreeSet<(u64, u32)>,
}

/// One shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Sessions and peers that signaling has asked it to hold.
    pub promised: u64,
    /// Most peers it can hold; 0 when it does not say.
    pub peers_max: u32,
    /// Whether the relay has it.
    pub exists: bool,
    /// Whether it takes nothing new.
    pub drains: bool,
    /// Processor time that its thread used in the last second, in 1/1000 of one core.
    pub busy_permille: u32,
}

impl Account {
    const fn takes_more(&self) -> bool {
        let has_room = self.peers_max == 0 || self.promised < self.peers_max as u64;
        self.exists && !self.drains && has_room
    }
}

impl Ledger {
    /// The relay has these shards.
    pub fn meet(&self, relay: &RelayHello) {
        let mut accounts = self.lock();
        let known: Vec<u32> = accounts.shards.keys().copied().collect();
        for shard in known {
            accounts.change(shard, |account| account.exists = false);
        }
        for &ShardInfo { shard, peers_max, .. } in &relay.shards {
            accounts.change(shard, |account| {
                account.exists = true;
                account.peers_max = peers_max;
            });
        }
    }

    /// A shard reports its load.
    pub fn report(&self, shard: u32, load: &Load) {
        self.lock().change(shard, |account| {
            account.drains = load.draining;
            account.busy_permille = load.busy_permille;
        });
    }

    /// `by` more is promised to a shard, or less where it is negative.
    pub fn promise(&self, shard: u32, by: i64) {
        self.lock().change(shard, |account| account.promised = account.promised.saturating_add_signed(by));
    }

    /// The shard that is next. `None` when there is no shard that takes more.
    pub fn choose(&self) -> Option<u32> {
        self.lock().open.first().map(|&(_, shard)| shard)
    }

    /// Whether a shard exists.
    pub fn exists(&self, shard: u32) -> bool {
        self.lock().shards.get(&shard).is_some_and(|account| account.exists)
    }

    /// Whether a shard takes more.
    pub fn takes_more(&self, shard: u32) -> bool {
        self.lock().shards.get(&shard).is_some_and(Account::takes_more)
    }

    /// Every shard that exists.
    pub fn accounts(&self) -> BTreeMap<u32, Account> {
        let accounts = self.lock();
        let existing = accounts.shards.iter().filter(|(_, account)| account.exists);
        existing.map(|(&shard, &account)| (shard, account)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Accounts> {
        // A change is one assignment, so a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Accounts {
    fn change(&mut self, shard: u32, change: impl FnOnce(&mut Account)) {
        let account = self.shards.entry(shard).or_default();
        self.open.remove(&(account.promised, shard));
        change(account);
        if account.takes_more() {
            self.open.insert((account.promised, shard));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relay(shards: u32, peers_max: u32) -> RelayHello {
        let shard = |shard| ShardInfo { shard, peers_max, ..ShardInfo::default() };
        RelayHello { shards: (0..shards).map(shard).collect(), ..RelayHello::default() }
    }

    #[test]
    fn sessions_that_start_together_are_spread() {
        let ledger = Ledger::default();
        assert_eq!(ledger.choose(), None, "there is no shard");
        ledger.meet(&relay(3, 0));
        let mut chosen = Vec::new();
        for _ in 0..6 {
            let shard = ledger.choose().unwrap();
            ledger.promise(shard, 1);
            chosen.push(shard);
        }
        assert_eq!(chosen, [0, 1, 2, 0, 1, 2]);
        ledger.promise(1, -2);
        assert_eq!(ledger.choose(), Some(1), "what is given back counts");
    }

    #[test]
    fn a_shard_that_is_full_drains_or_is_gone_takes_nothing() {
        let ledger = Ledger::default();
        ledger.promise(0, 1);
        ledger.meet(&relay(3, 2));
        ledger.promise(0, 1);
        assert_eq!((ledger.takes_more(0), ledger.choose()), (false, Some(1)), "it is full");
        ledger.report(1, &Load { draining: true, ..Load::default() });
        assert_eq!(ledger.choose(), Some(2));
        ledger.meet(&relay(2, 2));
        assert_eq!((ledger.choose(), ledger.exists(2)), (None, false));
        ledger.report(1, &Load::default());
        assert_eq!(ledger.choose(), Some(1), "it takes more again");
        assert_eq!(ledger.accounts()[&0].promised, 2);
    }
}
