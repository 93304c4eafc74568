//! What the edge says to a shard of a TCP or TLS client: hello before its first datagram, goodbye after its last.
//!
//! Each such client has a UDP socket of its own on loopback, so to the shard it is one more source address. The hello
//! says who is behind it. Whoever may send from loopback could say the same, so both words bear a tag under a key
//! that only this process has.
//!
//! ```text
//!   FF 'M' 'R' 1  transport  remote  local  tag        hello: 75 bytes
//!   FF 'M' 'R' 2  tag                                  goodbye: 36 bytes
//!
//!   transport   1 TCP, 2 TLS
//!   address     4 or 6, port (big endian), 16 bytes of which IPv4 takes the first 4 and leaves the others 0
//!   tag         HMAC-SHA-256 of all that stands before it
//! ```
//!
//! The first byte is none of those that share a media port (RFC 7983).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::crypto::mac::{HmacSha256Key, SHA256_TAG_BYTES};

/// Length of a hello in bytes.
pub const HELLO_LEN: usize = MAGIC.len() + 2 + 2 * ADDRESS_LEN + SHA256_TAG_BYTES;
/// Length of a goodbye in bytes.
pub const GOODBYE_LEN: usize = MAGIC.len() + 1 + SHA256_TAG_BYTES;

const MAGIC: [u8; 3] = [0xff, b'M', b'R'];
const HELLO: u8 = 1;
const GOODBYE: u8 = 2;
const ADDRESS_LEN: usize = 1 + 2 + 16;

/// How the client reaches the edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Plain TCP.
    Tcp = 1,
    /// TLS over TCP.
    Tls = 2,
}

/// Who is behind a loopback address from now on. It may be said again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// How it came.
    pub transport: Transport,
    /// The client's own address. IPv4 is never in its mapped form.
    pub remote: SocketAddr,
    /// The address of ours that it came to.
    pub local: SocketAddr,
}

/// What the edge has said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// A client is there.
    Hello(Hello),
    /// The client behind this loopback address is gone.
    Goodbye,
}

/// The hello as a datagram.
pub fn hello(hello: &Hello, key: &HmacSha256Key) -> [u8; HELLO_LEN] {
    let mut bytes = [0; HELLO_LEN];
    let (body, tag) = bytes.split_at_mut(HELLO_LEN - SHA256_TAG_BYTES);
    body[..3].copy_from_slice(&MAGIC);
    body[3] = HELLO;
    body[4] = hello.transport as u8;
    write_address(hello.remote, &mut body[5..5 + ADDRESS_LEN]);
    write_address(hello.local, &mut body[5 + ADDRESS_LEN..]);
    tag.copy_from_slice(&key.sign(body));
    bytes
}

/// The goodbye as a datagram.
pub fn goodbye(key: &HmacSha256Key) -> [u8; GOODBYE_LEN] {
    let mut bytes = [0; GOODBYE_LEN];
    let (body, tag) = bytes.split_at_mut(GOODBYE_LEN - SHA256_TAG_BYTES);
    body[..3].copy_from_slice(&MAGIC);
    body[3] = GOODBYE;
    tag.copy_from_slice(&key.sign(body));
    bytes
}

/// Whether it claims to be a word of the edge; costs nothing and proves nothing.
#[inline]
pub fn claims(datagram: &[u8]) -> bool {
    datagram.starts_with(&MAGIC)
}

/// Reads a word, or `None` for what the edge has not said.
pub fn parse(datagram: &[u8], key: &HmacSha256Key) -> Option<Word> {
    let (body, tag) = datagram.split_at_checked(datagram.len().checked_sub(SHA256_TAG_BYTES)?)?;
    let (kind, rest) = body.strip_prefix(&MAGIC)?.split_first()?;
    key.verify(body, tag).ok()?;
    match (*kind, rest) {
        (GOODBYE, []) => Some(Word::Goodbye),
        (HELLO, [transport, addresses @ ..]) if addresses.len() == 2 * ADDRESS_LEN => {
            let transport = match transport {
                1 => Transport::Tcp,
                2 => Transport::Tls,
                _ => return None,
            };
            let (remote, local) = addresses.split_at(ADDRESS_LEN);
            let (remote, local) = (read_address(remote)?, read_address(local)?);
            Some(Word::Hello(Hello { transport, remote, local }))
        }
        _ => None,
    }
}

