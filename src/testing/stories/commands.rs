//! What signaling may ask, in any order and with any numbers: never a panic, and a refused command changed nothing.

use millrace_control::{self as contract, Command};

use super::{assert_all_seen, ms};
use crate::feedback::report::PublisherReport;
use crate::ids::{InboundSlot, TrackId};
use crate::limits::INBOUND_MAX;
use crate::router::parcel::{Content, FarStream, Packet, Parcel};
use crate::testing::media::Codec;
use crate::testing::memory::Memory;
use crate::testing::world::World;
use crate::wire::extension::Kind;
use crate::wire::testing::Random;

/// Ids and SSRCs come from small ranges, so that commands meet each other; now and then something is out of range.
struct Signaling(Random);

impl Signaling {
    fn below(&mut self, end: u64) -> u64 {
        self.0.below(end)
    }

    fn id(&mut self) -> u64 {
        if self.0.one_in(40) { 0 } else { 1 + self.below(8) }
    }

    fn ssrc(&mut self) -> u32 {
        1 + self.below(24) as u32
    }

    fn word(&mut self, len: usize) -> String {
        let len = match self.below(60) {
            0 => 0,
            1 => len + 40,
            _ => len,
        };
        let letter = char::from(b'a' + self.below(12) as u8);
        if self.0.one_in(60) { "ä:%".into() } else { letter.to_string().repeat(len) }
    }

    fn codecs(&mut self) -> Vec<contract::Codec> {
        let count = if self.0.one_in(30) { self.below(20) } else { 1 + self.below(3) };
        (0..count)
            .map(|_| contract::Codec {
                format: self.below(7) as u32 * u32::from(!self.0.one_in(30)),
                kind: self.below(6) as i32,
                payload_type: if self.0.one_in(30) {
                    128 + self.below(900) as u32
                } else {
                    self.below(128) as u32
                },
                clock_rate_hz: 90_000 * u32::from(!self.0.one_in(40)),
                rtx_payload_type: self.0.one_in(2).then(|| self.below(128) as u32),
            })
            .collect()
    }

    fn command(&mut self) -> Command {
        match self.below(10) {
            0 | 1 => Command::PutPeer(self.put_peer()),
            2 => Command::RemovePeer(contract::RemovePeer { peer: self.id() }),
            3 | 4 => Command::PutTrack(self.put_track()),
            5 => Command::RemoveTrack(contract::RemoveTrack { track: self.id() }),
            6 | 7 => Command::PutSubscription(self.put_subscription()),
            8 => Command::RemoveSubscription(contract::RemoveSubscription { subscription: self.id() }),
            _ => Command::RequestKeyframe(contract::RequestKeyframe { track: self.id() }),
        }
    }

    fn put_peer(&mut self) -> contract::PutPeer {
        contract::PutPeer {
            room: self.below(3),
            peer: self.id(),
            local_ufrag: self.word(8),
            local_pwd: self.word(24),
            remote_ufrag: self.word(4),
            remote_pwd: self.word(24),
            dtls_role: self.below(3) as i32,
            remote_fingerprint: vec![1; if self.0.one_in(20) { 31 } else { 32 }],
            extensions: (0..self.below(4))
                .map(|_| contract::Extension { kind: self.below(17) as i32, id: self.below(18) as u32 })
                .collect(),
            receive_max_bps: self.below(2) * 1_000_000,
            transport_cc: self.0.one_in(2),
            remb: self.0.one_in(2),
            memo: vec![7; if self.0.one_in(30) { 2_000 } else { self.below(20) as usize }],
        }
    }

    fn put_track(&mut self) -> contract::PutTrack {
        contract::PutTrack {
            track: self.id(),
            peer: self.id(),
            mid: self.word(1),
            kind: self.below(3) as i32,
            codecs: self.codecs(),
            ssrcs: (0..self.below(6))
                .map(|_| contract::SignaledSsrc {
                    ssrc: self.ssrc(),
                    rtx_ssrc: self.0.one_in(2).then(|| self.ssrc()),
                })
                .collect(),
            nack: self.0.one_in(2),
            pli: self.0.one_in(2),
            fir: self.0.one_in(2),
        }
    }

