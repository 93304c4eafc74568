//! What strangers and liars send: nothing panics, nobody else's call loses a packet, nothing is left behind.

use millrace_control::{self as contract, Command, PeerState};

use super::{assert_all_seen, ms};
use crate::egress::Path;
use crate::limits::{HANDSHAKE_QUEUE_MAX, HANDSHAKES_BY_PEER_MAX, HANDSHAKES_PER_CYCLE};
use crate::testing::media::Codec;
use crate::testing::memory::Memory;
use crate::testing::world::{Camera, View, World};
use crate::time::Timestamp;
use crate::wire::rtcp::feedback::{write_nack, write_pli};
use crate::wire::testing::{Random, every_cut_and_change, every_length_and_first_byte};

/// Hostile datagrams between two looks at the clock.
const BATCH: usize = 400;

/// A call that goes on while others lie.
struct Bystander<'m> {
    world: World<'m>,
    camera: Camera,
    view: View,
    /// Hostile datagrams so far.
    count: usize,
}

impl<'m> Bystander<'m> {
    fn new(memory: &'m mut Memory, seed: u64) -> Self {
        let mut world = World::new(memory, seed);
        let publisher = world.join();
        let camera = world.publish(publisher, Codec::Vp8);
        let viewer = world.join();
        let view = world.watch(viewer, camera);
        world.connect();
        world.start(camera);
        world.run(ms(200));
        Self { world, camera, view, count: 0 }
    }

    /// One hostile datagram; now and then the call goes on a little.
    fn attack(&mut self, path: &Path, datagram: &[u8]) {
        self.world.hand_over(path, datagram.to_vec());
        self.count += 1;
        if self.count.is_multiple_of(BATCH) {
            self.world.run(ms(5));
        }
    }

    /// Everything there is to hold, by kind.
    fn held(&self) -> ([u64; 4], [usize; 7]) {
        (self.world.held(), self.world.shard.routes_held())
    }

    /// The call lost nothing.
    fn end(mut self) {
        self.world.run(ms(200));
        self.world.stop(self.camera);
        self.world.run(ms(500));
        assert_all_seen(&self.world, self.view, self.camera);
        assert_eq!(self.world.seen(self.view).packets.len(), self.world.sent(self.camera).len());
    }
}

/// A browser with a valid path that has not begun its handshake.
fn validated(world: &mut World<'_>) -> usize {
    let browser = world.newcomer();
    let put = world.put_peer(browser);
    world.command(&Command::PutPeer(put)).unwrap();
    let (path, check) = (world.browser(browser).path, world.browser(browser).make_check(true));
    world.hand_over(&path, check);
    world.outbox.clear();
    browser
}

/// Rubbish, and rubbish that names an SSRC which is there.
fn every_datagram(ssrc: u32, mut attack: impl FnMut(&[u8])) {
    let mut named = Vec::new();
    every_length_and_first_byte(|datagram| {
        named.clear();
        named.extend_from_slice(datagram);
        if datagram.len().is_multiple_of(2) && datagram.len() >= 12 && (128..192).contains(&datagram[0]) {
            let rtcp = datagram.len().is_multiple_of(4);
            named[1] = if rtcp { 200 + (datagram[5] & 7) } else { 96 };
            let place = if rtcp { 4 } else { 8 };
            named[place..place + 4].copy_from_slice(&ssrc.to_be_bytes());
        }
        attack(&named);
    });
    let mut random = Random::new(9);
    for len in (1501..=9000).step_by(43) {
        let mut datagram = random.bytes(len);
        for first in [0, 20, 22, 63, 64, 128, 144, 159, 191, 255] {
            datagram[0] = first;
            attack(&datagram);
        }
    }
}

#[test]
fn every_length_and_first_byte_from_a_stranger() {
    let mut memory = Memory::new();
    let mut bystander = Bystander::new(&mut memory, 71);
    let before = bystander.held();
    let stranger =
        Path { remote: "203.0.113.66:6666".parse().unwrap(), ..bystander.world.rest.browsers[0].path };
    let ssrc = bystander.world.source(bystander.camera).ssrc;
    every_datagram(ssrc, |datagram| bystander.attack(&stranger, datagram));
    assert_eq!(bystander.held(), before);
    bystander.end();
}

