//! The allocations and the ways to them: by client, by relayed port, by deadline. Rebuilt from the records.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use bytemuck::Zeroable;

use crate::server::channels::is_channel;
use crate::server::config::Config;
use crate::server::counters::Gauges;
use crate::server::credentials::{Key, Keyring};
use crate::server::ports::Ports;
use crate::server::record::{AddressRecord, AllocationRecord};
use crate::server::seeded::{Dice, Map, Seed, Seeded};
use crate::server::types::{ClientKey, Now, Relay, Slot};
use crate::server::users::{Kind, Users};

const NOBODY: u32 = u32::MAX;

/// Ports that are tried for one allocation, where others on this host may have taken some.
const PORT_TRIES: u32 = 16;

pub(super) struct Table<'m> {
    records: &'m mut [AllocationRecord],
    by_client: Map<ClientKey, Slot>,
    /// The allocation at each port from `ports_from` on: one number serves both families.
    by_port: Box<[u32]>,
    ports_from: u16,
    /// Free places below `high`.
    free: Vec<Slot>,
    /// Places at or above this were never taken.
    high: usize,
    /// One entry for each allocation: when something of it ends at the earliest.
    deadlines: BTreeSet<(u64, Slot)>,
    /// The entry of each slot in `deadlines`; 0 for none.
    scheduled: Box<[u64]>,
    ports: Ports,
    pub(super) users: Users,
    sockets: u32,
}

impl<'m> Table<'m> {
    /// Takes over the records. What cannot go on is freed: what ended, what this configuration does not give out, what
    /// contradicts another record.
    pub(super) fn new(
        config: &Config,
        keyring: &Keyring,
        records: &'m mut [AllocationRecord],
        high: u64,
        seed: &Seed,
        now: Now,
    ) -> Self {
        // A slot is a number of 32 bits, and the last one means nobody.
        let capacity = records.len().min(NOBODY as usize);
        let records = &mut records[..capacity];
        let ports_from = *config.ports.start();
        let ports_len = usize::from(config.ports.end().saturating_sub(ports_from)) + 1;
        let [clients_seed, users_seed] = seed.words(b"maps");
        let mut table = Self {
            by_client: Map::with_capacity_and_hasher(capacity, Seeded(clients_seed)),
            by_port: vec![NOBODY; ports_len].into(),
            ports_from,
            free: Vec::with_capacity(capacity),
            high: usize::try_from(high).map_or(capacity, |high| high.min(capacity)),
            deadlines: BTreeSet::new(),
            scheduled: vec![0; capacity].into(),
            ports: Ports::default(),
            users: Users::new(config.limits, users_seed, capacity),
            sockets: 0,
            records,
        };
        for index in (0..table.high).rev() {
            // Below `capacity`, so it fits.
            let slot = Slot(u32::try_from(index).unwrap_or(NOBODY));
            if table.take_over(config, keyring, slot, now).is_none() {
                table.records[index] = AllocationRecord::zeroed();
                table.free.push(slot);
            }
        }
        let mut dice = Dice::new(seed.words(b"ports")[0]);
        let by_port = &table.by_port;
        table.ports = Ports::new(config.ports.clone(), &mut dice, |port| {
            by_port.get(usize::from(port - ports_from)).is_some_and(|&slot| slot != NOBODY)
        });
        table
    }

    fn take_over(&mut self, config: &Config, keyring: &Keyring, slot: Slot, now: Now) -> Option<()> {
        let record = &self.records[slot.index()];
        if record.expires_at_ns <= now.monotonic_ns {
            return None;
        }
        let client = record.client()?.key();
        let key = Key::from_record(record.key, record.key_len)?;
        let port = given_out_port(config, record)?;
        let at = usize::from(port.checked_sub(self.ports_from)?);
        if self.by_port.get(at) != Some(&NOBODY) || self.by_client.contains_key(&client) {
            return None;
        }
        self.by_port[at] = slot.0;
        self.by_client.insert(client, slot);
        let record = &mut self.records[slot.index()];
        if record.credential_until_unix_s == u64::MAX && !keyring.knows_static(record.user, key) {
            // A static user who is no more goes on until the allocation's time is over, and not longer.
            record.credential_until_unix_s = 0;
        }
        for family in [0, 1] {
            if record.relayed[family].get().is_none() {
                record.open &= !(1 << family);
            }
        }
        record.open &= 0b11;
        self.sockets += record.open.count_ones();
        self.take_over_entries(config, slot);
        self.reschedule(slot);
        Some(())
    }

