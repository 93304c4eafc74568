//! Lost sockets, a killed signaling, a restarted relay.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use crate::support;

use std::time::Duration;

use millrace_control::{Command, PeerState, Rejection};
use millrace_signaling::session::Reason;
use serde_json::{Value, json};
use support::{
    Client, FakeRelay, Held, PUBLISH, Process, SUBSCRIBE, World, answer_to, join, scratch, session, token,
};

fn connect(rpc_session: &Value) -> Value {
    json!({"sessionId": rpc_session, "reconnect": true})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_socket_is_taken_up_and_nothing_is_missed() {
    let world = World::start().await;
    let session = world.session().await;
    let (mut a, con_a) = world.join(&session, "PUBLISHER").await;
    let token = world.token(&session, "PUBLISHER").await;
    let (b, joined) = Client::join(world.port, &session, &token).await;
    a.told("participantJoined").await;
    // 4104 is what the client closes the old socket with when it begins again.
    b.close(4104).await;
    let stream = a.publish().await["id"].clone();

    let mut b = Client::open(world.port).await;
    let rpc_session = &joined["sessionId"];
    let result = b.ok("connect", connect(rpc_session)).await;
    assert_eq!(result, json!({"sessionId": rpc_session, "value": "reconnection successful"}));
    let told = b.told("participantPublished").await;
    assert_eq!((told["id"].clone(), told["streams"][0]["id"].clone()), (json!(con_a), stream.clone()));
    b.ok("ping", json!({"interval": 5000})).await;
    b.watch(stream.as_str().unwrap()).await;
    assert!(a.hears_nothing().await, "nobody noticed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_socket_replaces_the_first() {
    let world = World::start().await;
    let session = world.session().await;
    let token = world.token(&session, "PUBLISHER").await;
    let (mut old, joined) = Client::join(world.port, &session, &token).await;
    let mut new = Client::open(world.port).await;
    new.ok("connect", connect(&joined["sessionId"])).await;
    assert!(old.frame().await.is_err(), "the old socket is closed");
    assert!(new.hears_nothing().await);
    assert_eq!(new.error("connect", connect(&joined["sessionId"])).await, 40_007, "it has one already");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_was_replaced_takes_nobody_along() {
    let world = World::start().await;
    let session = world.session().await;
    let token = world.token(&session, "PUBLISHER").await;
    let (_old, joined) = Client::join(world.port, &session, &token).await;
    let rpc_session = joined["sessionId"].as_str().unwrap();
    let mut new = Client::open(world.port).await;
    new.ok("connect", connect(&joined["sessionId"])).await;
    // What the end of the first socket leads to, however late; the second one is its reader number 2.
    let app = world.server.app();
    assert!(!app.remove_now(rpc_session, 1, Reason::NetworkDisconnect));
    assert!(new.hears_nothing().await);
    assert!(app.remove_now(rpc_session, 2, Reason::NetworkDisconnect));
    assert_eq!(new.error("leaveRoom", json!({})).await, 103);
}

#[tokio::test]
async fn a_ping_that_waits_counts_though_this_process_stood_still() {
    let world = World::start().await;
    let session = world.session().await;
    let (mut client, _) = world.join(&session, "SUBSCRIBER").await;
    // The smallest interval: three seconds of silence are the end.
    client.ok("ping", json!({"interval": 1_000})).await;
    let id = client.send("ping", json!({})).await;
    // There is one thread here: everything stands still, and on waking both the ping and the watchdog are due.
    std::thread::sleep(Duration::from_millis(3_100));
    client.answer(id).await;
    assert!(client.hears_nothing().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_come_back_in_time_is_gone() {
    let world = World::with(1, |config| config.timing.reconnect_grace = Duration::from_millis(50)).await;
    let session = world.session().await;
    let (mut a, _) = world.join(&session, "PUBLISHER").await;
    let token = world.token(&session, "PUBLISHER").await;
    let (mut b, joined) = Client::join(world.port, &session, &token).await;
    a.told("participantJoined").await;
    b.publish().await;
    a.told("participantPublished").await;
    drop(b);
    let told = a.told("participantLeft").await;
    assert_eq!(told, json!({"connectionId": joined["id"], "reason": "networkDisconnect"}));
    world.relay.until(|held| held.peers.is_empty()).await;
    let mut late = Client::open(world.port).await;
    for params in [connect(&joined["sessionId"]), connect(&json!("x")), json!({})] {
        assert_eq!(late.error("connect", params).await, 40_007);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_regular_close_is_a_leave() {
    let world = World::start().await;
    let session = world.session().await;
    let (mut a, _) = world.join(&session, "PUBLISHER").await;
    let (b, con_b) = world.join(&session, "PUBLISHER").await;
    a.told("participantJoined").await;
    b.close(4102).await;
    assert_eq!(a.told("participantLeft").await, json!({"connectionId": con_b, "reason": "disconnect"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_comes_back_on_another_transport_and_its_viewers_stay() {
    let world = World::start().await;
    let session = world.session().await;
    let (mut a, _) = world.join(&session, "PUBLISHER").await;
    let (mut b, _) = world.join(&session, "SUBSCRIBER").await;
    a.told("participantJoined").await;
    let published = a.publish().await;
    let stream = published["id"].as_str().unwrap();
    b.told("participantPublished").await;
    b.watch(stream).await;
    let before = world.relay.held();

    a.ok("echo", json!({})).await;
    let again = a.ok("reconnectStream", json!({"stream": stream, "sdpString": PUBLISH})).await;
    assert_eq!((&again["id"], &again["createdAt"]), (&published["id"], &published["createdAt"]));
    let removed = |log: &[(u32, Command)]| {
        log.iter().filter(|(_, command)| matches!(command, Command::RemovePeer(_))).count()
    };
    let after = world.relay.until(|held| removed(&held.log) == 1).await;
    assert!(after.tracks.keys().eq(before.tracks.keys()), "the same tracks");
    assert!(
        after.tracks.values().all(|(_, track)| !before.peers.contains_key(&track.peer)),
        "on another peer"
    );
    assert!(after.subscriptions.keys().eq(before.subscriptions.keys()), "the viewer is left alone");
    assert!(b.hears_nothing().await);

    // And the viewer, whose offer is in another field.
    let params = json!({"stream": stream, "sdpOffer": SUBSCRIBE, "forciblyReconnect": false});
    assert!(b.ok("reconnectStream", params).await["sdpAnswer"].is_string());
    let last = world.relay.until(|held| removed(&held.log) == 2).await;
    assert!(last.subscriptions.keys().all(|id| !before.subscriptions.contains_key(id)));
    assert!(last.subscriptions.values().all(|(_, it)| last.tracks.contains_key(&it.track)));
    assert_eq!(b.error("reconnectStream", json!({"stream": "str_X", "sdpOffer": SUBSCRIBE})).await, 105);
    assert_eq!(b.error("reconnectStream", json!({"stream": stream})).await, 302);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_sockets_that_negotiate_at_once_the_newer_one_wins() {
    let mut world = World::start().await;
    let session = world.session().await;
    let token = world.token(&session, "PUBLISHER").await;
    let (mut old, joined) = Client::join(world.port, &session, &token).await;
    let stream = old.publish().await["id"].clone();
    let before = world.relay.held();
    let params = json!({"stream": stream, "sdpString": PUBLISH});

    world.relay.stop().await;
    old.send("reconnectStream", params.clone()).await;
    old.ok("echo", json!({})).await;
    let mut new = Client::open(world.port).await;
    new.ok("connect", connect(&joined["sessionId"])).await;
    let id = new.send("reconnectStream", params.clone()).await;
    new.ok("echo", json!({})).await;
    world.relay.listen();
    // Its answer, and before it the refusal of the older one.
    let mut refusals = 0;
    let answer = loop {
        let frame = new.frame().await.unwrap();
        match frame["error"]["code"].as_i64() {
            None if frame["id"] == id => break frame,
            code => refusals += u32::from(code == Some(103)),
        }
    };
    assert!(answer["result"]["sdpAnswer"].is_string(), "{answer}");
    assert_eq!(refusals, 1);
    let is_at_home = |held: &support::Held| {
        held.peers.len() == 1 && held.tracks.values().all(|(_, track)| held.peers.contains_key(&track.peer))
    };
    let after = world.relay.until(is_at_home).await;
    assert!(after.tracks.keys().eq(before.tracks.keys()));
    assert!(!before.peers.contains_key(after.peers.keys().next().unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_could_not_move_is_put_back_whole() {
    let world = World::start().await;
    let session = world.session().await;
    let (mut a, _) = world.join(&session, "PUBLISHER").await;
    let stream = a.publish().await["id"].clone();
    let before = world.relay.held();
    let second = before.log.iter().rev().find_map(|(_, command)| match command {
        Command::PutTrack(track) => Some(track.track),
        _ => None,
    });
    world.relay.change(|held| held.pinned = second);
    assert_eq!(a.error("reconnectStream", json!({"stream": stream, "sdpString": PUBLISH})).await, 303);
    let after = world.relay.held();
    assert_eq!(after.refusals, 1);
    assert!(after.tracks.iter().eq(before.tracks.iter()) && after.peers.iter().eq(before.peers.iter()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_lost_its_memory_is_told_everything_again() {
    let mut world = World::start().await;
    let session = world.session().await;
    let (mut a, _) = world.join(&session, "PUBLISHER").await;
    let (mut b, _) = world.join(&session, "SUBSCRIBER").await;
    let stream = a.publish().await["id"].as_str().unwrap().to_owned();
    b.watch(&stream).await;
    let before = world.relay.held();

    world.relay.stop().await;
    world.relay.forget();
    // What is asked meanwhile waits for the relay, and nothing else waits with it.
    let id = b.send("receiveVideoFrom", json!({"sender": stream, "sdpOffer": SUBSCRIBE})).await;
    for (method, params) in
        [("echo", json!({})), ("videoData", json!({})), ("onIceCandidate", json!({"candidate": ""}))]
    {
        let next = b.send(method, params).await;
        assert_eq!(b.frame().await.unwrap()["id"], next, "{method}");
    }
    world.relay.listen();
    assert!(b.answer(id).await["result"]["sdpAnswer"].is_string());
    let after = world.relay.until(|held| held.peers.len() == 2 && held.subscriptions.len() == 2).await;
    assert!(after.tracks.iter().eq(before.tracks.iter()));
    let publisher = before.tracks.values().next().unwrap().1.peer;
    assert_eq!(after.peers[&publisher], before.peers[&publisher], "with the same credentials");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_is_busy_at_first_is_told_everything_all_the_same() {
    let mut world = World::start().await;
    let session = world.session().await;
    let (mut a, _) = world.join(&session, "PUBLISHER").await;
    a.publish().await;
    let before = world.relay.held();
    world.relay.stop().await;
    world.relay.forget();
    world.relay.change(|held| held.refuse = Some(Rejection::Busy));
    world.relay.listen();
    world.relay.until(|held| held.refusals >= 2).await;
    world.relay.change(|held| held.refuse = None);
    let after = world.relay.until(|held| held.tracks.len() == 2).await;
    assert!(after.peers.iter().eq(before.peers.iter()) && after.tracks.iter().eq(before.tracks.iter()));
}

#[tokio::test(flavor = "multi_thread")]
async fn whose_media_the_relay_will_not_have_back_hears_of_it() {
    let mut world = World::start().await;
    let session = world.session().await;
    let (mut a, _) = world.join(&session, "PUBLISHER").await;
    let (mut b, _) = world.join(&session, "SUBSCRIBER").await;
    a.told("participantJoined").await;
    let stream = a.publish().await["id"].as_str().unwrap().to_owned();
    b.told("participantPublished").await;
    b.watch(&stream).await;
    let (mut silent, _) = world.join(&session, "PUBLISHER").await;
    for client in [&mut a, &mut b] {
        client.told("participantJoined").await;
    }
    world.relay.stop().await;
    world.relay.forget();
    world.relay.change(|held| held.refuse = Some(Rejection::Refused));
    world.relay.listen();
    for client in [&mut a, &mut b] {
        let error = client.told("mediaError").await["error"].as_str().unwrap().to_owned();
        assert!(error.ends_with("as the test wants"), "{error}");
        assert!(client.hears_nothing().await, "once");
    }
    assert!(silent.hears_nothing().await, "nothing of this one is lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_connected_to_a_relay_that_lost_its_memory_negotiates_anew() {
    let mut world = World::start().await;
    let session = world.session().await;
    let (mut a, _) = world.join(&session, "PUBLISHER").await;
    let (mut b, _) = world.join(&session, "SUBSCRIBER").await;
    let stream = a.publish().await["id"].as_str().unwrap().to_owned();
    b.watch(&stream).await;
    let before = world.relay.held();
    let publisher = before.tracks.values().next().unwrap().1.peer;
    let viewer = *before.peers.keys().find(|&&peer| peer != publisher).unwrap();
    world.relay.tell(publisher, PeerState::Live, "");
    let noted = |world: &World| world.peer_state(publisher);
    while noted(&world) != PeerState::Live {
        tokio::task::yield_now().await;
    }

    world.relay.stop().await;
    world.relay.forget();
    world.relay.listen();
    // The keys are gone: the publisher is left to notice. The viewer, still on its way, is expected.
    let after = world.relay.until(|held| held.subscriptions.len() == 2).await;
    assert!(after.peers.keys().eq([&viewer]) && after.tracks.is_empty(), "{:?}", after.log);

    let again = a.ok("reconnectStream", json!({"stream": stream, "sdpString": PUBLISH})).await;
    assert_eq!(again["id"], json!(stream));
    let last = world.relay.held();
    assert!(last.tracks.keys().eq(before.tracks.keys()), "the tracks the viewer waits for");
    assert!(last.tracks.values().all(|(_, track)| ![publisher, viewer].contains(&track.peer)));
    assert!(last.subscriptions.iter().eq(before.subscriptions.iter()));
}

/// A publisher and a viewer, whose transport the relay has established. Gives the stream and the viewer's peer.
async fn live_call(world: &World) -> (Client, Client, String, u64) {
    let session = world.session().await;
    let (mut a, _) = world.join(&session, "PUBLISHER").await;
    let (mut b, _) = world.join(&session, "SUBSCRIBER").await;
    let stream = a.publish().await["id"].as_str().unwrap().to_owned();
    b.told("participantPublished").await;
    b.watch(&stream).await;
    let viewer = world.relay.held().subscriptions.values().next().unwrap().1.peer;
    be_live(world, viewer).await;
    (a, b, stream, viewer)
}

async fn be_live(world: &World, peer: u64) {
    world.relay.tell(peer, PeerState::Live, "");
    let noted = || world.peer_state(peer);
    while noted() != PeerState::Live {
        tokio::task::yield_now().await;
    }
}

async fn lose_everything(world: &mut World) {
    world.relay.stop().await;
    world.relay.forget();
    world.relay.listen();
}

fn viewers(held: &Held) -> Vec<u64> {
    let mut peers: Vec<u64> = held.subscriptions.values().map(|(_, it)| it.peer).collect();
    peers.dedup();
    peers
}

#[tokio::test(flavor = "multi_thread")]
async fn who_watched_over_a_relay_that_lost_its_memory_is_asked_back_at_once() {
    let mut world = World::start().await;
    let (mut a, mut b, stream, lost) = live_call(&world).await;
    lose_everything(&mut world).await;

    let told = b.told("forciblyReconnectSubscriber").await;
    assert_eq!((&told["streamId"], told["connectionId"].as_str()), (&json!(stream), stream.get(13..)));
    let offer = told["sdpOffer"].as_str().unwrap();
    let forced = json!({"stream": stream, "sdpString": answer_to(offer), "forciblyReconnect": true});
    assert_eq!(b.ok("reconnectStream", forced.clone()).await, json!({}));
    let after = world.relay.until(|held| held.subscriptions.len() == 2).await;
    assert!(!after.peers.contains_key(&lost), "over a new transport");
    assert!(offer.contains(&after.peers[&viewers(&after)[0]].1.local_ufrag));
    assert_eq!(b.error("reconnectStream", forced).await, 302, "once");
    a.told("participantJoined").await;
    assert!(a.hears_nothing().await && b.hears_nothing().await, "nobody else is told, and it not again");
}

#[tokio::test(flavor = "multi_thread")]
async fn own_and_forced_attempts_may_overlap_and_the_last_answer_wins() {
    let mut world = World::start().await;
    let (_a, mut b, stream, _) = live_call(&world).await;
    lose_everything(&mut world).await;
    let told = b.told("forciblyReconnectSubscriber").await;
    let forced = answer_to(told["sdpOffer"].as_str().unwrap());

    // Its own attempts, in both forms, while the forced one waits: the client settles these first.
    let own = json!({"stream": stream, "sdpOffer": SUBSCRIBE, "forciblyReconnect": false});
    b.ok("reconnectStream", own).await;
    let first = viewers(&world.relay.until(|held| held.subscriptions.len() == 2).await);
    let prepared = b.ok("prepareReceiveVideoFrom", json!({"sender": stream, "reconnect": true})).await;
    let own = answer_to(prepared["sdpOffer"].as_str().unwrap());
    let own = json!({"stream": stream, "sdpString": own, "forciblyReconnect": false});
    b.ok("reconnectStream", own).await;
    let is_new = |held: &Held, old: &[u64]| held.subscriptions.len() == 2 && viewers(held) != old;
    let second = viewers(&world.relay.until(|held| is_new(held, &first)).await);

    let forced = json!({"stream": stream, "sdpString": forced, "forciblyReconnect": true});
    assert_eq!(b.ok("reconnectStream", forced).await, json!({}));
    let last = world.relay.until(|held| is_new(held, &second)).await;
    assert_eq!(viewers(&last).len(), 1, "the older transports are gone");
    assert!(!last.peers.contains_key(&second[0]) && !last.peers.contains_key(&first[0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_may_be_back_before_its_publisher() {
    let mut world = World::start().await;
    let (mut a, mut b, stream, _) = live_call(&world).await;
    let publisher = world.relay.held().tracks.values().next().unwrap().1.peer;
    be_live(&world, publisher).await;
    let before = world.relay.held();
    lose_everything(&mut world).await;
    let told = b.told("forciblyReconnectSubscriber").await;
    let answer = answer_to(told["sdpOffer"].as_str().unwrap());
    b.ok("reconnectStream", json!({"stream": stream, "sdpString": answer, "forciblyReconnect": true})).await;
    let alone = world.relay.until(|held| held.subscriptions.len() == 2).await;
    assert!(alone.tracks.is_empty());
    a.ok("reconnectStream", json!({"stream": stream, "sdpString": PUBLISH})).await;
    let after = world.relay.held();
    assert!(after.tracks.keys().eq(before.tracks.keys()), "the tracks its viewer waits for");
    assert!(after.subscriptions.iter().eq(alone.subscriptions.iter()), "which is left alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_away_while_the_relay_restarts_is_asked_when_back() {
    let mut world = World::start().await;
    let session = world.session().await;
    let (mut a, _) = world.join(&session, "PUBLISHER").await;
    let token = world.token(&session, "SUBSCRIBER").await;
    let (mut b, joined) = Client::join(world.port, &session, &token).await;
    let stream = a.publish().await["id"].as_str().unwrap().to_owned();
    b.told("participantPublished").await;
    b.watch(&stream).await;
    be_live(&world, viewers(&world.relay.held())[0]).await;
    b.close(4104).await;
    lose_everything(&mut world).await;
    let mut b = Client::open(world.port).await;
    b.ok("connect", connect(&joined["sessionId"])).await;
    let offer = b.told("forciblyReconnectSubscriber").await["sdpOffer"].as_str().unwrap().to_owned();
    let forced = json!({"stream": stream, "sdpString": answer_to(&offer), "forciblyReconnect": true});
    assert_eq!(b.ok("reconnectStream", forced).await, json!({}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_signaling_comes_back_and_the_calls_never_noticed() {
    let dir = scratch();
    let relay = FakeRelay::start(&dir, 2);
    let process = Process::start(&dir).await;
    let port = process.port;
    let id = session(port).await;
    let (mut a, con_a) = join(port, &id, "PUBLISHER").await;
    let token_b = token(port, &id, "PUBLISHER").await;
    let (mut b, joined_b) = Client::join(port, &id, &token_b).await;
    let unused = token(port, &id, "PUBLISHER").await;
    let stream = a.publish().await["id"].as_str().unwrap().to_owned();
    b.watch(&stream).await;
    let before = relay.held();

    process.kill();
    assert!(b.frame().await.is_err(), "the socket is lost");
    // Something the relay holds for nobody.
    relay.change(|held| {
        let (shard, mut stray) = held.peers.values().next().unwrap().clone();
        stray.peer = 12_345;
        held.peers.insert(stray.peer, (shard, stray));
    });
    let process = Process::start(&dir).await;
    let port = process.port;

    // The relay was left alone but for the stray.
    let after = relay.until(|held| !held.peers.contains_key(&12_345)).await;
    assert!(after.peers.iter().eq(before.peers.iter()) && after.tracks.iter().eq(before.tracks.iter()));
    assert_eq!(after.log.len(), before.log.len() + 1, "only the stray was touched");

    // B comes back; somebody new joins with a token from before and sees the stream.
    let mut b = Client::open(port).await;
    b.ok("connect", connect(&joined_b["sessionId"])).await;
    let (mut c, joined) = Client::join(port, &id, &unused).await;
    let there = joined["value"].as_array().unwrap();
    assert_eq!(there[0]["id"], json!(con_a), "A has time to come back");
    assert_eq!(there[0]["streams"][0]["id"], json!(stream));
    c.watch(&stream).await;
    assert_eq!(b.told("participantJoined").await["id"], joined["id"]);
    let mut again = Client::open(port).await;
    assert_eq!(
        again.error("joinRoom", support::join_params(&id, &token_b)).await,
        401,
        "used before the kill"
    );
    let held = relay.held();
    let shards: std::collections::BTreeSet<u32> = held.peers.values().map(|(shard, _)| *shard).collect();
    assert_eq!((held.peers.len(), shards.len()), (3, 1), "on the shard of the session");
    assert!(process.terminate());
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_of_both_a_newcomer_is_shown_who_comes_back_and_nobody_else() {
    let dir = scratch();
    let relay = FakeRelay::start(&dir, 1);
    let process = Process::start(&dir).await;
    let id = session(process.port).await;
    let token_a = token(process.port, &id, "PUBLISHER").await;
    let (mut a, joined_a) = Client::join(process.port, &id, &token_a).await;
    let stream = a.publish().await["id"].clone();
    let token_b = token(process.port, &id, "PUBLISHER").await;
    let (mut b, joined_b) = Client::join(process.port, &id, &token_b).await;
    b.publish().await;
    let unused = token(process.port, &id, "SUBSCRIBER").await;
    process.kill();
    drop(relay);
    let relay = FakeRelay::start(&dir, 1);
    let process = Process::start(&dir).await;

    let (mut newcomer, joined) = Client::join(process.port, &id, &unused).await;
    assert_eq!(joined["value"], json!([]), "nobody is back yet");
    let mut a = Client::open(process.port).await;
    a.ok("connect", connect(&joined_a["sessionId"])).await;
    assert_eq!(newcomer.told("participantJoined").await["id"], joined_a["id"]);
    let told = newcomer.told("participantPublished").await;
    assert_eq!((&told["id"], &told["streams"][0]["id"]), (&joined_a["id"], &stream));
    // B's page is gone: the others, who had it, are told; the newcomer never had it.
    let path = format!("/openvidu/api/sessions/{id}/connection/{}", joined_b["id"].as_str().unwrap());
    let answer =
        support::request(process.port, "DELETE", &path, Some(&support::basic(support::SECRET)), "").await;
    assert_eq!(answer.status, 204);
    assert_eq!(a.told("participantJoined").await["id"], joined["id"]);
    assert_eq!(a.told("participantLeft").await["connectionId"], joined_b["id"]);
    assert!(newcomer.hears_nothing().await);
    drop(relay);
    assert!(process.terminate());
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_who_stays_away_is_gone_after_the_grace() {
    let dir = scratch();
    let relay = FakeRelay::start(&dir, 1);
    let process = Process::start(&dir).await;
    let id = session(process.port).await;
    let (mut a, _) = join(process.port, &id, "PUBLISHER").await;
    a.publish().await;
    process.kill();
    drop(relay);
    let world = World::at(dir, |config| config.timing.restart_grace = Duration::from_millis(50)).await;
    world.relay.until(|held| held.peers.is_empty() && !held.log.is_empty()).await;
    let gone = loop {
        let answer = world.rest("GET", &format!("/openvidu/api/sessions/{id}"), "").await;
        if answer.status == 404 {
            break true;
        }
    };
    assert!(gone);
}

#[tokio::test(flavor = "multi_thread")]
async fn how_long_a_client_may_be_silent_is_a_setting() {
    let world = World::with(1, |config| {
        config.limits.pings_missed_max = 1_000;
        config.timing.join_wait = Duration::from_secs(4);
    })
    .await;
    let session = world.session().await;
    let (mut silent, _) = world.join(&session, "SUBSCRIBER").await;
    silent.ok("ping", json!({"interval": 1_000})).await;
    // Three intervals of silence have passed when a socket that was opened later is closed for not joining.
    let mut idle = Client::open(world.port).await;
    assert!(idle.frame().await.is_err(), "it never joined");
    assert!(silent.hears_nothing().await, "it is still there");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_there_when_the_process_ends_is_told_why() {
    let dir = scratch();
    let _relay = FakeRelay::start(&dir, 1);
    let process = Process::start(&dir).await;
    let id = session(process.port).await;
    let (mut client, _) = join(process.port, &id, "PUBLISHER").await;
    let mut waiting = Client::open(process.port).await;
    process.tell_to_end();
    for client in [&mut client, &mut waiting] {
        let closed = client.frame().await.expect_err("the socket is closed").expect("with a reason");
        assert_eq!((u16::from(closed.code), closed.reason.as_str()), (1001, "the server is restarted"));
    }
    assert!(process.ends_well());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_the_process_though_events_still_wait() {
    // Takes connections and answers none, so an event is never delivered.
    let dumb = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}/", dumb.local_addr().unwrap());
    let dir = scratch();
    let _relay = FakeRelay::start(&dir, 1);
    let process = Process::with(&dir, &["--webhook", "--webhook-endpoint", &endpoint]).await;
    session(process.port).await;
    assert_eq!(process.insist().await, Some(143));
}
