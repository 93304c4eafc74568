//! The contract as signaling speaks it: slow shards, rounds, large relays, and a relay of the release before.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use crate::support;
#[path = "../../control/tests/v1/mod.rs"]
mod v1;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use millrace_control::{
    Command, Done, Event, EventKind, FromRelay, GivenUp, PAGE_ENTRIES_MAX, PeerInfo, PeerState, PutPeer,
    Rejected, Rejection, RelayHello, RemovePeers, Reply, ShardInfo, Snapshot, ToRelay, VERSION, frame,
};
use millrace_signaling::relay::{Held, Link, LinkError, Owner, Pace, Presence};
use serde_json::json;
use support::{FakeRelay, PATIENCE, World, scratch};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

// ------------------------------------------------------------------------------------------------ slow shards

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_stands_still_loses_no_viewer() {
    let mut world = World::with(2, |config| config.streams.viewers_per_shard = 1).await;
    let session = world.session().await;
    let (mut publisher, _) = world.join(&session, "PUBLISHER").await;
    let stream = publisher.publish().await["id"].as_str().unwrap().to_owned();
    let (mut near, _) = world.join(&session, "SUBSCRIBER").await;
    near.watch(&stream).await;
    let (mut far, _) = world.join(&session, "SUBSCRIBER").await;
    far.watch(&stream).await;
    near.told("participantJoined").await;
    let before = world.relay.held();
    for peer in before.peers.keys() {
        world.relay.tell(*peer, PeerState::Live, "");
    }
    let on_far = before.peers.values().filter(|(shard, _)| *shard == 1).count();
    assert_eq!(on_far, 1);

    // The link breaks, and when it comes back shard 1 answers nothing.
    world.relay.stop().await;
    world.relay.change(|held| held.deaf.extend([1]));
    world.relay.listen();
    world.relay.until(|held| held.connections == 2).await;
    world.server.app().link.ready(Instant::now() + PATIENCE).await.unwrap();
    assert!(far.hears_nothing().await && near.hears_nothing().await, "nobody is asked to come back");
    // Shard 0 goes on as ever.
    let (mut other, _) = world.join(&session, "PUBLISHER").await;
    other.publish().await;
    far.told("participantJoined").await;

    // It wakes up, is asked again, and everything is as it was.
    world.relay.change(|held| held.deaf.clear());
    let log = world.relay.held().log;
    let removed = log.iter().any(|(_, it)| matches!(it, Command::RemovePeer(_) | Command::RemovePeers(_)));
    assert!(!removed, "no live peer was removed");
    for (peer, (shard, _)) in &before.peers {
        assert_eq!(world.relay.held().peers[peer].0, *shard);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn viewers_of_a_shard_that_gave_up_are_asked_to_come_back() {
    let world = World::start().await;
    let session = world.session().await;
    let (mut publisher, _) = world.join(&session, "PUBLISHER").await;
    let stream = publisher.publish().await["id"].as_str().unwrap().to_owned();
    let (mut viewer, _) = world.join(&session, "SUBSCRIBER").await;
    viewer.watch(&stream).await;
    let held = world.relay.held();
    let peers: Vec<u64> = held.peers.keys().copied().collect();
    world.relay.change(|held| {
        held.peers.clear();
        held.tracks.clear();
        held.subscriptions.clear();
    });
    world.relay.send(EventKind::GivenUp(GivenUp { peers }));
    let told = viewer.told("forciblyReconnectSubscriber").await;
    assert_eq!(told["streamId"], json!(stream));
}

// ------------------------------------------------------------------------------------------------ the link alone

/// Wants some peers, all on shard 0, and remembers what it was told.
#[derive(Default)]
struct Wants {
    peers: Mutex<Vec<u64>>,
    /// How many peers there were on each shard, at each comparison.
    compared: watch::Sender<Vec<(u32, usize)>>,
    missing: Mutex<Vec<u64>>,
    refused: Mutex<Vec<String>>,
}

impl Owner for Wants {
    fn desired(&self, _: &RelayHello, held: &Held) -> Vec<(u32, Command)> {
        let wanted = self.peers.lock().unwrap().clone();
        let missing = wanted.iter().filter(|peer| held.presence(0, **peer) == Presence::Missing);
        self.missing.lock().unwrap().extend(missing);
        let count = |shard| held.peers().filter(|peer| peer.shard == shard).count();
        self.compared.send_modify(|compared| compared.extend(held.shards().map(|it| (it, count(it)))));
        wanted.into_iter().map(|peer| (0, put(peer))).collect()
    }

    fn handle_refusals(&self, refused: Vec<(Command, String)>) {
        self.refused.lock().unwrap().extend(refused.into_iter().map(|(_, why)| why));
    }

    fn handle_event(&self, _: Event) {}
}

fn put(peer: u64) -> Command {
    Command::PutPeer(PutPeer { peer, ..PutPeer::default() })
}

fn start(pace: Pace, path: &Path, wanted: &[u64]) -> (Link, Arc<Wants>) {
    let owner = Arc::new(Wants { peers: Mutex::new(wanted.into()), ..Wants::default() });
    (Link::start_at(pace, path.to_owned(), Arc::clone(&owner) as _), owner)
}

/// Rounds as fast as they go.
fn restless() -> Pace {
    let ms = Duration::from_millis;
    Pace { round: ms(20), again: ms(20), page: ms(200), quiet: ms(0) }
}

fn soon() -> Instant {
    Instant::now() + PATIENCE
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_failed_removal_left_behind_goes_in_the_next_round() {
    let dir = scratch();
    let relay = FakeRelay::start(&dir, 2);
    let (link, _owner) = start(restless(), &relay.path, &[5]);
    link.ready(soon()).await.unwrap();
    relay.until(|held| held.peers.contains_key(&5)).await;
    // A peer that nobody wants, and one that is wanted and gone; the first round is refused all of it.
    let Command::PutPeer(stray) = put(9) else { unreachable!() };
    relay.change(|held| {
        held.refuse = Some(Rejection::Invalid);
        held.peers.insert(9, (1, stray));
        held.peers.remove(&5);
    });
    relay.until(|held| held.refusals >= 2).await;
    relay.change(|held| held.refuse = None);
    relay.until(|held| held.peers.contains_key(&5) && !held.peers.contains_key(&9)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_command_named_a_moment_ago_is_not_judged() {
    let dir = scratch();
    let relay = FakeRelay::start(&dir, 1);
    let pace = Pace { quiet: PATIENCE, ..restless() };
    let (link, owner) = start(pace, &relay.path, &[]);
    link.ready(soon()).await.unwrap();
    // It is asked for before it is claimed, which an owner should not do.
    link.apply(0, &[put(7)], soon()).await.unwrap();
    let rounds = owner.compared.borrow().len();
    owner.compared.subscribe().wait_for(|compared| compared.len() > rounds + 5).await.unwrap();
    assert!(relay.held().peers.contains_key(&7), "the rounds leave it alone");
    // And gone from the relay before it is given up.
    owner.peers.lock().unwrap().push(7);
    relay.change(|held| drop(held.peers.remove(&7)));
    let rounds = owner.compared.borrow().len();
    owner.compared.subscribe().wait_for(|compared| compared.len() > rounds + 5).await.unwrap();
    assert!(owner.missing.lock().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_is_slow_is_compared_when_it_answers() {
    let dir = scratch();
    let relay = FakeRelay::start(&dir, 2);
    relay.change(|held| held.deaf.extend([1]));
    let Command::PutPeer(stray) = put(9) else { unreachable!() };
    relay.change(|held| drop(held.peers.insert(9, (1, stray))));
    let pace = Pace { round: PATIENCE, ..restless() };
    let (link, owner) = start(pace, &relay.path, &[5]);
    link.ready(soon()).await.unwrap();
    assert_eq!(*owner.compared.borrow(), [(0, 0)]);
    assert!(relay.held().peers.contains_key(&9), "unknown is not gone");
    relay.change(|held| held.deaf.clear());
    relay.until(|held| !held.peers.contains_key(&9)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_peer_that_cannot_be_removed_keeps_none_of_the_others() {
    let relay = Relay::start(Behaviour { refuses: BTreeSet::from([3]), ..Behaviour::default() });
    let (link, _owner) = start(Pace::default(), &relay.path, &[]);
    link.ready(soon()).await.unwrap();
    link.forget(0, (0..200).collect());
    let said = relay.until(|said| said.iter().map(removed).sum::<usize>() == 200).await;
    assert_eq!(said.iter().filter(|it| removed(it) > 0).count(), 7, "many at a time");
}

fn removed(command: &Command) -> usize {
    match command {
        Command::RemovePeers(it) => it.peers.len(),
        _ => 0,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_are_pipelined_and_keep_their_order() {
    // This relay answers nothing until it was asked for all three.
    let relay = Relay::start(Behaviour { answers_from: 3, ..Behaviour::default() });
    let (link, _owner) = start(Pace::default(), &relay.path, &[]);
    link.ready(soon()).await.unwrap();
    link.apply(0, &[put(1), put(2), put(3)], soon()).await.unwrap();
    assert_eq!(relay.said(), [put(1), put(2), put(3)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_shard_is_told_again_from_the_first_that_it_refused() {
    let relay = Relay::start(Behaviour { busy_at: Some(2), ..Behaviour::default() });
    let (link, _owner) = start(Pace::default(), &relay.path, &[]);
    link.ready(soon()).await.unwrap();
    link.apply(0, &[put(1), put(2), put(3)], soon()).await.unwrap();
    assert_eq!(relay.said(), [put(1), put(2), put(3), put(2), put(3)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_with_200_000_peers_is_taken_over() {
    let behaviour = Behaviour { shards: 49, peers: 4_096, memo: 256, ..Behaviour::default() };
    let relay = Relay::start(behaviour);
    // All of them are wanted but those of the last shard, which has some too many.
    let owner = Arc::new(Everything::default());
    let began = Instant::now();
    let link = Link::start(relay.path.clone(), Arc::clone(&owner) as _);
    link.ready(soon()).await.unwrap();
    println!("{} peers were taken over in {:?}", 49 * 4_096, began.elapsed());
    assert_eq!(*owner.seen.lock().unwrap(), 49 * 4_096);
    assert_eq!(relay.said().iter().map(removed).sum::<usize>(), 4_096, "of the last shard, many at a time");
}

/// Wants what is held, but for the last shard.
#[derive(Default)]
struct Everything {
    seen: Mutex<usize>,
}

impl Owner for Everything {
    fn desired(&self, relay: &RelayHello, held: &Held) -> Vec<(u32, Command)> {
        *self.seen.lock().unwrap() += held.peers().count();
        let last = relay.shards.len() as u32 - 1;
        let wanted = held.peers().filter(|peer| peer.shard != last);
        wanted.map(|peer| (peer.shard, put(peer.peer))).collect()
    }

    fn handle_refusals(&self, refused: Vec<(Command, String)>) {
        panic!("{refused:?}");
    }

    fn handle_event(&self, _: Event) {}
}

// ------------------------------------------------------------------------------------------------ a relay by frames

/// What a relay does otherwise than one should.
#[derive(Clone)]
struct Behaviour {
    shards: u32,
    /// Peers on each shard.
    peers: u64,
    /// Bytes of each one's memo.
    memo: usize,
    /// Peers of which a removal is refused, with all that are removed by the same command.
    refuses: BTreeSet<u64>,
    /// Answers wait until so many commands came.
    answers_from: usize,
    /// The first command of so many, and all that come with it, finds the shard busy.
    busy_at: Option<usize>,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self { shards: 1, peers: 0, memo: 0, refuses: BTreeSet::new(), answers_from: 0, busy_at: None }
    }
}

/// A relay of this version that answers as it is told to, and remembers the commands.
struct Relay {
    path: std::path::PathBuf,
    /// Removed with it.
    _dir: millrace_testkit::Scratch,
    said: watch::Sender<Vec<Command>>,
}

impl Relay {
    fn start(behaviour: Behaviour) -> Self {
        let dir = scratch();
        let path = dir.join("control.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let said = watch::Sender::default();
        let relay = Self { path, _dir: dir, said: said.clone() };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                serve(stream, &behaviour, &said).await;
            }
        });
        relay
    }

    fn said(&self) -> Vec<Command> {
        self.said.borrow().clone()
    }

    async fn until(&self, wanted: impl Fn(&[Command]) -> bool) -> Vec<Command> {
        let mut said = self.said.subscribe();
        timeout(PATIENCE, said.wait_for(|said| wanted(said))).await.unwrap().unwrap().clone()
    }
}

async fn serve(
    mut stream: tokio::net::UnixStream,
    behaviour: &Behaviour,
    said: &watch::Sender<Vec<Command>>,
) {
    let (mut buffer, mut answers, mut busy) = (Vec::new(), Vec::new(), behaviour.busy_at);
    loop {
        let mut is_busy = false;
        while let Some((message, taken)) = frame::decode::<ToRelay>(&buffer).unwrap() {
            buffer.drain(..taken);
            let request = message.request;
            match message.command.unwrap() {
                Command::Hello(_) => answers.push((request, Reply::Hello(hello(behaviour.shards)))),
                Command::Snapshot(_) => {
                    let pages = pages(behaviour, message.shard);
                    answers.extend(pages.into_iter().map(|page| (request, Reply::Snapshot(page))));
                }
                command => {
                    said.send_modify(|said| said.push(command.clone()));
                    is_busy |= busy.take_if(|at| said.borrow().len() == *at).is_some();
                    answers.push((request, reply(behaviour, &command, is_busy)));
                }
            }
        }
        let holds_back = !said.borrow().is_empty() && said.borrow().len() < behaviour.answers_from;
        let mut bytes = Vec::new();
        for (request, reply) in answers.drain(..if holds_back { 0 } else { answers.len() }) {
            frame::encode(&FromRelay { request, reply: Some(reply) }, &mut bytes).unwrap();
        }
        if stream.write_all(&bytes).await.is_err() || !matches!(stream.read_buf(&mut buffer).await, Ok(1..)) {
            return;
        }
    }
}

fn reply(behaviour: &Behaviour, command: &Command, is_busy: bool) -> Reply {
    let rejected = |reason: Rejection| {
        Reply::Rejected(Rejected { reason: reason.into(), message: "as the test wants".into(), fence: 0 })
    };
    match command {
        _ if is_busy => rejected(Rejection::Busy),
        Command::RemovePeers(RemovePeers { peers })
            if peers.iter().any(|peer| behaviour.refuses.contains(peer)) =>
        {
            rejected(Rejection::Invalid)
        }
        _ => Reply::Done(Done {}),
    }
}

fn hello(shards: u32) -> RelayHello {
    let info = |shard| ShardInfo { shard, port: 5_000, ..ShardInfo::default() };
    RelayHello {
        version: VERSION,
        epoch: 1,
        shards: (0..shards).map(info).collect(),
        ..RelayHello::default()
    }
}

fn pages(behaviour: &Behaviour, shard: u32) -> Vec<Snapshot> {
    let first = u64::from(shard) * behaviour.peers + 1;
    let peer = |peer| PeerInfo {
        shard,
        peer,
        state: PeerState::Live.into(),
        remote: "192.0.2.1:50000".into(),
        memo: vec![7; behaviour.memo],
        ..PeerInfo::default()
    };
    let peers: Vec<PeerInfo> = (first..first + behaviour.peers).map(peer).collect();
    let page = |peers: &[PeerInfo]| Snapshot { peers: peers.into(), shard, ..Snapshot::default() };
    let mut pages: Vec<Snapshot> = peers.chunks(PAGE_ENTRIES_MAX).map(page).collect();
    pages.push(Snapshot { shard, complete: true, ..Snapshot::default() });
    pages
}

// ------------------------------------------------------------------------------------------------ version 1

/// A relay of the release before: it knows its own messages and no others, and refuses every hello but its own.
struct OldRelay {
    said: watch::Sender<Vec<v1::Command>>,
    path: std::path::PathBuf,
    /// Removed with it.
    _dir: millrace_testkit::Scratch,
}

impl OldRelay {
    fn start() -> Self {
        let dir = scratch();
        let path = dir.join("control.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let said = watch::Sender::default();
        let relay = Self { said: said.clone(), path, _dir: dir };
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut buffer = Vec::new();
                loop {
                    let mut bytes = Vec::new();
                    while let Some((message, taken)) = frame::decode::<v1::ToRelay>(&buffer).unwrap() {
                        buffer.drain(..taken);
                        let reply = Some(old_answer(message.command, &said));
                        let answer = v1::FromRelay { request: message.request, reply };
                        frame::encode(&answer, &mut bytes).unwrap();
                    }
                    let written = stream.write_all(&bytes).await;
                    if written.is_err() || !matches!(stream.read_buf(&mut buffer).await, Ok(1..)) {
                        break;
                    }
                }
            }
        });
        relay
    }

    async fn until(&self, wanted: impl Fn(&[v1::Command]) -> bool) -> Vec<v1::Command> {
        let mut said = self.said.subscribe();
        timeout(PATIENCE, said.wait_for(|said| wanted(said))).await.unwrap().unwrap().clone()
    }
}

fn old_answer(command: Option<v1::Command>, said: &watch::Sender<Vec<v1::Command>>) -> v1::Reply {
    let rejected = |reason: v1::Rejection, message: &str| {
        v1::Reply::Rejected(v1::Rejected { reason: reason as i32, message: message.into() })
    };
    match command {
        // As its listener did: any other version is refused.
        Some(v1::Command::Hello(hello)) if hello.version != v1::VERSION => {
            rejected(v1::Rejection::Refused, "another version")
        }
        Some(v1::Command::Hello(_)) => v1::Reply::Hello(v1::RelayHello {
            version: v1::VERSION,
            epoch: 1,
            shards: (0..2).map(|shard| v1::ShardInfo { shard, port: 5_000 + shard, peers: 0 }).collect(),
            addresses: vec!["192.0.2.7".into()],
            fingerprint: vec![0xAB; 32],
            ..v1::RelayHello::default()
        }),
        Some(v1::Command::Snapshot(_)) => v1::Reply::Snapshot(v1::Snapshot {
            peers: [1, 2].map(|peer| v1::PeerInfo { shard: 1, peer, ..v1::PeerInfo::default() }).into(),
            ..v1::Snapshot::default()
        }),
        None => rejected(v1::Rejection::Invalid, "a frame without a command this release knows"),
        Some(command) => {
            said.send_modify(|said| said.push(command));
            v1::Reply::Done(v1::Done {})
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_of_the_release_before_is_spoken_to_in_its_own_words() {
    let relay = OldRelay::start();
    let (link, owner) = start(restless(), &relay.path, &[5]);
    let hello = link.ready(soon()).await.unwrap();
    assert_eq!((hello.version, hello.shards.len()), (1, 2));
    assert_eq!(*owner.compared.borrow(), [(0, 0), (1, 2)]);
    let remove = |peer| v1::Command::RemovePeer(v1::RemovePeer { peer });
    let put = |peer| v1::Command::PutPeer(v1::PutPeer { peer, ..v1::PutPeer::default() });
    assert_eq!(relay.until(|said| said.len() >= 3).await, [remove(1), remove(2), put(5)]);
    link.apply(0, &[self::put(6)], soon()).await.unwrap();
    link.forget(1, vec![7, 8]);
    let said = relay.until(|said| said.len() >= 6).await;
    assert_eq!(said[3..], [put(6), remove(7), remove(8)], "and nothing is compared again");
    let refused = link.apply(0, &[Command::RemovePeers(RemovePeers::default())], soon()).await;
    assert!(matches!(refused, Err(LinkError::Rejected(Rejection::Invalid, _))));
}
