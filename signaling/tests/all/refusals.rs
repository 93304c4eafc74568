//! Every method of the RPC × everybody who may not: refused, and nobody else hears of it.

use crate::support;

use millrace_signaling::openvidu::rpc::METHODS;
use serde_json::{Value, json};
use support::{Client, PUBLISH, SUBSCRIBE, World, join_params, publish_params};

/// Parameters that would be right for somebody else: they name what `victim` is and has.
fn params_of(method: &str, victim: &str, stream: &str) -> Value {
    match method {
        "joinRoom" => join_params("ses_none", "tok_none"),
        "connect" => json!({"sessionId": "abcdefghijklmnopqrstuvwxyz"}),
        "publishVideo" => publish_params(),
        "receiveVideoFrom" => json!({"sender": stream, "sdpOffer": SUBSCRIBE}),
        "prepareReceiveVideoFrom" => json!({"sender": stream, "reconnect": false}),
        "unsubscribeFromVideo" => json!({"sender": victim}),
        "reconnectStream" => json!({"stream": stream, "sdpOffer": SUBSCRIBE, "sdpString": PUBLISH}),
        "onIceCandidate" => {
            json!({"endpointName": victim, "candidate": "", "sdpMid": "0", "sdpMLineIndex": 0})
        }
        "sendMessage" => {
            json!({"message": json!({"to": [victim], "type": "signal:x", "data": "y"}).to_string()})
        }
        "streamPropertyChanged" => {
            json!({"streamId": stream, "property": "videoActive", "newValue": false, "reason": "x"})
        }
        "forceDisconnect" => json!({"connectionId": victim}),
        "forceUnpublish" => json!({"streamId": stream}),
        "videoData" => json!({"width": 1, "height": 1, "videoActive": true, "audioActive": true}),
        _ => json!({"streamId": stream, "connectionId": victim}),
    }
}

