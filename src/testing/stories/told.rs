//! What signaling is told of a shard and its peers, and what it finds again: events, loads, pages, memos, fences.

use millrace_control::{
    self as contract, CloseCause, Command, EventKind, IceState, Load, MediaFlow, PAGE_ENTRIES_MAX, PeerEvent,
    PeerState, Rejection,
};

use super::ms;
use crate::testing::media::Codec;
use crate::testing::memory::Memory;
use crate::testing::world::World;
use crate::time::Timestamp;

/// What was told of a peer since the last time, without repetitions of what `pick` picks.
fn told<T: PartialEq>(world: &mut World<'_>, browser: usize, pick: impl Fn(&PeerEvent) -> T) -> Vec<T> {
    let id = world.rest.browsers[browser].id;
    let events = std::mem::take(&mut world.rest.events);
    let mut picked = Vec::new();
    for event in &events {
        if let EventKind::Peer(event) = event
            && event.peer == id
        {
            picked.push(pick(event));
        }
    }
    picked.dedup();
    picked
}

const fn flow(audio_in: bool, video_in: bool, audio_out: bool, video_out: bool) -> MediaFlow {
    MediaFlow { audio_in, video_in, audio_out, video_out }
}

#[test]
fn media_that_flows_and_stops_is_told_of_its_sender_and_its_viewer() {
    let mut memory = Memory::new();
    let mut world = World::new(&mut memory, 401);
    let publisher = world.join();
    let camera = world.publish(publisher, Codec::Vp8);
    let microphone = world.publish(publisher, Codec::Opus);
    let viewer = world.join();
    world.watch(viewer, camera);
    world.watch(viewer, microphone);
    world.connect();
    world.rest.events.clear();
    world.start(camera);
    world.run(ms(2_500));
    world.start(microphone);
    world.run(ms(2_500));
    world.stop(camera);
    let before = world.rest.events.clone();
    world.run(ms(2_500));
    let after = world.rest.events.clone();
    let flows = |world: &mut World<'_>, browser| told(world, browser, |event| event.flow.unwrap());
    let sent = flows(&mut world, publisher);
    assert_eq!(
        sent,
        [flow(false, true, false, false), flow(true, true, false, false), flow(true, false, false, false)]
    );
    world.rest.events = after.clone();
    let seen = flows(&mut world, viewer);
    assert_eq!(
        seen,
        [flow(false, false, false, true), flow(false, false, true, true), flow(false, false, true, false)]
    );
    // One event for each change: nothing is told of what goes on as it was.
    let peers = |events: &[EventKind]| events.iter().filter(|it| matches!(it, EventKind::Peer(_))).count();
    assert_eq!((peers(&before), peers(&after)), (4, 6));
    world.run(ms(5_000));
    assert_eq!(peers(&world.rest.events.clone()), 0);
    let info = world.shard.snapshot().peers[publisher].clone();
    assert_eq!((info.flow, info.ice()), (Some(flow(true, false, false, false)), IceState::Connected));
}

#[test]
fn a_path_that_falls_silent_is_told_before_its_consent_expires() {
    let mut memory = Memory::new();
    let mut world = World::new(&mut memory, 402);
    let browser = world.join();
    world.connect();
    let states =
        |world: &mut World<'_>| told(world, browser, |event| (event.ice(), event.state(), event.cause()));
    let connected = (IceState::Connected, PeerState::Live, CloseCause::Unknown);
    assert_eq!(states(&mut world).last(), Some(&connected));
    world.browser(browser).next_check_at = Timestamp::NEVER;
    world.run(ms(9_000));
    let disconnected = (IceState::Disconnected, PeerState::Live, CloseCause::Unknown);
    assert_eq!(states(&mut world), [disconnected]);
    let now = world.rest.now;
    world.browser(browser).next_check_at = now;
    world.run(ms(1_500));
    assert_eq!(states(&mut world), [connected]);
    world.browser(browser).next_check_at = Timestamp::NEVER;
    world.run(ms(33_000));
    let closed = (IceState::Closed, PeerState::Closed, CloseCause::ConsentExpired);
    assert_eq!(states(&mut world), [disconnected, closed]);
}

#[test]
fn a_browser_that_says_goodbye_is_told_with_the_cause() {
    let mut memory = Memory::new();
    let mut world = World::new(&mut memory, 403);
    let browser = world.join();
    world.connect();
    world.rest.events.clear();
    world.browser(browser).say_goodbye();
    world.run(ms(100));
    let ends = told(&mut world, browser, |event| (event.state(), event.cause(), event.reason.clone()));
    assert_eq!(ends, [(PeerState::Closed, CloseCause::ClosedByPeer, "closed by the browser".into())]);
}

#[test]
fn the_load_is_told_once_a_second() {
    let mut memory = Memory::new();
    let mut world = World::new(&mut memory, 404);
    let publisher = world.join();
    let camera = world.publish(publisher, Codec::Vp8);
    for _ in 0..3 {
        let viewer = world.join();
        world.watch(viewer, camera);
    }
    world.connect();
    world.start(camera);
    world.run(ms(1_000));
    world.rest.events.clear();
    let before = ["rtp_in", "rtp_out", "rtp_in_bytes"].map(|name| world.counter(name));
    world.run(ms(10_000));
    let grown = ["rtp_in", "rtp_out", "rtp_in_bytes"].map(|name| world.counter(name));
    let loads: Vec<Load> = world
        .rest
        .events
        .iter()
        .filter_map(|event| match event {
            EventKind::Load(load) => Some(*load),
            _ => None,
        })
        .collect();
    assert_eq!(loads.len(), 10);
    let sum = |of: fn(&Load) -> u64| loads.iter().map(of).sum::<u64>();
    let near = |told: u64, counted: u64| assert!(told.abs_diff(counted) <= counted / 10, "{told}, {counted}");
    near(sum(|load| load.packets_in_per_s.into()), grown[0] - before[0]);
    near(sum(|load| load.packets_out_per_s.into()), grown[1] - before[1]);
    near(sum(|load| load.bits_in_per_s) / 8, grown[2] - before[2]);
    let last = loads.last().unwrap();
    assert_eq!((last.peers, last.tracks, last.subscriptions), (4, 1, 3));
}

