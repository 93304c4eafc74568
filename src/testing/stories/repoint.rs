//! One subscription, several sources: pointed at another track, paused and let go on, without a break in its numbers.

use std::collections::BTreeMap;

use millrace_control::{Command, PutSubscription, Rejection};

use super::{assert_all_seen, ms};
use crate::testing::browser::sink::Sink;
use crate::testing::browser::source::Sent;
use crate::testing::media::Codec;
use crate::testing::memory::Memory;
use crate::testing::pair::Pair;
use crate::testing::world::{Camera, View, World};

/// A viewer with one subscription, and the command that made it.
fn viewer(world: &mut World<'_>, camera: Camera) -> (View, PutSubscription) {
    let browser = world.join();
    let put = world.put_subscription(browser, camera.track, camera.codec);
    world.command(&Command::PutSubscription(put.clone())).unwrap();
    if let Some(rtx) = put.rtx_ssrc {
        world.browser(browser).repairs.insert(rtx, put.ssrc);
    }
    (View { browser, ssrc: put.ssrc }, put)
}

fn put(world: &mut World<'_>, put: PutSubscription) {
    world.command(&Command::PutSubscription(put)).unwrap();
}

/// One stream to the viewer: numbers without a gap, time that only moves on and never far, and a key frame of the new
/// source at each change. Gives how often the source changed.
#[track_caller]
fn assert_one_stream(seen: &Sink, sources: &[Vec<&Sent>], codec: Codec) -> usize {
    assert_eq!(seen.missing(), Vec::<u64>::new());
    let sent: BTreeMap<&[u8], (usize, &Sent)> = (0..)
        .zip(sources)
        .flat_map(|(source, sent)| sent.iter().map(move |it| (&it.payload[..], (source, *it))))
        .collect();
    let second = codec.clock_rate_hz();
    let mut changes = 0;
    let packets: Vec<_> = seen.packets.values().filter(|packet| !packet.padding).collect();
    for pair in packets.windows(2) {
        let [(before, _), (source, now)] = [pair[0], pair[1]].map(|packet| sent[&packet.payload[..]]);
        let step = pair[1].rtp.wrapping_sub(pair[0].rtp);
        if source == before {
            assert!(step <= second, "time jumps by {step}");
        } else {
            changes += 1;
            assert!(now.key || !codec.is_video(), "a change begins with a key frame");
            assert!((1..=2 * second).contains(&step), "time jumps by {step} at a change");
        }
    }
    changes
}

#[test]
fn a_viewer_is_pointed_at_three_sources_in_turn_a_hundred_times() {
    for (seed, codec) in [(301, Codec::Vp8), (302, Codec::Opus)] {
        let mut memory = Memory::new();
        let mut world = World::new(&mut memory, seed);
        let cameras = [0; 3].map(|_| {
            let publisher = world.join();
            world.publish(publisher, codec)
        });
        let (view, wanted) = viewer(&mut world, cameras[0]);
        world.connect();
        cameras.into_iter().for_each(|camera| world.start(camera));
        world.run(ms(700));
        for round in 1..=100 {
            let track = cameras[round % 3].track;
            put(&mut world, PutSubscription { track, ..wanted.clone() });
            world.run(ms(650));
            if codec.is_video() {
                // Some of it comes by RTX, whose numbers go on as well.
                let last = world.seen(view).last().unwrap();
                world.browser(view.browser).nack(view.ssrc, &[last as u16]);
            }
            world.run(ms(50));
            if round % 9 == 0 {
                // The shard is made again, right behind a change.
                let track = cameras[(round + 1) % 3].track;
                put(&mut world, PutSubscription { track, ..wanted.clone() });
                let mut rest = world.freeze();
                rest.seed += 1;
                world = World::resume(&mut memory, rest);
            }
        }
        cameras.into_iter().for_each(|camera| world.stop(camera));
        world.run(ms(500));
        let sources = cameras.map(|camera| world.sent(camera));
        let changes = assert_one_stream(world.seen(view), &sources, codec);
        assert!(changes >= 100, "{changes}");
        assert!(!codec.is_video() || world.counter("rtx_out") >= 90);
    }
}

#[test]
fn a_far_viewer_is_pointed_at_sources_on_either_shard() {
    let (mut home, mut far) = (Memory::new(), Memory::new());
    let mut pair = Pair::new(&mut home, &mut far, 303);
    let cameras = [0; 2].map(|_| {
        let publisher = pair.home.join();
        pair.home.publish(publisher, Codec::Vp8)
    });
    let publisher = pair.far.join();
    let near = pair.far.install_source(publisher, Codec::Vp8, 900, 96);
    pair.far.put_track(near, |_| {});
    let (view, wanted) = viewer(&mut pair.far, cameras[0]);
    pair.connect();
    cameras.into_iter().for_each(|camera| pair.home.start(camera));
    pair.far.start(near);
    pair.run(ms(700));
    for round in 1..=99 {
        let (track, home) = match round % 3 {
            2 => (near.track, None),
            place => (cameras[place].track, Some(0)),
        };
        put(&mut pair.far, PutSubscription { track, home, ..wanted.clone() });
        pair.run(ms(700));
        // A mirror ends with its last viewer: nothing crosses that nobody watches.
        let mirrors = pair.far.held()[1] - 1;
        assert_eq!(mirrors, u64::from(home.is_some()));
    }
    cameras.into_iter().for_each(|camera| pair.home.stop(camera));
    pair.far.stop(near);
    pair.run(ms(500));
    let sources = [pair.home.sent(cameras[0]), pair.home.sent(cameras[1]), pair.far.sent(near)];
    assert_eq!(assert_one_stream(pair.far.seen(view), &sources, Codec::Vp8), 99);
}

