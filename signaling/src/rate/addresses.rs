//! What each address has done.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::{Bucket, Rate};

/// Addresses that are remembered. Whoever has more of them than this is held by no bound for each.
const ADDRESSES_MAX: usize = 65_536;

/// A rate that every address has for itself. Of IPv6 the first 64 bits count: the others everybody chooses alone.
pub struct Addresses {
    /// `None` is no bound.
    rate: Option<Rate>,
    buckets: Mutex<HashMap<IpAddr, Bucket>>,
}

impl Addresses {
    /// Nobody has done anything yet.
    pub fn new(rate: Option<Rate>) -> Self {
        Self { rate, buckets: Mutex::default() }
    }

    /// Counts one more of an address.
    ///
    /// # Errors
    /// With the time until it may, when that is too soon; it is not counted then.
    pub fn spend(&self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        let Some(rate) = self.rate else { return Ok(()) };
        let mut buckets = self.lock();
        if buckets.len() >= ADDRESSES_MAX {
            buckets.retain(|_, bucket| !bucket.is_whole(now));
            // So seldom that it costs nothing: each time half of them have to come anew.
            if buckets.len() > ADDRESSES_MAX / 2 {
                buckets.clear();
            }
        }
        buckets.entry(site(address)).or_insert_with(|| Bucket::new(now)).spend(now, rate, 1)
    }

    /// Whether one more of an address would be too soon.
    ///
    /// # Errors
    /// As for [`Self::spend`].
    pub fn check(&self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        let Some(rate) = self.rate else { return Ok(()) };
        self.lock().get(&site(address)).map_or(Ok(()), |bucket| bucket.check(now, rate, 1))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, Bucket>> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What stands for an address.
fn site(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
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
    fn without_a_rate_nothing_is_remembered() {
        let addresses = Addresses::new(None);
        for _ in 0..9 {
            assert_eq!(addresses.spend(at("192.0.2.1"), Instant::now()), Ok(()));
        }
        assert!(addresses.lock().is_empty());
    }

    #[test]
    fn those_who_are_many_fill_no_memory() {
        let addresses = Addresses::new(Rate::per_second(1, 1));
        let now = Instant::now();
        let count = u32::try_from(3 * ADDRESSES_MAX).unwrap();
        for number in 0..count {
            let address = std::net::Ipv4Addr::from_bits(number).into();
            assert_eq!(addresses.spend(address, now), Ok(()));
            assert!(addresses.lock().len() <= ADDRESSES_MAX);
        }
        // A later time forgets those who are quiet, and nobody else.
        let last = std::net::Ipv4Addr::from_bits(count - 1).into();
        assert!(addresses.check(last, now).is_err());
        assert!(addresses.check(last, now + SECOND).is_ok());
    }
}
