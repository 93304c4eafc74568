//! A room larger than a core: the publisher on one shard, viewers on two.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use millrace_control::{self as contract, Command};

use super::reconnect::assert_one_stream;
use super::{assert_all_arrived, assert_all_seen, heard, ms};
use crate::limits::{BRIDGE_PACKETS_MAX, DEMAND_INTERVAL};
use crate::router::parcel::Content;
use crate::testing::browser::heard::What;
use crate::testing::browser::source::Sent;
use crate::testing::media::Codec;
use crate::testing::memory::Memory;
use crate::testing::net::Weather;
use crate::testing::pair::Pair;
use crate::testing::world::{Camera, Rest, View, World};

/// A camera at home with viewers on both shards.
fn call<'h, 'f>(
    memories: &'h mut Memory,
    far: &'f mut Memory,
    seed: u64,
    viewers: usize,
) -> (Pair<'h, 'f>, Camera, [Vec<View>; 2]) {
    let mut pair = Pair::new(memories, far, seed);
    let publisher = pair.home.join();
    let camera = pair.home.publish(publisher, Codec::Vp8);
    let near: Vec<_> = (0..viewers).map(|_| pair.home.join()).collect();
    let near = near.into_iter().map(|viewer| pair.home.watch(viewer, camera)).collect();
    let far = pair.watch_afar(camera, viewers);
    pair.connect();
    (pair, camera, [near, far])
}

#[track_caller]
fn assert_all_seen_afar(pair: &Pair<'_, '_>, views: &[View], camera: Camera) {
    for view in views {
        assert_all_arrived(&pair.home.sent(camera), pair.far.seen(*view), camera.codec);
    }
}

fn plis(world: &World<'_>, browser: usize) -> usize {
    heard(world, browser, |what| matches!(what, What::Pli(_)).then_some(())).len()
}

#[test]
fn four_hundred_viewers_on_two_shards_see_one_camera() {
    let (mut home, mut far) = (Memory::new(), Memory::new());
    let (mut pair, camera, [near, afar]) = call(&mut home, &mut far, 201, 200);
    pair.stream(camera, ms(1_000));
    let sent = pair.home.sent(camera).len() as u64;
    assert_all_seen_afar(&pair, &afar, camera);
    near.iter().for_each(|view| assert_all_seen(&pair.home, *view, camera));
    assert!(sent >= 75);
    assert_eq!(pair.between.packets, sent, "each crosses once, however many watch");
    for (world, name) in [(&pair.home, "bridge_out"), (&pair.far, "bridge_in")] {
        assert_eq!(world.counter(name), sent);
    }
    assert_eq!(pair.far.counter("rtp_out"), 200 * sent);
    assert_eq!(plis(&pair.home, camera.browser), 1, "four hundred requests were one");
}

#[test]
fn a_network_that_loses_packets_on_either_side_is_mended_on_its_own_shard() {
    for codec in [Codec::Vp8, Codec::H264] {
        let (mut home, mut far) = (Memory::new(), Memory::new());
        let mut pair = Pair::new(&mut home, &mut far, 202);
        let publisher = pair.home.join();
        let camera = pair.home.publish(publisher, codec);
        let views = pair.watch_afar(camera, 3);
        pair.connect();
        (pair.home.rest.net.weather, pair.far.rest.net.weather) = (Weather::FOUL, Weather::FOUL);
        pair.stream(camera, ms(5_000));
        (pair.home.rest.net.weather, pair.far.rest.net.weather) = (Weather::FAIR, Weather::FAIR);
        pair.stream(camera, ms(1_000));
        assert_all_seen_afar(&pair, &views, camera);
        assert!(pair.far.counter("rtx_out") > 20, "from the cache of the viewers' shard");
        assert_eq!(pair.home.counter("rtx_out"), 0);
    }
}

#[test]
fn a_packet_crosses_without_an_allocation() {
    let (mut home, mut far) = (Memory::new(), Memory::new());
    let (mut pair, camera, _) = call(&mut home, &mut far, 203, 3);
    pair.stream(camera, ms(1_000));
    (pair.home.media_allocations, pair.far.media_allocations) = (0, 0);
    let before = pair.between.packets;
    pair.stream(camera, ms(5_000));
    assert!(pair.between.packets >= before + 370);
    assert_eq!((pair.home.media_allocations, pair.far.media_allocations), (0, 0));
}

