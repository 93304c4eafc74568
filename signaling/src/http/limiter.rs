//! How many connections a port takes, and which one is closed when one more comes.
//!
//! A new connection is *waiting*: it has a place, but its client has not yet joined or shown a secret. Waiting
//! connections have a small budget of their own, so that silent ones never keep out clients that join. A connection
//! that joins or shows the right secret is *admitted* and is never closed for another.
//!
//! The relay's edge uses the same type for its ports.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// Part of all connections that may be waiting at a time.
const WAITING_PART: usize = 10;
/// On a port with fewer connections than this, all of them may be waiting.
const WAITING_MIN: usize = 64;
/// Part of all connections that only privileged addresses may take.
const RESERVED_PART: usize = 20;

/// How long a waiting connection is safe from a newcomer whose address has as many of them.
///
/// After a restart every client comes back at once. If each newcomer closed the oldest waiting connection, no client
/// would come as far as to join. This time makes the limiter refuse newcomers instead, and they try again.
const GRACE: Duration = Duration::from_secs(2);

/// How long an accepted TURN client may be quiet before it makes room for another.
const IDLE: Duration = Duration::from_secs(30);

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Stage {
    /// It has shown nothing yet: a handshake, a request, a WebSocket that has not joined. Closed first.
    Waiting,
    /// A TURN client that a shard has accepted. Closed for another when it is quiet.
    Client,
    /// A participant, or an application with the right secret. At the edge: handed on to signaling. Never closed.
    Admitted,
}

/// How many connections a port takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// At a time, of every stage.
    pub connections_max: usize,
    /// Waiting at a time.
    pub waiting_max: usize,
    /// Waiting at a time from one address, of IPv6 from one /64. 0 is unlimited. Loopback and proxies are not counted.
    pub waiting_per_address_max: usize,
    /// How many of `connections_max` only privileged addresses may take.
    pub reserved: usize,
    /// How long a waiting connection is safe from a newcomer whose address has as many of them.
    pub grace: Duration,
    /// How long an accepted TURN client may be quiet before it makes room for another.
    pub idle: Duration,
}

impl ConnectionLimits {
    /// The shares of a port that takes `connections_max` connections, where no address is privileged.
    pub fn new(connections_max: usize, waiting_per_address_max: usize) -> Self {
        Self {
            connections_max,
            waiting_max: (connections_max / WAITING_PART).max(connections_max.min(WAITING_MIN)),
            waiting_per_address_max,
            reserved: 0,
            grace: GRACE,
            idle: IDLE,
        }
    }

    /// The same with a share that only privileged addresses may take.
    pub fn with_reserve(self) -> Self {
        Self { reserved: self.connections_max / RESERVED_PART, ..self }
    }
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self::new(16_384, 256)
    }
}

/// Where a connection comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// Address of the client.
    pub address: IpAddr,
    /// Whether the operator lists the address for the REST API. It has a budget of its own and the reserve.
    pub privileged: bool,
    /// Whether the address is a proxy's, which stands for many clients.
    pub shared: bool,
}

impl Source {
    /// A client without any privilege.
    pub const fn client(address: IpAddr) -> Self {
        Self { address, privileged: false, shared: false }
    }
}

/// The connections of one port.
pub struct ConnectionLimiter {
    limits: ConnectionLimits,
    born: Instant,
    table: Mutex<Table>,
}

/// One connection's place, free again when this is dropped.
pub struct Permit {
    limiter: Arc<ConnectionLimiter>,
    number: u64,
    entry: Arc<Entry>,
}

/// The outcome for a newcomer.
pub enum Admission {
    /// There was a place.
    Granted(Permit),
    /// Another connection is closed for it.
    Displacing(Permit),
    /// There is no place. The connection has to be closed.
    Full,
}

impl Admission {
    /// The place, if there is one.
    pub fn permit(self) -> Option<Permit> {
        match self {
            Self::Granted(permit) | Self::Displacing(permit) => Some(permit),
            Self::Full => None,
        }
    }
}