#[test]
fn what_a_shard_holds_is_told_in_pages_and_a_memo_outlives_a_panic() {
    let mut memory = Memory::new();
    let mut world = World::new(&mut memory, 405);
    let browser = world.join();
    let own = world.put_peer(browser);
    let count = PAGE_ENTRIES_MAX as u64 * 2 + 100;
    for peer in 2..=count {
        let memo = vec![peer as u8; (peer % 3) as usize * 500];
        let put = contract::PutPeer { peer, local_ufrag: format!("other{peer}"), memo, ..own.clone() };
        world.command(&Command::PutPeer(put)).unwrap();
    }
    world.command(&Command::RemovePeer(contract::RemovePeer { peer: 5 })).unwrap();
    let put = contract::PutPeer { peer: 6, local_ufrag: "other6".into(), memo: Vec::new(), ..own };
    world.command(&Command::PutPeer(put)).unwrap();
    for _ in 0..2 {
        let pages: Vec<_> = world.shard.snapshot_pages().collect();
        assert_eq!(pages.iter().map(|page| page.complete).collect::<Vec<_>>(), [false, false, true]);
        assert!(pages.iter().all(|page| page.peers.len() <= PAGE_ENTRIES_MAX));
        let peers: Vec<_> = pages.iter().flat_map(|page| &page.peers).collect();
        assert_eq!(peers.len() as u64, count - 1);
        for info in peers.iter().filter(|info| info.peer > 6) {
            assert_eq!(info.memo, vec![info.peer as u8; (info.peer % 3) as usize * 500]);
        }
        assert!(peers.iter().any(|info| info.peer == 6 && info.memo.is_empty()));
        let rest = world.freeze();
        world = World::resume(&mut memory, rest);
    }
    let pages: Vec<_> = World::new(&mut Memory::new(), 406).shard.snapshot_pages().collect();
    assert!(matches!(pages.as_slice(), [page] if page.complete), "a shard without peers says so");
}

#[test]
fn a_signaling_process_that_lost_a_room_cannot_change_it() {
    let mut memory = Memory::new();
    let mut world = World::new(&mut memory, 407);
    let publisher = world.join();
    let camera = world.publish(publisher, Codec::Vp8);
    let viewer = world.join();
    let put = world.put_subscription(viewer, camera.track, Codec::Vp8);
    let say = |world: &mut World<'_>, fence, command: Command| {
        world.shard.handle_fenced_command(world.rest.now, fence, &command)
    };
    let subscribe = Command::PutSubscription(put.clone());
    say(&mut world, 1, subscribe.clone()).unwrap();
    say(&mut world, 3, subscribe.clone()).unwrap();
    let before = (world.shard.snapshot(), world.held(), world.shard.routes_held());
    let stale = [
        Command::PutPeer(world.put_peer(viewer)),
        Command::RemovePeer(contract::RemovePeer { peer: put.peer }),
        Command::RemovePeers(contract::RemovePeers { peers: vec![999, put.peer] }),
        Command::RemoveTrack(contract::RemoveTrack { track: camera.track }),
        Command::RemoveSubscription(contract::RemoveSubscription { subscription: put.subscription }),
        subscribe.clone(),
    ];
    for command in stale {
        let refusal = say(&mut world, 2, command).unwrap_err();
        assert_eq!((refusal.reason, refusal.fence), (Rejection::Stale, 3));
    }
    assert_eq!(before, (world.shard.snapshot(), world.held(), world.shard.routes_held()));
    // The shard is made again and still knows; another room is another matter, and version 1 has no fences.
    let rest = world.freeze();
    let mut world = World::resume(&mut memory, rest);
    assert!(say(&mut world, 2, subscribe.clone()).is_err());
    say(&mut world, 0, subscribe.clone()).unwrap();
    let stranger = world.newcomer();
    let other = contract::PutPeer { room: 2, ..world.put_peer(stranger) };
    say(&mut world, 1, Command::PutPeer(other)).unwrap();
    // With its last peer a room is forgotten.
    for peer in 1..=3 {
        say(&mut world, 3, Command::RemovePeer(contract::RemovePeer { peer })).unwrap();
    }
    let again = Command::PutPeer(world.put_peer(publisher));
    say(&mut world, 1, again).unwrap();
}

#[test]
fn what_the_recorder_will_need_is_refused_in_words() {
    let mut memory = Memory::new();
    let mut world = World::new(&mut memory, 408);
    let commands = [
        Command::PutSink(contract::PutSink::default()),
        Command::RemoveSink(contract::RemoveSink::default()),
        Command::PutSource(contract::PutSource::default()),
        Command::RemoveSource(contract::RemoveSource::default()),
    ];
    for command in commands {
        let refusal = world.command(&command).unwrap_err();
        assert_eq!(refusal.reason, Rejection::Unsupported);
        assert!(refusal.message.contains("this release has no"));
    }
    let peers = vec![1; contract::REMOVED_PEERS_MAX + 1];
    let refusal = world.command(&Command::RemovePeers(contract::RemovePeers { peers })).unwrap_err();
    assert_eq!(refusal.reason, Rejection::Invalid);
}