    /// Judges the channels by this configuration, drops entries that make no sense, and counts the rest.
    fn take_over_entries(&mut self, config: &Config, slot: Slot) {
        let record = &mut self.records[slot.index()];
        record.user_at = self.users.add(record.quota_user);
        for permission in &mut record.permissions {
            let allowed = permission.ip().is_some_and(|ip| config.policy.judge_ip(ip).is_ok());
            if permission.expires_at_ns == 0 || !allowed {
                *permission = Zeroable::zeroed();
            } else {
                self.users.grow(record.user_at, Kind::Permission);
            }
        }
        for (number, channel) in record.channel_numbers.iter_mut().zip(&mut record.channels) {
            let judged = channel.peer.get().and_then(|peer| config.policy.judge(peer).ok());
            match judged {
                Some(reach) if is_channel(*number) && channel.expires_at_ns != 0 => {
                    channel.reach = reach as u8;
                    self.users.grow(record.user_at, Kind::Channel);
                }
                _ => (*number, *channel) = (0, Zeroable::zeroed()),
            }
        }
    }

    pub(super) fn gauges(&self) -> Gauges {
        let total = self.users.total();
        Gauges {
            allocations: total.allocations,
            permissions: total.permissions,
            channels: total.channels,
            users: self.users.count(),
            sockets: self.sockets,
        }
    }

    pub(super) fn get(&self, slot: Slot) -> Option<&AllocationRecord> {
        self.records.get(slot.index()).filter(|record| record.is_live())
    }

    pub(super) fn find(&self, key: &ClientKey) -> Option<Slot> {
        self.by_client.get(key).copied()
    }

    pub(super) fn at_port(&self, port: u16) -> Option<Slot> {
        let at = usize::from(port.checked_sub(self.ports_from)?);
        self.by_port.get(at).filter(|&&slot| slot != NOBODY).map(|&slot| Slot(slot))
    }

    /// The record and the users at once, for the way of data.
    pub(super) fn split(&mut self, slot: Slot) -> Option<(&mut AllocationRecord, &mut Users)> {
        let record = self.records.get_mut(slot.index()).filter(|record| record.is_live())?;
        Some((record, &mut self.users))
    }

    pub(super) fn is_full(&self) -> bool {
        self.free.is_empty() && self.high == self.records.len() || self.users.is_full()
    }

    /// One past the last place ever taken.
    pub(super) const fn high(&self) -> usize {
        self.high
    }

    /// A port for a new allocation that `is_free` has nothing against, an even one if that is asked for.
    pub(super) fn take_port(
        &mut self,
        now: Now,
        even: bool,
        mut is_free: impl FnMut(u16) -> bool,
    ) -> Option<u16> {
        for _ in 0..PORT_TRIES {
            let port = self.ports.take(now.monotonic_ns, even)?;
            if is_free(port) {
                return Some(port);
            }
            self.ports.rest(port, now.monotonic_ns);
        }
        None
    }

