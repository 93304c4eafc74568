//! Who enters by the secret, and who records.

use crate::support;

use std::time::Duration;

use serde_json::{Value, json};
use support::{Client, SECRET, World, basic, join_params, request};

const API: &str = "/openvidu/api/sessions";

fn params(session: &str, secret: &str, recorder: bool) -> Value {
    let mut params = join_params(session, "");
    params["secret"] = json!(secret);
    params["recorder"] = json!(recorder);
    params
}

#[tokio::test(flavor = "multi_thread")]
async fn the_secret_opens_a_session_that_is_there_and_may_do_all() {
    let world = World::start().await;
    let session = world.session().await;
    let (mut there, con) = world.join(&session, "PUBLISHER").await;
    let stream = there.publish().await["id"].as_str().unwrap().to_owned();
    let mut guest = Client::open(world.port).await;
    assert_eq!(guest.error("joinRoom", params("ses_none", SECRET, false)).await, 202, "it makes none");
    assert_eq!(guest.error("joinRoom", params(&session, "wrong-secret", false)).await, 401);
    let joined = guest.ok("joinRoom", params(&session, SECRET, false)).await;
    assert_eq!(joined["role"], "SUBSCRIBER", "as the original says");
    assert_eq!(joined["value"][0]["id"], con);
    assert_eq!(there.told("participantJoined").await["id"], joined["id"]);
    guest.publish().await;
    guest.ok("forceUnpublish", json!({"streamId": stream})).await;
    guest.ok("forceDisconnect", json!({"connectionId": con})).await;
    // A token that is shown as well does not count, and is not spent.
    let token = world.token(&session, "PUBLISHER").await;
    let mut both = params(&session, SECRET, false);
    both["token"] = json!(token);
    Client::open(world.port).await.ok("joinRoom", both).await;
    Client::open(world.port).await.ok("joinRoom", join_params(&session, &token)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_records_is_not_seen() {
    let world = World::with(1, |config| config.events.cdr = true).await;
    let session = world.session().await;
    let (mut there, _) = world.join(&session, "PUBLISHER").await;
    let stream = there.publish().await["id"].as_str().unwrap().to_owned();

    // Without the secret nobody records, whatever token it has.
    let token = world.token(&session, "PUBLISHER").await;
    let mut recorder = Client::open(world.port).await;
    let mut by_token = join_params(&session, &token);
    by_token["recorder"] = json!(true);
    assert_eq!(recorder.error("joinRoom", by_token).await, 401);
    assert_eq!(recorder.error("joinRoom", params(&session, "wrong-secret", true)).await, 401);
    assert_eq!(recorder.error("joinRoom", params("ses_none", SECRET, true)).await, 202);
    let joined = recorder.ok("joinRoom", params(&session, SECRET, true)).await;
    assert_eq!((&joined["id"], &joined["role"]), (&json!("RECORDER"), &json!("SUBSCRIBER")));
    assert_eq!(joined["value"][0]["streams"][0]["id"], stream);
    let mut second = Client::open(world.port).await;
    assert_eq!(second.error("joinRoom", params(&session, SECRET, true)).await, 104, "there is one already");

    recorder.watch(&stream).await;
    assert_eq!(recorder.error("publishVideo", support::publish_params()).await, 401);
    let (mut late, result) = Client::join(world.port, &session, &token).await;
    assert_eq!(result["value"].as_array().unwrap().len(), 1, "the publisher only: {result}");
    assert_eq!(recorder.told("participantJoined").await["id"], result["id"]);
    there.told("participantJoined").await;
    let listed = world.rest("GET", &format!("{API}/{session}/connection"), "").await.json();
    assert_eq!(listed["numberOfElements"], 2, "{listed}");

    // It goes as it came.
    let path = format!("{API}/{session}/connection/RECORDER");
    assert_eq!(world.rest("DELETE", &path, "").await.status, 204);
    assert_eq!(recorder.told("participantEvicted").await["connectionId"], "RECORDER");
    assert!(there.hears_nothing().await && late.hears_nothing().await);
    world.server.app().settle().await;
    let name = world.rest("GET", "/openvidu/cdr", "").await.json();
    let name = name.pointer("/0").or_else(|| name.pointer("/content/0")).and_then(Value::as_str);
    let path = format!("/openvidu/cdr/{}", name.expect("there is a file of records"));
    let records = world.rest("GET", &path, "").await.body;
    assert!(records.contains("participantJoined") && !records.contains("RECORDER"), "{records}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recorder_that_is_left_alone_ends_the_session_after_some_time() {
    let world = World::with(1, |config| config.timing.unattended = Duration::from_millis(1)).await;
    let session = world.session().await;
    let (there, _) = world.join(&session, "PUBLISHER").await;
    let mut recorder = Client::open(world.port).await;
    recorder.ok("joinRoom", params(&session, SECRET, true)).await;
    assert!(recorder.hears_nothing().await, "it has company");
    there.close(4102).await;
    recorder.told("participantLeft").await;
    let told = recorder.told("participantEvicted").await;
    assert_eq!(told, json!({"connectionId": "RECORDER", "reason": "automaticStop"}));
    assert_eq!(world.rest("GET", &format!("{API}/{session}"), "").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_count_wherever_they_are_made() {
    let world = World::with(1, |config| config.limits.wrong_secrets_per_min_max = 3).await;
    let session = world.session().await;
    for _ in 0..3 {
        let mut client = Client::open(world.port).await;
        assert_eq!(client.error("joinRoom", params(&session, "wrong-secret", false)).await, 401);
    }
    let mut client = Client::open(world.port).await;
    let refused = client.call("joinRoom", params(&session, "wrong-secret", false)).await;
    assert_eq!(refused["error"]["code"], -32_000, "{refused}");
    let guess = request(world.port, "GET", API, Some(&basic("wrong-secret")), "").await;
    assert_eq!(guess.status, 429);
    // A right secret passes, here and there.
    client.ok("joinRoom", params(&session, SECRET, false)).await;
    assert_eq!(world.rest("GET", API, "").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_by_secret_that_is_refused_leaves_nothing_behind() {
    let world = World::with(1, |config| {
        config.limits.participants_max = 1;
        config.compat.first_generation_secret = true;
    })
    .await;
    let (full, quiet) = (world.session().await, world.session().await);
    let (mut only, _) = world.join(&full, "PUBLISHER").await;
    let mut recorder = Client::open(world.port).await;
    assert_eq!(recorder.error("joinRoom", params(&quiet, SECRET, true)).await, 204);
    let mut guest = Client::open(world.port).await;
    assert_eq!(guest.error("joinRoom", params(&quiet, SECRET, false)).await, 204);
    let mut founder = Client::open_room(world.port).await;
    let url = format!("wss://host/founded?secret={SECRET}");
    assert_eq!(founder.error("joinRoom", params(&url, "", false)).await, 204);
    assert_eq!(world.rest("GET", &format!("{API}/founded"), "").await.status, 404);
    let listed = world.rest("GET", &format!("{API}/{quiet}/connection"), "").await.json();
    assert_eq!(listed["numberOfElements"], 0, "{listed}");
    // The id of the recorder is free.
    only.ok("leaveRoom", json!({})).await;
    recorder.ok("joinRoom", params(&quiet, SECRET, true)).await;
}
