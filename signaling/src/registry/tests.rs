use std::collections::BTreeSet;
use std::sync::Arc;

use millrace_control::{
    Command, Event, EventKind, GivenUp, PeerEvent, PeerInfo, PeerState, PutSubscription, RelayHello,
    ShardInfo, Snapshot,
};
use tokio::time::Instant;

use super::*;
use crate::delivery::{Budget, Dialect, Outbox};
use crate::relay::{Held, Owner};
use crate::session::testing::{empty, endpoint, invite, join, publish};
use crate::session::{Endpoint, Role};

fn relay(shards: u32) -> RelayHello {
    let info = |shard| ShardInfo { shard, port: 5000 + shard, ..ShardInfo::default() };
    RelayHello { shards: (0..shards).map(info).collect(), ..RelayHello::default() }
}

/// Every shard of it answered, and holds nothing.
fn nothing(shards: u32) -> Held {
    let mut held = Held::default();
    (0..shards).for_each(|shard| held.insert(shard, Snapshot::default()));
    held
}

fn with_sessions(count: usize, shards: u32) -> Registry {
    let registry = Registry::new(|session| panic!("{session} is broken"));
    registry.ledger().meet(&relay(shards));
    for number in 0..count {
        let mut session = empty();
        session.id = format!("ses_{number}");
        registry.insert(session, usize::MAX).unwrap();
    }
    registry
}

fn cell(registry: &Registry, number: usize) -> Arc<SessionCell> {
    registry.get(&format!("ses_{number}")).unwrap()
}

fn watching(peer: u64, shard: Option<u32>) -> Endpoint {
    let outputs = vec![PutSubscription { subscription: peer, track: 11, ..Default::default() }];
    Endpoint { outputs, shard, ..endpoint(peer) }
}

/// A publisher on `home` and viewers at home and elsewhere.
fn room(registry: &Registry, home: u32, viewers: [Option<u32>; 3]) {
    let cell = cell(registry, 0);
    let session = &mut cell.lock_any().session;
    session.move_to(home);
    join(session, "con_A", Role::Publisher);
    let _ = publish(session, "con_A", 1).unwrap();
    for (peer, shard) in (2..).zip(viewers) {
        let viewer = format!("con_{peer}");
        join(session, &viewer, Role::Subscriber);
        let _ = session.subscribe(&viewer, "str_CAM_Xxxx_con_A", watching(peer, shard), 1).unwrap();
    }
}

fn note(registry: &Registry, peer: u64, state: PeerState) {
    let event = PeerEvent { peer, state: state.into(), ..PeerEvent::default() };
    registry.handle_event(Event { shard: 0, kind: Some(EventKind::Peer(event)) });
}

fn is_over(registry: &Registry, peer: u64) -> bool {
    registry.of_endpoint(peer).is_some_and(|cell| cell.lock_any().peers.is_over(peer))
}

fn peers(commands: &[(u32, Command)]) -> Vec<u64> {
    let peer = |(_, command): &(u32, Command)| match command {
        Command::PutPeer(put) => Some(put.peer),
        _ => None,
    };
    commands.iter().filter_map(peer).collect()
}

#[test]
fn sessions_are_spread_and_stay_where_they_are() {
    let registry = with_sessions(4, 2);
    let place = |number| registry.place(&mut cell(&registry, number).lock_any().session);
    assert_eq!([0, 1, 2, 3].map(place), [Some(0), Some(1), Some(0), Some(1)]);
    assert_eq!([3, 2, 1, 0].map(place), [Some(1), Some(0), Some(1), Some(0)]);
    assert_eq!(with_sessions(1, 0).place(&mut empty()), None);
}

#[test]
fn one_session_has_one_id_and_there_are_no_more_than_may_be() {
    let registry = with_sessions(2, 1);
    let session = |id: &str| {
        let mut session = empty();
        session.id = id.into();
        session
    };
    assert_eq!(registry.insert(session("ses_0"), 9).unwrap_err(), Refusal::SessionExists);
    assert_eq!(registry.insert(session("ses_9"), 2).unwrap_err(), Refusal::Limit("sessions"));
    let gone = cell(&registry, 0);
    gone.lock_any().is_over = true;
    registry.remove("ses_0");
    assert!(gone.lock().is_none(), "whoever still holds it finds that it is over");
    assert!(registry.insert(session("ses_0"), 2).is_ok());
}

