//! What must work: versions, fragments, loss, and the preference for GCM.

use std::time::Duration;

use super::network::{CLIENT, Dice, SERVER, World};
use crate::crypto::digest::Fingerprint;
use crate::dtls::filter::tests::{message, record};
use crate::dtls::{Certificate, Handshake, HandshakeError, Version};
use crate::records::keys::Profile;
use crate::time::Timestamp;

const AS_IT_IS: Duration = Duration::ZERO;

fn is_hello(datagram: &[u8]) -> bool {
    datagram[0] == 22 && datagram[13] == 1
}

#[test]
fn two_sides_agree_on_keys_in_two_round_trips() {
    for version in [Version::Dtls12, Version::Auto] {
        let mut world = World::new(version);
        let begun = world.now;
        world.run(Duration::from_secs(1));
        world.assert_connected("clean");
        assert!(world.now.since(begun) <= Duration::from_millis(45), "{:?}", world.now.since(begun));
        assert!(world.sides.iter().all(|side| side.handshake.is_connected()));
    }
}

#[test]
fn a_handshake_can_move_to_the_thread_of_its_shard() {
    fn assert_send<T: Send>() {}
    assert_send::<Handshake>();
}

/// The ClientHello in two datagrams, as Chromium sends it, cut anywhere and in either order.
#[test]
fn a_hello_in_two_datagrams_is_put_together() {
    for (cut, is_reordered) in [(1, false), (60, false), (60, true), (90, true)] {
        let mut world = World::new(Version::Dtls12).with_fate(move |_, datagram| {
            if !is_hello(&datagram) {
                return vec![(datagram, AS_IT_IS)];
            }
            let body = &datagram[25..];
            let part = |seq: u8, from: usize, to: usize| {
                let part = message(1, body.len() as u32, 0, from as u32, &body[from..to]);
                record(22, 0, seq, &part)
            };
            let halves = [part(0, 0, cut), part(1, cut, body.len())];
            let late = Duration::from_millis(if is_reordered { 5 } else { 0 });
            vec![(halves[0].clone(), late), (halves[1].clone(), AS_IT_IS)]
        });
        world.run(Duration::from_secs(1));
        world.assert_connected("split hello");
    }
}

#[test]
fn loss_reordering_and_duplication_end_in_one_connection() {
    let mut times = Vec::new();
    for seed in 0..60 {
        let mut dice = Dice::new(seed);
        let mut world = World::new(Version::Dtls12).with_fate(move |_, datagram| {
            let copies = match dice.below(100) {
                0..25 => 0,
                25..35 => 2,
                _ => 1,
            };
            (0..copies).map(|_| (datagram.clone(), Duration::from_millis(dice.below(40)))).collect()
        });
        let begun = world.now;
        world.run(Duration::from_secs(40));
        world.assert_connected(&format!("seed {seed}"));
        times.push(world.now.since(begun));
    }
    // One datagram in four is lost, each way. The waits double, so the tail is long.
    times.sort_unstable();
    assert!(times[times.len() / 2] < Duration::from_millis(500), "{times:?}");
    assert!(times[times.len() - 1] < Duration::from_secs(10), "{times:?}");
}

#[test]
fn a_lost_last_flight_is_sent_again() {
    let (lost, losses) = std::sync::mpsc::channel();
    let mut to_lose = 2;
    let mut world = World::new(Version::Dtls12).with_fate(move |from, datagram| {
        // Our ChangeCipherSpec and Finished.
        if from == SERVER && datagram[0] == 20 && to_lose > 0 {
            to_lose -= 1;
            lost.send(()).unwrap();
            return vec![];
        }
        vec![(datagram, AS_IT_IS)]
    });
    world.run(Duration::from_secs(5));
    world.assert_connected("last flight");
    assert_eq!(losses.try_iter().count(), 2);
}

