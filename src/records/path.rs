//! A [`Path`] without pointers or padding.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use bytemuck::{Pod, Zeroable};

use crate::egress::{Path, Via};

const FAMILY_NONE: u8 = 0;
const FAMILY_IPV4: u8 = 4;
const FAMILY_IPV6: u8 = 6;

/// Two ends of a path, or none when all is zero. Equal records are the same path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct PathRecord {
    /// IPv4 in the first four bytes, the rest zero.
    remote_ip: [u8; 16],
    local_ip: [u8; 16],
    /// The interface of a link-local IPv6 address, without which nothing can be sent there.
    remote_scope: u32,
    remote_port: u16,
    remote_family: u8,
    local_family: u8,
    via: u32,
    /// Zero.
    reserved: u32,
}

const _: () = assert!(size_of::<PathRecord>() == 48);

impl PathRecord {
    /// No path.
    pub const NONE: Self = Self {
        remote_ip: [0; 16],
        local_ip: [0; 16],
        remote_scope: 0,
        remote_port: 0,
        remote_family: FAMILY_NONE,
        local_family: FAMILY_NONE,
        via: 0,
        reserved: 0,
    };

    /// Whether this is [`Self::NONE`].
    pub const fn is_none(&self) -> bool {
        self.remote_family == FAMILY_NONE
    }

    /// The path, or `None` when there is none.
    pub fn get(&self) -> Option<Path> {
        let remote = match unpack(self.remote_family, self.remote_ip)? {
            IpAddr::V4(ip) => SocketAddr::from((ip, self.remote_port)),
            IpAddr::V6(ip) => SocketAddrV6::new(ip, self.remote_port, 0, self.remote_scope).into(),
        };
        let local = unpack(self.local_family, self.local_ip)?;
        Some(Path { local, remote, via: Via::from_bits(self.via) })
    }
}

impl From<&Path> for PathRecord {
    fn from(path: &Path) -> Self {
        let (remote_family, remote_ip) = pack(path.remote.ip());
        let (local_family, local_ip) = pack(path.local);
        let remote_scope = match path.remote {
            SocketAddr::V4(_) => 0,
            SocketAddr::V6(remote) => remote.scope_id(),
        };
        Self {
            remote_ip,
            local_ip,
            remote_scope,
            remote_port: path.remote.port(),
            remote_family,
            local_family,
            via: path.via.to_bits(),
            reserved: 0,
        }
    }
}

fn pack(ip: IpAddr) -> (u8, [u8; 16]) {
    match ip {
        IpAddr::V4(ip) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&ip.octets());
            (FAMILY_IPV4, bytes)
        }
        IpAddr::V6(ip) => (FAMILY_IPV6, ip.octets()),
    }
}

fn unpack(family: u8, bytes: [u8; 16]) -> Option<IpAddr> {
    let [a, b, c, d, ..] = bytes;
    match family {
        FAMILY_IPV4 => Some(Ipv4Addr::new(a, b, c, d).into()),
        FAMILY_IPV6 => Some(Ipv6Addr::from(bytes).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_come_back() {
        for (local, remote) in [
            ("192.0.2.1", "198.51.100.7:50000"),
            ("2001:db8::1", "[2001:db8::2]:9"),
            ("::1", "[::1]:65535"),
            ("fe80::1", "[fe80::2%3]:1000"),
        ] {
            let (local, remote) = (local.parse().unwrap(), remote.parse().unwrap());
            let path = Path { local, remote, via: Via::inside(1, 2) };
            let record = PathRecord::from(&path);
            assert_eq!(record.get(), Some(path));
            assert!(!record.is_none());
        }
    }

    #[test]
    fn paths_that_differ_anywhere_differ_as_records() {
        let record = |local: &str, remote: &str| {
            let (local, remote) = (local.parse().unwrap(), remote.parse().unwrap());
            PathRecord::from(&Path { local, remote, via: Via::MEDIA })
        };
        let base = record("192.0.2.1", "198.51.100.7:50000");
        assert_ne!(base, record("192.0.2.2", "198.51.100.7:50000"));
        assert_ne!(base, record("192.0.2.1", "198.51.100.8:50000"));
        assert_ne!(base, record("192.0.2.1", "198.51.100.7:50001"));
        assert_ne!(base, record("192.0.2.1", "[c633:6407::]:50000"));
        let inside = Path { via: Via::inside(0, 0), ..base.get().unwrap() };
        assert_ne!(base, PathRecord::from(&inside));
        assert_ne!(record("fe80::1", "[fe80::2%3]:1"), record("fe80::1", "[fe80::2%4]:1"));
    }

    #[test]
    fn zeroed_and_nonsense_memory_is_no_path() {
        assert_eq!(PathRecord::zeroed(), PathRecord::NONE);
        assert!(PathRecord::NONE.is_none());
        assert_eq!(PathRecord::NONE.get(), None);
        assert_eq!(bytemuck::cast::<[u8; 48], PathRecord>([0xff; 48]).get(), None);
    }
}
