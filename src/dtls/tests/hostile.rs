//! What a stranger on the validated path may send, before, during and after.

use std::time::Duration;

use super::network::{CLIENT, Dice, SERVER, World};
use crate::discard::Discard;
use crate::dtls::filter::tests::{message, record};
use crate::dtls::{HandshakeError, Version};

const AS_IT_IS: Duration = Duration::ZERO;

/// Datagrams that break or stall the library itself, or look as if they might.
fn junk() -> Vec<Vec<u8>> {
    vec![
        record(21, 0, 0, &[2, 40]),
        record(21, 0, 1, &[1, 0]),
        record(22, 0, 2, &message(1, 2_000, 0, 10, &[7; 300])),
        record(22, 0, 3, &message(1, (1 << 24) - 1, 0, 0, &[7; 300])),
        record(22, 0, 4, &message(2, 3, 0, 0, &[7; 3])),
        record(22, 0, 5, &message(20, 12, 4, 0, &[7; 12])),
        record(22, 0, 6, &message(11, 3, 1, 0, &[7; 3])),
        record(22, 0, 7, &message(11, 3, 60_000, 0, &[7; 3])),
        record(23, 0, 8, b"plaintext data"),
        record(20, 0, 9, &[1]),
        record(22, 1, 10, &[7; 60]),
        vec![22; 40],
        vec![0x3f; 1500],
    ]
}

#[test]
fn junk_before_the_handshake_costs_a_second_at_most() {
    for version in [Version::Dtls12, Version::Auto] {
        let mut world = World::new(version);
        world.poll(SERVER);
        for junk in junk() {
            let _ = world.inject(SERVER, &junk);
        }
        // Two fragments that no hello can be made of with what the client sends.
        let overlap = record(22, 0, 20, &message(1, 500, 0, 0, &[7; 50]));
        let _ = world.inject(SERVER, &overlap);
        let begun = world.now;
        world.run(Duration::from_secs(20));
        world.assert_connected("junk before");
        assert!(world.now.since(begun) < Duration::from_secs(2), "{:?}", world.now.since(begun));
    }
}

#[test]
fn a_hello_that_breaks_the_library_costs_a_pause() {
    let mut world = World::new(Version::Dtls12);
    world.poll(SERVER);
    // DTLS 1.0 and no compression method that we know: fatal to the library.
    let mut hello = vec![0xfe, 0xff];
    hello.extend([7; 32]);
    hello.extend([0, 0, 0, 2, 0xc0, 0x2b, 1, 0, 0, 0]);
    let hello = record(22, 0, 0, &message(1, hello.len() as u32, 0, 0, &hello));
    for _ in 0..50 {
        let _ = world.inject(SERVER, &hello);
    }
    world.run(Duration::from_secs(5));
    world.assert_connected("broken hello");
}

#[test]
fn junk_during_the_handshake_that_no_client_sends_is_dropped() {
    let mut world = World::new(Version::Dtls12);
    world.poll(SERVER);
    world.poll(CLIENT);
    // Stop when the server has answered.
    while world.sides[SERVER].sent == 0 {
        world.settle(Duration::from_millis(1));
    }
    for junk in [
        record(21, 0, 0, &[2, 40]),
        record(22, 0, 4, &message(2, 3, 0, 0, &[7; 3])),
        record(22, 0, 4, &message(20, 12, 4, 0, &[7; 12])),
        record(22, 0, 7, &message(11, 3, 60_000, 0, &[7; 3])),
        record(22, 0, 7, &message(11, 1 << 20, 1, 0, &[7; 3])),
        record(23, 0, 8, b"plaintext data"),
        vec![22; 40],
        vec![0x3f; 1500],
    ] {
        assert_eq!(world.inject(SERVER, &junk), Err(Discard::PeerDtlsUnexpected));
    }
    assert_eq!(world.inject(SERVER, &[22; 1501]), Err(Discard::PeerTooLong));
    world.run(Duration::from_secs(1));
    world.assert_connected("junk during");
}

#[test]
fn no_client_certificate_no_connection() {
    let mut world = World::new(Version::Dtls12).with_fate(|from, datagram| {
        if from == CLIENT && datagram[0] == 22 && datagram[13] == 11 {
            let empty = record(22, 0, 1, &message(11, 3, 1, 0, &[0; 3]));
            return vec![(empty, AS_IT_IS)];
        }
        vec![(datagram, AS_IT_IS)]
    });
    world.settle(Duration::from_secs(40));
    assert_eq!(world.sides[SERVER].keys, None);
    assert_eq!(world.sides[SERVER].failed, Some(HandshakeError::PeerNoCertificate));
}

