//! A session larger than a shard: where its viewers go, and that every restart finds them there.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use crate::support;

use std::collections::BTreeMap;

use millrace_control::Command;
use serde_json::json;
use support::{Client, Held, World};

/// A session on shard 0 with a publisher and so many viewers; at most one of them stays there.
async fn room(world: &World, viewers: usize) -> (Client, String, Vec<Client>, Vec<String>) {
    let session = world.session().await;
    let (mut publisher, _) = world.join(&session, "PUBLISHER").await;
    let stream = publisher.publish().await["id"].as_str().unwrap().to_owned();
    let (mut clients, mut answers) = (Vec::new(), Vec::new());
    for _ in 0..viewers {
        let (mut viewer, _) = world.join(&session, "SUBSCRIBER").await;
        answers.push(viewer.watch(&stream).await);
        clients.push(viewer);
    }
    (publisher, stream, clients, answers)
}

async fn spread() -> World {
    World::with(2, |config| config.streams.viewers_per_shard = 1).await
}

/// How many subscriptions there are on each shard, and where their tracks come from.
fn viewers(held: &Held) -> BTreeMap<(u32, Option<u32>), usize> {
    let mut count = BTreeMap::new();
    for (shard, subscription) in held.subscriptions.values() {
        *count.entry((*shard, subscription.home)).or_default() += 1;
    }
    count
}

#[tokio::test(flavor = "multi_thread")]
async fn viewers_beyond_the_limit_go_to_another_shard_and_are_told_its_port() {
    let world = spread().await;
    let (mut publisher, stream, mut clients, answers) = room(&world, 3).await;
    let port =
        |answer: &String| [5_000, 5_001].map(|port| answer.contains(&format!("192.0.2.7 {port} typ host")));
    assert_eq!(answers.iter().map(port).collect::<Vec<_>>(), [[true, false], [false, true], [false, true]]);
    let held = world.relay.held();
    assert_eq!(viewers(&held), BTreeMap::from([((0, None), 2), ((1, Some(0)), 4)]), "audio and video each");
    assert!(held.tracks.values().all(|(shard, _)| *shard == 0));
    let mut peers: Vec<u32> = held.peers.values().map(|(shard, _)| *shard).collect();
    peers.sort_unstable();
    assert_eq!(peers, [0, 0, 1, 1]);
    let stats = world.rest("GET", "/millrace/stats", "").await.json();
    let shards = stats["sessions"][0]["participants"].as_array().unwrap().iter();
    assert_eq!(
        shards.map(|it| it["peers"][0]["shard"].clone()).collect::<Vec<_>>(),
        [0, 0, 1, 1].map(|it| json!(it))
    );

    // Each is removed where it is; then there is room at home again.
    clients.remove(1).ok("leaveRoom", json!({})).await;
    clients.remove(0).ok("leaveRoom", json!({})).await;
    let held = world.relay.until(|held| held.peers.len() == 2).await;
    assert_eq!(viewers(&held), BTreeMap::from([((1, Some(0)), 2)]));
    // A publisher that comes back stays where its viewers look for it.
    let params = json!({"stream": stream, "sdpString": support::PUBLISH});
    publisher.ok("reconnectStream", params).await;
    let held = world.relay.until(|held| held.peers.len() == 2).await;
    assert!(held.tracks.values().all(|(shard, _)| *shard == 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_link_finds_everybody_where_they_are() {
    let mut world = spread().await;
    let (_publisher, _, _clients, _) = room(&world, 3).await;
    let before = world.relay.held();
    world.relay.stop().await;
    // Nobody claims this one.
    world.relay.change(|held| {
        let (_, mut stray) = held.peers.values().find(|(shard, _)| *shard == 1).unwrap().clone();
        stray.peer = 7;
        held.peers.insert(7, (1, stray));
    });
    world.relay.listen();
    let after = world.relay.until(|held| !held.peers.contains_key(&7)).await;
    let said = &after.log[before.log.len()..];
    assert!(matches!(said, [(1, Command::RemovePeer(it))] if it.peer == 7), "{said:?}");
    assert_eq!(viewers(&after), viewers(&before));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_whose_home_the_relay_has_wrong_is_said_again() {
    let mut world = spread().await;
    let (_publisher, _, _clients, _) = room(&world, 2).await;
    let before = world.relay.held();
    world.relay.stop().await;
    world.relay.change(|held| held.subscriptions.values_mut().for_each(|(_, it)| it.home = None));
    world.relay.listen();
    let after = world.relay.until(|held| viewers(held) == viewers(&before)).await;
    assert_eq!(after.log.len(), before.log.len() + 2, "nothing but those");
}