struct Entry {
    came: Instant,
    stage: AtomicU8,
    /// When it was last useful, in milliseconds since the limiter was made.
    heard_ms: AtomicU64,
    is_displaced: AtomicBool,
    displaced: Notify,
}

/// A connection in the table.
struct Connection {
    entry: Arc<Entry>,
    source: Source,
}

#[derive(Default)]
struct Table {
    next: u64,
    /// By number, which is the order in which they came.
    connections: BTreeMap<u64, Connection>,
    /// Waiting connections of addresses without and with privilege.
    pools: [Pool; 2],
    /// The network and the pool that each waiting connection counts for.
    waiting: BTreeMap<u64, (IpAddr, usize)>,
}

/// Waiting connections by the network they come from.
#[derive(Default)]
struct Pool {
    all: BTreeSet<u64>,
    by_network: BTreeMap<IpAddr, BTreeSet<u64>>,
    by_size: BTreeSet<(usize, IpAddr)>,
}

/// Which connection is closed for a newcomer.
enum Verdict {
    Nobody,
    This(u64),
    Refused,
}

impl ConnectionLimiter {
    /// For one port.
    pub fn new(limits: ConnectionLimits) -> Arc<Self> {
        Arc::new(Self { limits, born: Instant::now(), table: Mutex::default() })
    }

    /// A place for one more connection. If need be, another is closed for it.
    pub fn admit(self: &Arc<Self>, source: Source, now: Instant) -> Admission {
        let mut table = self.lock();
        let verdict = match table.within_waiting(&self.limits, source, now) {
            Verdict::Nobody => table.within_all(&self.limits, self.born, source, now),
            other => other,
        };
        let displaces = match verdict {
            Verdict::Nobody => false,
            Verdict::This(number) => {
                table.displace(number);
                true
            }
            Verdict::Refused => return Admission::Full,
        };
        let heard_ms = AtomicU64::new(millis(self.born, now));
        let stage = AtomicU8::new(Stage::Waiting as u8);
        let entry = Arc::new(Entry {
            came: now,
            stage,
            heard_ms,
            is_displaced: AtomicBool::new(false),
            displaced: Notify::new(),
        });
        let number = table.next;
        table.next += 1;
        table.connections.insert(number, Connection { entry: Arc::clone(&entry), source });
        table.wait(number, source);
        drop(table);
        let permit = Permit { limiter: Arc::clone(self), number, entry };
        if displaces { Admission::Displacing(permit) } else { Admission::Granted(permit) }
    }