#[test]
fn packets_cross_only_while_somebody_watches() {
    let (mut home, mut far) = (Memory::new(), Memory::new());
    let (mut pair, camera, [_, afar]) = call(&mut home, &mut far, 204, 2);
    pair.home.start(camera);
    pair.run(ms(500));
    for view in afar {
        let peer = pair.far.rest.browsers[view.browser].id;
        pair.far.command(&Command::RemovePeer(contract::RemovePeer { peer })).unwrap();
    }
    pair.run(ms(100));
    let before = pair.between.packets;
    pair.run(ms(2_000));
    assert_eq!(pair.between.packets, before);
    assert_eq!(pair.far.held(), [0; 4], "nothing of the mirror is left behind");
    // And again.
    pair.home.source(camera).key_due = false;
    let views = pair.watch_afar(camera, 2);
    pair.connect();
    pair.run(ms(1_000));
    pair.home.stop(camera);
    pair.run(ms(500));
    assert_all_seen_afar(&pair, &views, camera);
}

/// Whatever is said once and lost is made good by what is said again.
#[test]
fn words_that_are_lost_are_said_again() {
    let (mut home, mut far) = (Memory::new(), Memory::new());
    let mut pair = Pair::new(&mut home, &mut far, 205);
    let publisher = pair.home.join();
    let camera = pair.home.publish(publisher, Codec::Vp8);
    pair.between.loses = |parcel| !matches!(parcel.content, Content::Packet(_));
    let views = pair.watch_afar(camera, 1);
    pair.connect();
    pair.home.start(camera);
    pair.run(ms(1_500));
    assert_eq!(pair.between.packets, 0, "the demand was lost, and a key frame was asked for in vain");
    pair.between.loses = |_| false;
    pair.run(DEMAND_INTERVAL + ms(100));
    assert!(pair.far.seen(views[0]).packets.len() > 2);
    // The last one goes, and nobody at home hears of it.
    pair.between.loses = |parcel| matches!(parcel.content, Content::Demand(_));
    let peer = pair.far.rest.browsers[views[0].browser].id;
    pair.far.command(&Command::RemovePeer(contract::RemovePeer { peer })).unwrap();
    pair.run(ms(100));
    let before = pair.between.packets;
    pair.run(ms(500));
    assert!(pair.between.packets > before);
    pair.between.loses = |_| false;
    pair.run(ms(100));
    let before = pair.between.packets;
    pair.run(ms(2_000));
    assert_eq!(pair.between.packets, before, "it was answered that nobody wants this");
}

#[test]
fn packets_that_are_lost_between_the_shards_come_from_the_first_ones_cache() {
    let (mut home, mut far) = (Memory::new(), Memory::new());
    let (mut pair, camera, [_, afar]) = call(&mut home, &mut far, 206, 3);
    pair.home.start(camera);
    pair.run(ms(400));
    for _ in 0..5 {
        pair.between.loses = |parcel| matches!(parcel.content, Content::Packet(_));
        pair.run(ms(45));
        pair.between.loses = |_| false;
        pair.run(ms(400));
    }
    pair.home.stop(camera);
    pair.run(ms(500));
    assert_all_seen_afar(&pair, &afar, camera);
    let lost = pair.home.sent(camera).len() as u64
        - pair.far.seen(afar[0]).packets.values().filter(|it| !it.repaired).count() as u64;
    assert!((5..=30).contains(&lost), "{lost} were lost");
    let asked = pair.between.packets - (pair.home.sent(camera).len() as u64 - lost);
    assert!((lost..=2 * lost).contains(&asked), "{asked} for {lost}: three viewers who ask are one");
}

#[test]
fn key_frame_requests_of_a_whole_shard_are_one() {
    let (mut home, mut far) = (Memory::new(), Memory::new());
    let (mut pair, camera, [near, afar]) = call(&mut home, &mut far, 207, 20);
    pair.stream(camera, ms(2_000));
    pair.home.source(camera).obeys = false;
    let before = plis(&pair.home, camera.browser);
    pair.home.start(camera);
    for _ in 0..100 {
        near.iter().for_each(|view| pair.home.browser(view.browser).pli(view.ssrc));
        afar.iter().for_each(|view| pair.far.browser(view.browser).pli(view.ssrc));
        pair.run(ms(100));
    }
    let asked = plis(&pair.home, camera.browser) - before;
    assert!((19..=21).contains(&asked), "{asked} in 10 s");
    assert_eq!(pair.far.counter("keyframe_requests_in"), 2_000);
    assert_eq!(pair.far.counter("keyframe_requests_out"), 0, "it has nobody to send them to");
}

