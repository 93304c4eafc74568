//! The sockets of a shard besides the one for media: what TURN clients speak to, and what allocations send from.
//!
//! Each has a place, the one that [`Via`] names, and is a descriptor for either family. They come and go; what still
//! arrives for one that has gone belongs to nobody, which the generation tells.

use super::socket::{Family, Purpose, bind_side, local_port};
use crate::egress::Via;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

/// A shard's side sockets.
#[derive(Debug, Default)]
pub(super) struct SideSockets {
    places: Vec<Place>,
    /// Of what is opened next.
    generation: u16,
}

#[derive(Debug, Default)]
struct Place {
    /// By family.
    sockets: [Option<OwnedFd>; 2],
    /// By family: which of those that were ever here.
    generations: [u16; 2],
}

/// One descriptor, in a number that goes through the kernel: family, place, generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token(u32);

impl Token {
    const PLACE_BITS: u32 = 17;
    const GENERATIONS: u16 = 1 << (u32::BITS - Self::PLACE_BITS - 1);

    fn new(via: Via, family: Family, generation: u16) -> Self {
        let place = via.place().expect("only paths with a socket have one") as u32;
        debug_assert!(place >> Self::PLACE_BITS == 0);
        Self(u32::from(generation) << (Self::PLACE_BITS + 1) | place << 1 | family as u32)
    }

    pub(super) const fn bits(self) -> u32 {
        self.0
    }

    pub(super) const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    pub(super) const fn via(self) -> Via {
        Via::at(self.0 >> 1 & ((1 << Self::PLACE_BITS) - 1))
    }

    const fn family(self) -> Family {
        if self.0 & 1 == 0 { Family::Ipv4 } else { Family::Ipv6 }
    }

    const fn generation(self) -> u16 {
        (self.0 >> (Self::PLACE_BITS + 1)) as u16
    }
}

impl SideSockets {
    /// Takes over sockets that were bound before there was a backend.
    pub(super) fn new(bound: Vec<(Via, [Option<OwnedFd>; 2])>) -> Self {
        let mut side = Self::default();
        for (via, sockets) in bound {
            for (family, socket) in Family::ALL.into_iter().zip(sockets) {
                if let Some(socket) = socket {
                    side.put(via, family, socket);
                }
            }
        }
        side
    }

    /// Binds a socket for an allocation.
    ///
    /// # Errors
    /// What the kernel said.
    pub(super) fn open(&mut self, via: Via, address: SocketAddr) -> io::Result<Token> {
        let socket = bind_side(address, Purpose::Allocation)?;
        Ok(self.put(via, Family::of(&address), socket))
    }

    /// Whether [`SideSockets::open`] would succeed on this address now.
    pub(super) fn could_open(address: SocketAddr) -> bool {
        bind_side(address, Purpose::Allocation).is_ok()
    }

    fn put(&mut self, via: Via, family: Family, socket: OwnedFd) -> Token {
        let place = via.place().expect("only paths with a socket have one");
        if place >= self.places.len() {
            self.places.resize_with(place + 1, Place::default);
        }
        self.generation = (self.generation + 1) % Token::GENERATIONS;
        let there = &mut self.places[place];
        there.sockets[family as usize] = Some(socket);
        there.generations[family as usize] = self.generation;
        Token::new(via, family, self.generation)
    }

    /// Takes a descriptor out, to be closed.
    pub(super) fn take(&mut self, via: Via, family: Family) -> Option<(Token, OwnedFd)> {
        let place = self.places.get_mut(via.place()?)?;
        let socket = place.sockets[family as usize].take()?;
        Some((Token::new(via, family, place.generations[family as usize]), socket))
    }

    /// Whether a place has a socket on the port and of the family of `address`.
    pub(super) fn is_open(&self, via: Via, address: SocketAddr) -> bool {
        let place = via.place().and_then(|place| self.places.get(place));
        let socket = place.and_then(|place| place.sockets[Family::of(&address) as usize].as_ref());
        socket.is_some_and(|socket| local_port(socket).is_ok_and(|port| port == address.port()))
    }

    /// What a run to `family` through `via` leaves from.
    #[inline]
    pub(super) fn get(&self, via: Via, family: Family) -> Option<RawFd> {
        let place = self.places.get(via.place()?)?;
        place.sockets[family as usize].as_ref().map(AsRawFd::as_raw_fd)
    }

    /// The descriptor of a token, unless it has been closed since.
    pub(super) fn find(&self, token: Token) -> Option<RawFd> {
        let place = self.places.get(token.via().place()?)?;
        let family = token.family() as usize;
        let socket = place.sockets[family].as_ref()?;
        (place.generations[family] == token.generation()).then(|| socket.as_raw_fd())
    }

    /// All that are open.
    pub(super) fn tokens(&self) -> impl Iterator<Item = Token> {
        self.places.iter().enumerate().flat_map(|(place, there)| {
            Family::ALL.into_iter().filter(|&family| there.sockets[family as usize].is_some()).map(
                move |family| Token::new(Via::at(place as u32), family, there.generations[family as usize]),
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: &str = "127.0.0.1:0";

    #[test]
    fn a_token_finds_its_socket_until_that_is_closed() {
        let mut side = SideSockets::default();
        let via = Via::relayed(7);
        let first = side.open(via, ANY.parse().unwrap()).unwrap();
        assert_eq!((first.via(), side.find(first)), (via, side.get(via, Family::Ipv4)));
        assert!(side.find(first).is_some() && side.get(via, Family::Ipv6).is_none());
        assert!(side.take(via, Family::Ipv6).is_none());
        assert!(side.take(via, Family::Ipv4).is_some_and(|(token, _)| token == first));
        let second = side.open(via, ANY.parse().unwrap()).unwrap();
        assert_eq!(side.find(first), None, "another socket stands there now");
        assert!(side.find(second).is_some());
    }

    #[test]
    fn places_nobody_has_and_paths_without_a_socket_have_none() {
        let side = SideSockets::default();
        assert_eq!(side.get(Via::relayed(u16::MAX), Family::Ipv4), None);
        assert_eq!(side.get(Via::inside(3, 7), Family::Ipv4), None);
        assert_eq!(side.tokens().count(), 0);
    }

    #[test]
    fn the_highest_place_fits_a_token() {
        let token = Token::new(Via::relayed(u16::MAX), Family::Ipv6, Token::GENERATIONS - 1);
        let same = Token::from_bits(token.bits());
        assert_eq!(
            (same.via(), same.family(), same.generation()),
            (Via::relayed(u16::MAX), Family::Ipv6, Token::GENERATIONS - 1)
        );
    }
}
