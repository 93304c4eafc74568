//! One rate for each client address.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::{Bucket, Rate};

/// Most buckets that are kept. A new one then takes the place of the one that is full again first, so a client that
/// has used up its burst stays refused, however many other addresses come.
const BUCKETS_MAX: usize = 65_536;

/// An IPv6 /48, which is what one customer of a provider gets, may do as much as this many of its 65 536 /64s.
const SUBNETS_PER_NETWORK: u32 = 16;

/// A rate that holds for each address by itself. For IPv6 an address is its /64, because a client chooses the other 64
/// bits freely.
pub struct Addresses {
    /// `None` is no limit.
    rate: Option<Rate>,
    buckets: Mutex<Buckets>,
}

/// A part of the address space with a bucket of its own.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Site {
    Host(Ipv4Addr),
    /// The first 64 bits of an IPv6 address.
    Subnet(u64),
    /// The first 48 bits.
    Network(u64),
}

/// Buckets by site. Only sites that are not whole yet are needed; others leave when room is needed.
#[derive(Default)]
struct Buckets {
    by_site: HashMap<Site, Bucket>,
    /// The same sites by the time at which their bucket is whole.
    by_time: BTreeSet<(Instant, Site)>,
}

impl Addresses {
    /// No address has done anything yet.
    pub fn new(rate: Option<Rate>) -> Self {
        Self { rate, buckets: Mutex::default() }
    }

    /// Counts one more of an address.
    ///
    /// # Errors
    /// With the time until it may, when that is too soon. It is not counted then.
    pub fn spend(&self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        let Some(rate) = self.rate else { return Ok(()) };
        let mut buckets = self.lock();
        buckets.check(address, now, rate)?;
        for (site, rate) in sites(address, rate) {
            buckets.spend(site, now, rate);
        }
        Ok(())
    }

    /// Whether one more of an address would be too soon.
    ///
    /// # Errors
    /// As for [`Self::spend`].
    pub fn check(&self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        let Some(rate) = self.rate else { return Ok(()) };
        self.lock().check(address, now, rate)
    }

    fn lock(&self) -> MutexGuard<'_, Buckets> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Buckets {
    fn check(&self, address: IpAddr, now: Instant, rate: Rate) -> Result<(), Duration> {
        let too_soon = |(site, rate)| self.by_site.get(&site)?.check(now, rate, 1).err();
        sites(address, rate).filter_map(too_soon).max().map_or(Ok(()), Err)
    }

    /// Counts one more of a site that may do it.
    fn spend(&mut self, site: Site, now: Instant, rate: Rate) {
        let mut bucket = match self.by_site.get(&site) {
            Some(&bucket) => {
                self.by_time.remove(&(bucket.whole_at, site));
                bucket
            }
            None => {
                self.make_room();
                Bucket::new(now)
            }
        };
        // It was checked under the same lock.
        let _ = bucket.spend(now, rate, 1);
        self.by_time.insert((bucket.whole_at, site));
        self.by_site.insert(site, bucket);
    }

    fn make_room(&mut self) {
        if self.by_site.len() >= BUCKETS_MAX
            && let Some((_, site)) = self.by_time.pop_first()
        {
            self.by_site.remove(&site);
        }
    }
}

/// The sites an address lies in, each with its rate.
fn sites(address: IpAddr, rate: Rate) -> impl Iterator<Item = (Site, Rate)> {
    let (site, network) = match address.to_canonical() {
        IpAddr::V4(address) => (Site::Host(address), None),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments().map(u64::from);
            let network = a << 32 | b << 16 | c;
            (Site::Subnet(network << 16 | d), Some(Site::Network(network)))
        }
    };
    let of_network = network.map(|network| (network, rate.times(SUBNETS_PER_NETWORK)));
    std::iter::once((site, rate)).chain(of_network)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_address_has_its_own() {
        let addresses = Addresses::new(Rate::per_second(1, 2));
        let now = Instant::now();
        for (address, is_ok) in [
            ("192.0.2.1", true),
            ("192.0.2.1", true),
            ("192.0.2.1", false),
            ("::ffff:192.0.2.1", false),
            ("192.0.2.2", true),
            ("2001:db8::1", true),
            ("2001:db8::2", true),
            ("2001:db8::3", false),
            ("2001:db8:0:1::3", true),
        ] {
            assert_eq!(addresses.check(at(address), now).is_ok(), is_ok, "{address}");
            assert_eq!(addresses.spend(at(address), now).is_ok(), is_ok, "{address}");
        }
        assert_eq!(addresses.spend(at("192.0.2.1"), now), Err(SECOND));
        assert_eq!(addresses.spend(at("192.0.2.1"), now + SECOND), Ok(()));
    }

    #[test]
    fn without_a_rate_nothing_is_kept() {
        let addresses = Addresses::new(None);
        for _ in 0..9 {
            assert_eq!(addresses.spend(at("192.0.2.1"), Instant::now()), Ok(()));
        }
        assert!(addresses.lock().by_site.is_empty());
    }

    #[test]
    fn many_addresses_fill_no_memory_and_free_no_other_one() {
        let addresses = Addresses::new(Rate::per_second(1, 2));
        let now = Instant::now();
        let guesser = at("2001:db8::1");
        while addresses.spend(guesser, now).is_ok() {}
        for number in 0..u32::try_from(3 * BUCKETS_MAX).unwrap() {
            assert_eq!(addresses.spend(Ipv4Addr::from_bits(number).into(), now), Ok(()));
        }
        let buckets = addresses.lock();
        assert_eq!((buckets.by_site.len(), buckets.by_time.len()), (BUCKETS_MAX, BUCKETS_MAX));
        drop(buckets);
        assert_eq!(addresses.check(guesser, now), Err(SECOND), "it is still refused");
        assert_eq!(addresses.check(guesser, now + SECOND), Ok(()));
    }

    #[test]
    fn one_network_of_ipv6_is_not_many_clients() {
        let addresses = Addresses::new(Rate::per_second(1, 2));
        let now = Instant::now();
        let subnet = |number: u16| Ipv6Addr::new(0x2001, 0xdb8, 0, number, 0, 0, 0, 1).into();
        let passed = (0..=u16::MAX).filter(|&number| addresses.spend(subnet(number), now).is_ok()).count();
        assert_eq!(passed, 2 * 16);
        assert_eq!(addresses.check(subnet(7), now), Err(SECOND / 16));
        assert_eq!(addresses.spend(at("2001:db8:1::1"), now), Ok(()), "another network");
        assert_eq!(addresses.lock().by_site.len(), 32 + 1 + 2);
    }
}
