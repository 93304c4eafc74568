//! Control messages of a datagram: the local address in and out, the segment size out (cmsg(3), ip(7), udp(7)).
//!
//! The bytes are laid out by hand as a 64-bit kernel has them, so that nothing here needs `unsafe`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Length, level and type before the data of each message.
const HEADER_BYTES: usize = 16;
/// Messages start at multiples of this.
const ALIGNMENT: usize = 8;
/// Not in every libc crate's list for this target (linux/udp.h).
const UDP_SEGMENT: i32 = 103;
/// The same: a socket option, and the type of the message that tells a train's segment length.
pub(super) const UDP_GRO: i32 = 104;

const _: () = assert!(size_of::<libc::cmsghdr>() == HEADER_BYTES && size_of::<usize>() == ALIGNMENT);

/// Room for what the kernel tells of one train: `in6_pktinfo`, the larger of the two, and the segment length.
pub(super) const RECEIVE_BYTES: usize = space(20) + space(4);

/// Room for what we tell it: `in6_pktinfo` and the segment size.
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

    /// Leaves from `local` (nothing when that is unspecified) in segments of `segment_len`, or whole if that is `None`.
    pub(super) fn write(&mut self, local: &IpAddr, segment_len: Option<u16>) {
        self.len = 0;
        match local {
            IpAddr::V4(ip) if !ip.is_unspecified() => {
                // struct in_pktinfo: ipi_ifindex (0: by route), ipi_spec_dst (the source), ipi_addr (ignored).
                let mut info = [0; 12];
                info[4..8].copy_from_slice(&ip.octets());
                self.push(libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
            }
            IpAddr::V6(ip) if !ip.is_unspecified() => {
                // struct in6_pktinfo: ipi6_addr, ipi6_ifindex (0: by route or by the remote's scope).
                let mut info = [0; 20];
                info[..16].copy_from_slice(&ip.octets());
                self.push(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info);
            }
            IpAddr::V4(_) | IpAddr::V6(_) => {}
        }
        if let Some(segment_len) = segment_len {
            self.push(libc::IPPROTO_UDP, UDP_SEGMENT, &segment_len.to_ne_bytes());
        }
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

    pub(super) const fn as_mut_ptr(&mut self) -> *mut libc::c_void {
        self.bytes.as_mut_ptr().cast()
    }
}

/// What the kernel tells of a train.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// The address of ours that it came to.
    pub(super) local: IpAddr,
    /// Length of each datagram but the last, when there are several.
    pub(super) segment_len: Option<usize>,
}

/// Reads the control messages of a train. `None` without the address.
pub(super) fn told(mut control: &[u8]) -> Option<Told> {
    let (mut local, mut segment_len) = (None, None);
    while control.len() >= HEADER_BYTES {
        let len = usize::from_ne_bytes(control[..8].try_into().ok()?);
        let level = i32::from_ne_bytes(control[8..12].try_into().ok()?);
        let kind = i32::from_ne_bytes(control[12..16].try_into().ok()?);
        let data = control.get(HEADER_BYTES..len)?;
        match (level, kind) {
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                // ipi_spec_dst: where an answer leaves from, also when the datagram came to a broadcast address.
                let ip: [u8; 4] = data.get(4..8)?.try_into().ok()?;
                local = Some(Ipv4Addr::from(ip).into());
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                let ip: [u8; 16] = data.get(..16)?.try_into().ok()?;
                local = Some(Ipv6Addr::from(ip).into());
            }
            (libc::IPPROTO_UDP, UDP_GRO) => {
                let len = i32::from_ne_bytes(data.get(..4)?.try_into().ok()?);
                segment_len = usize::try_from(len).ok().filter(|&len| len > 0);
            }
            _ => {}
        }
        // The last message need not be padded.
        control = control.get(len.next_multiple_of(ALIGNMENT)..).unwrap_or_default();
    }
    Some(Told { local: local?, segment_len })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local_address(control: &[u8]) -> Option<IpAddr> {
        told(control).map(|told| told.local)
    }

    #[test]
    fn the_segment_length_is_read_wherever_it_stands() {
        let mut control = SendControl::EMPTY;
        control.push(libc::IPPROTO_UDP, UDP_GRO, &1200_i32.to_ne_bytes());
        control.push(libc::IPPROTO_IP, libc::IP_PKTINFO, &[0, 0, 0, 0, 10, 1, 2, 3, 9, 9, 9, 9]);
        let expected = Told { local: IpAddr::from([10, 1, 2, 3]), segment_len: Some(1200) };
        assert_eq!(told(&control.bytes[..control.len()]), Some(expected));
        control.bytes[HEADER_BYTES..HEADER_BYTES + 4].copy_from_slice(&0_i32.to_ne_bytes());
        assert_eq!(told(&control.bytes[..control.len()]).unwrap().segment_len, None, "no length is no train");
    }

    #[test]
    fn what_is_sent_reads_back_as_the_local_address() {
        let mut control = SendControl::EMPTY;
        for text in ["127.0.0.2", "fe80::1"] {
            let local: IpAddr = text.parse().unwrap();
            for segment in [None, Some(1200)] {
                control.write(&local, segment);
                assert_eq!(local_address(&control.bytes[..control.len()]), Some(local));
            }
        }
    }

    #[test]
    fn lengths_are_the_kernels_cmsg_space() {
        let mut control = SendControl::EMPTY;
        control.write(&"10.0.0.1".parse().unwrap(), Some(1200));
        assert_eq!(control.len(), 32 + 24);
        control.write(&"::1".parse().unwrap(), Some(1200));
        assert_eq!(control.len(), 40 + 24);
        control.write(&"::".parse().unwrap(), None);
        assert_eq!(control.len(), 0);
    }

    #[test]
    fn messages_before_ours_are_skipped() {
        let mut control = SendControl::EMPTY;
        control.push(libc::SOL_SOCKET, libc::SO_TIMESTAMP, &[1, 2, 3]);
        control.push(libc::IPPROTO_IP, libc::IP_PKTINFO, &[0, 0, 0, 0, 10, 1, 2, 3, 9, 9, 9, 9]);
        assert_eq!(local_address(&control.bytes[..control.len()]), Some(IpAddr::from([10, 1, 2, 3])));
    }

    #[test]
    fn damaged_messages_end_the_search() {
        let mut control = SendControl::EMPTY;
        control.write(&"::1".parse().unwrap(), None);
        for len in 0..control.len() {
            assert_eq!(local_address(&control.bytes[..len.min(35)]), None);
            let mut damaged = control;
            damaged.bytes[..8].copy_from_slice(&len.to_ne_bytes());
            let _ = local_address(&damaged.bytes);
        }
        control.bytes[..8].copy_from_slice(&usize::MAX.to_ne_bytes());
        assert_eq!(local_address(&control.bytes), None);
    }
}