/// The relay prefers GCM whatever the order of the offer, and takes what there is. The offers are forged, so the
/// handshake goes no further than our answer.
#[test]
fn gcm_is_chosen_when_offered() {
    let offers: [(&[u16], Profile); 4] = [
        (&[1, 8, 7], Profile::AeadAes256Gcm),
        (&[1, 2, 7], Profile::AeadAes128Gcm),
        (&[1, 7, 8], Profile::AeadAes256Gcm),
        (&[2, 1, 5], Profile::AesCm128HmacSha1_80),
    ];
    for (offer, wanted) in offers {
        let (answer, heard) = std::sync::mpsc::channel();
        let mut world = World::new(Version::Dtls12).with_fate(move |from, mut datagram| {
            if from == SERVER {
                answer.send(datagram).unwrap();
                return vec![];
            }
            // use_srtp: type 14, nine bytes, six of them three profiles, no MKI.
            let place = datagram.windows(6).position(|bytes| bytes == [0, 14, 0, 9, 0, 6]).unwrap() + 6;
            for (place, profile) in (place..).step_by(2).zip(offer) {
                datagram[place..place + 2].copy_from_slice(&profile.to_be_bytes());
            }
            vec![(datagram, AS_IT_IS)]
        });
        world.run(Duration::from_millis(50));
        let hello = heard.try_iter().next().expect("an answer");
        let place = hello.windows(6).position(|bytes| bytes == [0, 14, 0, 5, 0, 2]).expect("use_srtp");
        assert_eq!(hello[place + 6..place + 8], [0, wanted.code()], "{offer:?}");
    }
}

#[test]
fn two_of_ours_agree_on_gcm() {
    let mut world = World::new(Version::Dtls12);
    world.run(Duration::from_secs(1));
    let keys = world.sides[SERVER].keys.unwrap();
    assert_eq!(keys.record().profile(), Some(Profile::AeadAes256Gcm));
}

#[test]
fn a_wrong_fingerprint_is_never_connected() {
    for version in [Version::Dtls12, Version::Auto] {
        for wronged in [SERVER, CLIENT] {
            let certificates = [Certificate::generate(), Certificate::generate()];
            let mut expected = [certificates[CLIENT].fingerprint(), certificates[SERVER].fingerprint()];
            expected[wronged] = Fingerprint([7; 32]);
            let mut world = World::expecting(version, &certificates, expected);
            world.settle(Duration::from_secs(60));
            let side = &world.sides[wronged];
            assert_eq!(side.failed, Some(HandshakeError::PeerFingerprintMismatch), "{version:?} {wronged}");
            assert_eq!(side.keys, None);
            assert!(!side.handshake.is_connected());
            if version == Version::Dtls12 && wronged == SERVER {
                assert_eq!(world.sides[CLIENT].keys, None, "we tell a client before it is done");
            } else {
                assert!(world.sides[1 - wronged].closed, "the far side is told");
            }
        }
    }
}

#[test]
fn a_silent_peer_fails_in_time() {
    for place in [SERVER, CLIENT] {
        let mut world = World::new(Version::Dtls12).with_fate(|_, _| vec![]);
        let begun = world.now;
        world.settle(Duration::from_millis(29_900));
        assert_eq!(world.sides[place].failed, None);
        world.settle(Duration::from_millis(200));
        assert_eq!(world.sides[place].failed, Some(HandshakeError::NetworkTimedOut));
        assert!(world.now.since(begun) > Duration::from_secs(30));
        let sent = world.sides[place].sent;
        world.settle(Duration::from_secs(600));
        assert_eq!(world.sides[place].sent, sent, "it is over");
    }
}

#[test]
fn close_notify_of_the_peer_is_told_once() {
    for version in [Version::Dtls12, Version::Auto] {
        for closing in [SERVER, CLIENT] {
            let mut world = World::new(version);
            world.run(Duration::from_secs(1));
            world.settle(Duration::from_secs(5));
            world.sides[closing].handshake.close();
            world.settle(Duration::from_secs(5));
            assert!(world.sides[1 - closing].closed, "{version:?} {closing}");
            assert!(!world.sides[closing].closed);
            assert!(world.sides.iter().all(|side| !side.handshake.is_connected()));
        }
    }
}

#[test]
fn a_deadline_is_always_given() {
    let mut world = World::new(Version::Dtls12);
    let mut out = [0; 1472];
    let server = &mut world.sides[SERVER].handshake;
    let crate::dtls::Output::Timeout(at) = server.poll_output(&mut out) else { panic!("not a deadline") };
    assert!(at > world.now && at < Timestamp::NEVER);
}
