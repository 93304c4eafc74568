//! The smallest call, message by message, and what the relay is told meanwhile.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use crate::support;

use millrace_control::{Command, PeerState};
use serde_json::{Value, json};
use support::{Client, PUBLISH, World, join_params};

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_clients_call_each_other() {
    let world = World::start().await;

    // 1.1 REST.
    let made = world.rest("POST", "/openvidu/api/sessions", r#"{"customSessionId":"Demo"}"#).await;
    assert_eq!((made.status, made.json()["id"].clone()), (200, json!("Demo")));
    let token = world.token("Demo", "PUBLISHER").await;
    let start = format!("ws://localhost:{}?sessionId=Demo&token=tok_", world.port);
    assert!(token.starts_with(&start), "{token}");

    // 1.2 A joins.
    let mut a = Client::open(world.port).await;
    assert_eq!(a.ok("ping", json!({"interval": 5000})).await, json!({"value": "pong"}));
    let joined = a.ok("joinRoom", join_params("Demo", &token)).await;
    let con_a = joined["id"].as_str().unwrap().to_owned();
    assert_eq!(joined["session"], "Demo");
    assert_eq!(joined["version"], "2.32.2");
    assert_eq!(joined["role"], "PUBLISHER");
    assert_eq!(joined["value"], json!([]));
    assert_eq!(joined["mediaServer"], "kurento");
    assert_eq!(joined["customIceServers"], json!([{"url": "stun:localhost:5000"}]));
    assert_eq!(joined["sessionId"].as_str().unwrap().len(), 26);

    // 1.3 A publishes; its candidates may come before the answer.
    let published = a.publish().await;
    assert_eq!(keys(&published), ["sdpAnswer", "id", "createdAt"]);
    let stream = published["id"].as_str().unwrap().to_owned();
    assert!(stream.starts_with("str_CAM_") && stream.ends_with(&con_a), "{stream}");
    let answer = published["sdpAnswer"].as_str().unwrap();
    for part in ["a=ice-lite", "192.0.2.7 5000 typ host", "10.1.2.3 5000 typ host", "a=recvonly"] {
        assert!(answer.contains(part), "no {part} in {answer}");
    }
    let candidate = json!({"endpointName": con_a, "sdpMid": "0", "sdpMLineIndex": 0,
        "candidate": "candidate:1 1 udp 2122260223 192.0.2.1 50000 typ host"});
    assert_eq!(a.ok("onIceCandidate", candidate).await, json!({}));

    // 1.4 B joins while A publishes.
    let token = world.token("Demo", "SUBSCRIBER").await;
    let (mut b, joined) = Client::join(world.port, "Demo", &token).await;
    let con_b = joined["id"].as_str().unwrap().to_owned();
    let told = a.told("participantJoined").await;
    assert_eq!((keys(&told), told["id"].clone()), (vec!["id", "createdAt", "metadata"], json!(con_b)));
    let there = &joined["value"][0];
    assert_eq!(there["id"], json!(con_a));
    let expected = json!({"id": stream, "createdAt": published["createdAt"], "hasAudio": true, "hasVideo": true,
        "audioActive": true, "videoActive": true, "typeOfVideo": "CAMERA", "frameRate": 15,
        "videoDimensions": "{\"width\":1280,\"height\":720}", "filter": {}});
    assert_eq!(there["streams"], json!([expected]));

    // 1.5 B subscribes to A.
    let answer = b.watch(&stream).await;
    assert!(answer.contains("a=sendonly") && answer.contains("a=ice-lite"), "{answer}");
    let held = world.relay.held();
    assert_eq!((held.peers.len(), held.tracks.len(), held.subscriptions.len()), (2, 2, 2));
    for (shard, subscription) in held.subscriptions.values() {
        assert_eq!(held.tracks[&subscription.track].0, *shard);
    }

    // 1.7 mute.
    let params = json!({"streamId": "whatever", "property": "videoActive", "newValue": false, "reason": "publishVideo"});
    assert_eq!(a.ok("streamPropertyChanged", params).await, json!({}));
    let told = b.told("streamPropertyChanged").await;
    assert_eq!(
        told,
        json!({"connectionId": con_a, "streamId": stream, "property": "videoActive", "newValue": "false",
               "reason": "publishVideo"})
    );

    // 1.8 leave.
    assert_eq!(a.ok("leaveRoom", json!({})).await, json!({}));
    let told = b.told("participantLeft").await;
    assert_eq!(told, json!({"connectionId": con_a, "reason": "disconnect"}));
    world.relay.until(|held| held.peers.is_empty()).await;
    b.ok("leaveRoom", json!({})).await;
    let gone = world.rest("GET", "/openvidu/api/sessions/Demo", "").await;
    assert_eq!(gone.status, 404, "the last one closes the door");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_announced_after_it_exists_and_gone_when_it_ends() {
    let world = World::start().await;
    let session = world.session().await;
    let (mut a, con_a) = world.join(&session, "PUBLISHER").await;
    let (mut b, _) = world.join(&session, "PUBLISHER").await;
    a.told("participantJoined").await;
    let stream = a.publish().await["id"].as_str().unwrap().to_owned();
    let told = b.told("participantPublished").await;
    assert_eq!((told["id"].clone(), told["streams"][0]["id"].clone()), (json!(con_a), json!(stream)));
    b.watch(&stream).await;
    let first = world.relay.held();

    // A second subscription takes the place of the first.
    b.watch(&stream).await;
    let second =
        world.relay.until(|held| held.peers.len() == 2 && held.log.len() > first.log.len() + 3).await;
    assert!(second.subscriptions.keys().all(|id| !first.subscriptions.contains_key(id)));
    assert_eq!(b.ok("unsubscribeFromVideo", json!({"sender": con_a})).await, json!({}));
    world.relay.until(|held| held.peers.len() == 1).await;
    // The client never disposes of its PeerConnection when this is an error.
    assert_eq!(b.ok("unsubscribeFromVideo", json!({"sender": con_a})).await, json!({}));

    assert_eq!(a.error("publishVideo", support::publish_params()).await, 106);
    assert_eq!(a.ok("unpublishVideo", json!({})).await, json!({}));
    assert_eq!(b.told("participantUnpublished").await, json!({"connectionId": con_a, "reason": "unpublish"}));
    world.relay.until(|held| held.peers.is_empty() && held.tracks.is_empty()).await;
    assert_eq!(a.error("unpublishVideo", json!({})).await, 105);
    assert_eq!(
        b.error("receiveVideoFrom", json!({"sender": stream, "sdpOffer": support::SUBSCRIBE})).await,
        105
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_offer_has_its_documented_error_and_leaves_nothing_behind() {
    let world = World::start().await;
    let session = world.session().await;
    let (mut a, _) = world.join(&session, "PUBLISHER").await;
    let without = |name: &str| {
        let lines = PUBLISH.lines().filter(|line| !line.starts_with(name));
        lines.map(|line| format!("{line}\r\n")).collect::<String>()
    };
    let without_vp8 = PUBLISH.replace("VP8/90000", "VPx/90000");
    for (offer, code) in [
        (without("a=ice-ufrag"), 302),
        (without("a=fingerprint"), 302),
        (without("a=rtcp-mux"), 302),
        (without_vp8, 800),
        ("garbage".into(), 302),
        (String::new(), 302),
    ] {
        let mut params = support::publish_params();
        params["sdpOffer"] = json!(offer);
        assert_eq!(a.error("publishVideo", params).await, code, "{offer}");
    }
    assert_eq!(a.error("publishVideo", json!({"hasAudio": true, "hasVideo": true})).await, 302);
    assert_eq!(a.error("publishVideo", json!({"sdpOffer": PUBLISH})).await, 302, "neither audio nor video");
    assert!(world.relay.held().log.is_empty());
    assert!(a.publish().await["id"].is_string(), "the session is unharmed");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sessions_codec_and_the_connections_limits_reach_the_relay() {
    let world = World::with(1, |config| config.streams.video_max_recv_kbps = 700).await;
    let made = world.rest("POST", "/openvidu/api/sessions", r#"{"forcedVideoCodec":"VP9"}"#).await;
    let session = made.json()["id"].as_str().unwrap().to_owned();
    let (mut a, _) = world.join(&session, "PUBLISHER").await;
    let answer = a.publish().await["sdpAnswer"].as_str().unwrap().to_owned();
    assert!(answer.contains("VP9/90000") && !answer.contains("VP8/90000"), "{answer}");
    let peer = world.relay.held().peers.values().next().unwrap().1.clone();
    assert_eq!(peer.receive_max_bps, 700_000);
    assert!(answer.contains("b=AS:") || answer.contains("b=TIAS:700000"), "{answer}");

    let path = format!("/openvidu/api/sessions/{session}/connection");
    let made = world.rest("POST", &path, r#"{"kurentoOptions":{"videoMaxRecvBandwidth":0}}"#).await;
    let (mut b, _) = Client::join(world.port, &session, made.json()["token"].as_str().unwrap()).await;
    b.publish().await;
    let held = world.relay.held();
    let limits: Vec<u64> = held.peers.values().map(|(_, peer)| peer.receive_max_bps).collect();
    assert!(limits.contains(&0) && limits.contains(&700_000), "{limits:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_is_held_to_what_its_viewers_may_be_sent() {
    let world = World::start().await;
    let session = world.session().await;
    let (mut a, con_a) = world.join(&session, "PUBLISHER").await;
    let path = format!("/openvidu/api/sessions/{session}/connection");
    let mut viewers = Vec::new();
    for limit in [300, 500] {
        let body = json!({"kurentoOptions": {"videoMaxSendBandwidth": limit}}).to_string();
        let token = world.rest("POST", &path, &body).await.json()["token"].as_str().unwrap().to_owned();
        viewers.push(Client::join(world.port, &session, &token).await.0);
    }
    let stream = a.publish().await["id"].as_str().unwrap().to_owned();
    let caps = |held: &support::Held| {
        held.tracks.values().map(|(_, it)| held.peers[&it.peer].1.receive_max_bps).collect::<Vec<_>>()
    };
    assert_eq!(caps(&world.relay.held()), [1_000_000; 2]);
    viewers[0].watch(&stream).await;
    world.relay.until(|held| caps(held) == [300_000; 2]).await;
    viewers[1].watch(&stream).await;
    world.relay.until(|held| caps(held) == [500_000; 2]).await;

    // On another transport it is held to the same.
    let first = world.relay.held().tracks.values().next().unwrap().1.peer;
    a.ok("reconnectStream", json!({"stream": stream, "sdpString": PUBLISH})).await;
    let moved = |held: &support::Held| held.tracks.values().all(|(_, it)| it.peer != first);
    world.relay.until(|held| moved(held) && caps(held) == [500_000; 2]).await;
    viewers[1].ok("unsubscribeFromVideo", json!({"sender": con_a})).await;
    world.relay.until(|held| caps(held) == [300_000; 2]).await;
    viewers[0].ok("leaveRoom", json!({})).await;
    let last = world.relay.until(|held| caps(held) == [1_000_000; 2]).await;
    assert_eq!(last.peers.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_spread_over_the_shards_and_the_statistics_name_them() {
    let world = World::start().await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        let session = world.session().await;
        let (mut client, _) = world.join(&session, "PUBLISHER").await;
        client.publish().await;
        clients.push((session, client));
    }
    let held = world.relay.held();
    let on = |wanted: u32| held.peers.values().filter(|(shard, _)| *shard == wanted).count();
    assert_eq!((on(0), on(1)), (2, 2));

    let peer = *held.peers.keys().next().unwrap();
    world.relay.tell(peer, PeerState::Closed, "consent expired");
    let stats = loop {
        let stats = world.rest("GET", "/millrace/stats", "").await.json();
        if stats.to_string().contains("consent expired") {
            break stats;
        }
    };
    assert_eq!(stats["backend"], "mmsg");
    assert_eq!(stats["relay"]["pid"], 4_711);
    assert_eq!(stats["shards"][1]["port"], 5_001);
    assert_eq!(stats["shards"][1]["counters"]["rtp_received"], 7);
    assert_eq!(stats["shards"][0]["sessions"], 2);
    for (session, client) in &mut clients {
        let found =
            stats["sessions"].as_array().unwrap().iter().find(|it| it["id"] == json!(*session)).unwrap();
        assert!(found["shard"].is_u64());
        assert!(client.hears_nothing().await, "nobody is put out for what happens to a peer");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn loopback_sends_the_publisher_its_own_stream() {
    let world = World::start().await;
    let session = world.session().await;
    let (mut a, _) = world.join(&session, "PUBLISHER").await;
    let mut params = support::publish_params();
    params["doLoopback"] = json!(true);
    params["sdpOffer"] = json!(include_str!("../fixtures/chromium-156/publish-loopback.sdp"));
    let published = a.ok("publishVideo", params).await;
    assert!(published["sdpAnswer"].as_str().unwrap().contains("a=sendrecv"), "{published}");
    let held = world.relay.held();
    assert_eq!((held.peers.len(), held.tracks.len(), held.subscriptions.len()), (1, 2, 2));
    assert!(held.log.iter().all(|(_, command)| !matches!(command, Command::RemovePeer(_))));

    let offer = include_str!("../fixtures/chromium-156/publish-loopback.sdp");
    let answer = a.ok("reconnectStream", json!({"stream": published["id"], "sdpString": offer})).await;
    assert!(answer["sdpAnswer"].as_str().unwrap().contains("a=sendrecv"), "{answer}");
    let held = world.relay.until(|held| held.peers.len() == 1).await;
    assert_eq!((held.tracks.len(), held.subscriptions.len()), (2, 2));
}