    /// How many connections there are.
    pub fn taken(&self) -> usize {
        self.lock().connections.len()
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Whether the budgets of waiting connections have room for one more.
    fn within_waiting(&self, limits: &ConnectionLimits, source: Source, now: Instant) -> Verdict {
        let network = network(source.address);
        let pool = &self.pools[pool_of(source)];
        let own = pool.by_network.get(&network);
        let counted = limits.waiting_per_address_max != 0 && !source.shared && !network.is_loopback();
        if counted && own.is_some_and(|own| own.len() >= limits.waiting_per_address_max) {
            return own.and_then(BTreeSet::first).map_or(Verdict::Refused, |oldest| Verdict::This(*oldest));
        }
        if pool.all.len() < limits.waiting_max {
            return Verdict::Nobody;
        }
        self.waiting_victim(source, limits.grace, now).map_or(Verdict::Refused, Verdict::This)
    }

    /// Whether the port has room for one more.
    fn within_all(&self, limits: &ConnectionLimits, born: Instant, source: Source, now: Instant) -> Verdict {
        let reserved = if source.privileged { 0 } else { limits.reserved };
        if self.connections.len() < limits.connections_max.saturating_sub(reserved) {
            return Verdict::Nobody;
        }
        let strangers = || self.pools[0].all.first().copied().filter(|_| source.privileged);
        let victim = self.waiting_victim(source, limits.grace, now).or_else(strangers);
        let victim = victim.or_else(|| self.quiet_client(millis(born, now), limits.idle));
        victim.map_or(Verdict::Refused, Verdict::This)
    }

    /// The waiting connection that goes first: the oldest of the network with the most of them, if the newcomer's own
    /// has fewer; otherwise the oldest of all, if it had its time.
    fn waiting_victim(&self, source: Source, grace: Duration, now: Instant) -> Option<u64> {
        let pool = &self.pools[pool_of(source)];
        let own = pool.by_network.get(&network(source.address)).map_or(0, BTreeSet::len);
        let (most, fullest) = pool.by_size.last()?;
        if *most > own + 1 {
            return pool.by_network.get(fullest)?.first().copied();
        }
        let oldest = pool.all.first()?;
        let came = self.connections.get(oldest)?.entry.came;
        (now.duration_since(came) >= grace).then_some(*oldest)
    }

    /// The TURN client that has been quiet for longest, if that is too long.
    fn quiet_client(&self, now_ms: u64, idle: Duration) -> Option<u64> {
        let entries = self.connections.iter().map(|(number, connection)| (number, &connection.entry));
        let clients = entries.filter(|(_, entry)| entry.stage() == Stage::Client);
        let heard = clients.map(|(number, entry)| (entry.heard_ms.load(Ordering::Relaxed), *number));
        let (heard_ms, number) = heard.min()?;
        (u128::from(now_ms.saturating_sub(heard_ms)) >= idle.as_millis()).then_some(number)
    }

    /// Counts a connection as waiting.
    fn wait(&mut self, number: u64, source: Source) {
        let (network, pool) = (network(source.address), pool_of(source));
        if self.waiting.insert(number, (network, pool)).is_none() {
            self.pools[pool].insert(number, network);
        }
    }

    /// Counts it as waiting no longer. Gives where it waited.
    fn wait_no_longer(&mut self, number: u64) -> Option<(IpAddr, usize)> {
        let (network, pool) = self.waiting.remove(&number)?;
        self.pools[pool].remove(number, network);
        Some((network, pool))
    }

    /// Takes away a connection's place and has it closed.
    fn displace(&mut self, number: u64) {
        self.wait_no_longer(number);
        if let Some(Connection { entry, .. }) = self.connections.remove(&number) {
            entry.is_displaced.store(true, Ordering::Release);
            entry.displaced.notify_waiters();
        }
    }
}

impl Pool {
    fn insert(&mut self, number: u64, network: IpAddr) {
        self.all.insert(number);
        let own = self.by_network.entry(network).or_default();
        self.by_size.remove(&(own.len(), network));
        own.insert(number);
        self.by_size.insert((own.len(), network));
    }

    fn remove(&mut self, number: u64, network: IpAddr) {
        self.all.remove(&number);
        let Some(own) = self.by_network.get_mut(&network) else { return };
        self.by_size.remove(&(own.len(), network));
        own.remove(&number);
        if own.is_empty() {
            self.by_network.remove(&network);
        } else {
            self.by_size.insert((own.len(), network));
        }
    }
}

impl Entry {
    fn stage(&self) -> Stage {
        match self.stage.load(Ordering::Relaxed) {
            stage if stage == Stage::Client as u8 => Stage::Client,
            stage if stage == Stage::Admitted as u8 => Stage::Admitted,
            _ => Stage::Waiting,
        }
    }
}

impl Permit {
    /// How far the connection has come.
    pub fn stage(&self) -> Stage {
        self.entry.stage()
    }

    /// The connection has shown that it is more than waiting.
    pub fn promote(&self, stage: Stage) {
        if self.stage() != stage {
            let mut table = self.limiter.lock();
            self.entry.stage.store(stage as u8, Ordering::Relaxed);
            table.wait_no_longer(self.number);
        }
    }