    /// Writes a new allocation with a relayed address of each of these families at `port`; `None` when there is no room.
    /// The caller has seen that the client has none.
    pub(super) fn open(
        &mut self,
        mut record: AllocationRecord,
        relayed: [Option<IpAddr>; 2],
        port: u16,
    ) -> Option<Slot> {
        let key = record.client()?.key();
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None if self.high < self.records.len() => {
                self.high += 1;
                Slot(u32::try_from(self.high - 1).ok()?)
            }
            None => return None,
        };
        for (address, ip) in record.relayed.iter_mut().zip(relayed) {
            *address = match ip {
                Some(ip) => AddressRecord::new(SocketAddr::new(ip, port)),
                None => Zeroable::zeroed(),
            };
        }
        record.user_at = self.users.add(record.quota_user);
        self.records[slot.index()] = record;
        self.by_client.insert(key, slot);
        self.by_port[usize::from(port - self.ports_from)] = slot.0;
        self.reschedule(slot);
        Some(slot)
    }

    /// Ends an allocation and all that it has; its record is zeros again, the key with it.
    pub(super) fn close(&mut self, slot: Slot, now: Now, relay: &mut impl Relay) {
        // First of all, so that whatever the record says it is not due again.
        self.unschedule(slot);
        for family in [0, 1] {
            self.close_family(slot, family, relay);
        }
        let Some(record) = self.get(slot) else { return };
        let (user_at, port_is_bad) = (record.user_at, record.port_is_bad != 0);
        let (client, port) = (record.client(), record.relayed().next().map(|relayed| relayed.port()));
        if let Some(client) = client {
            self.by_client.remove(&client.key());
        }
        self.records[slot.index()] = AllocationRecord::zeroed();
        self.users.remove(user_at);
        self.free.push(slot);
        let Some(port) = port else { return };
        self.by_port[usize::from(port - self.ports_from)] = NOBODY;
        if port_is_bad { self.ports.rest(port, now.monotonic_ns) } else { self.ports.give_back(port) }
    }

    /// Ends what an allocation has in one family, but not its relayed address.
    pub(super) fn close_family(&mut self, slot: Slot, family: usize, relay: &mut impl Relay) {
        let Some((record, users)) = self.split(slot) else { return };
        record.drop_entries(users, |peer| usize::from(peer.is_ipv6()) == family);
        let relayed = record.relayed[family].get();
        let was_open = record.open & (1 << family) != 0;
        record.open &= !(1 << family);
        if let Some(relayed) = relayed.filter(|_| was_open) {
            relay.close(slot, relayed);
            self.sockets -= 1;
        }
    }

    /// Makes sure that the socket towards outside peers of a family is open.
    pub(super) fn open_socket(&mut self, slot: Slot, family: usize, relay: &mut impl Relay) -> bool {
        let Some((record, _)) = self.split(slot) else { return false };
        if record.open & (1 << family) != 0 {
            return true;
        }
        let Some(relayed) = record.relayed[family].get() else { return false };
        if relay.open(slot, relayed).is_err() {
            record.port_is_bad = 1;
            return false;
        }
        record.open |= 1 << family;
        self.sockets += 1;
        true
    }

    /// Opens again every socket that the records say is open.
    pub(super) fn reopen(&mut self, relay: &mut impl Relay) {
        for slot in self.slots() {
            for family in [0, 1] {
                let record = &mut self.records[slot.index()];
                let was_open = record.is_live() && record.open & (1 << family) != 0;
                if was_open {
                    record.open &= !(1 << family);
                    self.sockets -= 1;
                    self.open_socket(slot, family, relay);
                }
            }
        }
    }

    /// Every place that was ever taken.
    pub(super) fn slots(&self) -> impl Iterator<Item = Slot> + use<> {
        // The number of records fits, see `new`.
        (0..u32::try_from(self.high).unwrap_or(NOBODY)).map(Slot)
    }

    pub(super) fn next_deadline_ns(&self) -> Option<u64> {
        self.deadlines.first().map(|&(deadline_ns, _)| deadline_ns)
    }

    /// An allocation of which something has ended.
    pub(super) fn due(&self, now: Now) -> Option<Slot> {
        let &(deadline_ns, slot) = self.deadlines.first()?;
        (deadline_ns <= now.monotonic_ns).then_some(slot)
    }

    /// Drops the permissions and channels whose time is over.
    pub(super) fn sweep(&mut self, slot: Slot, now: Now) {
        let Some((record, users)) = self.split(slot) else { return };
        record.drop_expired(users, now.monotonic_ns);
        self.reschedule(slot);
    }

    /// After a change of deadlines.
    pub(super) fn reschedule(&mut self, slot: Slot) {
        self.unschedule(slot);
        let Some(record) = self.get(slot) else { return };
        let earliest_ns = record.earliest_deadline_ns();
        self.scheduled[slot.index()] = earliest_ns;
        self.deadlines.insert((earliest_ns, slot));
    }

    fn unschedule(&mut self, slot: Slot) {
        let was_ns = std::mem::take(&mut self.scheduled[slot.index()]);
        if was_ns != 0 {
            self.deadlines.remove(&(was_ns, slot));
        }
    }
}

/// The port of a record's relayed addresses, if this configuration gives them out.
fn given_out_port(config: &Config, record: &AllocationRecord) -> Option<u16> {
    let port = record.relayed().next()?.port();
    let given_out = record.relayed.iter().enumerate().all(|(family, relayed)| {
        relayed
            .get()
            .is_none_or(|relayed| config.relayed_ip(family) == Some(relayed.ip()) && relayed.port() == port)
    });
    given_out.then_some(port)
}