#[test]
fn only_a_far_viewer_waits_and_it_is_asked_for_until_it_comes() {
    let (mut home, mut far) = (Memory::new(), Memory::new());
    let (mut pair, camera, [_, afar]) = call(&mut home, &mut far, 208, 1);
    pair.home.command(&Command::RemovePeer(contract::RemovePeer { peer: 2 })).unwrap();
    pair.home.source(camera).obeys = false;
    pair.home.source(camera).key_due = false;
    let before = plis(&pair.home, camera.browser);
    pair.home.start(camera);
    pair.run(ms(3_000));
    assert!(plis(&pair.home, camera.browser) >= before + 5);
    assert!(pair.far.seen(afar[0]).packets.is_empty());
}

// ------------------------------------------------------------------------------------------------ reconnect

/// The same track from another browser, under other payload types and SSRCs.
fn come_back(pair: &mut Pair<'_, '_>, camera: Camera) -> Camera {
    let browser = pair.home.join();
    let back = pair.home.install_source(browser, camera.codec, camera.track, 120);
    pair.home.put_track(back, |_| {});
    pair.connect();
    back
}

/// The place of its stream in the table is taken by the new one, which begins its numbers anew: the far shard must tell
/// them apart.
#[test]
fn a_publisher_comes_back_and_far_viewers_go_on() {
    for codec in [Codec::Vp8, Codec::Opus] {
        let (mut home, mut far) = (Memory::new(), Memory::new());
        let mut pair = Pair::new(&mut home, &mut far, 209);
        let publisher = pair.home.join();
        let camera = pair.home.publish(publisher, codec);
        let views = pair.watch_afar(camera, 2);
        pair.connect();
        pair.stream(camera, ms(1_000));
        let back = come_back(&mut pair, camera);
        pair.stream(back, ms(1_000));
        pair.home.command(&Command::RemovePeer(contract::RemovePeer { peer: 1 })).unwrap();
        pair.stream(back, ms(500));
        for view in views {
            let sent = [camera, back].map(|camera| pair.home.sent(camera));
            assert_one_stream(pair.far.seen(view), sent, codec);
        }
    }
}

/// Between the two there is no such track at home, and nothing of it is remembered there.
#[test]
fn a_track_that_ends_and_begins_again_finds_its_far_viewers() {
    let (mut home, mut far) = (Memory::new(), Memory::new());
    let mut pair = Pair::new(&mut home, &mut far, 210);
    let publisher = pair.home.join();
    let camera = pair.home.publish(publisher, Codec::Vp8);
    let views = pair.watch_afar(camera, 2);
    pair.connect();
    pair.stream(camera, ms(500));
    pair.home.command(&Command::RemoveTrack(contract::RemoveTrack { track: camera.track })).unwrap();
    assert_eq!(pair.home.held()[1..3], [0, 0]);
    pair.run(ms(200));
    let back = pair.home.install_source(publisher, Codec::Vp8, camera.track, 96);
    pair.home.put_track(back, |_| {});
    // Not a single packet is lost, though the far shard says what it wants once a second only.
    pair.stream(back, ms(500));
    for view in views {
        let sent = [camera, back].map(|camera| pair.home.sent(camera));
        assert_one_stream(pair.far.seen(view), sent, Codec::Vp8);
    }
}

#[test]
fn a_far_viewer_may_come_before_the_track() {
    let (mut home, mut far) = (Memory::new(), Memory::new());
    let mut pair = Pair::new(&mut home, &mut far, 211);
    let viewer = pair.far.join();
    let early = pair.far.watch_track(viewer, 777, Codec::Vp8);
    pair.connect();
    pair.run(ms(3_000));
    let publisher = pair.home.join();
    let camera = pair.home.install_source(publisher, Codec::Vp8, 777, 96);
    pair.home.put_track(camera, |_| {});
    pair.connect();
    pair.home.source(camera).key_due = false;
    pair.stream(camera, ms(1_500));
    assert_all_seen_afar(&pair, &[early], camera);
    let first = pair.far.seen(early).packets.values().next().unwrap().at;
    assert!(pair.far.rest.now.since(first) > ms(1_400), "a key frame was asked for as soon as it could be");
}

// ------------------------------------------------------------------------------------------------ panics

