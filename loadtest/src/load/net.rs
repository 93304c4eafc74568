//! The sockets of a load run.
//!
//! Towards a relay on loopback all peers share one socket: each peer has an address of its own in 127.0.0.0/8, which
//! tells its datagrams apart coming in (IP_PKTINFO, with UDP_GRO whole trains at a time) and names their source going
//! out. Towards another host each peer has a socket.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::failure::Failure;
use crate::kernel::ready::Ready;
use crate::kernel::receive::{GRO_BUFFER_BYTES, ReceiveBatch};
use crate::kernel::send::{Route, SendBatch};
use crate::kernel::socket::{SocketOptions, UdpSocket};
use crate::turn::dialogue::{CHANNEL_HEADER_BYTES, channel_data, channel_header};

/// Peers have this address and the ones after it.
const FIRST_ADDRESS: u32 = u32::from_be_bytes([127, 16, 0, 1]);
/// Receive buffer of the shared socket: a quarter of a second of 1 Gbit/s.
const SHARED_BUFFER_BYTES: usize = 64 << 20;
/// Receive buffer of a peer's own socket.
const OWN_BUFFER_BYTES: usize = 1 << 20;
/// Trains of one receive call.
const RECEIVE_BATCH: usize = 32;
/// A little more than a train, so that buffers do not all begin in the same sets of the cache.
const BUFFER_BYTES: usize = GRO_BUFFER_BYTES + 2048 + 64;
/// Receive calls before something else has its turn.
const CALLS_MAX: usize = 8;
/// Datagrams and bytes of one send call.
const SEND_BATCH: usize = 64;
const SEND_BATCH_BYTES: usize = 256 << 10;

/// Every peer's sockets and routes.
pub struct Net {
    sockets: Vec<UdpSocket>,
    shared: bool,
    /// Of several sockets those that have something.
    ready: Option<Ready>,
    looked: Vec<usize>,
    inbox: ReceiveBatch,
    /// What is to be sent.
    pub outbox: Outbox,
}

/// What a receive brought, in figures.
#[derive(Clone, Copy, Debug, Default)]
pub struct Arrived {
    /// Datagrams.
    pub datagrams: u64,
    /// Trains: what the kernel handed over as one.
    pub trains: u64,
    /// There may be more.
    pub more: bool,
}

