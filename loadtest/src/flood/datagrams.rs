//! Strangers by UDP.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::thread::sleep;
use std::time::Duration;

/// A breath after so many datagrams: what is asked is what strangers cost, not how fast this machine is.
const BURST: usize = 32;
const BREATH: Duration = Duration::from_millis(2);

/// Strangers that are listened to at the same time.
const LISTENING: usize = 256;

/// Allocate (RFC 8656) with REQUESTED-TRANSPORT UDP and no credentials. The last bytes of the transaction are the source.
fn allocate(source: u32) -> [u8; 28] {
    let mut request = [0; 28];
    request[..8].copy_from_slice(&[0, 3, 0, 8, 0x21, 0x12, 0xa4, 0x42]);
    request[16..20].copy_from_slice(&source.to_be_bytes());
    request[20..].copy_from_slice(&[0, 0x19, 0, 4, 17, 0, 0, 0]);
    request
}

/// Asks for an allocation from so many addresses, with a socket each; gives how many were answered.
pub(super) fn allocates(server: SocketAddr, sources: u32) -> io::Result<u64> {
    let mut listening = VecDeque::with_capacity(LISTENING);
    let mut answers = 0;
    let hear = |socket: &UdpSocket| u64::from(socket.recv(&mut [0; 512]).is_ok());
    for source in 0..sources {
        // From 127.1.0.1 on.
        let address = Ipv4Addr::from(0x7f01_0001 + source);
        let socket = UdpSocket::bind((address, 0))?;
        socket.set_nonblocking(true)?;
        socket.send_to(&allocate(source), server)?;
        listening.push_back(socket);
        if listening.len() == LISTENING
            && let Some(oldest) = listening.pop_front()
        {
            answers += hear(&oldest);
        }
        breathe(source as usize);
    }
    sleep(BREATH * 10);
    Ok(answers + listening.iter().map(hear).sum::<u64>())
}

/// Sends every length up to `len_max` with every first byte to each; gives how many datagrams those were.
pub(super) fn every_beginning(servers: &[SocketAddr], len_max: usize) -> io::Result<u64> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut datagram = vec![0; len_max];
    let mut sent = 0;
    for len in 0..=len_max {
        for first in 0..=u8::MAX {
            // The rest changes too: zeros alone would never look like a length.
            datagram[..len].fill(first.rotate_left(3) ^ len.to_le_bytes()[0]);
            if let Some(place) = datagram[..len].first_mut() {
                *place = first;
            }
            for server in servers {
                // Full buffers on loopback lose as networks do.
                let _ = socket.send_to(&datagram[..len], server);
                sent += 1;
            }
            breathe(usize::from(first));
            if len == 0 {
                break;
            }
        }
    }
    Ok(sent)
}

fn breathe(done: usize) {
    if done % BURST == BURST - 1 {
        sleep(BREATH);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stranger_has_an_address_of_its_own() {
        let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = server.local_addr().unwrap();
        assert_eq!(allocates(address, 100).unwrap(), 0, "nobody answers");
        let mut sources = std::collections::BTreeSet::new();
        server.set_nonblocking(true).unwrap();
        let mut request = [0; 64];
        while let Ok((len, source)) = server.recv_from(&mut request) {
            assert_eq!((len, &request[..2]), (28, &[0, 3][..]));
            sources.insert(source.ip());
        }
        assert_eq!(sources.len(), 100);
    }
}