/// Runs until a shard breaks as it was told to.
fn broken(pair: &mut Pair<'_, '_>, time: Duration) {
    let panic = catch_unwind(AssertUnwindSafe(|| pair.run(time))).expect_err("it should have panicked");
    match panic.downcast_ref::<&str>() {
        Some(words) if words.starts_with("injected") => {}
        _ => resume_unwind(panic),
    }
}

fn frozen(world: World<'_>) -> Rest {
    let mut rest = world.freeze();
    // Another hash seed, as the real one takes.
    rest.seed += 1;
    rest
}

#[test]
fn either_shard_is_made_again_and_no_far_viewer_notices() {
    let (mut home, mut far) = (Memory::new(), Memory::new());
    let (mut pair, camera, [near, afar]) = call(&mut home, &mut far, 212, 2);
    pair.home.start(camera);
    pair.run(ms(500));
    // The old shards are gone at once: nothing is in hand at this moment.
    let Pair { home: near_world, far: far_world, between } = pair;
    let rest = frozen(far_world);
    let mut pair = Pair { home: near_world, far: World::resume(&mut far, rest), between };
    pair.run(ms(700));
    let Pair { home: near_world, far: far_world, between } = pair;
    let rest = frozen(near_world);
    let mut pair = Pair { home: World::resume(&mut home, rest), far: far_world, between };
    pair.run(ms(2_700));
    pair.home.stop(camera);
    pair.run(ms(500));
    assert_all_seen_afar(&pair, &afar, camera);
    near.iter().for_each(|view| assert_all_seen(&pair.home, *view, camera));
    assert_eq!((pair.home.counter("rebuilds"), pair.far.counter("rebuilds")), (1, 1));
    assert_eq!(pair.home.counter("bridge_dropped"), 0);
}

/// Again and again at every place of a fan-out on either shard, while the network does its worst: the audit of every
/// browser sees to it that no nonce comes twice.
#[test]
fn panics_in_the_middle_of_packets_never_repeat_a_nonce() {
    let (mut home, mut far) = (Memory::new(), Memory::new());
    let (mut pair, camera, [_, afar]) = call(&mut home, &mut far, 213, 3);
    (pair.home.rest.net.weather, pair.far.rest.net.weather) = (Weather::FOUL, Weather::FOUL);
    pair.home.start(camera);
    pair.run(ms(300));
    let Pair { home: near_world, far: far_world, mut between } = pair;
    let mut rests = (near_world.freeze(), far_world.freeze());
    for round in 0..60 {
        let near_world = World::resume(&mut home, rests.0);
        let far_world = World::resume(&mut far, rests.1);
        let mut pair = Pair { home: near_world, far: far_world, between };
        pair.run(ms(130));
        let breaks = if round % 2 == 0 { &mut pair.far } else { &mut pair.home };
        breaks.outbox.fuse = Some(round % 17);
        broken(&mut pair, ms(2_000));
        // Time is the same for both again.
        let now = pair.home.rest.now.max(pair.far.rest.now);
        (pair.home.rest.now, pair.far.rest.now) = (now, now);
        between = pair.between;
        rests = (frozen(pair.home), frozen(pair.far));
    }
    (rests.0.net.weather, rests.1.net.weather) = (Weather::FAIR, Weather::FAIR);
    let home = World::resume(&mut home, rests.0);
    let far = World::resume(&mut far, rests.1);
    let mut pair = Pair { home, far, between };
    let rebuilt = pair.home.sent(camera).len();
    pair.run(ms(1_500));
    pair.home.stop(camera);
    pair.run(ms(500));
    let sent = pair.home.sent(camera);
    let key = sent[rebuilt..].iter().position(|sent| sent.key).expect("a key frame");
    assert!(key < 10, "{key} packets after the last panic");
    let wanted: Vec<_> = sent[rebuilt + key..].iter().map(|sent: &&Sent| &sent.payload[..]).collect();
    for view in afar {
        assert!(pair.far.seen(view).payloads().ends_with(&wanted));
    }
}

