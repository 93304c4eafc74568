//! OpenVidu's mediasoup mode, where the server offers to viewers, next to the Kurento mode.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use crate::support;

use millrace_control::DtlsRole;
use serde_json::{Value, json};
use support::{Client, PUBLISH, SUBSCRIBE, World, answer_to, publish_params};

async fn session(world: &World, body: &Value) -> String {
    let made = world.rest("POST", "/openvidu/api/sessions", &body.to_string()).await;
    assert_eq!(made.status, 200, "{made:?}");
    assert!(made.json().get("mediaServer").is_none(), "the session object has its own keys only");
    made.json()["id"].as_str().unwrap().to_owned()
}

async fn mode(world: &World, session: &str) -> Value {
    let token = world.token(session, "SUBSCRIBER").await;
    let (_, joined) = Client::join(world.port, session, &token).await;
    assert_eq!(joined["videoSimulcast"], false);
    joined["mediaServer"].clone()
}

/// A session where the server offers, with a publisher, its stream and a viewer.
async fn call(world: &World) -> (Client, String, Client) {
    let session = session(world, &json!({"mediaServer": "mediasoup"})).await;
    let (mut a, _) = world.join(&session, "PUBLISHER").await;
    let (b, _) = world.join(&session, "SUBSCRIBER").await;
    let stream = a.publish().await["id"].as_str().unwrap().to_owned();
    (a, stream, b)
}

