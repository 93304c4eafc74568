//! What joinRoom tells a client about the server, beyond the session.

use crate::support;

use millrace_signaling::config::ReportedVersion;
use millrace_signaling::ice_servers;
use serde_json::{Value, json};
use support::{Client, World, join_params};

async fn joined(world: &World, own: Value, sdk: &str) -> Value {
    let session = world.session().await;
    let path = format!("/openvidu/api/sessions/{session}/connection");
    let made = world.rest("POST", &path, &json!({"customIceServers": own}).to_string()).await.json();
    let mut params = join_params(&session, made["token"].as_str().expect("a token"));
    params["sdkVersion"] = json!(sdk);
    Client::open(world.port).await.ok("joinRoom", params).await
}

#[tokio::test(flavor = "multi_thread")]
async fn native_applications_find_the_turn_server_where_they_look() {
    let legacy = ["coturnIp", "coturnPort", "turnUsername", "turnCredential"];
    let world = World::start().await;
    let plain = joined(&world, json!([]), "2.32.2").await;
    assert!(legacy.iter().all(|key| plain.get(key).is_none()), "{plain}");

    let world = World::with(1, |config| {
        let servers = ["url=stun:s", "url=turn:192.0.2.9:3479,staticAuthSecret=key"];
        config.ice.servers = servers.map(|text| ice_servers::parse_text(text).expect("it is one")).into();
    })
    .await;
    let told = joined(&world, json!([]), "2.32.2").await;
    let listed = &told["customIceServers"][1];
    assert_eq!(listed["url"], "turn:192.0.2.9:3479");
    let expected = json!(["192.0.2.9", 3479, listed["username"], listed["credential"]]);
    assert_eq!(json!(legacy.map(|key| told[key].clone())), expected);

    let own = json!([{"url": "turn:own.example", "username": "u", "credential": "c"}]);
    let told = joined(&world, own.clone(), "2.32.2").await;
    assert_eq!(told["customIceServers"], own);
    assert_eq!(json!(legacy.map(|key| told[key].clone())), json!(["own.example", 3478, "u", "c"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_release_is_the_clients_own_or_the_operators() {
    let world = World::start().await;
    for (sdk, told) in [("2.30.1", "2.30.1"), ("2.32.2", "2.32.2"), ("2.32", "2.32.2"), ("", "2.32.2")] {
        assert_eq!(joined(&world, json!([]), sdk).await["version"], told, "{sdk}");
    }
    let version = "/openvidu/api/config/openvidu-version";
    assert_eq!(world.rest("GET", version, "").await.body, "2.32.2");
    let world = World::with(1, |config| {
        config.compat.reported_version = ReportedVersion::parse("2.29.0").expect("it is one");
    })
    .await;
    assert_eq!(joined(&world, json!([]), "2.30.1").await["version"], "2.29.0");
    assert_eq!(world.rest("GET", version, "").await.body, "2.29.0");
}