#[test]
fn what_a_subscription_keeps_cannot_be_changed() {
    let mut memory = Memory::new();
    let mut world = World::new(&mut memory, 304);
    let publisher = world.join();
    let camera = world.publish(publisher, Codec::Vp8);
    let microphone = world.publish(publisher, Codec::Opus);
    let (view, wanted) = viewer(&mut world, camera);
    let other = world.rest.browsers[publisher].id;
    world.connect();
    let refused = [
        PutSubscription { track: microphone.track, ..wanted.clone() },
        PutSubscription { kind: Codec::Opus.media_kind() as i32, ..wanted.clone() },
        PutSubscription { ssrc: wanted.ssrc + 1, ..wanted.clone() },
        PutSubscription { rtx_ssrc: None, ..wanted.clone() },
        PutSubscription { peer: other, ..wanted.clone() },
        PutSubscription { track: 0, ..wanted.clone() },
        PutSubscription { priority: 256, ..wanted.clone() },
    ];
    let before = (world.shard.snapshot(), world.held(), world.shard.routes_held());
    for put in refused {
        let refusal = world.command(&Command::PutSubscription(put)).unwrap_err();
        assert_eq!(refusal.reason, Rejection::Invalid);
    }
    assert_eq!(before, (world.shard.snapshot(), world.held(), world.shard.routes_held()));
    world.stream(camera, ms(500));
    assert_all_seen(&world, view, camera);
}

#[test]
fn a_subscription_may_be_pointed_at_a_track_that_comes_later() {
    let mut memory = Memory::new();
    let mut world = World::new(&mut memory, 305);
    let publisher = world.join();
    let camera = world.publish(publisher, Codec::Vp8);
    let (view, wanted) = viewer(&mut world, camera);
    world.connect();
    world.stream(camera, ms(500));
    put(&mut world, PutSubscription { track: 777, ..wanted });
    let unheard = world.source(camera).sent.len();
    world.stream(camera, ms(300));
    world.source(camera).sent.truncate(unheard);
    let late = world.install_source(publisher, Codec::Vp8, 777, 96);
    world.put_track(late, |_| {});
    world.stream(late, ms(500));
    let sources = [camera, late].map(|camera| world.sent(camera));
    assert_eq!(assert_one_stream(world.seen(view), &sources, Codec::Vp8), 1);
    assert_eq!(world.seen(view).packets.len(), sources[0].len() + sources[1].len());
}

#[test]
fn a_paused_subscription_is_not_sent_to_and_goes_on_in_the_same_stream() {
    let (mut home, mut far) = (Memory::new(), Memory::new());
    let mut pair = Pair::new(&mut home, &mut far, 306);
    let publisher = pair.home.join();
    let camera = pair.home.publish(publisher, Codec::Vp8);
    let (near, near_put) = viewer(&mut pair.home, camera);
    let (afar, far_put) = viewer(&mut pair.far, camera);
    pair.connect();
    let pause = |pair: &mut Pair<'_, '_>, paused| {
        put(&mut pair.home, PutSubscription { paused, ..near_put.clone() });
        put(&mut pair.far, PutSubscription { paused, ..far_put.clone() });
        let held = |world: &World<'_>| world.shard.snapshot().subscriptions[0].paused;
        assert_eq!([held(&pair.home), held(&pair.far)], [paused; 2]);
    };
    pair.home.start(camera);
    pair.run(ms(500));
    for round in 0..4 {
        pause(&mut pair, true);
        // What was sent before is on its way; the home hears within a second that its mirror wants nothing.
        pair.run(ms(1_200));
        let before = (pair.home.seen(near).packets.len(), pair.far.seen(afar).packets.len());
        let crossed = pair.between.packets;
        pair.home.browser(near.browser).pli(near.ssrc);
        pair.run(ms(1_000));
        assert_eq!(before, (pair.home.seen(near).packets.len(), pair.far.seen(afar).packets.len()));
        assert_eq!(pair.between.packets, crossed, "nothing crosses for paused viewers");
        if round == 1 {
            // The publisher's streams change under subscriptions that are paused, and the shards are made again.
            let id = pair.home.rest.browsers[publisher].id;
            pair.home.put_track(camera, |put| put.ssrcs.clear());
            pair.home.put_track(camera, |put| assert_eq!(put.peer, id));
            let Pair { home: near_world, far: far_world, between } = pair;
            let rests = [near_world.freeze(), far_world.freeze()];
            let [near_rest, far_rest] = rests;
            pair = Pair {
                home: World::resume(&mut home, near_rest),
                far: World::resume(&mut far, far_rest),
                between,
            };
        }
        pause(&mut pair, false);
        pair.run(ms(700));
    }
    pair.home.stop(camera);
    pair.run(ms(500));
    let sent = pair.home.sent(camera);
    for seen in [pair.home.seen(near), pair.far.seen(afar)] {
        assert_eq!(seen.missing(), Vec::<u64>::new());
        assert!(seen.packets.len() < sent.len() * 2 / 3, "{} of {}", seen.packets.len(), sent.len());
        let last = &sent.last().unwrap().payload[..];
        assert_eq!(seen.payloads().last(), Some(&last), "it went on");
    }
    assert_eq!(pair.home.held()[3] + pair.far.held()[3], 2);
}
