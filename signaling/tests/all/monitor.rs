//! The monitor secret reads and changes nothing, two application secrets count at a time.

use crate::support;

use clap::Parser as _;
use millrace_signaling::Config;
use serde_json::{Value, json};
use support::{SECRET, World, basic, request};

const API: &str = "/openvidu/api";
const MONITOR: &str = "monitor-secret";

async fn call(world: &World, secret: &str, method: &str, path: &str, body: &str) -> support::Answer {
    request(world.port, method, path, Some(&basic(secret)), body).await
}

/// Every text in an answer, at any depth.
fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(list) => list.iter().flat_map(texts).collect(),
        Value::Object(object) => object.values().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_monitor_reads_everything_but_credentials() {
    let world = World::with(1, |config| {
        config.rest.monitor_secret = Some(MONITOR.into());
        config.events.cdr = true;
        config.events.webhook = true;
        config.events.webhook_endpoint = "http://127.0.0.1:9/hook-key".into();
        config.events.webhook_headers = vec!["Authorization: Bearer webhook-key".into()];
    })
    .await;
    let session = world.session().await;
    let body = json!({"customIceServers": [{"url": "turn:192.0.2.1", "staticAuthSecret": "turn-key"}]});
    let connections = format!("{API}/sessions/{session}/connection");
    let waiting = world.rest("POST", &connections, &body.to_string()).await.json();
    let (mut publisher, con) = world.join(&session, "PUBLISHER").await;
    publisher.publish().await;

    let shows = |path: String| {
        let world = &world;
        async move {
            let seen = call(world, MONITOR, "GET", &path, "").await;
            let whole = call(world, SECRET, "GET", &path, "").await;
            assert_eq!((seen.status, whole.status), (200, 200), "{path}: {seen:?}");
            (seen.json(), whole.json())
        }
    };
    let waiting = waiting["id"].as_str().unwrap();
    for path in [
        format!("{API}/sessions?pendingConnections=true&webRtcStats=true"),
        format!("{API}/sessions/{session}?pendingConnections=true&webRtcStats=true"),
        format!("{connections}?webRtcStats=true"),
        format!("{connections}/{con}?webRtcStats=true"),
        format!("{connections}/{waiting}"),
        format!("{API}/config"),
    ] {
        let (seen, whole) = shows(path.clone()).await;
        let is_credential = |text: &&str| {
            ["token=tok_", "turn-key", "webhook-key", "hook-key", "a=ice-pwd"]
                .iter()
                .any(|part| text.contains(part))
        };
        assert!(texts(&whole).iter().any(is_credential), "{path} shows the application some: {whole}");
        assert!(!texts(&seen).iter().any(is_credential), "{path}: {seen}");
        assert_eq!(texts(&seen).len(), texts(&whole).len(), "{path}: all else is there");
    }
    let (stats, _) = shows("/millrace/stats".into()).await;
    assert_eq!(stats["sessions"][0]["id"], session);
    world.server.app().settle().await;
    let (names, _) = shows("/openvidu/cdr".into()).await;
    let records = format!("/openvidu/cdr/{}", names[0].as_str().expect("there is a file of records"));
    assert_eq!(call(&world, MONITOR, "GET", &records, "").await.status, 403, "signals are in it");
    assert_eq!(call(&world, SECRET, "GET", &records, "").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_monitor_changes_nothing() {
    let world = World::with(1, |config| {
        config.rest.monitor_secret = Some(MONITOR.into());
        config.server.allow_fault_injection = true;
    })
    .await;
    let session = world.session().await;
    let (mut publisher, con) = world.join(&session, "PUBLISHER").await;
    let stream = publisher.publish().await["id"].as_str().unwrap().to_owned();
    let sessions = format!("{API}/sessions");
    let own = format!("{sessions}/{session}");
    let signal = json!({"session": session, "type": "x", "data": "y"}).to_string();
    for (method, path, body) in [
        ("POST", sessions.clone(), "{}"),
        ("DELETE", own.clone(), ""),
        ("POST", format!("{own}/connection"), "{}"),
        ("DELETE", format!("{own}/connection/{con}"), ""),
        ("DELETE", format!("{own}/stream/{stream}"), ""),
        ("POST", format!("{API}/tokens"), &format!("{{\"session\":\"{session}\"}}")),
        ("POST", format!("{API}/signal"), &signal),
        ("POST", format!("{API}/recordings/start"), "{}"),
        ("PUT", own.clone(), ""),
        ("POST", "/millrace/debug/panic/0".into(), ""),
        ("GET", "/openvidu/recordings/x".into(), ""),
    ] {
        let answer = call(&world, MONITOR, method, &path, body).await;
        assert_eq!(answer.status, 403, "{method} {path}: {answer:?}");
        assert!(answer.json()["message"].as_str().unwrap().contains("monitor"), "{answer:?}");
    }
    let mut join = support::join_params(&session, "");
    join["secret"] = json!(MONITOR);
    assert_eq!(support::Client::open(world.port).await.error("joinRoom", join).await, 401);
    assert!(publisher.hears_nothing().await);
    let left = world.rest("GET", &own, "").await.json();
    assert_eq!(left["connections"]["content"][0]["publishers"][0]["streamId"], stream);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_secret_before_this_one_counts_while_it_is_set() {
    let world = World::with(1, |config| config.rest.secret_previous = Some("old-secret".into())).await;
    for secret in [SECRET, "old-secret"] {
        assert_eq!(call(&world, secret, "POST", &format!("{API}/sessions"), "{}").await.status, 200);
    }
    let world = World::start().await;
    assert_eq!(call(&world, "old-secret", "GET", &format!("{API}/sessions"), "").await.status, 401);
}

#[test]
fn both_are_settings() {
    let config =
        Config::try_parse_from(["x", "--secret-previous", "old", "--monitor-secret", "mon"]).unwrap();
    assert_eq!(config.rest.secret_previous.as_deref(), Some("old"));
    assert_eq!(config.rest.monitor_secret.as_deref(), Some("mon"));
}
