//! `sockaddr_in` and `sockaddr_in6` as bytes (ip(7), ipv6(7)).

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// Room for either.
pub(super) const NAME_BYTES: usize = 32;

const IPV4_BYTES: usize = size_of::<libc::sockaddr_in>();
const IPV6_BYTES: usize = size_of::<libc::sockaddr_in6>();

const _: () = assert!(IPV4_BYTES == 16 && IPV6_BYTES == 28);

/// A socket address in the kernel's layout.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
pub(super) struct Name {
    bytes: [u8; NAME_BYTES],
    len: u32,
}

impl Name {
    pub(super) fn of(address: &SocketAddr) -> Self {
        let mut bytes = [0; NAME_BYTES];
        bytes[2..4].copy_from_slice(&address.port().to_be_bytes());
        let (family, len) = match address {
            SocketAddr::V4(address) => {
                bytes[4..8].copy_from_slice(&address.ip().octets());
                (libc::AF_INET, IPV4_BYTES)
            }
            SocketAddr::V6(address) => {
                bytes[8..24].copy_from_slice(&address.ip().octets());
                bytes[24..28].copy_from_slice(&address.scope_id().to_ne_bytes());
                (libc::AF_INET6, IPV6_BYTES)
            }
        };
        bytes[..2].copy_from_slice(&(family as u16).to_ne_bytes());
        Self { bytes, len: len as u32 }
    }

    pub(super) const fn len(&self) -> u32 {
        self.len
    }

    pub(super) const fn as_ptr(&self) -> *const libc::c_void {
        self.bytes.as_ptr().cast()
    }
}

/// The address in `bytes`, as the kernel wrote it; `None` for another family.
pub(super) fn parse(bytes: &[u8]) -> Option<SocketAddr> {
    let family = u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?);
    let port = u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?);
    match i32::from(family) {
        libc::AF_INET => {
            let ip: [u8; 4] = bytes.get(4..8)?.try_into().ok()?;
            Some((Ipv4Addr::from(ip), port).into())
        }
        libc::AF_INET6 => {
            let ip: [u8; 16] = bytes.get(8..24)?.try_into().ok()?;
            let scope = u32::from_ne_bytes(bytes.get(24..28)?.try_into().ok()?);
            Some(SocketAddrV6::new(Ipv6Addr::from(ip), port, 0, scope).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_back_as_they_went() {
        for text in ["[2001:db8::1%7]:65535", "192.0.2.9:4443", "[::]:0"] {
            let address: SocketAddr = text.parse().unwrap();
            let name = Name::of(&address);
            assert_eq!(parse(&name.bytes[..name.len() as usize]), Some(address));
        }
        assert_eq!(parse(&[0; 32]), None);
        assert_eq!(parse(&[]), None);
    }
}
