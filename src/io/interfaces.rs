//! The addresses of this machine's interfaces: what can be announced to browsers.

use std::ffi::CStr;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ptr;

/// Addresses announced at most: each costs every browser a candidate pair.
const ADDRESSES_MAX: usize = 8;

/// Prefixes of bridges and tunnels that containers and virtual machines make; nobody outside reaches us there.
const VIRTUAL: [&str; 4] = ["docker", "br-", "veth", "virbr"];

/// Addresses of interfaces that are up, IPv4 first. Loopback is among them, last, only where there is nothing else; link-local
/// addresses never are.
///
/// # Errors
/// When the kernel does not list its interfaces.
pub fn addresses() -> io::Result<Vec<IpAddr>> {
    let all = List::read()?;
    let usable = |entry: &Entry| entry.up && !entry.virtual_bridge && !is_link_local(entry.address);
    let (loopback, mut others): (Vec<_>, Vec<_>) =
        all.0.into_iter().filter(usable).map(|entry| entry.address).partition(IpAddr::is_loopback);
    others.sort_by_key(IpAddr::is_ipv6);
    others.truncate(ADDRESSES_MAX);
    Ok(if others.is_empty() { loopback } else { others })
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

struct Entry {
    address: IpAddr,
    up: bool,
    virtual_bridge: bool,
}

struct List(Vec<Entry>);

impl List {
    fn read() -> io::Result<Self> {
        let mut head = ptr::null_mut();
        // SAFETY: getifaddrs writes one pointer, to a list that is ours until freeifaddrs.
        if unsafe { libc::getifaddrs(&raw mut head) } != 0 {
            return Err(io::Error::last_os_error());
        }
        let mut entries = Vec::new();
        let mut next: *const libc::ifaddrs = head;
        // SAFETY: a non-null element of the list is valid until freeifaddrs, which comes after the loop.
        while let Some(element) = unsafe { next.as_ref() } {
            entries.extend(read_entry(element));
            next = element.ifa_next;
        }
        // SAFETY: head came from getifaddrs and nothing borrowed from the list is left.
        unsafe { libc::freeifaddrs(head) };
        Ok(Self(entries))
    }
}

fn read_entry(element: &libc::ifaddrs) -> Option<Entry> {
    // SAFETY: ifa_name is a NUL-terminated string that lives as long as the list.
    let name = unsafe { CStr::from_ptr(element.ifa_name) }.to_str().unwrap_or_default();
    Some(Entry {
        address: read_address(element.ifa_addr)?,
        up: element.ifa_flags & libc::IFF_UP.cast_unsigned() != 0,
        virtual_bridge: VIRTUAL.iter().any(|prefix| name.starts_with(prefix)),
    })
}

fn read_address(address: *const libc::sockaddr) -> Option<IpAddr> {
    // SAFETY: null or a socket address of at least its family's length, as getifaddrs(3) says.
    let family = i32::from(unsafe { address.as_ref() }?.sa_family);
    match family {
        libc::AF_INET => {
            // SAFETY: the family says that it is a sockaddr_in; read unaligned, as nothing promises alignment.
            let v4 = unsafe { address.cast::<libc::sockaddr_in>().read_unaligned() };
            Some(Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: as above, for a sockaddr_in6.
            let v6 = unsafe { address.cast::<libc::sockaddr_in6>().read_unaligned() };
            Some(Ipv6Addr::from(v6.sin6_addr.s6_addr).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_always_something_to_announce_and_loopback_only_alone() {
        let addresses = addresses().unwrap();
        assert!(!addresses.is_empty());
        let loopback = addresses.iter().filter(|address| address.is_loopback()).count();
        assert!(loopback == 0 || loopback == addresses.len());
        assert!(!addresses.iter().any(|address| is_link_local(*address)));
    }
}