async fn prepare(client: &mut Client, stream: &str, reconnect: bool) -> String {
    let result =
        client.ok("prepareReceiveVideoFrom", json!({"sender": stream, "reconnect": reconnect})).await;
    result["sdpOffer"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mode_is_the_sessions_or_the_servers() {
    let world = World::start().await;
    let plain = session(&world, &json!({})).await;
    let offering = session(&world, &json!({"mediaServer": "mediasoup"})).await;
    assert_eq!(mode(&world, &plain).await, "kurento");
    assert_eq!(mode(&world, &offering).await, "mediasoup");
    let bad = world.rest("POST", "/openvidu/api/sessions", r#"{"mediaServer":"x"}"#).await;
    assert_eq!(bad.status, 400);

    let change = |config: &mut millrace_signaling::Config| {
        config.streams.media_server = millrace_signaling::session::Offerer::Server;
    };
    let world = World::with(1, change).await;
    let plain = session(&world, &json!({})).await;
    let asking = session(&world, &json!({"mediaServer": "kurento"})).await;
    assert_eq!(mode(&world, &plain).await, "mediasoup");
    assert_eq!(mode(&world, &asking).await, "kurento");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_answers_what_the_server_offers() {
    let world = World::start().await;
    let (_a, stream, mut b) = call(&world).await;
    let offer = prepare(&mut b, &stream, false).await;
    for part in
        ["m=audio 5", "m=video 5", "a=setup:actpass", "a=ice-lite", " typ host", "VP8/90000", "opus/48000/2"]
    {
        assert!(offer.contains(part), "no {part} in {offer}");
    }
    assert_eq!((offer.matches("a=sendonly\r\n").count(), offer.matches("a=msid:").count()), (2, 2));
    assert_eq!(world.relay.held().peers.len(), 1, "the relay hears of it with the answer");

    let answer = json!({"sender": stream, "sdpAnswer": answer_to(&offer)});
    assert_eq!(b.ok("receiveVideoFrom", answer.clone()).await, json!({}));
    let held = world.relay.held();
    assert_eq!((held.peers.len(), held.subscriptions.len()), (2, 2));
    let viewer = held.subscriptions.values().next().unwrap().1.peer;
    let peer = &held.peers[&viewer].1;
    assert_eq!((peer.remote_ufrag.as_str(), peer.dtls_role()), ("brow", DtlsRole::Server));
    assert!(offer.contains(&format!("a=ice-ufrag:{}\r\n", peer.local_ufrag)));
    assert!(peer.extensions.len() >= 10, "{:?}", peer.extensions);
    for (shard, subscription) in held.subscriptions.values() {
        let (home, track) = &held.tracks[&subscription.track];
        assert_eq!((shard, track.kind), (home, subscription.kind));
        assert!(offer.contains(&format!("a=ssrc:{} cname:{}\r\n", subscription.ssrc, subscription.cname)));
        let formats =
            |codecs: &[millrace_control::Codec]| codecs.iter().map(|it| it.format).collect::<Vec<_>>();
        assert_eq!(formats(&subscription.codecs), formats(&track.codecs));
    }
    assert_eq!(b.error("receiveVideoFrom", answer).await, 302, "an offer is good for one answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_reconnects_with_an_answer_and_the_old_transport_goes() {
    let world = World::start().await;
    let (_a, stream, mut b) = call(&world).await;
    let offer = prepare(&mut b, &stream, false).await;
    b.ok("receiveVideoFrom", json!({"sender": stream, "sdpAnswer": answer_to(&offer)})).await;
    let before = world.relay.held();

    let stale = prepare(&mut b, &stream, true).await;
    let offer = prepare(&mut b, &stream, true).await;
    let params = json!({"stream": stream, "sdpString": answer_to(&offer), "forciblyReconnect": false});
    assert_eq!(b.ok("reconnectStream", params).await, json!({}));
    let after = world.relay.until(|held| held.peers.len() == 2 && held.subscriptions.len() == 2).await;
    assert!(after.subscriptions.keys().all(|id| !before.subscriptions.contains_key(id)));
    let ufrags: Vec<&str> = after.peers.values().map(|(_, peer)| peer.local_ufrag.as_str()).collect();
    assert!(ufrags.iter().any(|ufrag| offer.contains(*ufrag)), "the newest offer is what was answered");
    assert!(!ufrags.iter().any(|ufrag| stale.contains(*ufrag)));

    // Nobody has forced anything, and a viewer may still offer.
    let forced = json!({"stream": stream, "sdpString": answer_to(&offer), "forciblyReconnect": true});
    assert_eq!(b.error("reconnectStream", forced).await, 302);
    let offering = json!({"stream": stream, "sdpOffer": SUBSCRIBE, "forciblyReconnect": false});
    assert!(b.ok("reconnectStream", offering).await["sdpAnswer"].is_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_none_have_their_errors_and_leave_nothing_behind() {
    let world = World::start().await;
    let (mut a, stream, mut b) = call(&world).await;
    assert_eq!(b.error("prepareReceiveVideoFrom", json!({"sender": "str_X"})).await, 105);
    assert_eq!(b.error("prepareReceiveVideoFrom", json!({})).await, -32_602);
    let respond = |answer: String| json!({"sender": stream, "sdpAnswer": answer});
    assert_eq!(b.error("receiveVideoFrom", respond("v=0\r\n".into())).await, 302, "nothing was prepared");

    type Spoil = fn(String) -> String;
    let cases: [(Spoil, i64); 6] = [
        (|_| "garbage".into(), 302),
        (|answer| answer.replace("a=ice-ufrag", "a=x"), 302),
        (|answer| answer.replace("a=mid:1", "a=mid:7").replace("BUNDLE 0 1", "BUNDLE 0 7"), 302),
        (|answer| answer.replace("a=rtpmap:96 ", "a=rtpmap:99 ").replace(" 96 97", " 99"), 302),
        // The browser cannot decode it and declines.
        (|answer| answer.replace("m=video 5000", "m=video 0").replace("BUNDLE 0 1", "BUNDLE 0"), 800),
        (|answer| answer.replace("VP8/90000", "VP9/90000"), 800),
    ];
    for (spoil, code) in cases {
        let offer = prepare(&mut b, &stream, false).await;
        let bad = spoil(answer_to(&offer));
        assert_eq!(b.error("receiveVideoFrom", respond(bad.clone())).await, code, "{bad}");
    }
    let held = world.relay.held();
    assert_eq!((held.peers.len(), held.subscriptions.len()), (1, 0));

    // What was prepared goes with the stream, and a viewer's wish to end it ends that too.
    let con_a = stream.rsplit_once("_con_").map(|(_, id)| format!("con_{id}")).unwrap();
    let offer = prepare(&mut b, &stream, false).await;
    b.ok("unsubscribeFromVideo", json!({"sender": con_a})).await;
    assert_eq!(b.error("receiveVideoFrom", respond(answer_to(&offer))).await, 302);
    let offer = prepare(&mut b, &stream, false).await;
    a.ok("unpublishVideo", json!({})).await;
    assert_eq!(b.error("receiveVideoFrom", respond(answer_to(&offer))).await, 105);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offer_of_a_relay_that_is_gone_cannot_be_answered() {
    let mut world = World::start().await;
    let (_a, stream, mut b) = call(&world).await;
    let offer = prepare(&mut b, &stream, false).await;
    world.relay.stop().await;
    world.relay.forget();
    world.relay.listen();
    let answer = json!({"sender": stream, "sdpAnswer": answer_to(&offer)});
    let connections = world.relay.held().connections;
    world.relay.until(|held| held.connections > connections || !held.log.is_empty()).await;
    assert_eq!(b.error("receiveVideoFrom", answer).await, 303);
    let offer = prepare(&mut b, &stream, false).await;
    b.ok("receiveVideoFrom", json!({"sender": stream, "sdpAnswer": answer_to(&offer)})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_server_offers_no_codec_is_preferred() {
    let world = World::start().await;
    let session = session(&world, &json!({"mediaServer": "mediasoup"})).await;
    let (mut a, _) = world.join(&session, "PUBLISHER").await;
    let (mut b, _) = world.join(&session, "SUBSCRIBER").await;
    let mut params = publish_params();
    params["sdpOffer"] = json!(PUBLISH.replace(" VP8/", " X/"));
    let stream = a.ok("publishVideo", params).await["id"].as_str().unwrap().to_owned();
    let offer = prepare(&mut b, &stream, false).await;
    assert!(offer.contains("H264/90000") && offer.contains("profile-level-id=42e01f"), "{offer}");
    b.ok("receiveVideoFrom", json!({"sender": stream, "sdpAnswer": answer_to(&offer)})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_one_kind_is_offered_with_one_section() {
    let world = World::start().await;
    let session = session(&world, &json!({"mediaServer": "mediasoup"})).await;
    let (mut a, _) = world.join(&session, "PUBLISHER").await;
    let (mut b, _) = world.join(&session, "SUBSCRIBER").await;
    let params = json!({"hasAudio": true, "hasVideo": false, "sdpOffer": PUBLISH});
    let stream = a.ok("publishVideo", params).await["id"].as_str().unwrap().to_owned();
    let offer = prepare(&mut b, &stream, false).await;
    assert_eq!((offer.matches("m=").count(), offer.matches("m=audio").count()), (1, 1), "{offer}");
    b.ok("receiveVideoFrom", json!({"sender": stream, "sdpAnswer": answer_to(&offer)})).await;
    assert_eq!(world.relay.held().subscriptions.len(), 1);
}