    fn put_subscription(&mut self) -> contract::PutSubscription {
        contract::PutSubscription {
            subscription: self.id(),
            peer: self.id(),
            track: self.id(),
            mid: self.word(1),
            ssrc: self.ssrc(),
            rtx_ssrc: self.0.one_in(2).then(|| self.ssrc()),
            codecs: self.codecs(),
            cname: self.word(10),
            kind: self.below(3) as i32,
            home: self.0.one_in(3).then(|| self.below(3) as u32),
            paused: self.0.one_in(3),
            priority: self.below(260) as u32,
            ..contract::PutSubscription::default()
        }
    }

    /// Whatever another shard might say.
    fn parcel(&mut self) -> Parcel {
        let stream = FarStream { publication: self.below(2), place: InboundSlot(self.below(3) as u32) };
        let content = match self.below(6) {
            0 => Content::Report { stream, report: PublisherReport::NONE },
            1 => Content::Published,
            2 => Content::Demand(self.0.one_in(2)),
            3 => Content::Keyframe,
            4 => Content::Missing { stream, dense: self.below(9) },
            _ => {
                let mut packet = Box::new(Packet::EMPTY);
                (packet.stream, packet.repair) = (stream, self.0.one_in(4));
                Content::Packet(packet)
            }
        };
        Parcel { from: 1 + self.below(2) as u32, track: TrackId(self.id()), content }
    }
}

#[test]
fn any_commands_in_any_order() {
    let (mut done, mut refused) = (0, 0);
    for seed in 0..20 {
        let mut memory = Memory::new();
        let mut world = World::member(&mut memory, seed, (0, 2));
        let empty = world.shard.routes_held();
        let mut signaling = Signaling(Random::new(seed));
        for step in 0..1_500 {
            let command = signaling.command();
            let before = (world.shard.snapshot(), world.held(), world.shard.routes_held());
            if world.command(&command).is_ok() {
                done += 1;
            } else {
                refused += 1;
                let after = (world.shard.snapshot(), world.held(), world.shard.routes_held());
                assert!(before == after, "refused, and something changed: {command:?}");
            }
            let (now, mut parcels) = (world.rest.now, [signaling.parcel(), signaling.parcel()]);
            world.shard.handle_parcels(now, &mut parcels, &mut world.outbox);
            world.shard.flush_parcels(|_, _| Ok(()));
            if step % 10 == 0 {
                world.run(ms(20));
            }
            if step % 400 == 399 {
                // What is in the records is enough to make everything again.
                let held = (world.shard.snapshot(), world.held(), world.shard.routes_held());
                let rest = world.freeze();
                world = World::resume(&mut memory, rest);
                assert!(
                    held == (world.shard.snapshot(), world.held(), world.shard.routes_held()),
                    "step {step}"
                );
            }
        }
        for peer in 0..=8 {
            world.command(&Command::RemovePeer(contract::RemovePeer { peer })).unwrap();
        }
        assert_eq!((world.held(), world.shard.routes_held()), ([0; 4], empty), "seed {seed}");
    }
    assert!(done > 5_000 && refused > 5_000, "{done} done, {refused} refused");
}