#[test]
fn what_a_session_counts_for_comes_and_goes_with_it() {
    let registry = with_sessions(1, 3);
    room(&registry, 1, [None, None, Some(0)]);
    let promised = || [0, 1, 2].map(|shard| registry.ledger().accounts()[&shard].promised);
    assert_eq!(promised(), [1, 4, 0], "the session, its publisher and two viewers; one viewer elsewhere");
    assert_eq!((registry.participants(), registry.pending()), (4, 0));
    crate::session::testing::invite(&mut cell(&registry, 0).lock_any().session, "con_W", Role::Publisher);
    assert_eq!((registry.participants(), registry.pending()), (4, 1));
    assert!(registry.of_endpoint(2).is_some());
    {
        let cell = cell(&registry, 0);
        let mut locked = cell.lock_any();
        let _ = locked.session.close(crate::session::Reason::SessionClosedByServer);
        locked.is_over = true;
    }
    assert_eq!((promised(), registry.participants(), registry.pending()), ([0, 0, 0], 0, 0));
    assert!(registry.of_endpoint(2).is_none());
}

#[test]
fn viewers_stay_at_home_until_there_are_many_or_it_is_full() {
    let registry = with_sessions(1, 3);
    room(&registry, 1, [None, None, Some(0)]);
    let cell = cell(&registry, 0);
    let place = |bridges, max| registry.shard_for_viewer(&cell.lock_any().session, bridges, max);
    assert_eq!(place(true, 3), Some(1), "a viewer that is elsewhere does not count");
    assert_eq!(place(true, 2), Some(2), "the least loaded");
    assert_eq!(place(true, 0), Some(1), "any number");
    assert_eq!(place(false, 2), Some(1), "this relay cannot");
    // A reserved endpoint counts too.
    cell.lock_any().session.reserve("con_2", watching(9, None));
    assert_eq!(place(true, 3), Some(2));
    let shards = (0..3).map(|shard| ShardInfo { shard, peers_max: 4, ..ShardInfo::default() }).collect();
    registry.ledger().meet(&RelayHello { shards, ..RelayHello::default() });
    assert_eq!(place(true, 0), Some(2), "home is full");
}

#[test]
fn viewers_elsewhere_are_wanted_there_or_at_home_when_there_is_no_such_shard() {
    let registry = with_sessions(1, 3);
    room(&registry, 1, [None, Some(0), Some(2)]);
    (1..=4).for_each(|peer| cell(&registry, 0).lock_any().peers.expect(peer));
    let viewers = |shards| {
        let viewer = |(shard, command)| match command {
            Command::PutSubscription(put) => Some((shard, put.home)),
            _ => None,
        };
        registry.desired(&relay(shards), &nothing(shards)).into_iter().filter_map(viewer).collect::<Vec<_>>()
    };
    assert_eq!(viewers(3), [(1, None), (0, Some(1)), (2, Some(1))]);
    assert_eq!(viewers(2), [(1, None), (0, Some(1)), (1, None)]);
    assert_eq!(viewers(1), [(0, None); 3], "with the session itself");
}

#[test]
fn a_peer_whose_keys_are_gone_is_not_said_again() {
    let registry = with_sessions(1, 1);
    {
        let cell = cell(&registry, 0);
        let session = &mut cell.lock_any().session;
        session.move_to(0);
        for (number, id) in (1..).zip(["con_A", "con_B", "con_C", "con_D", "con_E"]) {
            join(session, id, Role::Publisher);
            let _ = publish(session, id, number).unwrap();
        }
    }
    let states = [PeerState::Ice, PeerState::Dtls, PeerState::Live, PeerState::Closed];
    (1..).zip(states).for_each(|(peer, state)| note(&registry, peer, state));
    let relay = |epoch| RelayHello { epoch, ..relay(1) };
    assert_eq!(peers(&registry.desired(&relay(1), &nothing(1))), [1], "5 is from before our time");
    assert!(is_over(&registry, 5));

    // A peer that the relay holds is desired, with or without a note.
    let held = [2, 3, 4, 5].map(|peer| PeerInfo { shard: 0, peer, ..PeerInfo::default() });
    let mut some = Held::default();
    some.insert(0, Snapshot { peers: held.into(), ..Snapshot::default() });
    assert_eq!(peers(&registry.desired(&relay(2), &some)), [1, 2, 3, 4, 5]);

    // Without a note, a peer is not lost as long as the relay is the same one.
    (1..=5).for_each(|peer| cell(&registry, 0).lock_any().peers.forget(peer));
    assert_eq!(peers(&registry.desired(&relay(2), &nothing(1))), [1, 2, 3, 4, 5]);
    assert_eq!(peers(&registry.desired(&relay(3), &nothing(1))), [] as [u64; 0]);
}

