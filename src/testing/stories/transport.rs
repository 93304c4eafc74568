//! ICE, DTLS and SRTP of one browser: roles, restarts, moves, profiles, consent.

use std::net::SocketAddr;

use millrace_control::{self as contract, Command, PeerState};

use super::{assert_all_seen, ms};
use crate::dtls::Role;
use crate::random::Random;
use crate::records::ice::VALID_PATHS_MAX;
use crate::records::keys::Profile;
use crate::testing::browser::Credentials;
use crate::testing::media::Codec;
use crate::testing::memory::Memory;
use crate::testing::world::{Camera, View, World};
use crate::time::Timestamp;

fn pair<'m>(memory: &'m mut Memory, seed: u64) -> (World<'m>, Camera, View) {
    let mut world = World::new(memory, seed);
    let publisher = world.join();
    let camera = world.publish(publisher, Codec::Vp8);
    let viewer = world.join();
    let view = world.watch(viewer, camera);
    world.connect();
    (world, camera, view)
}

#[test]
fn the_relay_plays_either_part_in_the_handshake() {
    let mut memory = Memory::new();
    let mut world = World::new(&mut memory, 21);
    let publisher = world.newcomer();
    world.browser(publisher).role = Role::Server;
    world.introduce(publisher);
    let camera = world.publish(publisher, Codec::Vp8);
    let viewer = world.newcomer();
    world.browser(viewer).role = Role::Server;
    world.introduce(viewer);
    let view = world.watch(viewer, camera);
    world.connect();
    world.stream(camera, ms(500));
    assert_all_seen(&world, view, camera);
    let states: Vec<_> = world.told_of(viewer).into_iter().map(|(state, _)| state).collect();
    assert_eq!(states, [PeerState::Dtls, PeerState::Live]);
}

#[test]
fn every_profile_carries_media_and_rtcp() {
    for profile in Profile::ALL {
        let mut memory = Memory::new();
        let (world, camera, view) = pair(&mut memory, 22);
        let mut rest = world.freeze();
        rest.rekey(&mut memory, profile);
        let mut world = World::resume(&mut memory, rest);
        world.rest.net.weather.loss_percent = 3;
        world.stream(camera, ms(2_000));
        world.rest.net.weather.loss_percent = 0;
        world.stream(camera, ms(500));
        assert_all_seen(&world, view, camera);
        assert_eq!(world.rest.browsers[view.browser].keys.as_ref().unwrap().record.profile(), Some(profile));
        assert!(world.counter("rtx_out") > 0 && world.counter("rtp_repaired") > 0);
    }
}

#[test]
fn an_ice_restart_loses_nothing() {
    let mut memory = Memory::new();
    let (mut world, camera, view) = pair(&mut memory, 23);
    world.start(camera);
    world.run(ms(500));
    for browser in [camera.browser, view.browser] {
        let old = world.browser(browser).relay.clone();
        let mut random = Random::new(browser as u64 + 99);
        world.browser(browser).relay = Credentials::new(&mut random);
        world.browser(browser).own = Credentials::new(&mut random);
        let put = world.put_peer(browser);
        world.command(&Command::PutPeer(put)).unwrap();
        // A check under the old ones was on its way.
        let new = std::mem::replace(&mut world.browser(browser).relay, old);
        world.browser(browser).check(false);
        world.run(ms(100));
        world.browser(browser).relay = new;
        world.browser(browser).check(true);
        world.run(ms(100));
    }
    world.run(ms(40_000));
    world.stop(camera);
    world.run(ms(500));
    assert_all_seen(&world, view, camera);
    assert_eq!(world.told_of(view.browser).len(), 2, "it stayed live");
}

#[test]
fn a_browser_moves_when_it_nominates_and_not_before() {
    let mut memory = Memory::new();
    let (mut world, camera, view) = pair(&mut memory, 24);
    world.start(camera);
    world.run(ms(300));
    let old = world.browser(view.browser).path;
    let new: SocketAddr = "203.0.113.9:1234".parse().unwrap();
    world.move_to(view.browser, new);
    let moved = world.browser(view.browser).path;
    // Checked, not nominated: media goes where it went.
    let check = world.browser(view.browser).make_check(false);
    world.hand_over(&moved, check);
    world.gather();
    assert_eq!(world.destination_of_media(camera, view), old.remote);
    let check = world.browser(view.browser).make_check(true);
    world.hand_over(&moved, check);
    world.gather();
    assert_eq!(world.destination_of_media(camera, view), new);
    // The publisher moves too, and is heard from there.
    let published: SocketAddr = "[2001:db8::7]:999".parse().unwrap();
    world.move_to(camera.browser, published);
    world.browser(camera.browser).check(true);
    world.run(ms(5_000));
    world.stop(camera);
    world.run(ms(500));
    assert_all_seen(&world, view, camera);
}

#[test]
fn consent_that_lapses_stops_media_and_frees_the_address() {
    let mut memory = Memory::new();
    let (mut world, camera, view) = pair(&mut memory, 25);
    world.start(camera);
    world.run(ms(500));
    world.browser(view.browser).next_check_at = Timestamp::NEVER;
    world.run(ms(29_000));
    let before = world.seen(view).packets.len();
    assert!(
        world.rest.now.since(world.seen(view).packets.values().last().unwrap().at) < ms(100),
        "still sent to"
    );
    world.run(ms(2_000));
    let lapsed = world.seen(view).packets.len();
    assert!(lapsed > before);
    let (state, reason) = world.told_of(view.browser)[2];
    assert_eq!(state, PeerState::Closed);
    assert!(reason.contains("consent"), "{reason}");
    assert_eq!(world.shard.routes_held()[..2], [1, 1], "the viewer's name and address lead nowhere");
    let sent = world.counter("rtp_out");
    world.run(ms(5_000));
    assert_eq!((world.counter("rtp_out"), world.seen(view).packets.len()), (sent, lapsed));
    // It is over: a check that comes late revives nothing.
    world.browser(view.browser).check(true);
    world.run(ms(1_000));
    assert_eq!((world.counter("rtp_out"), world.told_of(view.browser).len()), (sent, 3));
    let peer = world.rest.browsers[view.browser].id;
    world.command(&Command::RemovePeer(contract::RemovePeer { peer })).unwrap();
    assert_eq!(world.held(), [1, 1, 2, 0]);
}

#[test]
fn a_browser_with_many_addresses_holds_a_bounded_number_of_routes() {
    let mut memory = Memory::new();
    let (mut world, camera, view) = pair(&mut memory, 27);
    let home = world.browser(view.browser).path.remote;
    for port in 1..30 {
        world.move_to(view.browser, ([203, 0, 113, 9], port).into());
        world.browser(view.browser).check(false);
        world.run(ms(20));
    }
    world.move_to(view.browser, home);
    assert_eq!(world.shard.routes_held()[1], 1 + VALID_PATHS_MAX);
    world.run(ms(31_000));
    assert_eq!(world.shard.routes_held()[1], 2, "those that were left lapsed");
    world.stream(camera, ms(500));
    assert_all_seen(&world, view, camera);
}

#[test]
fn a_browser_that_says_goodbye_is_closed_at_once() {
    let mut memory = Memory::new();
    let (mut world, camera, view) = pair(&mut memory, 26);
    world.start(camera);
    world.run(ms(500));
    world.browser(view.browser).say_goodbye();
    world.run(ms(100));
    assert_eq!(world.told_of(view.browser)[2], (PeerState::Closed, "closed by the browser"));
}
