//! Sealing: the only work between receiving and sending.

use std::net::{IpAddr, SocketAddr};

use aws_lc_rs::aead::{Aad, LessSafeKey, Nonce, UnboundKey};

use super::shape::{HEADER_LEN_MAX, Shape, TAG_LEN};
use crate::kernel::send::Route;

/// Most datagrams of a run, as in the relay.
const RUN_SEGMENTS_MAX: usize = 64;
/// Most bytes of a run: an IP packet less its headers.
const RUN_BYTES_MAX: usize = 65_535 - 40 - 8;

/// A way out.
pub trait Outlet {
    /// Place for a message of `len_bytes`, cut into datagrams of `segment_len` if that is given. What was placed before
    /// may leave first.
    fn place(&mut self, route: &Route, segment_len: Option<u16>, len_bytes: usize) -> &mut [u8];
}

/// A received packet: whose it is, and its payload.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'p> {
    /// The number its payload begins with.
    pub publisher: usize,
    /// RTP payload.
    pub payload: &'p [u8],
}

impl<'p> Packet<'p> {
    /// From a datagram of the source; `None` when it is too short for one.
    #[inline]
    #[must_use]
    pub fn read(datagram: &'p [u8], header_len: usize) -> Option<Self> {
        let payload = datagram.get(header_len..datagram.len().checked_sub(TAG_LEN)?)?;
        let publisher = u32::from_be_bytes(*payload.first_chunk()?) as usize;
        Some(Self { publisher, payload })
    }
}

struct Viewer {
    key: LessSafeKey,
    route: Route,
    /// Of the next packet; the nonce follows from it.
    index: u64,
    /// Header and extensions, but for the sequence number.
    header: [u8; HEADER_LEN_MAX],
}

/// Everyone who is to have packets.
pub struct Fan {
    shape: Shape,
    viewers: Vec<Viewer>,
    header_len: usize,
    /// Datagrams of one length to one viewer form runs.
    runs: bool,
}

impl Fan {
    /// Viewer `n` is at `address(n)` and gets its packets from `source`.
    #[must_use]
    pub fn new(shape: &Shape, source: IpAddr, runs: bool, address: impl Fn(usize) -> SocketAddr) -> Self {
        let algorithm = shape.cipher.algorithm();
        let viewer = |number: usize| {
            let mut key = vec![0x5a; algorithm.key_len()];
            key[..8].copy_from_slice(&(number as u64).to_be_bytes());
            let key = UnboundKey::new(algorithm, &key).expect("the key has the algorithm's length");
            let mut header = [0; HEADER_LEN_MAX];
            header[..2].copy_from_slice(&[0x90, 96]);
            header[8..12].copy_from_slice(&(number as u32).to_be_bytes());
            Viewer {
                key: LessSafeKey::new(key),
                route: Route { destination: address(number), source: Some(source) },
                index: 0,
                header,
            }
        };
        let viewers = (0..shape.viewers()).map(viewer).collect();
        Self { header_len: shape.header_len(), shape: shape.clone(), viewers, runs }
    }

