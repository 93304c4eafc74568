//! HAProxy's PROXY protocol: a header in front of a connection that says whose connection it is.
//!
//! The relay's edge writes version 2 on the Unix socket to signaling. Proxies that the operator trusts may send version 1
//! or 2 to any TCP port. A header from another address is not read, because its sender could claim any address.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::net::TcpStream;
use tokio::time::sleep;

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2: the proxy's own connection, such as a health check, and one of a client.
const LOCAL: u8 = 0x20;
const PROXIED: u8 = 0x21;
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;

/// An extension of our own (the protocol leaves types from 0xe0 to 0xef to applications): which door of the edge the
/// connection came through. Without it the door is HTTPS.
const DOOR_EXTENSION: u8 = 0xe0;

/// Longest list of addresses and extensions that is read, in bytes.
const REST_LEN_MAX: usize = 512;

/// Begin and longest length of a header of version 1, its line end included.
const VERSION_1: [u8; 6] = *b"PROXY ";
const VERSION_1_LEN_MAX: usize = 107;

/// Between two looks at a connection whose first bytes are not enough to know.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// The two ends of a connection as its proxy has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// The client's.
    pub remote: SocketAddr,
    /// The one it came to.
    pub local: SocketAddr,
}

/// The port of the edge that a connection came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// HTTPS. TLS ends at the edge.
    Https,
    /// Plain HTTP on the port of HTTPS.
    Plain,
    /// The port that redirects to HTTPS and answers certificate authorities.
    Redirect,
}

/// The header of version 2 that the edge puts before a connection.
pub fn header(ends: &Ends, door: Door) -> Vec<u8> {
    let mut addresses = Vec::new();
    let family = match (ends.remote.ip(), ends.local.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            addresses.extend(from.octets());
            addresses.extend(to.octets());
            TCP_OVER_IPV4
        }
        (from, to) => {
            let octets = |ip: IpAddr| match ip {
                IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
                IpAddr::V6(ip) => ip.octets(),
            };
            addresses.extend(octets(from));
            addresses.extend(octets(to));
            TCP_OVER_IPV6
        }
    };
    addresses.extend(ends.remote.port().to_be_bytes());
    addresses.extend(ends.local.port().to_be_bytes());
    match door {
        Door::Https => {}
        Door::Plain => addresses.extend([DOOR_EXTENSION, 0, 1, Door::Plain as u8]),
        Door::Redirect => addresses.extend([DOOR_EXTENSION, 0, 1, Door::Redirect as u8]),
    }
    let len = u16::try_from(addresses.len()).expect("two addresses, two ports and four bytes");
    [&SIGNATURE[..], &[PROXIED, family], &len.to_be_bytes(), &addresses].concat()
}

