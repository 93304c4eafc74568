//! A shard that is gone is made again from its records, and nobody in a call has to do anything.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use millrace_control::{self as contract, Command, EventKind, PeerState};

use super::{assert_all_seen, heard, ms};
use crate::testing::browser::heard::What;
use crate::testing::media::Codec;
use crate::testing::memory::Memory;
use crate::testing::net::Weather;
use crate::testing::world::{Camera, Rest, View, World};

fn call(memory: &mut Memory, seed: u64) -> (World<'_>, Camera, Vec<View>) {
    let mut world = World::new(memory, seed);
    let publisher = world.join();
    let camera = world.publish(publisher, Codec::Vp8);
    let views = (0..3).map(|_| world.join()).collect::<Vec<_>>();
    let views = views.into_iter().map(|viewer| world.watch(viewer, camera)).collect();
    world.connect();
    (world, camera, views)
}

/// Runs `act`, which makes the shard panic as it was told to and not otherwise.
fn broken(mut world: World<'_>, act: impl FnOnce(&mut World<'_>)) -> Rest {
    let panic = catch_unwind(AssertUnwindSafe(|| act(&mut world))).expect_err("it should have panicked");
    match panic.downcast_ref::<&str>() {
        Some(words) if words.starts_with("injected") => {}
        _ => resume_unwind(panic),
    }
    let mut rest = world.freeze();
    // Another hash seed, as the real one takes.
    rest.seed += 1;
    rest
}

#[test]
fn a_shard_made_again_loses_nothing_of_a_call() {
    let mut memory = Memory::new();
    let (mut world, camera, views) = call(&mut memory, 41);
    world.start(camera);
    world.run(ms(1_000));
    let mut rest = world.freeze();
    rest.events.clear();
    let mut world = World::resume(&mut memory, rest);
    world.run(ms(35_000));
    world.stop(camera);
    world.run(ms(500));
    for view in views {
        assert_all_seen(&world, view, camera);
        let told: Vec<_> = world.told_of(view.browser).into_iter().map(|(state, _)| state).collect();
        assert_eq!(told, [PeerState::Live], "said again; consent goes on");
    }
    assert!(world.rest.events.contains(&EventKind::Rebuilt(contract::ShardRebuilt { peers: 4 })));
    assert_eq!(world.counter("rebuilds"), 1);
}

#[test]
fn an_injected_panic_is_told_and_survived() {
    let mut memory = Memory::new();
    let (mut world, camera, views) = call(&mut memory, 42);
    world.start(camera);
    world.run(ms(1_000));
    let panic = Command::InjectPanic(contract::InjectPanic {});
    // Answered first; the cycle ends in the panic.
    world.command(&panic).unwrap();
    let rest = broken(world, |world| world.shard.panic_if_injected());
    let mut world = World::resume(&mut memory, rest);
    world.run(ms(1_000));
    world.stop(camera);
    world.run(ms(500));
    views.iter().for_each(|view| assert_all_seen(&world, *view, camera));
}

/// Again and again at every place of a fan-out, while the network does its worst: the audit of every browser sees to it
/// that no nonce comes twice.
#[test]
fn a_panic_in_the_middle_of_a_packet_never_repeats_a_nonce() {
    let mut memory = Memory::new();
    let (mut world, camera, views) = call(&mut memory, 43);
    world.rest.net.weather = Weather::FOUL;
    world.start(camera);
    world.run(ms(300));
    let mut rest = world.freeze();
    for round in 0..60 {
        let mut world = World::resume(&mut memory, rest);
        world.run(ms(130));
        world.outbox.fuse = Some(round % 17);
        rest = broken(world, |world| world.run(ms(2_000)));
    }
    rest.net.weather = Weather::FAIR;
    let mut world = World::resume(&mut memory, rest);
    let rebuilt = world.sent(camera).len();
    world.run(ms(1_500));
    world.stop(camera);
    world.run(ms(500));
    // What was in hand at the panics is lost for good. A key frame is asked for, and from there on everything is there.
    let sent = world.sent(camera);
    let key = sent[rebuilt..].iter().position(|sent| sent.key).expect("a key frame");
    assert!(key < 10, "{key} packets after the last panic");
    let wanted: Vec<_> = sent[rebuilt + key..].iter().map(|sent| &sent.payload[..]).collect();
    for view in views {
        assert!(world.seen(view).payloads().ends_with(&wanted));
    }
    assert_eq!(world.counter("rebuilds"), 61);
}

