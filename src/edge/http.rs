//! HTTP on its way to signaling: the bytes as they are, behind a header that says who sent them.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout};

use super::room::{Seat, Stage};
use super::{Count, Shared};

/// Between two tries to reach signaling.
const TRY_INTERVAL: Duration = Duration::from_millis(50);

/// Bytes that may be between the two at once, in each direction. Clients send little but an offer now and then.
const TO_SIGNALING_LEN: usize = 4 << 10;
const TO_CLIENT_LEN: usize = 8 << 10;

/// Begin of a PROXY header of version 2, for a connection that is passed on.
const PROXY_HEAD: [u8; 13] = *b"\r\n\r\n\0\r\nQUIT\n\x21";

/// What is said while signaling is not there. Clients of OpenVidu come again by themselves.
const UNAVAILABLE: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n\
    Connection: close\r\n\r\n";

/// Pipes `client`, of which `read` was read already, to signaling until both have ended. `ends` are the client's
/// address and ours.
pub(super) async fn run(
    mut client: impl AsyncRead + AsyncWrite + Unpin,
    read: &[u8],
    ends: (SocketAddr, SocketAddr),
    socket: &Path,
    seat: &Seat,
    shared: &Shared,
) -> Count {
    let Some(mut signaling) = connect(socket, Instant::now() + shared.timing.signaling_wait).await else {
        // Whoever does not read it has gone.
        let _ = client.write_all(UNAVAILABLE).await;
        let _ = client.shutdown().await;
        return Count::HttpUnavailable;
    };
    seat.set_stage(Stage::Http);
    shared.count(Count::Http);
    let mut first = proxy_header(ends.0, ends.1);
    first.extend_from_slice(read);
    if signaling.write_all(&first).await.is_ok() {
        drop(first);
        pipe(client, signaling, shared.timing.stalled).await;
    }
    Count::HttpEnded
}

/// Both ways until both have ended. Signaling bounds everything that it waits for itself. What it cannot see from there is
/// a client that keeps its end when signaling has closed, or that does not read what is left.
async fn pipe(client: impl AsyncRead + AsyncWrite, mut signaling: UnixStream, stalled: Duration) {
    let (from_client, to_client) = tokio::io::split(client);
    let (from_signaling, to_signaling) = signaling.split();
    // Either end may break off at any time; that is theirs to know.
    let mut up = pin!(pour::<TO_SIGNALING_LEN>(from_client, to_signaling, stalled));
    let mut down = pin!(pour::<TO_CLIENT_LEN>(from_signaling, to_client, stalled));
    tokio::select! {
        _ = &mut up => drop(down.await),
        _ = &mut down => drop(timeout(stalled, up).await),
    }
}

/// One way, and its end passed on.
async fn pour<const LEN: usize>(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    stalled: Duration,
) -> io::Result<()> {
    let mut piece = vec![0; LEN];
    let poured = loop {
        let len = match from.read(&mut piece).await {
            Ok(0) => break Ok(()),
            Ok(len) => len,
            Err(error) => break Err(error),
        };
        let write = async {
            to.write_all(&piece[..len]).await?;
            // TLS may hold back a part.
            to.flush().await
        };
        if let Err(error) = timeout(stalled, write).await.map_err(io::Error::from).flatten() {
            break Err(error);
        }
    };
    timeout(stalled, to.shutdown()).await??;
    poured
}

/// Signaling may be on its way back.
async fn connect(socket: &Path, deadline: Instant) -> Option<UnixStream> {
    loop {
        match UnixStream::connect(socket).await {
            Ok(stream) => return Some(stream),
            Err(_) if Instant::now() < deadline => sleep(TRY_INTERVAL).await,
            Err(error) => {
                tracing::warn!(%error, socket = %socket.display(), "signaling cannot be reached");
                return None;
            }
        }
    }
}

/// Version 2 of HAProxy's PROXY protocol: whose connection this is.
fn proxy_header(remote: SocketAddr, local: SocketAddr) -> Vec<u8> {
    let mut header = PROXY_HEAD.to_vec();
    match (remote.ip(), local.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            header.extend([0x11, 0, 12]);
            header.extend(from.octets());
            header.extend(to.octets());
        }
        (from, to) => {
            let octets = |ip: IpAddr| match ip {
                IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
                IpAddr::V6(ip) => ip.octets(),
            };
            header.extend([0x21, 0, 36]);
            header.extend(octets(from));
            header.extend(octets(to));
        }
    }
    header.extend(remote.port().to_be_bytes());
    header.extend(local.port().to_be_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_as_haproxy_has_it() {
        let four = proxy_header("192.0.2.7:50123".parse().unwrap(), "198.51.100.1:443".parse().unwrap());
        assert_eq!(four[..12], [0x0d, 0x0a, 0x0d, 0x0a, 0, 0x0d, 0x0a, b'Q', b'U', b'I', b'T', 0x0a]);
        assert_eq!(four[12..], [0x21, 0x11, 0, 12, 192, 0, 2, 7, 198, 51, 100, 1, 0xc3, 0xcb, 1, 0xbb]);
        let six = proxy_header("[2001:db8::7]:1".parse().unwrap(), "[2001:db8::1]:443".parse().unwrap());
        assert_eq!((six[13], six[15], six.len()), (0x21, 36, 16 + 36));
    }
}