/// Reads the header that the edge writes, and not a byte more.
///
/// # Errors
/// The stream ends before, or begins with something else.
pub(super) async fn read_from_edge(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<(Ends, Door)> {
    let (command, family, rest) = read_version_2(stream).await?;
    let (ends, extensions) = ends(family, &rest).filter(|_| command == PROXIED).ok_or_else(wrong)?;
    Ok((ends, door(extensions).ok_or_else(wrong)?))
}

/// Reads the header of a trusted proxy if the connection begins with one, and not a byte more. `None` is a connection
/// without a header, or with one of the proxy's own.
///
/// # Errors
/// The connection ends, or its header cannot be read.
pub async fn read_from_proxy(stream: &mut TcpStream) -> io::Result<Option<Ends>> {
    match begin(stream).await? {
        Begin::Nothing => Ok(None),
        Begin::Version1 => read_version_1(stream).await,
        Begin::Version2 => {
            let (command, family, rest) = read_version_2(stream).await?;
            match command {
                LOCAL => Ok(None),
                _ => ends(family, &rest).map(|(ends, _)| Some(ends)).ok_or_else(wrong),
            }
        }
    }
}

enum Begin {
    Nothing,
    Version1,
    Version2,
}

/// Looks at the first bytes without taking them.
async fn begin(stream: &TcpStream) -> io::Result<Begin> {
    let mut first = [0; SIGNATURE.len()];
    loop {
        let len = stream.peek(&mut first).await?;
        let came = &first[..len];
        if came.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if came == SIGNATURE {
            return Ok(Begin::Version2);
        }
        if came.starts_with(&VERSION_1) {
            return Ok(Begin::Version1);
        }
        if !SIGNATURE.starts_with(came) && !VERSION_1.starts_with(came) {
            return Ok(Begin::Nothing);
        }
        // Both are sent in one piece, so that this is rare.
        sleep(LOOK_INTERVAL).await;
    }
}

/// Command, family, and what follows.
async fn read_version_2(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<(u8, u8, Vec<u8>)> {
    let mut head = [0; 16];
    stream.read_exact(&mut head).await?;
    let rest_len = usize::from(u16::from_be_bytes([head[14], head[15]]));
    if head[..12] != SIGNATURE || !matches!(head[12], LOCAL | PROXIED) || rest_len > REST_LEN_MAX {
        return Err(wrong());
    }
    let mut rest = vec![0; rest_len];
    stream.read_exact(&mut rest).await?;
    Ok((head[12], head[13], rest))
}

/// `PROXY TCP4 192.0.2.7 198.51.100.1 50123 443`, a line of its own. `None` is a connection of an unknown kind.
async fn read_version_1(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Ends>> {
    let mut line = Vec::with_capacity(VERSION_1_LEN_MAX);
    // Read byte by byte, because the bytes after the line do not belong to the header.
    while !line.ends_with(b"\r\n") {
        if line.len() == VERSION_1_LEN_MAX {
            return Err(wrong());
        }
        line.push(stream.read_u8().await?);
    }
    let text = std::str::from_utf8(&line).map_err(|_| wrong())?;
    let words: Vec<_> = text.trim_end().split(' ').collect();
    match words[..] {
        [_, "UNKNOWN", ..] => Ok(None),
        [_, "TCP4" | "TCP6", from, to, from_port, to_port] => {
            let end = |ip: &str, port: &str| {
                let ip: IpAddr = ip.parse().ok()?;
                Some(SocketAddr::new(ip.to_canonical(), port.parse().ok()?))
            };
            let ends = end(from, from_port).zip(end(to, to_port));
            ends.map(|(remote, local)| Some(Ends { remote, local })).ok_or_else(wrong)
        }
        _ => Err(wrong()),
    }
}

/// The addresses at the front of what follows the head, and the extensions behind them.
fn ends(family: u8, rest: &[u8]) -> Option<(Ends, &[u8])> {
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
    let ([from_port, to_port], extensions) = two::<2>(rest)?;
    let end = |ip: IpAddr, port| SocketAddr::new(ip.to_canonical(), u16::from_be_bytes(port));
    Some((Ends { remote: end(from, from_port), local: end(to, to_port) }, extensions))
}

/// The door that the extensions name. `None` is a list that is cut off, or a door that is not known.
fn door(mut extensions: &[u8]) -> Option<Door> {
    let mut door = Door::Https;
    while let Some(([kind, high, low], rest)) = extensions.split_first_chunk() {
        let (value, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([*high, *low])))?;
        if *kind == DOOR_EXTENSION {
            let known = [Door::Https, Door::Plain, Door::Redirect];
            door = known.into_iter().find(|known| value == [*known as u8])?;
        }
        extensions = rest;
    }
    extensions.is_empty().then_some(door)
}

fn two<const N: usize>(bytes: &[u8]) -> Option<([[u8; N]; 2], &[u8])> {
    let (first, rest) = bytes.split_first_chunk()?;
    let (second, rest) = rest.split_first_chunk()?;
    Some(([*first, *second], rest))
}

fn wrong() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "no PROXY header that can be read")
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use super::*;

    fn version_2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let len = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &len, rest].concat()
    }

    async fn from_edge(mut bytes: &[u8]) -> Option<(Ends, Door, Vec<u8>)> {
        let (ends, door) = read_from_edge(&mut bytes).await.ok()?;
        Some((ends, door, bytes.to_vec()))
    }

    fn ends_of(remote: &str, local: &str) -> Ends {
        Ends { remote: remote.parse().unwrap(), local: local.parse().unwrap() }
    }

    /// What a proxy's connection says, and what is left to read behind it.
    async fn from_proxy(bytes: &[u8]) -> Result<(Option<Ends>, Vec<u8>), io::Error> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut proxy = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        proxy.write_all(bytes).await.unwrap();
        proxy.shutdown().await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        let ends = read_from_proxy(&mut stream).await?;
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await?;
        Ok((ends, rest))
    }

    const FOUR: [u8; 12] = [192, 0, 2, 7, 198, 51, 100, 1, 0xc3, 0xcb, 1, 0xbb];

    #[test]
    fn the_header_is_as_haproxy_has_it() {
        let four = header(&ends_of("192.0.2.7:50123", "198.51.100.1:443"), Door::Https);
        assert_eq!(four[..12], [0x0d, 0x0a, 0x0d, 0x0a, 0, 0x0d, 0x0a, b'Q', b'U', b'I', b'T', 0x0a]);
        assert_eq!(four[12..], [&[0x21, 0x11, 0, 12][..], &FOUR].concat());
        let six = header(&ends_of("[2001:db8::7]:1", "[2001:db8::1]:443"), Door::Https);
        assert_eq!((six[13], six[15], six.len()), (0x21, 36, 16 + 36));
    }

    #[tokio::test]
    async fn what_the_edge_writes_is_what_signaling_reads() {
        for (remote, local) in [
            ("192.0.2.7:50123", "198.51.100.1:443"),
            ("[2001:db8::7]:1", "[2001:db8::1]:443"),
            ("[2001:db8::7]:1", "198.51.100.1:443"),
        ] {
            for door in [Door::Https, Door::Plain, Door::Redirect] {
                let ends = ends_of(remote, local);
                let bytes = [header(&ends, door), b"GET".to_vec()].concat();
                assert_eq!(from_edge(&bytes).await, Some((ends, door, b"GET".to_vec())));
                if door == Door::Https {
                    assert_eq!(from_proxy(&bytes).await.unwrap(), (Some(ends), b"GET".to_vec()));
                }
            }
        }
    }

    #[tokio::test]
    async fn what_is_no_header_of_the_edge_is_refused() {
        let good = version_2(PROXIED, TCP_OVER_IPV4, &[1; 12]);
        assert!(from_edge(&good).await.is_some());
        for len in 0..good.len() {
            assert_eq!(from_edge(&good[..len]).await, None, "{len} bytes");
        }
        for at in 0..16 {
            let mut bad = good.clone();
            bad[at] ^= 0x80;
            assert_eq!(from_edge(&bad).await, None, "byte {at}");
        }
        for bad in [
            b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7 198.51.100.1 50123 443\r\n".to_vec(),
            version_2(LOCAL, TCP_OVER_IPV4, &FOUR),
            version_2(PROXIED, TCP_OVER_IPV4, &[1; 11]),
            version_2(PROXIED, 0x31, &[1; 216]),
            version_2(PROXIED, TCP_OVER_IPV4, &[&FOUR[..], &[DOOR_EXTENSION, 0, 1, 9]].concat()),
            version_2(PROXIED, TCP_OVER_IPV4, &[&FOUR[..], &[DOOR_EXTENSION, 0, 2, 1]].concat()),
            version_2(PROXIED, TCP_OVER_IPV4, &[&FOUR[..], &[0x20]].concat()),
        ] {
            assert_eq!(from_edge(&bad).await, None, "{bad:?}");
        }
        let extended = version_2(PROXIED, TCP_OVER_IPV4, &[&FOUR[..], &[0x20, 0, 1, 7]].concat());
        let wanted = ends_of("192.0.2.7:50123", "198.51.100.1:443");
        assert_eq!(from_edge(&extended).await, Some((wanted, Door::Https, Vec::new())));
    }

    #[tokio::test]
    async fn a_proxy_says_it_in_version_1_or_2_or_not_at_all() {
        let wanted = Some(ends_of("192.0.2.7:50123", "198.51.100.1:443"));
        let six = Some(ends_of("[2001:db8::7]:1", "[2001:db8::1]:443"));
        for (header, ends) in [
            (b"PROXY TCP4 192.0.2.7 198.51.100.1 50123 443\r\n".to_vec(), wanted),
            (b"PROXY TCP6 2001:db8::7 2001:db8::1 1 443\r\n".to_vec(), six),
            (b"PROXY UNKNOWN and whatever\r\n".to_vec(), None),
            (version_2(PROXIED, TCP_OVER_IPV4, &FOUR), wanted),
            (version_2(LOCAL, 0, &[]), None),
            (Vec::new(), None),
        ] {
            for request in [&b"\x16\x03\x01"[..], b"PUT / HTTP/1.1\r\n\r\n", b"\r\n", b"PROP"] {
                let bytes = [&header, request].concat();
                let is_short = header.is_empty() && request.len() < 4;
                if !is_short || request[0] == 0x16 {
                    assert_eq!(from_proxy(&bytes).await.unwrap(), (ends, request.to_vec()), "{bytes:?}");
                }
            }
        }
        for bad in [
            &b"PROXY TCP4 192.0.2.7 198.51.100.1 50123\r\n"[..],
            b"PROXY TCP4 192.0.2.7 h 50123 443\r\n",
            b"PROXY UDP4 192.0.2.7 198.51.100.1 50123 443\r\n",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 50123 443",
            &[&b"PROXY UNKNOWN "[..], &[b'x'; 200], b"\r\n"].concat(),
            &version_2(PROXIED, 0x31, &[1; 216]),
            &version_2(0x22, TCP_OVER_IPV4, &FOUR),
            b"",
        ] {
            assert!(from_proxy(bad).await.is_err(), "{bad:?}");
        }
    }
}
