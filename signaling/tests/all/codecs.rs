//! Publishers and viewers of a session always agree on codecs, or somebody is refused in words.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use crate::support;

use millrace_control::{CodecKind, MediaKind};
use serde_json::{Value, json};
use support::{Client, Held, PUBLISH, SUBSCRIBE, World, publish_params};

/// `sdp` without what the browser calls `names`.
fn without(sdp: &str, names: &[&str]) -> String {
    names.iter().fold(sdp.to_owned(), |sdp, name| sdp.replace(&format!(" {name}/90000"), " X/90000"))
}

/// What somebody publishes whose browser lacks `names`.
fn lacking(names: &[&str]) -> Value {
    let mut params = publish_params();
    params["sdpOffer"] = json!(without(PUBLISH, names));
    params
}

async fn session(world: &World, body: &Value) -> String {
    let made = world.rest("POST", "/openvidu/api/sessions", &body.to_string()).await;
    assert_eq!(made.status, 200, "{made:?}");
    made.json()["id"].as_str().unwrap().to_owned()
}

async fn publish(client: &mut Client, params: Value) -> String {
    client.ok("publishVideo", params).await["id"].as_str().unwrap().to_owned()
}

/// Formats of every video track, and of every subscription to it.
fn agreed(held: &Held) -> Vec<(Vec<u32>, Vec<u32>)> {
    let formats = |codecs: &[millrace_control::Codec]| codecs.iter().map(|codec| codec.format).collect();
    let video = held.subscriptions.values().filter(|(_, it)| it.kind() == MediaKind::Video);
    video.map(|(_, it)| (formats(&held.tracks[&it.track].1.codecs), formats(&it.codecs))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_forced_a_viewer_has_exactly_what_the_publisher_sends() {
    for (forced, format) in [
        ("MEDIA_SERVER_PREFERRED", 1),
        ("NONE", 1),
        ("VP8", 1),
        ("VP9", 10),
        // Constrained Baseline, packetization mode 1.
        ("H264", 21),
        ("AV1", 40),
    ] {
        let world = World::start().await;
        let session = session(&world, &json!({"forcedVideoCodec": forced})).await;
        let (mut a, _) = world.join(&session, "PUBLISHER").await;
        let (mut b, _) = world.join(&session, "SUBSCRIBER").await;
        let stream = publish(&mut a, publish_params()).await;
        b.watch(&stream).await;
        assert_eq!(agreed(&world.relay.held()), [(vec![format], vec![format])], "{forced}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_forced_codec_the_first_stream_decides_and_viewers_have_to_have_it() {
    let world = World::start().await;
    let session = session(&world, &json!({"forcedVideoCodec": "NONE"})).await;
    let (mut a, _) = world.join(&session, "PUBLISHER").await;
    let (mut b, _) = world.join(&session, "PUBLISHER").await;
    let (mut c, _) = world.join(&session, "PUBLISHER").await;
    let stream = publish(&mut a, lacking(&["VP8", "AV1"])).await;
    let family = |world: &World| {
        let held = world.relay.held();
        let tracks = held.tracks.values().filter(|(_, it)| it.kind() == MediaKind::Video);
        tracks.map(|(_, it)| it.codecs[0].kind()).collect::<Vec<_>>()
    };
    assert_eq!(family(&world), [CodecKind::H264], "the first in its offer");
    publish(&mut b, publish_params()).await;
    assert_eq!(family(&world), [CodecKind::H264; 2], "though it would rather have sent VP8");
    publish(&mut c, lacking(&["H264"])).await;
    assert!(family(&world).contains(&CodecKind::Vp8), "it cannot");

    let watch = |sdp: String| json!({"sender": stream, "sdpOffer": sdp});
    assert_eq!(c.error("receiveVideoFrom", watch(without(SUBSCRIBE, &["H264"]))).await, 800);
    // It has H.264, but not the profile.
    let other_profile = SUBSCRIBE.replace("profile-level-id=42e01f", "profile-level-id=640c1f");
    assert_eq!(c.error("receiveVideoFrom", watch(other_profile)).await, 800);
    c.watch(&stream).await;
    assert_eq!(agreed(&world.relay.held()), [(vec![21], vec![21])]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_keeps_its_codec_when_its_publisher_comes_back() {
    let world = World::start().await;
    let session = session(&world, &json!({"forcedVideoCodec": "NONE"})).await;
    let (mut a, _) = world.join(&session, "PUBLISHER").await;
    let (mut b, _) = world.join(&session, "SUBSCRIBER").await;
    let stream = publish(&mut a, lacking(&["VP8"])).await;
    b.watch(&stream).await;
    let before = agreed(&world.relay.held());
    let again = |sdp: String| json!({"stream": stream, "sdpString": sdp});
    a.ok("reconnectStream", again(PUBLISH.to_owned())).await;
    assert_eq!(agreed(&world.relay.held()), before, "viewers were promised this");
    assert_eq!(a.error("reconnectStream", again(without(PUBLISH, &["H264"]))).await, 800);
    assert_eq!(agreed(&world.relay.held()), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_allow_transcoding_a_publisher_may_fall_back_and_viewers_follow() {
    let world = World::start().await;
    let strict = session(&world, &json!({"forcedVideoCodec": "VP9"})).await;
    let (mut a, _) = world.join(&strict, "PUBLISHER").await;
    assert_eq!(a.error("publishVideo", lacking(&["VP9"])).await, 800);

    let body = json!({"forcedVideoCodec": "VP9", "allowTranscoding": true});
    let lenient = session(&world, &body).await;
    let (mut a, _) = world.join(&lenient, "PUBLISHER").await;
    let (mut b, _) = world.join(&lenient, "PUBLISHER").await;
    let stream = publish(&mut a, lacking(&["VP9", "VP8"])).await;
    b.watch(&stream).await;
    assert_eq!(agreed(&world.relay.held()), [(vec![21], vec![21])], "there is no way from one to the other");
    let refused = json!({"sender": stream, "sdpOffer": without(SUBSCRIBE, &["H264"])});
    assert_eq!(b.error("receiveVideoFrom", refused).await, 800);
    // Who has the forced codec uses it.
    publish(&mut b, publish_params()).await;
    let held = world.relay.held();
    assert!(held.tracks.values().any(|(_, track)| track.codecs[0].kind() == CodecKind::Vp9));
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_audio_is_no_matter_of_forced_codecs() {
    let world = World::with(1, |config| config.streams.allow_transcoding = true).await;
    let session = world.session().await;
    let (mut a, _) = world.join(&session, "PUBLISHER").await;
    let mut params = publish_params();
    params["sdpOffer"] = json!(
        PUBLISH
            .replace("m=audio 9 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126", "m=audio 9 UDP/TLS/RTP/SAVPF 63")
    );
    assert_eq!(a.error("publishVideo", params).await, 302);
    let shown = world.rest("GET", &format!("/openvidu/api/sessions/{session}"), "").await.json();
    assert_eq!(shown["allowTranscoding"], true, "the server's own setting");
    let config = world.rest("GET", "/openvidu/api/config", "").await.json();
    assert_eq!(config["OPENVIDU_STREAMS_ALLOW_TRANSCODING"], true);
}