#[test]
fn a_shard_that_falls_behind_costs_packets_and_nobody_waits_for_it() {
    let (mut home, mut far) = (Memory::new(), Memory::new());
    let (mut pair, camera, [near, afar]) = call(&mut home, &mut far, 214, 2);
    pair.home.source(camera).packets_per_frame = 100;
    pair.home.start(camera);
    pair.run(ms(200));
    pair.between.far_is_busy = true;
    let before = pair.home.sent(camera).len();
    pair.run(ms(1_000));
    pair.between.far_is_busy = false;
    let missed = pair.home.sent(camera).len() - before - BRIDGE_PACKETS_MAX;
    assert!(pair.home.counter("bridge_dropped") >= missed as u64 - 100);
    pair.run(ms(100));
    pair.home.source(camera).packets_per_frame = 3;
    let resumed = pair.home.sent(camera).len();
    afar.iter().for_each(|view| pair.far.browser(view.browser).pli(view.ssrc));
    pair.run(ms(2_000));
    pair.home.stop(camera);
    pair.run(ms(500));
    near.iter().for_each(|view| assert_all_seen(&pair.home, *view, camera));
    let wanted: Vec<_> = pair.home.sent(camera)[resumed..].iter().map(|sent| &sent.payload[..]).collect();
    for view in afar {
        assert!(pair.far.seen(view).payloads().ends_with(&wanted));
    }
}

// ------------------------------------------------------------------------------------------------ lips and words

#[test]
fn far_viewers_hear_the_publishers_time() {
    let (mut home, mut far) = (Memory::new(), Memory::new());
    let (mut pair, camera, [_, afar]) = call(&mut home, &mut far, 215, 1);
    pair.stream(camera, ms(1_000));
    let (then, ntp) = (pair.home.rest.now, 0x1234_0000_0000);
    pair.home.browser(camera.browser).sender_report(then, camera.source, ntp);
    let clock = pair.home.source(camera).clock_at(then);
    // One shard is made again meanwhile, and hears it once more.
    pair.run(ms(200));
    let Pair { home: near_world, far: far_world, between } = pair;
    let rest = frozen(far_world);
    let mut pair = Pair { home: near_world, far: World::resume(&mut far, rest), between };
    pair.stream(camera, ms(3_000));
    let view = afar[0];
    let seen = pair.far.seen(view).packets.values().next().unwrap();
    let sent = pair.home.sent(camera).into_iter().find(|sent| sent.payload == seen.payload).unwrap();
    let offset = seen.rtp.wrapping_sub(sent.rtp);
    let reports = heard(&pair.far, view.browser, |what| match what {
        What::SenderReport(info) if info.ssrc == view.ssrc => Some(*info),
        _ => None,
    });
    assert!((2..=5).contains(&reports.len()), "once a second: {}", reports.len());
    for report in reports {
        let elapsed_nanos = (u128::from(report.ntp - ntp) * 1_000_000_000) >> 32;
        let elapsed = pair.home.source(camera).ticks(Duration::from_nanos(elapsed_nanos as u64));
        let wanted = clock.wrapping_add(offset).wrapping_add(elapsed);
        assert!(report.rtp_time.wrapping_sub(wanted).wrapping_add(1) <= 2, "{} {wanted}", report.rtp_time);
    }
}

#[test]
fn signaling_says_and_is_told_where_a_track_comes_from() {
    let (mut home, mut far) = (Memory::new(), Memory::new());
    let (mut pair, camera, [_, afar]) = call(&mut home, &mut far, 216, 1);
    let homes =
        |world: &World<'_>| world.shard.snapshot().subscriptions.iter().map(|it| it.home).collect::<Vec<_>>();
    assert_eq!((homes(&pair.home), homes(&pair.far)), (vec![None], vec![Some(0)]));
    assert!(pair.far.shard.snapshot().tracks.is_empty(), "it is published elsewhere");
    let put = pair.far.put_subscription(afar[0].browser, camera.track, Codec::Vp8);
    let refused = |world: &mut World<'_>, home, track| {
        let put = contract::PutSubscription { home, track, ..put.clone() };
        world.command(&Command::PutSubscription(put)).is_err()
    };
    assert!(refused(&mut pair.far, Some(2), camera.track), "there is no such shard");
    assert!(refused(&mut pair.home, Some(1), camera.track), "its publisher is here");
    // The latest word counts for everybody: nothing comes from home any more.
    assert!(!refused(&mut pair.far, Some(1), camera.track));
    assert_eq!(homes(&pair.far), [None, None]);
    pair.run(ms(100));
    pair.stream(camera, ms(200));
    assert_eq!(pair.between.packets, 0);
    let put = contract::PutSubscription { home: Some(0), ..put };
    pair.far.command(&Command::PutSubscription(put)).unwrap();
    pair.run(ms(1_100));
    pair.stream(camera, ms(200));
    assert_all_seen_afar(&pair, &afar, camera);
}