/// The code a method is refused with, by who calls; `None` where it may be called.
struct Row(&'static str, [Option<i64>; 3]);

/// Who calls: somebody of another session who names ids of this one; a viewer who names them in its own; somebody who
/// was put out. Before joinRoom all are refused with 803.
const STRANGER: usize = 0;
const VIEWER: usize = 1;
const EVICTED: usize = 2;

#[rustfmt::skip]
const TABLE: [Row; 21] = [
    Row("leaveRoom",                 [None,      None,      Some(103)]),
    Row("publishVideo",              [None,      Some(401), Some(103)]),
    Row("unpublishVideo",            [Some(105), Some(105), Some(103)]),
    Row("receiveVideoFrom",          [Some(105), None,      Some(103)]),
    Row("prepareReceiveVideoFrom",   [Some(105), None,      Some(103)]),
    Row("unsubscribeFromVideo",      [Some(102), None,      Some(103)]),
    Row("reconnectStream",           [Some(105), None,      Some(103)]),
    Row("echo",                      [None,      None,      Some(103)]),
    Row("videoData",                 [None,      None,      Some(103)]),
    Row("onIceCandidate",            [Some(102), None,      Some(103)]),
    Row("sendMessage",               [Some(601), None,      Some(103)]),
    Row("streamPropertyChanged",     [Some(105), Some(105), Some(103)]),
    Row("forceDisconnect",           [Some(401), Some(401), Some(103)]),
    Row("forceUnpublish",            [Some(401), Some(401), Some(103)]),
    Row("applyFilter",               [Some(996), Some(996), Some(996)]),
    Row("removeFilter",              [Some(996), Some(996), Some(996)]),
    Row("execFilterMethod",          [Some(996), Some(996), Some(996)]),
    Row("addFilterEventListener",    [Some(996), Some(996), Some(996)]),
    Row("removeFilterEventListener", [Some(996), Some(996), Some(996)]),
    Row("subscribeToSpeechToText",   [Some(997), Some(997), Some(997)]),
    Row("unsubscribeFromSpeechToText", [Some(997), Some(997), Some(997)]),
];

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_not_is_refused_and_nobody_hears_of_it() {
    let world = World::start().await;
    let session = world.session().await;
    let (mut publisher, victim) = world.join(&session, "PUBLISHER").await;
    let stream = publisher.publish().await["id"].as_str().unwrap().to_owned();
    // Where the callers are, with somebody who stays and publishes too.
    let elsewhere = world.session().await;
    let (mut other, other_id) = world.join(&elsewhere, "PUBLISHER").await;
    let other_stream = other.publish().await["id"].as_str().unwrap().to_owned();
    let mut refused = 0;

    let named: Vec<&str> = TABLE.iter().map(|Row(name, _)| *name).collect();
    for method in METHODS.iter().filter(|method| method.needs_join()) {
        assert!(named.contains(&method.name), "{} is in no row of the table", method.name);
        let mut nobody = Client::open(world.port).await;
        assert_eq!(nobody.error(method.name, params_of(method.name, &victim, &stream)).await, 803);
        refused += 1;
    }
    for Row(method, codes) in TABLE {
        // Each gets somebody of its own: who leaves or is put out cannot go on.
        for (who, expected) in codes.into_iter().enumerate() {
            let Some(expected) = expected else { continue };
            let (mut caller, params) = match who {
                STRANGER => {
                    (world.join(&elsewhere, "PUBLISHER").await.0, params_of(method, &victim, &stream))
                }
                VIEWER => {
                    let viewer = world.join(&elsewhere, "SUBSCRIBER").await.0;
                    (viewer, params_of(method, &other_id, &other_stream))
                }
                EVICTED => (evicted(&world, &elsewhere).await, params_of(method, &other_id, &other_stream)),
                _ => unreachable!("there are three"),
            };
            let code = caller.error(method, params).await;
            assert_eq!(code, expected, "{method}, caller {who}");
            refused += 1;
        }
    }
    println!("{refused} calls refused");
    assert!(refused > 70, "{refused}");
    assert!(publisher.hears_nothing().await, "not a word of all that");
    let found = world.rest("GET", &format!("/openvidu/api/sessions/{session}"), "").await.json();
    assert_eq!(found["connections"]["content"][0]["publishers"][0]["streamId"], json!(stream));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_without_what_it_takes_says_what_is_missing() {
    let world = World::start().await;
    let session = world.session().await;
    let mut client = Client::open(world.port).await;
    let mut params = join_params(&session, "tok_none");
    params["token"] = json!(7);
    assert_eq!(client.error("joinRoom", params.clone()).await, 404);
    params.as_object_mut().unwrap().remove("session");
    assert_eq!(client.error("joinRoom", params).await, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_late_of_somebody_who_left_is_no_error() {
    let world = World::start().await;
    let session = world.session().await;
    let (mut stays, _) = world.join(&session, "PUBLISHER").await;
    let (mut leaves, gone) = world.join(&session, "PUBLISHER").await;
    leaves.ok("leaveRoom", json!({})).await;
    assert_eq!(stays.ok("unsubscribeFromVideo", json!({"sender": gone})).await, json!({}));
    let candidate = json!({"endpointName": gone, "candidate": "", "sdpMid": "0", "sdpMLineIndex": 0});
    assert_eq!(stays.ok("onIceCandidate", candidate).await, json!({}));
}

/// Somebody who was in the session, and whose socket is still open.
async fn evicted(world: &World, session: &str) -> Client {
    let (mut client, id) = world.join(session, "MODERATOR").await;
    let answer = world.rest("DELETE", &format!("/openvidu/api/sessions/{session}/connection/{id}"), "").await;
    assert_eq!(answer.status, 204);
    loop {
        let told = client.next_told().await;
        if told["method"] == "participantEvicted" && told["params"]["connectionId"] == id {
            return client;
        }
    }
}
