//! The addresses that are not the public internet: IANA's registries of special-purpose addresses (RFC 6890) and what
//! clouds keep their secrets behind.

use std::net::IpAddr;

use crate::server::cidr::Cidr;

const IPV4: [Cidr; 20] = [
    Cidr::v4(0, 0, 0, 0, 8),          // this network; 0.0.0.0 reaches the host itself
    Cidr::v4(10, 0, 0, 0, 8),         // private
    Cidr::v4(100, 64, 0, 0, 10),      // shared, behind carriers' NAT; one cloud's metadata
    Cidr::v4(127, 0, 0, 0, 8),        // loopback
    Cidr::v4(168, 63, 129, 16, 32),   // one cloud's host agent
    Cidr::v4(169, 254, 0, 0, 16),     // link-local; most clouds' metadata
    Cidr::v4(172, 16, 0, 0, 12),      // private
    Cidr::v4(192, 0, 0, 0, 24),       // protocol assignments
    Cidr::v4(192, 0, 2, 0, 24),       // documentation
    Cidr::v4(192, 31, 196, 0, 24),    // sink of reverse look-ups
    Cidr::v4(192, 52, 193, 0, 24),    // multicast tunnels
    Cidr::v4(192, 175, 48, 0, 24),    // sink of reverse look-ups
    Cidr::v4(192, 88, 99, 0, 24),     // 6to4 relays, given up
    Cidr::v4(192, 168, 0, 0, 16),     // private
    Cidr::v4(198, 18, 0, 0, 15),      // benchmarks
    Cidr::v4(198, 51, 100, 0, 24),    // documentation
    Cidr::v4(203, 0, 113, 0, 24),     // documentation
    Cidr::v4(224, 0, 0, 0, 4),        // multicast
    Cidr::v4(255, 255, 255, 255, 32), // broadcast
    Cidr::v4(240, 0, 0, 0, 4),        // reserved
];

const IPV6: [Cidr; 18] = [
    Cidr::v6([0, 0, 0, 0, 0, 0, 0, 0], 128),             // unspecified
    Cidr::v6([0, 0, 0, 0, 0, 0, 0, 1], 128),             // loopback
    Cidr::v6([0, 0, 0, 0, 0, 0, 0, 0], 96),              // IPv4-compatible, given up
    Cidr::v6([0, 0, 0, 0, 0, 0xffff, 0, 0], 96),         // IPv4-mapped
    Cidr::v6([0, 0, 0, 0, 0xffff, 0, 0, 0], 96),         // IPv4-translated
    Cidr::v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48),      // NAT64 of a network's own
    Cidr::v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64),          // discard
    Cidr::v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32),         // Teredo
    Cidr::v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23),         // protocol assignments
    Cidr::v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32),     // documentation
    Cidr::v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16),         // 6to4
    Cidr::v6([0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0], 48), // sink of reverse look-ups
    Cidr::v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20),         // documentation
    Cidr::v6([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16),         // segment routing
    Cidr::v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7),          // unique local
    Cidr::v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10),         // link-local
    Cidr::v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10),         // site-local, given up
    Cidr::v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8),          // multicast
];

/// Where public IPv6 addresses are, and the translated ones that stand for public IPv4.
const IPV6_PUBLIC: [Cidr; 2] =
    [Cidr::v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3), Cidr::v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96)];

/// The special range that the address is in, the narrowest first; `None` for a public address.
pub(super) fn range_of(ip: IpAddr) -> Option<Cidr> {
    let listed: &[Cidr] = if ip.is_ipv4() { &IPV4 } else { &IPV6 };
    if let Some(range) = listed.iter().find(|range| range.contains(ip)) {
        return Some(*range);
    }
    let public = ip.is_ipv4() || IPV6_PUBLIC.iter().any(|range| range.contains(ip));
    // What was never given to anybody can be named one address at a time.
    if public { None } else { Cidr::new(ip, 128) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(ip: &str) -> Option<String> {
        range_of(ip.parse().unwrap()).map(|range| range.to_string())
    }

    #[test]
    fn public_addresses_are_in_no_range() {
        for ip in ["8.8.8.8", "1.1.1.1", "100.128.0.1", "172.32.0.1", "2606:4700::1111", "64:ff9b::808:808"] {
            assert_eq!(range(ip), None, "{ip}");
        }
    }

    #[test]
    fn the_ends_of_ranges_are_in_them() {
        for (ip, expected) in [
            ("0.0.0.0", "0.0.0.0/8"),
            ("100.127.255.255", "100.64.0.0/10"),
            ("127.255.255.255", "127.0.0.0/8"),
            ("169.254.169.254", "169.254.0.0/16"),
            ("172.31.255.255", "172.16.0.0/12"),
            ("198.19.255.255", "198.18.0.0/15"),
            ("239.255.255.255", "224.0.0.0/4"),
            ("255.255.255.255", "255.255.255.255/32"),
            ("::", "::/128"),
            ("::1", "::1/128"),
            ("::7f00:1", "::/96"),
            ("2001::1", "2001::/32"),
            ("fdff::1", "fc00::/7"),
            ("febf::1", "fe80::/10"),
            ("ff02::1", "ff00::/8"),
            ("4000::1", "4000::1/128"),
        ] {
            assert_eq!(range(ip).as_deref(), Some(expected), "{ip}");
        }
    }
}