#[test]
fn a_subscription_that_is_made_again_under_its_ssrc_repeats_no_nonce() {
    let mut memory = Memory::new();
    let mut world = World::new(&mut memory, 81);
    let publisher = world.join();
    let camera = world.publish(publisher, Codec::Vp8);
    let viewer = world.join();
    let put = world.put_subscription(viewer, camera.track, Codec::Vp8);
    world.connect();
    world.start(camera);
    for _ in 0..30 {
        let subscription = world.make();
        let put = contract::PutSubscription { subscription, ..put.clone() };
        world.command(&Command::PutSubscription(put.clone())).unwrap();
        world.run(ms(700));
        // Some of it comes by RTX.
        let last = world.rest.browsers[viewer].sinks[&put.ssrc].last().unwrap();
        world.browser(viewer).nack(put.ssrc, &[last as u16]);
        world.run(ms(50));
        world.command(&Command::RemoveSubscription(contract::RemoveSubscription { subscription })).unwrap();
        let rest = world.freeze();
        world = World::resume(&mut memory, rest);
    }
    assert_eq!(world.held()[3], 0, "not counted as subscriptions");
    assert!(world.counter("rtx_out") >= 20);
    world.command(&Command::RemovePeer(contract::RemovePeer { peer: 2 })).unwrap();
    assert_eq!(world.shard.routes_held()[2..4], [2, 0]);
}

#[test]
fn a_track_that_finds_no_room_leaves_nothing_behind() {
    let mut memory = Memory::new();
    let mut world = World::new(&mut memory, 84);
    let mut ssrc = 0;
    let mut put = |world: &mut World<'_>, peer: u64, track: u64, streams: u32| {
        let ssrcs = (0..streams).map(|_| {
            ssrc += 1;
            contract::SignaledSsrc { ssrc, rtx_ssrc: None }
        });
        let codecs = vec![Codec::Vp8.on(96)];
        let put = contract::PutTrack { track, peer, codecs, ssrcs: ssrcs.collect(), ..Default::default() };
        world.command(&Command::PutTrack(put)).is_ok()
    };
    let peer = world.join() as u64 + 1;
    let tracks = INBOUND_MAX as u64 / 4;
    assert!((1..tracks).all(|track| put(&mut world, peer, track, 4)));
    assert!(put(&mut world, peer, tracks, 2));
    let before = (world.held(), world.shard.routes_held());
    assert!(!put(&mut world, peer, tracks + 1, 3));
    assert_eq!((world.held(), world.shard.routes_held()), before);
    assert!(put(&mut world, peer, tracks + 1, 2));
}

#[test]
fn a_user_fragment_belongs_to_one_peer() {
    let mut memory = Memory::new();
    let mut world = World::new(&mut memory, 82);
    let first = world.join();
    let camera = world.publish(first, Codec::Opus);
    let second = world.join();
    let view = world.watch(second, camera);
    world.connect();
    // An ICE restart of the second into the first one's name is refused.
    let (own, other) = (world.put_peer(second), world.put_peer(first));
    let put = contract::PutPeer { local_ufrag: other.local_ufrag, local_pwd: other.local_pwd, ..own };
    assert!(world.command(&Command::PutPeer(put)).is_err());
    world.stream(camera, ms(32_000));
    assert_all_seen(&world, view, camera);
    // A name that a closed peer has left may be taken, and stays with who took it when the closed one is removed.
    world.browser(first).say_goodbye();
    world.run(ms(100));
    let third = world.newcomer();
    world.browser(third).relay = world.rest.browsers[first].relay.clone();
    world.introduce(third);
    world.command(&Command::RemovePeer(contract::RemovePeer { peer: 1 })).unwrap();
    world.run(ms(1_000));
    assert!(world.browser(third).is_live());
}

#[test]
fn transport_wide_numbers_without_their_feedback_keep_nobody_awake() {
    let mut memory = Memory::new();
    let mut world = World::new(&mut memory, 83);
    let publisher = world.newcomer();
    let put = contract::PutPeer { transport_cc: false, ..world.put_peer(publisher) };
    assert!(put.extensions.iter().any(|extension| extension.kind == Kind::TransportCc as i32));
    world.command(&Command::PutPeer(put)).unwrap();
    let now = world.rest.now;
    world.browser(publisher).next_check_at = now;
    let camera = world.publish(publisher, Codec::Vp8);
    let viewer = world.join();
    let view = world.watch(viewer, camera);
    world.connect();
    world.stream(camera, ms(1_000));
    assert_all_seen(&world, view, camera);
}
