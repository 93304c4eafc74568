//! Control messages of a datagram: local address and segment length, both ways (cmsg(3), ip(7), udp(7)).
//!
//! The bytes are laid out by hand as a 64-bit kernel has them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Length, level and type before the data of each message.
const HEADER_BYTES: usize = 16;
/// Messages start at multiples of this.
const ALIGNMENT: usize = 8;
/// Not in every libc crate's list for this target (linux/udp.h).
const UDP_SEGMENT: i32 = 103;
pub(super) const UDP_GRO: i32 = 104;

const _: () = assert!(size_of::<libc::cmsghdr>() == HEADER_BYTES && size_of::<usize>() == ALIGNMENT);

/// Room for what the kernel tells of one receive: `in6_pktinfo`, and the segment length as an int.
pub(super) const RECEIVE_BYTES: usize = space(20) + space(4);
/// Room for what we tell it: `in6_pktinfo` and the segment length.
const SEND_BYTES: usize = space(20) + space(2);

const fn space(data_bytes: usize) -> usize {
    HEADER_BYTES + data_bytes.next_multiple_of(ALIGNMENT)
}

/// The control messages of one send.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
pub(super) struct SendControl {
    bytes: [u8; SEND_BYTES],
    len: usize,
}

impl SendControl {
    pub(super) const EMPTY: Self = Self { bytes: [0; SEND_BYTES], len: 0 };

    /// Leaves from `source`, if one is named, in segments of `segment_len`, or whole if that is `None`.
    pub(super) fn new(source: Option<IpAddr>, segment_len: Option<u16>) -> Self {
        let mut control = Self::EMPTY;
        match source {
            Some(IpAddr::V4(ip)) => {
                // struct in_pktinfo: ipi_ifindex (0: by route), ipi_spec_dst (the source), ipi_addr (ignored).
                let mut info = [0; 12];
                info[4..8].copy_from_slice(&ip.octets());
                control.push(libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
            }
            Some(IpAddr::V6(ip)) => {
                let mut info = [0; 20];
                info[..16].copy_from_slice(&ip.octets());
                control.push(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info);
            }
            None => {}
        }
        if let Some(segment_len) = segment_len {
            control.push(libc::IPPROTO_UDP, UDP_SEGMENT, &segment_len.to_ne_bytes());
        }
        control
    }

    fn push(&mut self, level: i32, kind: i32, data: &[u8]) {
        let message = &mut self.bytes[self.len..self.len + space(data.len())];
        message[..8].copy_from_slice(&(HEADER_BYTES + data.len()).to_ne_bytes());
        message[8..12].copy_from_slice(&level.to_ne_bytes());
        message[12..16].copy_from_slice(&kind.to_ne_bytes());
        message[HEADER_BYTES..HEADER_BYTES + data.len()].copy_from_slice(data);
        self.len += message.len();
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) const fn as_ptr(&self) -> *const libc::c_void {
        self.bytes.as_ptr().cast()
    }
}

/// What the kernel told of one receive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// The address of ours that it came to.
    pub(super) local: Option<IpAddr>,
    /// Length of the datagrams glued together, each but the last.
    pub(super) segment_len: Option<usize>,
}

pub(super) fn parse(control: &[u8]) -> Told {
    let mut told = Told::default();
    let mut rest = control;
    while let Some((level, kind, data, next)) = split(rest) {
        match (level, kind) {
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                told.local =
                    data.get(4..8).and_then(|ip| Some(Ipv4Addr::from(<[u8; 4]>::try_from(ip).ok()?).into()));
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                told.local =
                    data.get(..16).and_then(|ip| Some(Ipv6Addr::from(<[u8; 16]>::try_from(ip).ok()?).into()));
            }
            (libc::IPPROTO_UDP, UDP_GRO) => {
                let len = data.get(..4).and_then(|len| Some(i32::from_ne_bytes(len.try_into().ok()?)));
                told.segment_len = len.and_then(|len| usize::try_from(len).ok()).filter(|len| *len > 0);
            }
            _ => {}
        }
        rest = next;
    }
    told
}

/// Level, kind, data, and what follows.
fn split(control: &[u8]) -> Option<(i32, i32, &[u8], &[u8])> {
    let len = usize::from_ne_bytes(control.get(..8)?.try_into().ok()?);
    let level = i32::from_ne_bytes(control.get(8..12)?.try_into().ok()?);
    let kind = i32::from_ne_bytes(control.get(12..16)?.try_into().ok()?);
    let data = control.get(HEADER_BYTES..len)?;
    let next = control.get(len.next_multiple_of(ALIGNMENT)..).unwrap_or(&[]);
    Some((level, kind, data, next))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_reads_back_as_the_local_address() {
        for text in ["127.0.0.2", "fe80::1"] {
            let local: IpAddr = text.parse().unwrap();
            for segment in [None, Some(1200)] {
                let control = SendControl::new(Some(local), segment);
                assert_eq!(parse(&control.bytes[..control.len()]).local, Some(local));
            }
        }
        assert_eq!(SendControl::new(None, None).len(), 0);
    }

    #[test]
    fn damaged_messages_end_the_search() {
        let control = SendControl::new(Some([127, 0, 0, 1].into()), None);
        for len in 0..28 {
            assert_eq!(parse(&control.bytes[..len]), Told::default(), "{len}");
        }
        let mut endless = control;
        endless.bytes[..8].copy_from_slice(&usize::MAX.to_ne_bytes());
        assert_eq!(parse(&endless.bytes), Told::default());
        endless.bytes[..8].fill(0);
        assert_eq!(parse(&endless.bytes), Told::default());
    }
}