/// The library panics when a certificate is longer than the buffer it is given; ours holds the longest that passes.
#[test]
fn a_huge_certificate_is_no_panic() {
    for len in [3_000_u32, 8_000, 16_384] {
        let mut world = World::new(Version::Dtls12).with_fate(|from, datagram| {
            if from == CLIENT && datagram[13] != 1 { vec![] } else { vec![(datagram, AS_IT_IS)] }
        });
        world.settle(Duration::from_millis(50));
        assert!(world.sides[SERVER].sent > 0);
        let mut chain = (len - 3).to_be_bytes()[1..].to_vec();
        chain.extend(&(len - 6).to_be_bytes()[1..]);
        chain.resize(len as usize, 0x30);
        for (place, part) in chain.chunks(1_400).enumerate() {
            let part = message(11, len, 1, place as u32 * 1_400, part);
            assert_eq!(world.inject(SERVER, &record(22, 0, place as u8 + 1, &part)), Ok(()), "{len}");
        }
        world.settle(Duration::from_secs(40));
        assert_eq!(world.sides[SERVER].keys, None);
        assert!(world.sides[SERVER].failed.is_some());
    }
}

#[test]
fn what_one_association_takes_is_bounded() {
    let mut world = World::new(Version::Dtls12);
    world.poll(SERVER);
    let mut taken = 0;
    for offset in 0..2_000_u32 {
        let part = record(22, 0, 1, &message(1, 16_000, 0, 1 + offset * 7, &[7; 1_400]));
        if world.inject(SERVER, &part).is_ok() {
            taken += part.len();
        }
    }
    assert!(taken <= 64 * 1024, "{taken} bytes");
}

#[test]
fn once_connected_nothing_in_plaintext_is_answered_or_changes_a_thing() {
    let mut world = World::new(Version::Dtls12);
    world.run(Duration::from_secs(1));
    world.settle(Duration::from_secs(1));
    for wait in [Duration::from_secs(1), Duration::from_secs(60)] {
        world.settle(wait);
        for place in [SERVER, CLIENT] {
            let sent = world.sides[place].sent;
            let hello = record(22, 0, 9, &message(1, 60, 0, 0, &[7; 60]));
            for junk in junk().into_iter().chain([hello, record(21, 1, 200, &[7; 26])]) {
                let _ = world.inject(place, &junk);
            }
            world.settle(Duration::from_secs(5));
            assert!(world.sides[place].handshake.is_connected());
            assert!(!world.sides[place].closed);
            assert_eq!(world.sides[place].sent, sent, "silence");
        }
    }
    world.sides[CLIENT].handshake.close();
    world.settle(Duration::from_secs(1));
    assert!(world.sides[SERVER].closed, "the peer itself still can");
}

#[test]
fn every_length_and_first_byte_at_every_stage_is_survived() {
    let mut waiting = World::new(Version::Dtls12);
    let mut connected = World::new(Version::Dtls12);
    waiting.poll(SERVER);
    connected.run(Duration::from_secs(1));
    for first in 0..=u8::MAX {
        for len in (0..64).chain([100, 1_150, 1_472, 1_500, 1_501, 9_000]) {
            for epoch in [0, 1] {
                let mut datagram = record(first, epoch, 1, &vec![first; len]);
                for cut in [len, datagram.len()] {
                    datagram.truncate(cut.min(datagram.len()));
                    let _ = waiting.inject(SERVER, &datagram);
                    let _ = connected.inject(SERVER, &datagram);
                    let _ = connected.inject(CLIENT, &datagram);
                }
            }
        }
    }
    assert!(connected.sides.iter().all(|side| side.handshake.is_connected()));
    waiting.run(Duration::from_secs(5));
    waiting.assert_connected("after every first byte");
}

/// Bytes of real flights, damaged: no panic, and whoever connects has the keys of the other.
#[test]
fn damaged_flights_never_give_wrong_keys() {
    for seed in 0..30 {
        for version in [Version::Dtls12, Version::Auto] {
            let mut dice = Dice::new(seed);
            let mut world = World::new(version).with_fate(move |_, datagram| {
                let mut arriving = vec![(datagram.clone(), Duration::from_millis(dice.below(5)))];
                if dice.below(3) == 0 {
                    let mut damaged = datagram;
                    for _ in 0..=dice.below(3) {
                        let place = dice.below(damaged.len() as u64) as usize;
                        damaged[place] = dice.below(256) as u8;
                    }
                    arriving.push((damaged, Duration::from_millis(dice.below(5))));
                }
                arriving
            });
            world.run(Duration::from_secs(6));
            if let (Some(server), Some(client)) = (world.sides[SERVER].keys, world.sides[CLIENT].keys) {
                assert_eq!(server.record().inbound(), client.record().outbound(), "seed {seed}");
                assert_eq!(server.record().outbound(), client.record().inbound(), "seed {seed}");
            }
        }
    }
}
