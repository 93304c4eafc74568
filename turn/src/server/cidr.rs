//! A range of addresses: `10.0.0.0/8`, `2001:db8::/32`, or one address.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Every address that begins with the same bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cidr {
    is_ipv6: bool,
    /// The bits, left-aligned; those behind the prefix are zero.
    bits: u128,
    prefix_len: u8,
}

/// Text is no range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotACidr;

impl fmt::Display for NotACidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected an address, or ADDRESS/BITS such as 192.168.0.0/16")
    }
}

impl std::error::Error for NotACidr {}

impl Cidr {
    pub(super) const fn v4(a: u8, b: u8, c: u8, d: u8, prefix_len: u8) -> Self {
        let bits = u32::from_be_bytes([a, b, c, d]) as u128;
        Self { is_ipv6: false, bits: bits << 96, prefix_len }
    }

    pub(super) const fn v6(segments: [u16; 8], prefix_len: u8) -> Self {
        let [a, b, c, d, e, f, g, h] = segments;
        Self { is_ipv6: true, bits: Ipv6Addr::new(a, b, c, d, e, f, g, h).to_bits(), prefix_len }
    }

    /// A range; bits behind the prefix are dropped. `None` for a prefix longer than the address. An IPv4-mapped range
    /// is written as the IPv4 range that it is.
    pub fn new(ip: IpAddr, prefix_len: u8) -> Option<Self> {
        let (is_ipv6, prefix_len, ip) = match (ip, ip.to_canonical()) {
            (IpAddr::V6(_), canonical @ IpAddr::V4(_)) if prefix_len >= 96 => {
                (false, prefix_len - 96, canonical)
            }
            (ip, _) => (ip.is_ipv6(), prefix_len, ip),
        };
        if prefix_len > if is_ipv6 { 128 } else { 32 } {
            return None;
        }
        let dropped = 128 - u32::from(prefix_len);
        let bits = left_aligned(ip).checked_shr(dropped).unwrap_or(0).checked_shl(dropped).unwrap_or(0);
        Some(Self { is_ipv6, bits, prefix_len })
    }

    /// Whether the address is in the range; an IPv4-mapped address counts as IPv4.
    pub fn contains(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        ip.is_ipv6() == self.is_ipv6 && self.agrees(left_aligned(ip))
    }

    /// Whether every address of this range is in the other.
    pub fn is_inside(&self, other: Self) -> bool {
        self.is_ipv6 == other.is_ipv6 && self.prefix_len >= other.prefix_len && other.agrees(self.bits)
    }

    /// Bits that all its addresses share.
    pub const fn prefix_len(&self) -> u8 {
        self.prefix_len
    }

    fn agrees(&self, bits: u128) -> bool {
        (self.bits ^ bits).checked_shr(128 - u32::from(self.prefix_len)).unwrap_or(0) == 0
    }
}

fn left_aligned(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(ip.to_bits()) << 96,
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

impl FromStr for Cidr {
    type Err = NotACidr;

    fn from_str(text: &str) -> Result<Self, NotACidr> {
        let (ip, prefix_len) = match text.split_once('/') {
            Some((ip, prefix_len)) => (ip, Some(prefix_len)),
            None => (text, None),
        };
        let ip: IpAddr = ip.parse().map_err(|_| NotACidr)?;
        let whole = if ip.is_ipv6() { 128 } else { 32 };
        let prefix_len = prefix_len.map_or(Ok(whole), str::parse).map_err(|_| NotACidr)?;
        Self::new(ip, prefix_len).ok_or(NotACidr)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_ipv6 {
            write!(f, "{}/{}", Ipv6Addr::from_bits(self.bits), self.prefix_len)
        } else {
            // The lower 96 bits of an IPv4 range are zero.
            let bits = u32::try_from(self.bits >> 96).unwrap_or(0);
            write!(f, "{}/{}", Ipv4Addr::from_bits(bits), self.prefix_len)
        }
    }
}

impl fmt::Debug for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(text: &str) -> Cidr {
        text.parse().unwrap()
    }

    #[test]
    fn ranges_are_read_and_written() {
        for (text, shown) in [
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("192.0.2.1", "192.0.2.1/32"),
            ("::/0", "::/0"),
            ("2001:db8::1", "2001:db8::1/128"),
            ("2001:db8:ffff::/33", "2001:db8:8000::/33"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ] {
            assert_eq!(cidr(text).to_string(), shown);
        }
        for text in ["", "/", "10.0.0.0/33", "::/129", "10.0.0/8", "10.0.0.0/-1", "10.0.0.0/8/8", "host"] {
            assert_eq!(text.parse::<Cidr>(), Err(NotACidr), "{text}");
        }
    }

    #[test]
    fn a_range_holds_its_addresses_and_no_others() {
        let contains = |range: &str, ip: &str| cidr(range).contains(ip.parse().unwrap());
        assert!(contains("10.0.0.0/8", "10.255.255.255") && !contains("10.0.0.0/8", "11.0.0.0"));
        assert!(contains("0.0.0.0/0", "8.8.8.8") && !contains("0.0.0.0/0", "2001:db8::1"));
        assert!(contains("::/0", "2001:db8::1") && !contains("::/0", "8.8.8.8"));
        assert!(contains("10.0.0.0/8", "::ffff:10.1.1.1"), "a mapped address is IPv4");
        assert!(!contains("::/0", "::ffff:10.1.1.1"));
        assert!(contains("fe80::/10", "febf::1") && !contains("fe80::/10", "fec0::1"));
    }

    #[test]
    fn ranges_lie_in_ranges() {
        let inside = |inner: &str, outer: &str| cidr(inner).is_inside(cidr(outer));
        assert!(inside("10.1.0.0/16", "10.0.0.0/8") && inside("10.0.0.0/8", "10.0.0.0/8"));
        assert!(!inside("0.0.0.0/0", "10.0.0.0/8") && !inside("11.0.0.0/16", "10.0.0.0/8"));
        assert!(!inside("::/0", "0.0.0.0/0") && inside("10.0.0.0/8", "0.0.0.0/0"));
    }
}