    /// Makes the connection a waiting one again.
    pub fn demote(&self) {
        let mut table = self.limiter.lock();
        self.entry.stage.store(Stage::Waiting as u8, Ordering::Relaxed);
        if let Some(source) = table.connections.get(&self.number).map(|connection| connection.source) {
            table.wait(self.number, source);
        }
    }

    /// The connection comes from a proxy and is for the client at `source`. Counts it there while it waits.
    ///
    /// Gives false if `source` has too many connections. This one then has to be closed.
    #[must_use]
    pub fn move_to(&self, source: Source, now: Instant) -> bool {
        let limits = &self.limiter.limits;
        let mut table = self.limiter.lock();
        let Some(before) = table.wait_no_longer(self.number) else { return !self.is_displaced() };
        match table.within_waiting(limits, source, now) {
            Verdict::Nobody => {}
            Verdict::This(number) => table.displace(number),
            Verdict::Refused => {
                table.waiting.insert(self.number, before);
                table.pools[before.1].insert(self.number, before.0);
                return false;
            }
        }
        table.wait(self.number, source);
        if let Some(connection) = table.connections.get_mut(&self.number) {
            connection.source = source;
        }
        true
    }

    /// Something useful came.
    pub fn heard(&self, now: Instant) {
        self.entry.heard_ms.store(millis(self.limiter.born, now), Ordering::Relaxed);
    }

    /// How long nothing useful has come.
    pub fn quiet_for(&self, now: Instant) -> Duration {
        let heard_ms = self.entry.heard_ms.load(Ordering::Relaxed);
        Duration::from_millis(millis(self.limiter.born, now).saturating_sub(heard_ms))
    }

    /// Whether the connection has lost its place.
    pub fn is_displaced(&self) -> bool {
        self.entry.is_displaced.load(Ordering::Acquire)
    }

    /// Waits until the connection has lost its place to another. It then has to be closed.
    pub async fn displaced(&self) {
        loop {
            let notified = self.entry.displaced.notified();
            if self.is_displaced() {
                return;
            }
            notified.await;
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut table = self.limiter.lock();
        table.wait_no_longer(self.number);
        table.connections.remove(&self.number);
    }
}

const fn pool_of(source: Source) -> usize {
    source.privileged as usize
}

/// The network of one client: an IPv4 address, or an IPv6 network of 64 bits, because one customer gets a whole /64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(ip) if !ip.is_loopback() => Ipv6Addr::from(u128::from(ip) >> 64 << 64).into(),
        other => other,
    }
}