#[test]
fn every_length_and_first_byte_after_ice() {
    let mut memory = Memory::new();
    let mut bystander = Bystander::new(&mut memory, 72);
    let browser = validated(&mut bystander.world);
    let before = bystander.held();
    let path = bystander.world.browser(browser).path;
    every_datagram(7, |datagram| bystander.attack(&path, datagram));
    assert_eq!(bystander.held(), before);
    // All of it was only rubbish: the handshake still ends well.
    bystander.world.browser(browser).check(true);
    bystander.world.run(ms(3_000));
    assert!(bystander.world.browser(browser).is_live());
    assert_eq!(bystander.world.told_of(browser).last().unwrap().0, PeerState::Live);
    bystander.end();
}

#[test]
fn every_length_and_first_byte_on_a_live_path() {
    let mut memory = Memory::new();
    let mut bystander = Bystander::new(&mut memory, 73);
    let world = &mut bystander.world;
    let victim = world.join();
    let camera = world.publish(victim, Codec::Vp8);
    let view = world.watch(bystander.view.browser, camera);
    world.connect();
    world.start(camera);
    world.run(ms(200));
    let before = bystander.held();
    let path = bystander.world.browser(victim).path;
    let ssrc = bystander.world.source(camera).ssrc;
    every_datagram(ssrc, |datagram| bystander.attack(&path, datagram));
    assert_eq!(bystander.held(), before);
    bystander.world.stop(camera);
    bystander.world.run(ms(500));
    assert_all_seen(&bystander.world, view, camera);
    bystander.end();
}

#[test]
fn real_packets_cut_changed_and_replayed() {
    let mut memory = Memory::new();
    let mut bystander = Bystander::new(&mut memory, 74);
    let Camera { browser, source, .. } = bystander.camera;
    let path = bystander.world.browser(browser).path;
    let ssrc = bystander.view.ssrc;
    let before = bystander.held();
    for _ in 0..3 {
        let publisher = bystander.world.browser(browser);
        let sent = publisher.sources[source].frame().swap_remove(0);
        // The frame's other packets are asked for again, as is this one if it does not come at last.
        let media = publisher.seal_packet(source, &sent).unwrap();
        let rtcp = publisher.make_rtcp(|out, own| write_nack(out, own, ssrc, &[1])).unwrap();
        let check = publisher.make_check(true);
        for real in [media, rtcp, check] {
            every_cut_and_change(&real, |datagram| {
                if datagram != real {
                    bystander.attack(&path, datagram);
                }
            });
            bystander.attack(&path, &real);
            let accepted = ["rtp_in", "rtcp_in"].map(|name| bystander.world.counter(name));
            for _ in 0..10 {
                bystander.world.hand_over(&path, real.clone());
            }
            assert_eq!(["rtp_in", "rtcp_in"].map(|name| bystander.world.counter(name)), accepted, "replayed");
        }
        bystander.world.run(ms(100));
    }
    assert_eq!(bystander.held(), before);
    bystander.end();
}

#[test]
fn nothing_is_listened_to_before_a_check_and_nothing_but_a_check_moves_a_path() {
    let mut memory = Memory::new();
    let mut bystander = Bystander::new(&mut memory, 75);
    let world = &mut bystander.world;
    // A browser whose hello comes before its check.
    let early = world.newcomer();
    world.introduce(early);
    world.browser(early).next_check_at = Timestamp::NEVER;
    let (before, path) = (world.shard.routes_held(), world.browser(early).path);
    let now = world.rest.now;
    world.browser(early).hasten(now);
    world.run(ms(1_000));
    assert_eq!(world.told_of(early), []);
    assert_eq!(world.shard.routes_held(), before);
    assert!(!world.shard.has_deferred());
    world.browser(early).next_check_at = now + ms(1_000);
    world.connect();
    assert_eq!(world.told_of(early).last().unwrap().0, PeerState::Live);

    // Real media from an address that was never checked is not taken, and moves nothing.
    let camera = bystander.camera;
    let elsewhere = Path { remote: "203.0.113.80:80".parse().unwrap(), ..path };
    let sent = world.source(camera).frame();
    for sent in &sent {
        let datagram = world.browser(camera.browser).seal_packet(camera.source, sent).unwrap();
        world.hand_over(&elsewhere, datagram);
    }
    let rtcp =
        world.browser(bystander.view.browser).make_rtcp(|out, own| write_pli(out, own, bystander.view.ssrc));
    world.hand_over(&elsewhere, rtcp.unwrap());
    assert_eq!(world.outbox.len(), 0);
    assert!(world.counter("discard_peer_unknown_source") >= 4);
    // The publisher is asked for them again, at its own address.
    bystander.end();
}

