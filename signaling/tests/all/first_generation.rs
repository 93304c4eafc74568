//! Clients of the first generation (openvidu-browser 1.x) at `/room`, alone and in one session with those of today.

use crate::support;

use serde_json::{Value, json};
use support::{Client, PUBLISH_FIRST, SECRET, SUBSCRIBE, World};

/// What 1.9.0 sends to join.
fn join_params(session: &str, token: &str, secret: &str) -> Value {
    json!({"token": token, "session": session, "metadata": "", "secret": secret, "recorder": false,
           "dataChannels": false})
}

/// What 1.9.0 sends to publish.
fn publish_params(audio: bool, video: bool) -> Value {
    let kind = if video { "CAMERA" } else { "" };
    json!({"sdpOffer": PUBLISH_FIRST, "doLoopback": false, "audioActive": audio, "videoActive": video,
           "typeOfVideo": kind})
}

#[tokio::test(flavor = "multi_thread")]
async fn both_generations_share_a_session() {
    let world = World::start().await;
    let session = world.session().await;
    let token = world.token(&session, "PUBLISHER").await;
    let url = format!("wss://localhost:{}/{session}", world.port);

    let mut old = Client::open_room(world.port).await;
    assert_eq!(old.ok("ping", json!({"interval": 3000})).await, json!({"value": "pong"}));
    let joined = old.ok("joinRoom", join_params(&url, &token, "")).await;
    let con_old = joined["id"].as_str().unwrap().to_owned();
    assert_eq!((&joined["value"], &joined["metadata"]), (&json!([]), &json!("")));
    let (mut new, con_new) = world.join(&session, "PUBLISHER").await;
    assert_eq!(old.told("participantJoined").await["id"], con_new);

    // The old one publishes without saying what it has, the new one learns it.
    let published = old.ok("publishVideo", publish_params(true, true)).await;
    assert!(
        published["sdpAnswer"].as_str().unwrap().contains("m=application 0 "),
        "data channels are declined"
    );
    let stream = new.told("participantPublished").await["streams"][0].clone();
    assert_eq!((&stream["hasAudio"], &stream["hasVideo"]), (&json!(true), &json!(true)));
    assert_eq!((&stream["audioActive"], &stream["typeOfVideo"]), (&json!(true), &json!("CAMERA")));
    let _ = new.watch(stream["id"].as_str().unwrap()).await;

    // The new one publishes muted; the old one must ask for the sound all the same.
    let mut muted = support::publish_params();
    muted["audioActive"] = json!(false);
    let own = new.ok("publishVideo", muted).await["id"].as_str().unwrap().to_owned();
    let seen = old.told("participantPublished").await["streams"][0].clone();
    assert_eq!((&seen["id"], &seen["audioActive"]), (&json!(own), &json!(true)));
    // 1.0.2 names a stream with its connection in front.
    let watch = json!({"sender": format!("{con_new}_{own}"), "sdpOffer": SUBSCRIBE});
    let answer = old.ok("receiveVideoFrom", watch).await["sdpAnswer"].as_str().unwrap().to_owned();
    assert!(answer.contains("a=msid:"), "it finds streams by it: {answer}");
    let watched = json!({"sender": format!("{con_new}_{own}")});
    assert_eq!(old.ok("unsubscribeFromVideo", watched).await, json!({}));

    // Signals: the old ones put the prefix when they read, the new ones when they write.
    let message = |kind: &str| json!({"message": json!({"to": [], "type": kind, "data": "hi"}).to_string()});
    old.ok("sendMessage", message("chat")).await;
    assert_eq!(new.told("sendMessage").await["type"], "signal:chat");
    assert_eq!(old.told("sendMessage").await["type"], "chat");
    new.ok("sendMessage", message("signal:chat")).await;
    assert_eq!(old.told("sendMessage").await["type"], "chat");

    // Who goes is named by another key.
    new.ok("unpublishVideo", json!({})).await;
    let unpublished = old.told("participantUnpublished").await;
    assert_eq!((&unpublished["name"], unpublished.get("connectionId")), (&json!(con_new), None));
    new.ok("leaveRoom", json!({})).await;
    assert_eq!(old.told("participantLeft").await["name"], con_new);
    assert_ne!(con_old, con_new);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_camera_there_is_audio_alone() {
    let world = World::start().await;
    let session = world.session().await;
    let token = world.token(&session, "PUBLISHER").await;
    let mut old = Client::open_room(world.port).await;
    old.ok("joinRoom", join_params(&format!("wss://h/{session}"), &token, "")).await;
    let (mut new, _) = world.join(&session, "SUBSCRIBER").await;
    old.ok("publishVideo", publish_params(true, false)).await;
    let stream = new.told("participantPublished").await["streams"][0].clone();
    assert_eq!((&stream["hasAudio"], &stream["hasVideo"]), (&json!(true), &json!(false)));
    assert_eq!(stream.get("typeOfVideo"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_secret_opens_nothing_by_default() {
    let world = World::start().await;
    let mut old = Client::open_room(world.port).await;
    assert_eq!(old.error("joinRoom", join_params("wss://h/room1", "random", SECRET)).await, 202);
    assert_eq!(world.rest("GET", "/openvidu/api/sessions", "").await.json()["numberOfElements"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_it_is_allowed_the_secret_makes_and_opens_sessions() {
    let world = World::with(2, |config| config.compat.first_generation_secret = true).await;
    let mut wrong = Client::open_room(world.port).await;
    assert_eq!(wrong.error("joinRoom", join_params("wss://h/room1", "random", "guess")).await, 401);
    assert_eq!(
        wrong.error("joinRoom", join_params("wss://h/a%20b", "random", SECRET)).await,
        202,
        "no such name"
    );
    // Today's clients have no such door.
    let mut new = Client::open(world.port).await;
    assert_eq!(new.error("joinRoom", join_params("room1", "random", SECRET)).await, 202);
    assert_eq!(world.rest("GET", "/openvidu/api/sessions", "").await.json()["numberOfElements"], 0);

    let mut first = Client::open_room(world.port).await;
    first.ok("joinRoom", join_params("wss://h/room1", "random", SECRET)).await;
    // 1.0.2 leaves the secret in the URL.
    let mut second = Client::open_room(world.port).await;
    let within = format!("wss://h/room1?secret={SECRET}");
    let joined = second.ok("joinRoom", join_params(&within, "random", "")).await;
    assert_eq!(joined["value"].as_array().unwrap().len(), 1);
    assert_eq!(first.told("participantJoined").await["id"], joined["id"]);
    let sessions = world.rest("GET", "/openvidu/api/sessions", "").await.json();
    assert_eq!((&sessions["numberOfElements"], &sessions["content"][0]["id"]), (&json!(1), &json!("room1")));
    second.ok("publishVideo", publish_params(true, true)).await;
    first.told("participantPublished").await;
}