fn millis(born: Instant, now: Instant) -> u64 {
    u64::try_from(now.saturating_duration_since(born).as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limiter(connections_max: usize, waiting_max: usize, per_address: usize) -> Arc<ConnectionLimiter> {
        let limits = ConnectionLimits::new(connections_max, per_address);
        ConnectionLimiter::new(ConnectionLimits { waiting_max, ..limits })
    }

    fn from(address: &str) -> Source {
        Source::client(address.parse().unwrap())
    }

    fn come(limiter: &Arc<ConnectionLimiter>, address: &str, now: Instant) -> Option<Permit> {
        limiter.admit(from(address), now).permit()
    }

    fn promoted(limiter: &Arc<ConnectionLimiter>, address: &str, stage: Stage, now: Instant) -> Permit {
        let permit = come(limiter, address, now).unwrap();
        permit.promote(stage);
        permit
    }

    fn are_displaced<'a>(permits: impl IntoIterator<Item = &'a Permit>) -> Vec<bool> {
        permits.into_iter().map(Permit::is_displaced).collect()
    }

    #[test]
    fn the_shares_of_a_port() {
        let limits = ConnectionLimits::new(16_384, 256).with_reserve();
        assert_eq!((limits.waiting_max, limits.reserved), (1_638, 819));
        let small = ConnectionLimits::new(10, 256).with_reserve();
        assert_eq!((small.waiting_max, small.reserved), (10, 0));
    }

    #[test]
    fn waiting_connections_have_a_budget_and_the_address_with_most_pays() {
        let (limiter, now) = (limiter(100, 6, 0), Instant::now());
        let flood: Vec<_> = (0..6).map(|_| come(&limiter, "192.0.2.1", now).unwrap()).collect();
        let newcomers: Vec<_> = (2..6).map(|host| come(&limiter, &format!("192.0.2.{host}"), now)).collect();
        assert!(newcomers.iter().all(Option::is_some), "they take from who has more");
        assert_eq!(are_displaced(&flood), [true, true, true, true, false, false], "oldest first");
        assert!(come(&limiter, "192.0.2.1", now).is_none(), "nobody has more than the flood itself now");
        assert_eq!(are_displaced(newcomers.iter().flatten()), [false; 4]);
        assert_eq!(limiter.taken(), 6);
    }

    #[test]
    fn where_all_have_as_many_the_oldest_has_its_time_first() {
        let (limiter, now) = (limiter(100, 2, 0), Instant::now());
        let first = come(&limiter, "192.0.2.1", now).unwrap();
        let second = come(&limiter, "192.0.2.2", now + GRACE / 2).unwrap();
        assert!(come(&limiter, "192.0.2.3", now + GRACE / 2).is_none());
        assert!(come(&limiter, "192.0.2.3", now + GRACE).is_some());
        assert_eq!(are_displaced([&first, &second]), [true, false]);
    }

    #[test]
    fn who_joined_stays_and_frees_the_budget() {
        let (limiter, now) = (limiter(4, 1, 0), Instant::now());
        let later = now + 2 * GRACE;
        let joined = [(); 3].map(|()| promoted(&limiter, "192.0.2.1", Stage::Admitted, now));
        let waits = come(&limiter, "192.0.2.1", now).unwrap();
        let next = come(&limiter, "192.0.2.2", later).unwrap();
        assert!(waits.is_displaced(), "its time was over");
        next.promote(Stage::Admitted);
        assert!(come(&limiter, "192.0.2.3", later).is_none(), "full of participants");
        assert_eq!(are_displaced(&joined), [false; 3]);
        drop(joined);
        assert!(come(&limiter, "192.0.2.3", later).is_some());
    }

    #[test]
    fn privileged_addresses_have_their_own_budget_and_a_reserve() {
        let limits = ConnectionLimits { reserved: 2, ..ConnectionLimits::new(10, 0) };
        let limiter = ConnectionLimiter::new(ConnectionLimits { waiting_max: 3, ..limits });
        let now = Instant::now();
        let application = Source { privileged: true, ..from("198.51.100.1") };
        let strangers = ["192.0.2.1", "192.0.2.2", "192.0.2.3"].map(|ip| come(&limiter, ip, now).unwrap());
        assert!(come(&limiter, "192.0.2.4", now).is_none());
        let rest = limiter.admit(application, now).permit().expect("strangers have another budget");
        assert_eq!(are_displaced(&strangers), [false; 3]);
        rest.promote(Stage::Admitted);
        strangers.iter().for_each(|permit| permit.promote(Stage::Admitted));
        let crowd: Vec<_> = (0..4).map(|_| promoted(&limiter, "192.0.2.9", Stage::Admitted, now)).collect();
        assert_eq!(limiter.taken(), 8);
        assert!(come(&limiter, "192.0.2.9", now).is_none(), "the reserve is not for it");
        let more = [(); 2].map(|()| limiter.admit(application, now).permit());
        assert!(more.iter().all(Option::is_some));
        assert_eq!(are_displaced(&crowd), [false; 4]);
    }

    #[test]
    fn an_address_has_so_many_waiting_and_pays_for_more_itself() {
        let (limiter, now) = (limiter(99, 99, 2), Instant::now());
        let mine = [(); 2].map(|()| come(&limiter, "2001:db8::1", now).unwrap());
        let other = come(&limiter, "192.0.2.1", now).unwrap();
        let third = come(&limiter, "2001:db8::ffff:2", now).expect("one network of 64 bits is one address");
        assert_eq!(are_displaced([&mine[0], &mine[1], &other]), [true, false, false]);
        third.promote(Stage::Admitted);
        mine[1].promote(Stage::Admitted);
        let more = [(); 2].map(|()| come(&limiter, "2001:db8::9", now).unwrap());
        assert_eq!(are_displaced(&more), [false; 2], "those that joined are not counted");
        let elsewhere = come(&limiter, "2001:db8:0:1::9", now).unwrap();
        let local: Vec<_> = (0..5).map(|_| come(&limiter, "::ffff:127.0.0.1", now).unwrap()).collect();
        let proxy = Source { shared: true, ..from("192.0.2.7") };
        let proxied: Vec<_> = (0..5).map(|_| limiter.admit(proxy, now).permit().unwrap()).collect();
        assert_eq!(are_displaced(local.iter().chain(&proxied).chain(&more)), [false; 12]);
        drop((mine, other, third, more, elsewhere, local, proxied));
        let table = limiter.lock();
        let pools = table.pools.iter().all(|pool| pool.by_network.is_empty() && pool.by_size.is_empty());
        assert!(table.connections.is_empty() && table.waiting.is_empty() && pools, "nothing is left over");
    }

    #[test]
    fn a_quiet_turn_client_makes_room_and_a_busy_one_does_not() {
        let (limiter, now) = (limiter(2, 2, 0), Instant::now());
        let busy = promoted(&limiter, "192.0.2.1", Stage::Client, now);
        let quiet = promoted(&limiter, "192.0.2.1", Stage::Client, now);
        busy.heard(now + IDLE);
        assert!(come(&limiter, "192.0.2.2", now + IDLE / 2).is_none());
        assert!(come(&limiter, "192.0.2.2", now + IDLE).is_some());
        assert_eq!(are_displaced([&busy, &quiet]), [false, true]);
    }

    #[test]
    fn a_proxied_connection_counts_for_its_client() {
        let (limiter, now) = (limiter(99, 99, 1), Instant::now());
        let proxy = Source { shared: true, ..from("192.0.2.7") };
        let [first, second, third] = [(); 3].map(|()| limiter.admit(proxy, now).permit().unwrap());
        assert!(first.move_to(from("203.0.113.1"), now) && second.move_to(from("203.0.113.2"), now));
        assert!(third.move_to(from("203.0.113.1"), now));
        assert_eq!(are_displaced([&first, &second, &third]), [true, false, false]);
        assert!(!first.move_to(from("203.0.113.3"), now), "it has lost its place");
    }

    #[test]
    fn a_connection_that_signaling_has_closed_goes_first() {
        let (limiter, now) = (limiter(2, 2, 0), Instant::now());
        let done = promoted(&limiter, "192.0.2.1", Stage::Admitted, now);
        let _other = promoted(&limiter, "192.0.2.2", Stage::Admitted, now);
        assert!(come(&limiter, "192.0.2.3", now + GRACE).is_none());
        done.demote();
        assert!(come(&limiter, "192.0.2.3", now + GRACE).is_some());
        assert!(done.is_displaced());
    }

    #[tokio::test]
    async fn a_displaced_connection_hears_of_it_whenever_it_asks() {
        let (limiter, now) = (limiter(1, 1, 0), Instant::now());
        let permit = come(&limiter, "192.0.2.1", now).unwrap();
        let mut waits = std::pin::pin!(permit.displaced());
        assert!(tokio::time::timeout(Duration::ZERO, &mut waits).await.is_err());
        let _other = come(&limiter, "192.0.2.2", now + GRACE).unwrap();
        waits.await;
        permit.displaced().await;
    }
}
