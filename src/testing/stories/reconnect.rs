//! A publisher that comes back on another transport, tracks that come after their viewers, numbers that roll over.

use millrace_control::{self as contract, Command};

use super::{assert_all_seen, ms};
use crate::testing::browser::sink::Sink;
use crate::testing::browser::source::Sent;
use crate::testing::media::Codec;
use crate::testing::memory::Memory;
use crate::testing::world::{Camera, View, World};

/// The same track from another browser, under other payload types and SSRCs.
fn come_back(world: &mut World<'_>, camera: Camera) -> Camera {
    let browser = world.join();
    // Something else of that browser comes first, so that nothing has the same number by chance.
    world.publish(browser, Codec::Opus);
    let back = world.install_source(browser, camera.codec, camera.track, 120);
    world.put_track(back, |_| {});
    world.connect();
    back
}

/// One stream to the viewer, whoever sent it: numbers without a gap, time that only moves on.
#[track_caller]
pub(super) fn assert_one_stream(seen: &Sink, sent: [Vec<&Sent>; 2], codec: Codec) {
    assert_eq!(seen.missing(), Vec::<u64>::new());
    let wanted: Vec<_> = sent.iter().flatten().map(|sent| &sent.payload[..]).collect();
    assert!(seen.payloads() == wanted, "{} seen, {} sent", seen.payloads().len(), wanted.len());
    let change = sent[0].len();
    let packets: Vec<_> = seen.packets.values().collect();
    for (place, pair) in packets.windows(2).enumerate() {
        let step = pair[1].rtp.wrapping_sub(pair[0].rtp);
        assert!(step < 10 * 90_000, "time went back at {place}");
        assert!(place + 1 != change || step > 0, "a new frame never shares the last timestamp");
        assert_eq!(pair[0].payload_type, pair[1].payload_type);
    }
    // Media time and real time passed alike between the last packet of one and the first of the other.
    let (last, first) = (packets[change - 1], packets[change]);
    let passed = first.at.since(last.at).as_secs_f64();
    let media = f64::from(first.rtp.wrapping_sub(last.rtp)) / f64::from(codec.clock_rate_hz());
    assert!((passed - media).abs() < 0.05, "{passed} s passed, {media} s of media");
}

#[test]
fn a_publisher_comes_back_on_another_transport_and_viewers_go_on() {
    for codec in [Codec::Vp8, Codec::Opus] {
        let mut memory = Memory::new();
        let mut world = World::new(&mut memory, 11);
        let first = world.join();
        let camera = world.publish(first, codec);
        let viewers = [world.join(), world.join()];
        let views = viewers.map(|viewer| world.watch(viewer, camera));
        world.connect();
        world.stream(camera, ms(1_000));
        let back = come_back(&mut world, camera);
        // The old transport is not gone yet, and not silent either.
        let unheard = world.source(camera).sent.len();
        world.stream(camera, ms(200));
        world.source(camera).sent.truncate(unheard);
        world.stream(back, ms(1_000));
        world.command(&Command::RemovePeer(contract::RemovePeer { peer: 1 })).unwrap();
        world.stream(back, ms(500));
        for view in views {
            assert_one_stream(world.seen(view), [camera, back].map(|camera| world.sent(camera)), codec);
        }
    }
}

#[test]
fn a_viewer_may_come_before_the_track() {
    let mut memory = Memory::new();
    let mut world = World::new(&mut memory, 12);
    let viewer = world.join();
    let early = world.watch_track(viewer, 777, Codec::Vp8);
    world.connect();
    world.run(ms(3_000));
    let publisher = world.join();
    let camera = world.install_source(publisher, Codec::Vp8, 777, 96);
    world.put_track(camera, |_| {});
    world.connect();
    world.source(camera).key_due = false;
    world.stream(camera, ms(1_500));
    assert_all_seen(&world, early, camera);
    let first = world.seen(early).packets.values().next().unwrap().at;
    assert!(world.rest.now.since(first) > ms(1_400), "a key frame was asked for as soon as it could be");
}

#[test]
fn a_track_that_ends_and_begins_again_goes_on_in_the_same_stream() {
    let mut memory = Memory::new();
    let mut world = World::new(&mut memory, 13);
    let publisher = world.join();
    let camera = world.publish(publisher, Codec::Vp8);
    let viewer = world.join();
    let view = world.watch(viewer, camera);
    world.connect();
    world.stream(camera, ms(500));
    world.command(&Command::RemoveTrack(contract::RemoveTrack { track: camera.track })).unwrap();
    let unheard = world.source(camera).sent.len();
    world.stream(camera, ms(300));
    world.source(camera).sent.truncate(unheard);
    let back = world.install_source(publisher, Codec::Vp8, camera.track, 96);
    world.put_track(back, |_| {});
    world.stream(back, ms(500));
    assert_one_stream(world.seen(view), [camera, back].map(|camera| world.sent(camera)), Codec::Vp8);
}

#[test]
fn roll_over_counters_go_on_in_both_directions() {
    let mut memory = Memory::new();
    let mut world = World::new(&mut memory, 14);
    let publisher = world.join();
    let camera = world.publish(publisher, Codec::Opus);
    let viewer = world.join();
    let view = world.watch(viewer, camera);
    world.connect();
    // Late packets at every wrap, too.
    world.rest.net.weather.jitter = ms(3);
    world.source(camera).next = 65_400;
    world.source(camera).packets_per_frame = 100;
    world.stream(camera, ms(14_000));
    assert_eq!(world.source(camera).next >> 16, 2, "the publisher rolled over");
    assert_eq!(world.seen(view).last().unwrap() >> 16, 1, "and the viewer's stream did");
    assert_all_seen_in_turn(&world, view, camera);
    // A publisher that comes back begins its own count anew; the viewer's goes on.
    world.rest.net.weather.jitter = ms(0);
    let before = world.seen(view).packets.len();
    let back = come_back(&mut world, camera);
    world.stream(back, ms(500));
    assert_eq!(world.seen(view).last().unwrap() >> 16, 1);
    assert_eq!(world.seen(view).packets.len(), before + world.sent(back).len());
    assert_eq!(world.seen(view).missing(), Vec::<u64>::new());
}

/// The first packets may be late before anything is known of the stream, and are then too old for it.
#[track_caller]
fn assert_all_seen_in_turn(world: &World<'_>, view: View, camera: Camera) {
    let (sent, seen) = (world.sent(camera), world.seen(view));
    assert_eq!(seen.missing(), Vec::<u64>::new());
    assert!(sent.len() - seen.packets.len() < 100, "{} of {}", seen.packets.len(), sent.len());
    let payloads: Vec<_> =
        sent[sent.len() - seen.packets.len()..].iter().map(|sent| &sent.payload[..]).collect();
    assert!(seen.payloads() == payloads);
}