fn write_address(address: SocketAddr, slot: &mut [u8]) {
    let (family, len, octets) = match address.ip() {
        IpAddr::V4(ip) => (4, 4, ip.to_ipv6_compatible().octets()),
        IpAddr::V6(ip) => (6, 16, ip.octets()),
    };
    slot[0] = family;
    slot[1..3].copy_from_slice(&address.port().to_be_bytes());
    // The compatible form has IPv4 at its end.
    slot[3..3 + len].copy_from_slice(&octets[16 - len..]);
}

fn read_address(bytes: &[u8]) -> Option<SocketAddr> {
    let (family, port, octets) = match bytes {
        [family, high, low, octets @ ..] => (*family, u16::from_be_bytes([*high, *low]), octets),
        _ => return None,
    };
    let octets: [u8; 16] = octets.try_into().ok()?;
    let ip: IpAddr = match (family, octets) {
        (4, [a, b, c, d, rest @ ..]) if rest == [0; 12] => Ipv4Addr::new(a, b, c, d).into(),
        (6, octets) => Ipv6Addr::from(octets).into(),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::demux;

    fn key() -> HmacSha256Key {
        HmacSha256Key::new(b"of this process")
    }

    fn example() -> Hello {
        Hello {
            transport: Transport::Tls,
            remote: "192.0.2.7:50123".parse().unwrap(),
            local: "[2001:db8::1]:443".parse().unwrap(),
        }
    }

    #[test]
    fn a_hello_says_who_is_there() {
        let tcp = Hello { transport: Transport::Tcp, ..example() };
        for word in [example(), tcp] {
            assert_eq!(parse(&hello(&word, &key()), &key()), Some(Word::Hello(word)));
        }
        assert_eq!(parse(&goodbye(&key()), &key()), Some(Word::Goodbye));
        let bytes = hello(&example(), &key());
        let head = [0xff, b'M', b'R', 1, 2, 4, 0xc3, 0xcb, 192, 0, 2, 7, 0];
        assert_eq!(bytes[..head.len()], head);
        assert_eq!((HELLO_LEN, GOODBYE_LEN), (75, 36));
        assert!(claims(&bytes) && claims(&goodbye(&key())) && !claims(b"\xffM"));
        assert_eq!(demux::kind(&bytes), None, "no protocol of the media port looks like this");
    }

    #[test]
    fn a_stranger_has_nothing_to_say() {
        let other = HmacSha256Key::new(b"of another process");
        assert_eq!(parse(&hello(&example(), &other), &key()), None);
        assert_eq!(parse(&goodbye(&other), &key()), None);
        for good in [hello(&example(), &key()).to_vec(), goodbye(&key()).to_vec()] {
            for len in 0..good.len() {
                assert_eq!(parse(&good[..len], &key()), None, "{len} bytes");
            }
            for at in 0..good.len() {
                let mut bad = good.clone();
                bad[at] ^= 1;
                assert_eq!(parse(&bad, &key()), None, "byte {at}");
            }
        }
    }

    #[test]
    fn a_right_tag_does_not_make_sense_of_nonsense() {
        let signed = |change: fn(&mut [u8])| {
            let mut bytes = hello(&example(), &key()).to_vec();
            bytes.truncate(HELLO_LEN - SHA256_TAG_BYTES);
            change(&mut bytes);
            let tag = key().sign(&bytes);
            bytes.extend_from_slice(&tag);
            parse(&bytes, &key())
        };
        assert!(signed(|_| ()).is_some());
        assert_eq!(signed(|body| body[3] = 3), None, "unknown word");
        assert_eq!(signed(|body| body[3] = GOODBYE), None, "a goodbye with more behind it");
        assert_eq!(signed(|body| body[4] = 0), None, "unknown transport");
        assert_eq!(signed(|body| body[5] = 5), None, "unknown family");
        assert_eq!(signed(|body| body[20] = 1), None, "IPv4 with a rest");
    }
}
