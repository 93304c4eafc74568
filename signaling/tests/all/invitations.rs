//! Guests enter by a signed invitation, and nobody gives them the secret.

use crate::support;

use serde_json::{Value, json};
use support::{Answer, Client, World, basic, request};

const INVITATIONS: &str = "/millrace/api/invitations";
const ENTER: &str = "/millrace/api/invitations/enter";

async fn invite(world: &World, wish: Value) -> Value {
    let made = world.rest("POST", INVITATIONS, &wish.to_string()).await;
    assert_eq!(made.status, 200, "{made:?}");
    made.json()
}

/// Enters as a guest does: without the secret.
async fn enter(world: &World, invitation: &Value) -> Answer {
    request(world.port, "POST", ENTER, None, &json!({"invitation": invitation}).to_string()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_enters_with_the_role_and_the_name_of_the_invitation() {
    let world = World::start().await;
    let session = world.session().await;
    let (mut host, _) = world.join(&session, "MODERATOR").await;
    let wish = json!({"session": session, "role": "SUBSCRIBER", "name": "Ann", "expiresInS": 60});
    let made = invite(&world, wish).await;
    let text = made["invitation"].as_str().unwrap();
    assert_eq!(made["link"], format!("http://localhost:{}/#invite={text}", world.port));
    assert!(!made.to_string().contains(support::SECRET));

    let entered = enter(&world, &made["invitation"]).await;
    assert_eq!(entered.status, 200, "{entered:?}");
    let entered = entered.json();
    assert_eq!((&entered["role"], &entered["name"]), (&json!("SUBSCRIBER"), &json!("Ann")));
    let (mut guest, joined) = Client::join(world.port, &session, entered["token"].as_str().unwrap()).await;
    assert_eq!((&joined["id"], &joined["role"]), (&entered["connectionId"], &json!("SUBSCRIBER")));
    assert_eq!(host.told("participantJoined").await["metadata"], "Ann", "the others are shown the name");
    assert_eq!(guest.error("publishVideo", support::publish_params()).await, 401);
    // A link is for several people; each gets a token of its own.
    let again = enter(&world, &made["invitation"]).await.json();
    assert_ne!(again["token"], entered["token"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_session_is_made_if_the_invitation_allows_that() {
    let world = World::start().await;
    let made = invite(&world, json!({"session": "room-1"})).await;
    assert_eq!(enter(&world, &made["invitation"]).await.status, 404);
    let made = invite(&world, json!({"session": "room-1", "createsSession": true})).await;
    for _ in 0..2 {
        let entered = enter(&world, &made["invitation"]).await;
        assert_eq!(entered.status, 200, "{entered:?}");
        Client::join(world.port, "room-1", entered.json()["token"].as_str().unwrap()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_this_servers_own_and_only_until_it_expires() {
    let other = World::start().await;
    let world = World::with(1, |config| config.limits.invitations_per_min_max = 0).await;
    let session = world.session().await;
    let foreign = invite(&other, json!({"session": session})).await;
    assert_eq!(enter(&world, &foreign["invitation"]).await.status, 403);
    let made = invite(&world, json!({"session": session, "role": "SUBSCRIBER"})).await;
    let forged = made["invitation"].as_str().unwrap().replacen('e', "f", 1);
    let refused = enter(&world, &json!(forged)).await;
    assert_eq!(refused.status, 403);
    assert!(refused.json()["message"].as_str().unwrap().contains("did not sign"), "{refused:?}");
    for bad in [json!(null), json!(7), json!([])] {
        assert_eq!(enter(&world, &bad).await.status, 400, "{bad}");
    }
    let brief = invite(&world, json!({"session": "never-made", "expiresInS": 1})).await;
    let expired = async {
        loop {
            match enter(&world, &brief["invitation"]).await.status {
                404 => tokio::task::yield_now().await,
                status => break status,
            }
        }
    };
    assert_eq!(tokio::time::timeout(support::PATIENCE, expired).await.unwrap(), 410);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_outlives_a_restart_and_a_change_of_the_secret() {
    let world = World::start().await;
    let made = invite(&world, json!({"session": "room-1", "createsSession": true})).await;
    // The store of the first one is in use, so the second one gets the key alone.
    let key = std::fs::read(world.dir.join("data/invitation.key")).unwrap();
    let next = support::scratch();
    std::fs::create_dir_all(next.join("data")).unwrap();
    std::fs::write(next.join("data/invitation.key"), &key).unwrap();
    let later = World::at(next, |config| config.rest.secret = Some("another-secret".into())).await;
    assert_eq!(enter(&later, &made["invitation"]).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn invitations_are_the_applications_to_make_and_not_to_be_tried() {
    let world = World::with(1, |config| {
        config.rest.monitor_secret = Some("monitor-secret".into());
        config.limits.invitations_per_min_max = 3;
    })
    .await;
    let wish = json!({"session": "room-1"}).to_string();
    assert_eq!(request(world.port, "POST", INVITATIONS, None, &wish).await.status, 401);
    let monitor = basic("monitor-secret");
    assert_eq!(request(world.port, "POST", INVITATIONS, Some(&monitor), &wish).await.status, 403);
    let made = invite(&world, json!({"session": "room-1", "createsSession": true})).await;
    for invitation in [&json!("a.b"), &json!("a.c"), &made["invitation"]] {
        assert_ne!(enter(&world, invitation).await.status, 429);
    }
    let refused = enter(&world, &made["invitation"]).await;
    assert_eq!(refused.status, 429);
    assert!(refused.headers.contains("retry-after: "), "{refused:?}");
}