#[test]
fn viewers_of_a_shard_that_does_not_answer_are_not_lost() {
    let registry = with_sessions(1, 2);
    room(&registry, 0, [None, Some(1), Some(1)]);
    (1..=4).for_each(|peer| note(&registry, peer, PeerState::Live));
    // Shard 1 does not answer, and shard 0 holds nothing.
    assert_eq!(registry.desired(&relay(2), &nothing(1)), []);
    assert_eq!(registry.lost.take(), BTreeSet::from([2]));
    assert!(!is_over(&registry, 3));
    // Then it answers, and holds one of them.
    let mut held = Held::default();
    let live = PeerInfo { shard: 1, peer: 3, state: PeerState::Live.into(), ..Default::default() };
    held.insert(1, Snapshot { peers: vec![live], ..Snapshot::default() });
    assert_eq!(peers(&registry.desired(&relay(2), &held)), [3]);
    assert_eq!(registry.lost.take(), BTreeSet::from([4]));
}

#[test]
fn viewers_that_a_shard_gave_up_are_asked_to_come_back() {
    let registry = with_sessions(1, 1);
    room(&registry, 0, [None, None, None]);
    let given_up = GivenUp { peers: vec![1, 2, 9] };
    registry.handle_event(Event { shard: 0, kind: Some(EventKind::GivenUp(given_up)) });
    assert_eq!(registry.lost.take(), BTreeSet::from([2]), "1 publishes, 9 is nobody's");
    assert!(is_over(&registry, 1) && is_over(&registry, 2) && !is_over(&registry, 3));
}

#[test]
fn a_client_without_a_socket_is_gone_when_all_its_media_are() {
    static MUTE: Dialect = Dialect { name: "mute", encode: |_| None, takes_offers: false };
    let registry = with_sessions(1, 1);
    room(&registry, 0, [None, None, None]);
    let client = |liveness| Client {
        resume_key: String::new(),
        dialect: &MUTE,
        outbox: Arc::new(Outbox::default()),
        negotiation: Arc::default(),
        budget: Budget::new(Instant::now()),
        liveness,
    };
    let cell = cell(&registry, 0);
    cell.lock_any().clients.insert("con_2".into(), client(Liveness::Media));
    cell.lock_any().clients.insert("con_3".into(), client(Liveness::Socket));
    (2..=3).for_each(|peer| note(&registry, peer, PeerState::Closed));
    assert_eq!(registry.ended.take(), BTreeSet::from([(Arc::clone(cell.id()), "con_2".to_owned())]));
    assert!(cell.lock_any().media_are_over("con_2") && !cell.lock_any().media_are_over("con_3"));
    cell.lock_any().session.reserve("con_2", endpoint(9));
    assert!(!cell.lock_any().media_are_over("con_2"), "it begins again");
}

#[test]
fn a_panic_under_a_session_is_reported() {
    let (tell, told) = std::sync::mpsc::channel();
    let tell = std::sync::Mutex::new(tell);
    let registry = Registry::new(move |session| tell.lock().unwrap().send(session.to_owned()).unwrap());
    let cell = registry.insert(empty(), 1).unwrap();
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _locked = cell.lock_any();
        panic!("half way");
    }));
    assert!(outcome.is_err());
    assert_eq!(told.try_recv().unwrap(), "ses_A");
}

#[tokio::test]
async fn a_long_list_lets_others_have_the_session_in_between() {
    let registry = with_sessions(1, 1);
    let cell = cell(&registry, 0);
    let ids: Vec<String> = (0..100).map(|number| format!("con_{number}")).collect();
    for id in &ids {
        invite(&mut cell.lock_any().session, id, Role::Subscriber);
    }
    let (mut copied, mut turns) = (Vec::new(), 0);
    let mut copier = Copier::default();
    let is_there = {
        let copying = copier.each_connection(&cell, |_, connection| copied.push(connection.id.clone()));
        let mut copying = std::pin::pin!(copying);
        std::future::poll_fn(|context| {
            let poll = copying.as_mut().poll(context);
            // The lock is free: another thread could have it now.
            turns += usize::from(cell.lock().is_some());
            poll
        })
        .await
    };
    assert!(is_there && turns > 3, "{turns} turns");
    assert_eq!(copied, ids);
    cell.lock_any().is_over = true;
    assert!(!copier.each_connection(&cell, |_, _| panic!("it has ended")).await);
}