#[test]
fn a_wrong_fingerprint_never_becomes_live_and_signaling_is_told_why() {
    let mut memory = Memory::new();
    let mut bystander = Bystander::new(&mut memory, 76);
    let world = &mut bystander.world;
    let liar = world.newcomer();
    let put = contract::PutPeer { remote_fingerprint: vec![7; 32], ..world.put_peer(liar) };
    world.command(&Command::PutPeer(put)).unwrap();
    let view = world.watch(liar, bystander.camera);
    let now = world.rest.now;
    world.browser(liar).next_check_at = now;
    world.run(ms(2_000));
    let told = world.told_of(liar);
    assert!(told.iter().all(|(state, _)| *state != PeerState::Live));
    let (state, reason) = told.last().unwrap();
    assert_eq!(*state, PeerState::Closed);
    assert!(reason.contains("fingerprint"), "{reason}");
    assert!(world.seen(view).packets.is_empty());
    assert!(world.browser(liar).keys.is_none());
    bystander.end();
}

#[test]
fn a_flood_of_handshakes_waits_in_a_bounded_queue_behind_media() {
    let mut memory = Memory::new();
    let mut bystander = Bystander::new(&mut memory, 77);
    let flooder = validated(&mut bystander.world);
    let path = bystander.world.browser(flooder).path;
    let mut hello = Random::new(5).bytes(1200);
    hello[..13].copy_from_slice(&[22, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0xA3]);
    let world = &mut bystander.world;
    for _ in 0..3 * HANDSHAKE_QUEUE_MAX {
        world.hand_over(&path, hello.clone());
    }
    // One peer has a few places, so that the others' handshakes go on.
    let waiting = 3 * HANDSHAKE_QUEUE_MAX - world.counter("discard_our_handshake_queue_full") as usize;
    assert_eq!(waiting, usize::from(HANDSHAKES_BY_PEER_MAX));
    let mut cycles = 0;
    while world.shard.has_deferred() {
        world.shard.handle_deferred(world.rest.now, &mut world.outbox);
        cycles += 1;
    }
    assert_eq!(cycles, waiting.div_ceil(HANDSHAKES_PER_CYCLE));
    bystander.end();
}

#[test]
fn one_datagram_full_of_nacks_draws_a_bounded_answer() {
    let mut memory = Memory::new();
    let mut bystander = Bystander::new(&mut memory, 79);
    bystander.world.run(ms(8_000));
    let world = &mut bystander.world;
    let (view, last) = (bystander.view, world.seen(bystander.view).last().unwrap());
    let path = world.browser(view.browser).path;
    let greedy = world.browser(view.browser).make_rtcp(|out, own| {
        let lost: Vec<_> = (last - 400..last).map(|index| index as u16).collect();
        (0..8)
            .map(|part| &lost[part * 50..][..50])
            .fold(0, |len, lost| len + write_nack(&mut out[len..], own, view.ssrc, lost))
    });
    world.hand_over(&path, greedy.unwrap());
    assert_eq!(world.outbox.len(), 128);
    world.gather();
    bystander.world.run(ms(100));
    // They had not been lost at all.
    assert_eq!(bystander.world.seen(view).repeats, 128);
    bystander.end();
}

#[test]
fn bindings_of_strangers_are_answered_within_their_allowance() {
    let mut memory = Memory::new();
    let mut bystander = Bystander::new(&mut memory, 78);
    let binding = [&[0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42][..], &[7; 12]].concat();
    let path = Path { remote: "203.0.113.5:5".parse().unwrap(), ..bystander.world.rest.browsers[0].path };
    let before = bystander.held();
    for _ in 0..1_000 {
        bystander.world.hand_over(&path, binding.clone());
    }
    let answered = bystander.world.outbox.len();
    assert!((50..=200).contains(&answered), "{answered}");
    assert!(bystander.world.outbox.datagrams().all(|(to, bytes)| *to == path && bytes.len() <= 44));
    bystander.world.outbox.clear();
    assert_eq!(bystander.held(), before);
    bystander.end();
}
