//! Whom an allocation may reach: addresses judged by what they mean, not by how they are spelled.
//!
//! ```text
//!   peer ─► own service? never ─► own media address? Media ─► every address it may mean:
//!              denied? no ─► special or this host? only if named ─► allowed? Outside
//! ```
//!
//! A TURN server that serves its own media server needs nobody else, so that an empty policy forbids everything.
//! Deny-lists written by hand leak through the other spellings of an address; here each IPv6 address that carries an
//! IPv4 address is judged as that one too.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::server::cidr::Cidr;
use crate::server::special;

/// Which way a peer is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Reach {
    /// One of our own media addresses: in memory, without a socket.
    Media = 1,
    /// Somebody else, whom the operator opened: through the allocation's own socket.
    Outside = 2,
}

impl Reach {
    pub(super) const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Media),
            2 => Some(Self::Outside),
            _ => None,
        }
    }
}

/// Why a peer is out of reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Forbidden {
    /// A service of our own: control, metrics, the TURN listeners.
    Own,
    /// Port 0 is nobody.
    Port,
    /// An entry of the deny list.
    Denied,
    /// A range for special purposes that no entry of the allow list names.
    Special,
    /// An address of this host, relayed addresses included, that no entry of the allow list names.
    Host,
    /// Nothing allows it.
    NotAllowed,
}

/// The shortest prefix that names an address of this host, rather than opening the internet at large.
const NAMING_PREFIX_MIN: u8 = 8;

/// What the operator opened and closed. The default reaches nobody.
#[derive(Clone, Debug, Default)]
pub struct PeerPolicy {
    /// Our own media addresses. Each opens this address and port and nothing else.
    pub media: Vec<SocketAddr>,
    /// What may be reached outside. `0.0.0.0/0` is the public internet: a range for special purposes (loopback, private,
    /// link-local, documentation ...) opens only to an entry that lies within that range, and an address of this host
    /// only to an entry of at least 8 bits.
    pub allow: Vec<Cidr>,
    /// What may not, whatever `allow` says. The media addresses are not subject to it: a deny-list that locks out the
    /// server's own address is an old mistake.
    pub deny: Vec<Cidr>,
    /// Services of our own that nobody reaches through here. An unspecified address means every address of this host.
    pub own: Vec<SocketAddr>,
    /// Addresses of this host. Those of `media` and `own` and the relayed addresses count without being listed.
    pub host: Vec<IpAddr>,
}

impl PeerPolicy {
    /// Whether a datagram may go to this address and port, and which way.
    ///
    /// # Errors
    /// [`Forbidden`], for tests and counters; the client learns no more than 403.
    pub fn judge(&self, peer: SocketAddr) -> Result<Reach, Forbidden> {
        let peer = canonical(peer);
        if peer.port() == 0 {
            return Err(Forbidden::Port);
        }
        if self.is_own(peer) {
            return Err(Forbidden::Own);
        }
        if self.media.iter().any(|&media| canonical(media) == peer) {
            return Ok(Reach::Media);
        }
        self.judge_outside(peer.ip()).map(|()| Reach::Outside)
    }

    /// Whether any port of this address could be reached: permissions are for addresses (RFC 8656 §9). What goes to
    /// a port is judged again.
    ///
    /// # Errors
    /// As [`Self::judge`].
    pub fn judge_ip(&self, ip: IpAddr) -> Result<Reach, Forbidden> {
        let ip = ip.to_canonical();
        match self.judge_outside(ip) {
            Ok(()) => Ok(Reach::Outside),
            Err(_) if self.media.iter().any(|media| media.ip().to_canonical() == ip) => Ok(Reach::Media),
            Err(forbidden) => Err(forbidden),
        }
    }

    fn is_own(&self, peer: SocketAddr) -> bool {
        self.own.iter().map(|&own| canonical(own)).any(|own| {
            let everywhere = own.ip().is_unspecified()
                && (self.is_host(peer.ip()) || meanings(peer.ip()).any(|ip| ip.is_loopback()));
            let mut means = std::iter::once(peer.ip()).chain(meanings(peer.ip()));
            own.port() == peer.port() && (everywhere || means.any(|ip| ip == own.ip()))
        })
    }