impl Net {
    /// One socket for all peers, on loopback.
    ///
    /// # Errors
    /// When there is no socket to be had.
    pub fn shared(peers: usize) -> Result<Self, Failure> {
        let options = SocketOptions {
            buffer_bytes: SHARED_BUFFER_BYTES,
            pktinfo: true,
            gro: true,
            ..SocketOptions::default()
        };
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0).into(), &options)?;
        Ok(Self::with(vec![socket], None, peers))
    }

    /// A socket for each peer, of the family of `remote`.
    ///
    /// # Errors
    /// When there are not enough sockets to be had.
    pub fn separate(peers: usize, remote: IpAddr) -> Result<Self, Failure> {
        let options = SocketOptions {
            buffer_bytes: OWN_BUFFER_BYTES,
            pktinfo: false,
            gro: true,
            ..SocketOptions::default()
        };
        let any: SocketAddr = match remote {
            IpAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            IpAddr::V6(_) => (std::net::Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let sockets = (0..peers).map(|_| UdpSocket::bind(any, &options)).collect::<Result<Vec<_>, _>>()?;
        let ready = Ready::new()?;
        for (number, socket) in sockets.iter().enumerate() {
            ready.add(socket, number)?;
        }
        Ok(Self::with(sockets, Some(ready), peers))
    }

    fn with(sockets: Vec<UdpSocket>, ready: Option<Ready>, peers: usize) -> Self {
        let shared = ready.is_none();
        let outbox = Outbox {
            batch: SendBatch::new(SEND_BATCH, SEND_BATCH_BYTES),
            routes: vec![None; peers],
            framed: vec![false; peers],
            lost: 0,
            sender: 0,
            shared,
        };
        let inbox = ReceiveBatch::new(RECEIVE_BATCH, BUFFER_BYTES);
        Self { sockets, shared, ready, looked: vec![0], inbox, outbox }
    }

    /// The port a peer is at.
    #[must_use]
    pub fn port_of(&self, peer: usize) -> u16 {
        self.sockets[if self.shared { 0 } else { peer }].address().port()
    }

    /// Takes what has come, up to a bound: each datagram with its peer and the time it was taken. What a socket reports
    /// of earlier sends is passed over.
    pub fn receive(&mut self, mut take: impl FnMut(usize, &[u8], u64)) -> Arrived {
        let mut arrived = Arrived::default();
        if let Some(ready) = &mut self.ready {
            self.looked.clear();
            self.looked.extend(ready.look());
        }
        for &at in &self.looked {
            for call in 0.. {
                // An ICMP error of an earlier send is reported once; what lies behind it comes next time.
                let Ok(trains) = self.inbox.receive(&self.sockets[at]) else { break };
                let now_ns = crate::kernel::clock::monotonic_ns();
                for train in self.inbox.iter() {
                    let peer = if self.shared { peer_of(train.local) } else { Some(at) };
                    let Some(peer) = peer else { continue };
                    let framed = self.outbox.is_framed(peer);
                    for datagram in train.datagrams() {
                        arrived.datagrams += 1;
                        let inner = if framed { channel_data(datagram) } else { None };
                        take(peer, inner.unwrap_or(datagram), now_ns);
                    }
                }
                arrived.trains += trains as u64;
                if trains < self.inbox.capacity() {
                    break;
                }
                if call == CALLS_MAX {
                    arrived.more = true;
                    break;
                }
            }
        }
        arrived
    }

    /// Sends what is waiting.
    pub fn flush(&mut self) {
        self.outbox.flush(&self.sockets);
    }

    /// Sends one datagram at once.
    pub fn send(&mut self, peer: usize, datagram: &[u8]) {
        if let Some(place) = self.place(peer, datagram.len()) {
            place.copy_from_slice(datagram);
        }
    }

    /// Room for one datagram of a peer, to be written; it leaves with the next flush, or before when there is no room.
    /// `None` for a peer without a route.
    pub fn place(&mut self, peer: usize, len: usize) -> Option<&mut [u8]> {
        if !self.outbox.takes(peer, len) {
            self.outbox.flush(&self.sockets);
        }
        self.outbox.place(peer, len)
    }
}

/// What waits to be sent.
pub struct Outbox {
    batch: SendBatch,
    routes: Vec<Option<Route>>,
    /// Peers whose datagrams travel in a TURN channel.
    framed: Vec<bool>,
    /// Datagrams the kernel refused.
    pub lost: u64,
    /// Whose socket the batch is for, where each peer has its own.
    sender: usize,
    shared: bool,
}

impl Outbox {
    /// Where a peer sends to from now on.
    pub fn set_route(&mut self, peer: usize, destination: SocketAddr) {
        let source = self.shared.then(|| IpAddr::V4(address_of(peer)));
        self.routes[peer] = Some(Route { destination, source });
    }

    /// Whether what a peer sends goes in a TURN channel from now on; what comes in one is unwrapped then.
    pub fn set_framed(&mut self, peer: usize, framed: bool) {
        self.framed[peer] = framed;
    }

    fn is_framed(&self, peer: usize) -> bool {
        self.framed.get(peer).is_some_and(|framed| *framed)
    }

    fn takes(&self, peer: usize, len: usize) -> bool {
        self.batch.is_empty()
            || (self.batch.has_room(CHANNEL_HEADER_BYTES + len) && (self.shared || self.sender == peer))
    }

    fn place(&mut self, peer: usize, len: usize) -> Option<&mut [u8]> {
        self.sender = peer;
        let route = self.routes.get(peer).copied().flatten()?;
        if self.is_framed(peer) {
            let place = self.batch.push(&route, None, CHANNEL_HEADER_BYTES + len)?;
            let (header, data) = place.split_at_mut(CHANNEL_HEADER_BYTES);
            header.copy_from_slice(&channel_header(len as u16));
            return Some(data);
        }
        self.batch.push(&route, None, len)
    }

    fn flush(&mut self, sockets: &[UdpSocket]) {
        if self.batch.is_empty() {
            return;
        }
        let at = if self.shared { 0 } else { self.sender };
        self.lost += self.batch.send(&sockets[at]).lost as u64;
    }
}

/// The address of a peer on loopback.
#[must_use]
pub fn address_of(peer: usize) -> Ipv4Addr {
    Ipv4Addr::from(FIRST_ADDRESS + peer as u32)
}

fn peer_of(address: Option<IpAddr>) -> Option<usize> {
    match address? {
        IpAddr::V4(ip) => u32::from(ip).checked_sub(FIRST_ADDRESS).map(|peer| peer as usize),
        IpAddr::V6(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::socket::wait_readable;

    fn received(net: &mut Net, count: usize) -> Vec<(usize, Vec<u8>)> {
        let mut all = Vec::new();
        while all.len() < count {
            let sockets: Vec<&UdpSocket> = net.sockets.iter().collect();
            assert!(wait_readable(&sockets, None).unwrap());
            net.receive(|peer, datagram, now_ns| {
                assert!(now_ns > 0);
                all.push((peer, datagram.to_vec()));
            });
        }
        all
    }

    #[test]
    fn peers_on_one_socket_are_told_apart_both_ways() {
        let (mut near, mut far) = (Net::shared(70_000).unwrap(), Net::shared(70_000).unwrap());
        let port = far.sockets[0].address().port();
        for peer in [0, 1, 255, 65_536] {
            near.outbox.set_route(peer, (address_of(peer + 1), port).into());
            near.send(peer, &[peer as u8; 9]);
        }
        near.flush();
        let all = received(&mut far, 4);
        let peers: Vec<_> = all.iter().map(|(peer, bytes)| (*peer, bytes[0], bytes.len())).collect();
        assert_eq!(peers, [(1, 0, 9), (2, 1, 9), (256, 255, 9), (65_537, 0, 9)]);
        assert_eq!(near.outbox.lost, 0);
        assert!(near.place(7, 5).is_none(), "no route");
    }

    #[test]
    fn a_socket_each_is_told_apart_too() {
        let mut near = Net::separate(3, [127, 0, 0, 1].into()).unwrap();
        let mut far = Net::separate(3, [127, 0, 0, 1].into()).unwrap();
        for peer in 0..3 {
            let port = far.sockets[2 - peer].address().port();
            near.outbox.set_route(peer, ([127, 0, 0, 1], port).into());
            near.send(peer, &[peer as u8]);
        }
        near.flush();
        let mut all = received(&mut far, 3);
        all.sort();
        assert_eq!(all, [(0, vec![2]), (1, vec![1]), (2, vec![0])]);
    }
}
