//! Whose connection it is that the relay's edge passes on: HAProxy's PROXY protocol, version 2.
//!
//! Read on the Unix socket and nowhere else: whoever may send such a header may say that he is anybody.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt as _};

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, a connection of somebody else's.
const PROXIED: u8 = 0x21;
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;

/// Longest list of addresses and extensions that is read, in bytes. Ours has no extensions.
const REST_LEN_MAX: usize = 512;

/// The two ends of a connection as the edge has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ends {
    /// The client's.
    pub(super) remote: SocketAddr,
    /// The one it came to.
    pub(super) local: SocketAddr,
}

/// Reads the header, and not a byte more.
///
/// # Errors
/// The stream ends before, or begins with something else.
pub(super) async fn read_header(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Ends> {
    let mut head = [0; 16];
    stream.read_exact(&mut head).await?;
    let rest_len = usize::from(u16::from_be_bytes([head[14], head[15]]));
    if head[..12] != SIGNATURE || head[12] != PROXIED || rest_len > REST_LEN_MAX {
        return Err(wrong());
    }
    let mut rest = [0; REST_LEN_MAX];
    let rest = &mut rest[..rest_len];
    stream.read_exact(rest).await?;
    ends(head[13], rest).ok_or_else(wrong)
}

/// The addresses at the front of what follows the head.
fn ends(family: u8, rest: &[u8]) -> Option<Ends> {
    let (from, to, rest): (IpAddr, IpAddr, _) = match family {
        TCP_OVER_IPV4 => {
            let ([from, to], rest) = two::<4>(rest)?;
            (Ipv4Addr::from(from).into(), Ipv4Addr::from(to).into(), rest)
        }
        TCP_OVER_IPV6 => {
            let ([from, to], rest) = two::<16>(rest)?;
            (Ipv6Addr::from(from).into(), Ipv6Addr::from(to).into(), rest)
        }
        _ => return None,
    };
    let ([from_port, to_port], _) = two::<2>(rest)?;
    let end = |ip: IpAddr, port| SocketAddr::new(ip.to_canonical(), u16::from_be_bytes(port));
    Some(Ends { remote: end(from, from_port), local: end(to, to_port) })
}

fn two<const N: usize>(bytes: &[u8]) -> Option<([[u8; N]; 2], &[u8])> {
    let (first, rest) = bytes.split_first_chunk()?;
    let (second, rest) = rest.split_first_chunk()?;
    Some(([*first, *second], rest))
}

fn wrong() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "no PROXY header of version 2")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(family: u8, rest: &[u8]) -> Vec<u8> {
        let len = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[PROXIED, family], &len, rest].concat()
    }

    async fn read(mut bytes: &[u8]) -> Option<(Ends, Vec<u8>)> {
        let ends = read_header(&mut bytes).await.ok()?;
        Some((ends, bytes.to_vec()))
    }

    fn ends(remote: &str, local: &str) -> Ends {
        Ends { remote: remote.parse().unwrap(), local: local.parse().unwrap() }
    }

    #[tokio::test]
    async fn both_families_are_read_and_no_byte_of_the_request() {
        let four = [192, 0, 2, 7, 198, 51, 100, 1, 0xc3, 0xcb, 1, 0xbb];
        let wanted = ends("192.0.2.7:50123", "198.51.100.1:443");
        let with_request = [header(TCP_OVER_IPV4, &four), b"GET".to_vec()].concat();
        assert_eq!(read(&with_request).await, Some((wanted, b"GET".to_vec())));
        // An extension behind the addresses is passed over.
        let extended = header(TCP_OVER_IPV4, &[&four[..], &[0x20, 0, 1, 7]].concat());
        assert_eq!(read(&extended).await, Some((wanted, Vec::new())));

        let ip = |text: &str| text.parse::<Ipv6Addr>().unwrap().octets();
        let six = [&ip("2001:db8::7")[..], &ip("::ffff:198.51.100.1"), &[0, 1, 1, 0xbb]].concat();
        let wanted = ends("[2001:db8::7]:1", "198.51.100.1:443");
        assert_eq!(read(&header(TCP_OVER_IPV6, &six)).await, Some((wanted, Vec::new())));
    }

    #[tokio::test]
    async fn what_is_no_header_is_refused() {
        let good = header(TCP_OVER_IPV4, &[1; 12]);
        assert!(read(&good).await.is_some());
        for len in 0..good.len() {
            assert_eq!(read(&good[..len]).await, None, "{len} bytes");
        }
        for at in 0..16 {
            let mut bad = good.clone();
            bad[at] ^= 0x80;
            assert_eq!(read(&bad).await, None, "byte {at}");
        }
        assert_eq!(read(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await, None);
        assert_eq!(read(&header(TCP_OVER_IPV4, &[1; 11])).await, None, "no room for the ports");
        assert_eq!(read(&header(0x31, &[1; 216])).await, None, "a Unix socket is nobody");
    }
}
