//! `sockaddr_in` and `sockaddr_in6` as bytes, written and read without `unsafe`.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

const AF_INET: u16 = libc::AF_INET as u16;
const AF_INET6: u16 = libc::AF_INET6 as u16;
const IPV4_BYTES: usize = size_of::<libc::sockaddr_in>();
const IPV6_BYTES: usize = size_of::<libc::sockaddr_in6>();

/// Room for either, and a multiple of 16 so that what follows it in a buffer stays aligned.
pub(super) const NAME_BYTES: usize = 32;

const _: () = assert!(IPV4_BYTES == 16 && IPV6_BYTES == 28 && IPV6_BYTES <= NAME_BYTES);

/// A socket address in the kernel's layout (ip(7), ipv6(7)).
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
pub(super) struct Name {
    bytes: [u8; NAME_BYTES],
}

impl Name {
    pub(super) const EMPTY: Self = Self { bytes: [0; NAME_BYTES] };

    /// Writes `address`; returns how many bytes the kernel is to read.
    pub(super) fn write(&mut self, address: &SocketAddr) -> u32 {
        let bytes = &mut self.bytes;
        bytes[2..4].copy_from_slice(&address.port().to_be_bytes());
        match address {
            SocketAddr::V4(address) => {
                bytes[..2].copy_from_slice(&AF_INET.to_ne_bytes());
                bytes[4..8].copy_from_slice(&address.ip().octets());
                bytes[8..IPV4_BYTES].fill(0);
                IPV4_BYTES as u32
            }
            SocketAddr::V6(address) => {
                bytes[..2].copy_from_slice(&AF_INET6.to_ne_bytes());
                // The flow label is ours to choose: none.
                bytes[4..8].fill(0);
                bytes[8..24].copy_from_slice(&address.ip().octets());
                bytes[24..IPV6_BYTES].copy_from_slice(&address.scope_id().to_ne_bytes());
                IPV6_BYTES as u32
            }
        }
    }

    pub(super) const fn as_mut_ptr(&mut self) -> *mut libc::c_void {
        self.bytes.as_mut_ptr().cast()
    }

    #[cfg(test)]
    const fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// The address in `bytes`, as the kernel wrote it. `None` when it is of another family or too short.
pub(super) fn parse(bytes: &[u8]) -> Option<SocketAddr> {
    let family = u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?);
    let port = u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?);
    match family {
        AF_INET => {
            let ip: [u8; 4] = bytes.get(4..8)?.try_into().ok()?;
            Some(SocketAddrV4::new(Ipv4Addr::from(ip), port).into())
        }
        AF_INET6 => {
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
        let mut name = Name::EMPTY;
        for text in ["[2001:db8::1%7]:65535", "192.0.2.9:4443", "[::]:0"] {
            let address: SocketAddr = text.parse().unwrap();
            let len = name.write(&address) as usize;
            assert_eq!(parse(&name.bytes()[..len]), Some(address));
        }
    }

    #[test]
    fn short_and_foreign_names_are_no_address() {
        let mut name = Name::EMPTY;
        let len = name.write(&"[::1]:1".parse().unwrap()) as usize;
        for short in 0..len {
            assert_eq!(parse(&name.bytes()[..short]), None);
        }
        assert_eq!(parse(&[libc::AF_UNIX as u8, 0, 0, 0, 0, 0, 0, 0]), None);
    }
}
