//! Credentials for the relay's TURN server, as clients get them.

#![allow(clippy::unwrap_used, reason = "a test")]

use crate::support;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY as SHA1, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use millrace_signaling::clock;
use serde_json::{Value, json};
use support::{Client, World};

/// RFC 2104 by hand: what a TURN server computes, without the code under test.
fn hmac_sha1(key: &[u8], text: &[u8]) -> Vec<u8> {
    assert!(key.len() <= 64);
    let padded = |pad: u8| -> Vec<u8> { (0..64).map(|at| key.get(at).copied().unwrap_or(0) ^ pad).collect() };
    let inner = digest(&SHA1, &[padded(0x36), text.to_vec()].concat());
    digest(&SHA1, &[padded(0x5c), inner.as_ref().to_vec()].concat()).as_ref().to_vec()
}

fn urls(servers: &Value) -> Vec<&str> {
    servers.as_array().unwrap().iter().map(|server| server["url"].as_str().unwrap()).collect()
}

async fn join(world: &World, session: &str) -> (Client, Value) {
    let token = world.token(session, "SUBSCRIBER").await;
    Client::join(world.port, session, &token).await
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_gets_credentials_that_end_made_from_the_secret_on_file() {
    let world = World::start().await;
    let session = world.session().await;
    let secret = "of the relay";
    std::fs::write(world.dir.join("data/turn.secret"), "of the relay\n").unwrap();
    let mut names = Vec::new();
    for _ in 0..2 {
        let now_s = clock::now_ms() / 1_000;
        let (_client, joined) = join(&world, &session).await;
        let servers = &joined["customIceServers"];
        assert_eq!(urls(servers), ["turn:192.0.2.7:3478?transport=udp", "turn:192.0.2.7:3478?transport=tcp"]);
        for server in servers.as_array().unwrap() {
            let keys: Vec<_> = server.as_object().unwrap().keys().collect();
            assert_eq!(keys, ["url", "username", "credential"], "the secret stays here");
            let name = server["username"].as_str().unwrap();
            let expected = STANDARD.encode(hmac_sha1(secret.as_bytes(), name.as_bytes()));
            assert_eq!(server["credential"], expected);
            let (until_s, user) = name.split_once(':').unwrap();
            let until_s: u64 = until_s.parse().unwrap();
            assert!((now_s + 86_400..=clock::now_ms() / 1_000 + 86_400).contains(&until_s), "{until_s}");
            assert_eq!(user.len(), 8);
        }
        names.push(servers[0]["username"].clone());
    }
    assert_ne!(names[0], names[1], "each has a name of its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_of_the_connection_or_of_the_operator_go_before() {
    let world = World::with(1, |config| config.turn.secret = Some("given secret".into())).await;
    let session = world.session().await;
    let path = format!("/openvidu/api/sessions/{session}/connection");
    let own = json!({"customIceServers": [{"url": "turn:own", "username": "u", "credential": "c"}]});
    let token =
        world.rest("POST", &path, &own.to_string()).await.json()["token"].as_str().unwrap().to_owned();
    let (_client, joined) = Client::join(world.port, &session, &token).await;
    assert_eq!(urls(&joined["customIceServers"]), ["turn:own"]);
    let (_client, joined) = join(&world, &session).await;
    assert_eq!(urls(&joined["customIceServers"]).len(), 2);

    let set = "url=turn:set,username=u,credential=c";
    let set = millrace_signaling::ice_servers::parse_text(set).unwrap();
    let world = World::with(1, |config| config.ice.servers = vec![set]).await;
    let session = world.session().await;
    let (_client, joined) = join(&world, &session).await;
    assert_eq!(urls(&joined["customIceServers"]), ["turn:set"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_turn_no_file_is_read() {
    let world = World::with(1, |config| config.turn.enabled = false).await;
    let session = world.session().await;
    // Whoever reads it waits for ever: nobody writes there.
    let made = std::process::Command::new("mkfifo").arg(world.dir.join("data/turn.secret")).status().unwrap();
    assert!(made.success());
    let (_client, joined) = join(&world, &session).await;
    assert!(urls(&joined["customIceServers"]).iter().all(|url| url.starts_with("stun:")), "{joined}");
}