#[test]
fn a_full_outbox_costs_packets_and_never_a_nonce() {
    let mut memory = Memory::new();
    let (mut world, camera, views) = call(&mut memory, 44);
    world.start(camera);
    world.run(ms(200));
    for round in 0..200 {
        world.outbox.room = if round % 5 == 0 { round % 3 } else { usize::MAX };
        world.run(ms(20));
    }
    world.stop(camera);
    world.outbox.room = usize::MAX;
    world.run(ms(1_000));
    assert!(world.counter("discard_our_egress_full") > 20);
    views.iter().for_each(|view| assert_all_seen(&world, *view, camera));
}

#[test]
fn no_report_stops_the_clock_of_a_viewer_after_a_panic() {
    let mut memory = Memory::new();
    let (mut world, camera, views) = call(&mut memory, 46);
    world.stream(camera, ms(1_000));
    let rest = world.freeze();
    let mut world = World::resume(&mut memory, rest);
    // A report comes before the first packet.
    let now = world.rest.now;
    world.browser(camera.browser).sender_report(now, camera.source, 1 << 40);
    world.run(ms(3_500));
    for view in views {
        let reports = heard(&world, view.browser, |what| match what {
            What::SenderReport(info) => Some((info.ntp, info.rtp_time)),
            _ => None,
        });
        let stands_still = |pair: &[(u64, u32)]| pair[0].0 != pair[1].0 && pair[0].1 == pair[1].1;
        assert!(!reports.windows(2).any(stands_still), "{reports:?}");
    }
}

#[test]
fn two_peers_on_one_address_stay_told_apart_by_who_checked_last() {
    let mut memory = Memory::new();
    let mut world = World::new(&mut memory, 47);
    // Places in the tables in the order of ids; the lower one is to be the newer one.
    let (new, old) = (world.newcomer(), world.newcomer());
    for browser in [new, old] {
        let put = world.put_peer(browser);
        world.command(&Command::PutPeer(put)).unwrap();
    }
    let path = world.browser(old).path;
    world.browser(old).check(true);
    world.run(ms(100));
    assert!(world.browser(old).is_live());
    world.move_to(new, path.remote);
    let camera = world.publish(new, Codec::Opus);
    let viewer = world.join();
    let view = world.watch(viewer, camera);
    world.browser(new).check(true);
    world.connect();
    world.run(ms(200));
    assert!(world.browser(new).is_live());
    let rest = world.freeze();
    let mut world = World::resume(&mut memory, rest);
    world.stream(camera, ms(500));
    assert_all_seen(&world, view, camera);
}

/// A handshake of which only the hello is on its way goes on with the new shard. Of one that got further the browser
/// repeats what nobody remembers; signaling is told when it is given up.
#[test]
fn a_shard_made_again_in_the_middle_of_a_handshake_ends_it_one_way_or_the_other() {
    let mut lived = Vec::new();
    for moment in 0..40 {
        let mut memory = Memory::new();
        let mut world = World::new(&mut memory, 45);
        let browser = world.join();
        world.run(ms(moment));
        let rest = world.freeze();
        let mut world = World::resume(&mut memory, rest);
        world.run(ms(45_000));
        let (state, reason) = *world.told_of(browser).last().unwrap();
        match state {
            PeerState::Live => lived.push(moment),
            PeerState::Closed => assert!(reason.contains("did not finish"), "{reason}"),
            other => panic!("{other:?} after 45 s"),
        }
    }
    assert!((0..15).all(|moment| lived.contains(&moment)), "{lived:?}");
    assert!((26..40).all(|moment| lived.contains(&moment)), "{lived:?}");
}
