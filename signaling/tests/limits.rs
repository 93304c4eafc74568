//! What there may not be more of, and how that is said.

mod support;

use support::World;

#[tokio::test(flavor = "multi_thread")]
async fn sessions_and_their_connections_are_as_many_as_the_operator_says() {
    let world = World::with(1, |config| {
        config.limits.sessions_max = 2;
        config.limits.connections_per_session_max = 2;
    })
    .await;
    let (first, second) = (world.session().await, world.session().await);
    let refused = world.rest("POST", "/openvidu/api/sessions", "{}").await;
    assert_eq!(refused.status, 503);
    assert!(
        refused.json()["message"].as_str().is_some_and(|words| words.contains("sessions")),
        "{refused:?}"
    );

    let path = format!("/openvidu/api/sessions/{first}/connection");
    let (mut client, _) = world.join(&first, "PUBLISHER").await;
    world.token(&first, "PUBLISHER").await;
    let refused = world.rest("POST", &path, "{}").await;
    assert_eq!(refused.status, 503);
    assert!(
        refused.json()["message"].as_str().is_some_and(|words| words.contains("connections")),
        "{refused:?}"
    );
    // Others have theirs, and what goes makes room.
    world.token(&second, "PUBLISHER").await;
    client.ok("leaveRoom", serde_json::json!({})).await;
    assert_eq!(world.rest("POST", "/openvidu/api/sessions", "{}").await.status, 200);
}
