//! XOR-MAPPED-ADDRESS and its kin: an address hidden from middleboxes that rewrite addresses (RFC 8489 §14.2).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::message::{MAGIC_COOKIE, TransactionId};

const FAMILY_IPV4: u8 = 1;
const FAMILY_IPV6: u8 = 2;

/// Length of the value for IPv4 and for IPv6, in bytes.
const VALUE_BYTES_IPV4: usize = 8;
const VALUE_BYTES_IPV6: usize = 20;

/// The 16 bytes that addresses are XORed with; IPv4 uses the first four, ports the first two.
fn mask(transaction: &TransactionId) -> [u8; 16] {
    let mut mask = [0; 16];
    mask[..4].copy_from_slice(&MAGIC_COOKIE);
    mask[4..].copy_from_slice(&transaction.0);
    mask
}

fn xor<const N: usize>(bytes: [u8; N], mask: &[u8; 16]) -> [u8; N] {
    const { assert!(N <= 16) };
    std::array::from_fn(|at| bytes[at] ^ mask[at])
}

/// The value of an address attribute, in a buffer of the longest one, and its length in bytes.
pub(crate) fn encode_xor(
    address: SocketAddr,
    transaction: &TransactionId,
) -> ([u8; VALUE_BYTES_IPV6], usize) {
    let mask = mask(transaction);
    let mut value = [0; VALUE_BYTES_IPV6];
    value[2..4].copy_from_slice(&xor(address.port().to_be_bytes(), &mask));
    // A dual-stack socket shows IPv4 as ::ffff:a.b.c.d; the client knows itself by its IPv4 address.
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => {
            value[1] = FAMILY_IPV4;
            value[4..8].copy_from_slice(&xor(ip.octets(), &mask));
            (value, VALUE_BYTES_IPV4)
        }
        IpAddr::V6(ip) => {
            value[1] = FAMILY_IPV6;
            value[4..].copy_from_slice(&xor(ip.octets(), &mask));
            (value, VALUE_BYTES_IPV6)
        }
    }
}

/// The address in a value; `None` when family and length do not go together.
pub(crate) fn decode_xor(value: &[u8], transaction: &TransactionId) -> Option<SocketAddr> {
    let mask = mask(transaction);
    let (&[_, family, port_high, port_low], ip) = value.split_first_chunk()?;
    let port = u16::from_be_bytes(xor([port_high, port_low], &mask));
    let ip = match family {
        FAMILY_IPV4 => IpAddr::V4(Ipv4Addr::from(xor::<4>(ip.try_into().ok()?, &mask))),
        FAMILY_IPV6 => IpAddr::V6(Ipv6Addr::from(xor::<16>(ip.try_into().ok()?, &mask))),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRANSACTION: TransactionId = TransactionId([0xa5; 12]);

    #[test]
    fn addresses_come_back() {
        for text in ["192.0.2.1:32853", "0.0.0.0:0", "255.255.255.255:65535", "[2001:db8::1]:443", "[::]:1"] {
            let address: SocketAddr = text.parse().unwrap();
            let (value, len) = encode_xor(address, &TRANSACTION);
            assert_eq!(len, if address.is_ipv4() { 8 } else { 20 });
            assert_eq!(decode_xor(&value[..len], &TRANSACTION), Some(address));
        }
    }

    #[test]
    fn a_mapped_address_is_written_as_ipv4() {
        let (value, len) = encode_xor("[::ffff:192.0.2.1]:7".parse().unwrap(), &TRANSACTION);
        assert_eq!(decode_xor(&value[..len], &TRANSACTION), Some("192.0.2.1:7".parse().unwrap()));
    }

    #[test]
    fn family_and_length_must_agree() {
        for len in 0..=24 {
            for family in 0..=3 {
                let mut value = [0; 24];
                value[1] = family;
                let right = (family, len) == (1, 8) || (family, len) == (2, 20);
                assert_eq!(decode_xor(&value[..len], &TRANSACTION).is_some(), right, "{family} {len}");
            }
        }
    }
}