    fn is_host(&self, ip: IpAddr) -> bool {
        ip.is_loopback()
            || self.host.iter().any(|host| host.to_canonical() == ip)
            || self.media.iter().chain(&self.own).any(|own| own.ip().to_canonical() == ip)
    }

    /// An address that carries others is open when each of those is, and it is not closed itself.
    fn judge_outside(&self, ip: IpAddr) -> Result<(), Forbidden> {
        self.judge_closed(ip)?;
        let mut carries = false;
        for meaning in meanings(ip) {
            carries = true;
            self.judge_closed(meaning)?;
            self.judge_allowed(meaning)?;
        }
        if carries { Ok(()) } else { self.judge_allowed(ip) }
    }

    fn judge_allowed(&self, ip: IpAddr) -> Result<(), Forbidden> {
        let allowed = self.allow.iter().any(|entry| entry.contains(ip));
        if allowed { Ok(()) } else { Err(Forbidden::NotAllowed) }
    }

    fn judge_closed(&self, ip: IpAddr) -> Result<(), Forbidden> {
        if self.deny.iter().any(|entry| entry.contains(ip)) {
            return Err(Forbidden::Denied);
        }
        let mut naming = self.allow.iter().filter(|entry| entry.contains(ip));
        if let Some(range) = special::range_of(ip)
            && !naming.clone().any(|entry| entry.is_inside(range))
        {
            return Err(Forbidden::Special);
        }
        if self.is_host(ip) && !naming.any(|entry| entry.prefix_len() >= NAMING_PREFIX_MIN) {
            return Err(Forbidden::Host);
        }
        Ok(())
    }
}

/// The address with an IPv4 address in IPv6 form written as what it is.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// The IPv4 addresses that an IPv6 address may stand for: none, one, or all candidates where the form leaves it open.
/// An IPv4-mapped address never comes here, it is written as IPv4 before.
fn meanings(ip: IpAddr) -> impl Iterator<Item = IpAddr> {
    let mut found = [None; 4];
    if let IpAddr::V6(ip) = ip {
        let bytes = ip.octets();
        let v4 = |at: [usize; 4]| Some(IpAddr::V4(Ipv4Addr::from(at.map(|at| bytes[at]))));
        let last = v4([12, 13, 14, 15]);
        match ip.segments() {
            // Unspecified and loopback are themselves.
            [0, 0, 0, 0, 0, 0, 0, 0 | 1] => {}
            // IPv4-compatible (RFC 4291 §2.5.5.1) and IPv4-translated (RFC 2765 §2.1).
            [0, 0, 0, 0, 0 | 0xffff, 0, ..] => found[0] = last,
            // NAT64, the well-known prefix (RFC 6052 §2.1).
            [0x64, 0xff9b, 0, 0, 0, 0, ..] => found[0] = last,
            // NAT64, prefixes of a network's own (RFC 8215): their length is not known (RFC 6052 §2.2).
            [0x64, 0xff9b, 1, ..] => {
                found = [v4([6, 7, 9, 10]), v4([7, 9, 10, 11]), v4([9, 10, 11, 12]), last];
            }
            // 6to4 (RFC 3056 §2).
            [0x2002, ..] => found[0] = v4([2, 3, 4, 5]),
            // Teredo: the server, and the client with its bits turned round (RFC 4380 §4).
            [0x2001, 0, ..] => {
                let client = [12, 13, 14, 15].map(|at: usize| !bytes[at]);
                found = [v4([4, 5, 6, 7]), Some(IpAddr::V4(Ipv4Addr::from(client))), None, None];
            }
            // ISATAP, under any prefix (RFC 5214 §6.1).
            [_, _, _, _, 0 | 0x200, 0x5efe, ..] => found[0] = last,
            _ => {}
        }
    }
    found.into_iter().flatten()
}

#[cfg(test)]
mod tests;