    /// Seals every packet for everyone who is to have it, viewer by viewer. Gives how many datagrams that were.
    pub fn pass(&mut self, packets: &mut [Packet<'_>], outlet: &mut impl Outlet) -> u64 {
        let mut sealed = 0;
        // Packets for the same viewers stand together; those of one publisher keep their order.
        packets.sort_by_key(|packet| self.shape.room(packet.publisher));
        let (shape, header_len) = (&self.shape, self.header_len);
        for group in packets.chunk_by(|a, b| shape.room(a.publisher) == shape.room(b.publisher)) {
            for number in shape.viewers_of(shape.room(group[0].publisher)) {
                let viewer = &mut self.viewers[number];
                // Its own packets cut the group.
                for group in group.split(|packet| shape.is_own(packet.publisher, number)) {
                    sealed += group.len() as u64;
                    viewer.seal(group, header_len, self.runs, outlet);
                }
            }
        }
        sealed
    }
}

impl Viewer {
    #[inline]
    fn seal(&mut self, packets: &[Packet<'_>], header_len: usize, runs: bool, outlet: &mut impl Outlet) {
        let overhead = header_len + TAG_LEN;
        let mut rest = packets;
        while let Some(first) = rest.first() {
            let count = if runs { run_len(rest, overhead) } else { 1 };
            let (run, after) = rest.split_at(count);
            rest = after;
            let bytes = run.iter().map(|packet| overhead + packet.payload.len()).sum();
            let segment_len = (count > 1).then_some((overhead + first.payload.len()) as u16);
            let mut place = outlet.place(&self.route, segment_len, bytes);
            for packet in run {
                let (datagram, after) = place.split_at_mut(overhead + packet.payload.len());
                self.seal_one(packet.payload, header_len, datagram);
                place = after;
            }
        }
    }

    #[inline]
    fn seal_one(&mut self, payload: &[u8], header_len: usize, datagram: &mut [u8]) {
        let index = self.index.to_be_bytes();
        self.index += 1;
        self.header[2..4].copy_from_slice(&index[6..]);
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&index);
        let (header, sealed) = datagram.split_at_mut(header_len);
        header.copy_from_slice(&self.header[..header_len]);
        let (text, tag) = sealed.split_at_mut(payload.len());
        self.key
            .seal_out_of_place_scatter(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(&*header),
                payload,
                text,
                &[],
                tag,
            )
            .expect("the tag has its length and a datagram is far below the limit of GCM");
    }
}

/// How many packets from the first on form a run: equal lengths, and a shorter one at the end.
fn run_len(packets: &[Packet<'_>], overhead: usize) -> usize {
    let segment = packets[0].payload.len();
    let most = (RUN_BYTES_MAX / (segment + overhead)).min(RUN_SEGMENTS_MAX).min(packets.len());
    let equal = packets[..most].iter().take_while(|packet| packet.payload.len() == segment).count();
    let shorter = packets[..most].get(equal).is_some_and(|packet| packet.payload.len() < segment);
    equal + usize::from(shorter)
}

#[cfg(test)]
mod tests {
    use super::super::shape::tests::even;
    use super::super::shape::{Audience, Cipher};
    use super::*;

    /// Every message as (viewer, segment length, bytes).
    #[derive(Default)]
    struct Outbox(Vec<(u16, Option<u16>, Vec<u8>)>);

    impl Outlet for Outbox {
        fn place(&mut self, route: &Route, segment_len: Option<u16>, len_bytes: usize) -> &mut [u8] {
            self.0.push((route.destination.port(), segment_len, vec![0; len_bytes]));
            &mut self.0.last_mut().unwrap().2
        }
    }

    fn fan(audience: Audience, runs: bool) -> Fan {
        let shape = Shape { cipher: Cipher::Gcm256, ..even(audience, 1.0, 100, 1) };
        Fan::new(&shape, [127, 0, 0, 1].into(), runs, |number| ([127, 0, 0, 1], number as u16).into())
    }

    fn lens(outbox: &Outbox) -> Vec<(u16, Option<u16>, usize)> {
        outbox.0.iter().map(|(viewer, segment, bytes)| (*viewer, *segment, bytes.len())).collect()
    }

    #[test]
    fn each_viewer_gets_runs_of_equal_length_with_a_shorter_end() {
        let payloads = [[7; 100].as_slice(), &[8; 100], &[9; 50], &[1; 60], &[2; 61]];
        let mut packets = payloads.map(|payload| Packet { publisher: 0, payload });
        let mut fan = fan(Audience::All { publishers: 1, viewers: 2 }, true);
        let mut outbox = Outbox::default();
        assert_eq!(fan.pass(&mut packets, &mut outbox), 10);
        let over = 12 + 8 + 16;
        let run = 2 * (100 + over) + 50 + over;
        let of = |viewer| {
            [(viewer, Some(100 + over as u16), run), (viewer, None, 60 + over), (viewer, None, 61 + over)]
        };
        assert_eq!(lens(&outbox), [of(0), of(1)].concat());
        fan.runs = false;
        outbox.0.clear();
        fan.pass(&mut packets, &mut outbox);
        assert_eq!(outbox.0.len(), 10);
        assert!(outbox.0.iter().all(|(_, segment, _)| segment.is_none()));
    }

    #[test]
    fn in_a_room_the_others_get_it_sealed_with_their_own_keys() {
        let mut fan = fan(Audience::Rooms { rooms: 3, size: 3 }, true);
        let mut outbox = Outbox::default();
        let payload = [5; 40];
        let of = |publisher| Packet { publisher, payload: &payload };
        // The first and the last are of one room, and make runs for its third.
        assert_eq!(fan.pass(&mut [of(7), of(0), of(6)], &mut outbox), 6);
        let over = 12 + 8 + 16;
        let one = |viewer| (viewer, None, 40 + over);
        let two = (8, Some(40 + over as u16), 2 * (40 + over));
        assert_eq!(lens(&outbox), [one(1), one(2), one(6), one(7), two]);
        let text = |place: usize| outbox.0[place].2[20..60].to_vec();
        assert_ne!(text(0), text(1));
        assert_ne!(text(0), payload);
    }

    #[test]
    fn a_run_ends_at_64_segments_and_at_64_kib() {
        let payload = vec![0; 1200];
        let long = [Packet { publisher: 0, payload: &payload }; 100];
        let short = [Packet { publisher: 0, payload: &payload[..100] }; 100];
        assert_eq!(run_len(&long, 36), 65_487 / 1236);
        assert_eq!(run_len(&short, 36), 64);
    }

    #[test]
    fn a_datagram_that_is_no_packet_is_none() {
        assert!(Packet::read(&[0; 39], 20).is_none());
        let packet = Packet::read(&[1; 40], 20).unwrap();
        assert_eq!((packet.publisher, packet.payload.len()), (0x0101_0101, 4));
    }
}
