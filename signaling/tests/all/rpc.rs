//! The RPC: who may what, what is no request, what keeps a socket alive.

use crate::support;

use std::time::Duration;

use millrace_control::Rejection;
use millrace_signaling::openvidu::rpc::METHODS;
use serde_json::json;
use support::{Client, World, join_params, publish_params};

#[tokio::test(flavor = "multi_thread")]
async fn tokens_open_one_door_once() {
    let world = World::start().await;
    let session = world.session().await;
    let other = world.session().await;
    let token = world.token(&session, "PUBLISHER").await;
    let foreign = world.token(&other, "PUBLISHER").await;

    let mut client = Client::open(world.port).await;
    for (session, token, code) in [
        ("ses_none", token.as_str(), 202),
        (&session, "wss://h?sessionId=x&token=tok_AAAAAAAAAAAAAAAA", 401),
        (&session, foreign.as_str(), 401),
        (&session, "", 401),
        (&session, "garbage", 401),
    ] {
        assert_eq!(client.error("joinRoom", join_params(session, token)).await, code, "{session} {token}");
    }
    let mut params = join_params(&session, &token);
    params["metadata"] = json!({"clientData": "A"});
    assert_eq!(client.error("joinRoom", params).await, 500);
    client.ok("joinRoom", join_params(&session, &token)).await;
    assert_eq!(client.error("joinRoom", join_params(&session, &token)).await, 104);
    let mut second = Client::open(world.port).await;
    assert_eq!(second.error("joinRoom", join_params(&session, &token)).await, 401, "used");
    // The bare token is as good as the whole URL.
    let bare = foreign.split("token=").nth(1).unwrap();
    second.ok("joinRoom", join_params(&other, bare)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_guesses_tokens_loses_the_socket() {
    let world = World::start().await;
    let session = world.session().await;
    let mut client = Client::open(world.port).await;
    for number in 0..10 {
        let (session, code) = if number % 2 == 0 { (session.as_str(), 401) } else { ("ses_none", 202) };
        assert_eq!(client.error("joinRoom", join_params(session, "tok_guess")).await, code);
    }
    let frame = client.frame().await.unwrap_err().expect("a close frame");
    assert_eq!(u16::from(frame.code), 1008);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_not_spent_where_there_is_no_place() {
    let mut world = World::with(0, |_| ()).await;
    let session = world.session().await;
    let token = world.token(&session, "PUBLISHER").await;
    let mut client = Client::open(world.port).await;
    assert_eq!(client.error("joinRoom", join_params(&session, &token)).await, 900);
    world.relay.stop().await;
    world.relay.hello.shards.push(millrace_control::ShardInfo { port: 5_000, ..Default::default() });
    world.relay.listen();
    world.relay.until(|held| held.connections == 2).await;
    world.server.app().link.ready(tokio::time::Instant::now() + support::PATIENCE).await.unwrap();
    client.ok("joinRoom", join_params(&session, &token)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_works_before_join_room_but_ping() {
    let world = World::start().await;
    let mut client = Client::open(world.port).await;
    client.ok("ping", json!({"interval": 5000})).await;
    let methods = METHODS.iter().filter(|method| method.needs_join()).map(|method| method.name);
    for method in methods.chain(["nothing"]) {
        assert_eq!(client.error(method, json!({})).await, 803, "{method}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_are_enforced_here_because_clients_do_not() {
    let world = World::start().await;
    let session = world.session().await;
    let (mut subscriber, con_s) = world.join(&session, "SUBSCRIBER").await;
    let (mut publisher, con_p) = world.join(&session, "PUBLISHER").await;
    let (mut moderator, _) = world.join(&session, "MODERATOR").await;
    let stream = publisher.publish().await["id"].as_str().unwrap().to_owned();
    moderator.told("participantPublished").await;

    assert_eq!(subscriber.error("publishVideo", publish_params()).await, 401);
    for client in [&mut subscriber, &mut publisher] {
        assert_eq!(client.error("forceDisconnect", json!({"connectionId": con_s})).await, 401);
        assert_eq!(client.error("forceUnpublish", json!({"streamId": stream})).await, 401);
    }
    subscriber.watch(&stream).await;

    assert_eq!(moderator.error("forceUnpublish", json!({"streamId": "str_X"})).await, 105);
    assert_eq!(moderator.ok("forceUnpublish", json!({"streamId": stream})).await, json!({}));
    let told = json!({"connectionId": con_p, "reason": "forceUnpublishByUser"});
    publisher.told("participantJoined").await;
    assert_eq!(publisher.told("participantUnpublished").await, told, "the owner is told too");
    assert_eq!(moderator.error("forceDisconnect", json!({"connectionId": "con_X"})).await, 102);
    assert_eq!(moderator.ok("forceDisconnect", json!({"connectionId": con_p})).await, json!({}));
    let told = json!({"connectionId": con_p, "reason": "forceDisconnectByUser"});
    assert_eq!(publisher.told("participantEvicted").await, told);
    assert_eq!(publisher.error("publishVideo", publish_params()).await, 103, "it is out");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_this_server_does_not_do_has_the_documented_error() {
    let world = World::start().await;
    let session = world.session().await;
    let (mut client, _) = world.join(&session, "MODERATOR").await;
    for (method, code) in [
        ("applyFilter", 996),
        ("removeFilter", 996),
        ("execFilterMethod", 996),
        ("addFilterEventListener", 996),
        ("removeFilterEventListener", 996),
        ("subscribeToSpeechToText", 997),
        ("unsubscribeFromSpeechToText", 997),
        ("prepareReceiveVideoFrom", -32_602),
        ("sessionStatus", -32_601),
        ("streamPropertyChanged", -32_602),
        ("unsubscribeFromVideo", -32_602),
    ] {
        assert_eq!(client.error(method, json!({})).await, code, "{method}");
    }
    assert_eq!(client.error("onIceCandidate", json!({"candidate": "garbage"})).await, 302);
    assert_eq!(client.ok("onIceCandidate", json!({"candidate": ""})).await, json!({}));
    let video = json!({"height": 480, "width": 640, "videoActive": true, "audioActive": true});
    assert_eq!(client.ok("videoData", video).await, json!({}));
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_reach_whom_they_name() {
    let world = World::start().await;
    let session = world.session().await;
    let (mut a, con_a) = world.join(&session, "SUBSCRIBER").await;
    let (mut b, con_b) = world.join(&session, "SUBSCRIBER").await;
    a.told("participantJoined").await;
    let message =
        |to: &[&str]| json!({"message": json!({"to": to, "data": "hi", "type": "signal:chat"}).to_string()});
    assert_eq!(a.ok("sendMessage", message(&[])).await, json!({}));
    let told = json!({"data": "hi", "type": "signal:chat", "from": con_a});
    assert_eq!(a.told("sendMessage").await, told, "the sender too");
    assert_eq!(b.told("sendMessage").await, told);
    a.ok("sendMessage", message(&[&con_b])).await;
    assert_eq!(b.told("sendMessage").await, told);
    assert_eq!(a.error("sendMessage", message(&[&con_b, "con_X"])).await, 601);
    for bad in [json!({}), json!({"message": {}}), json!({"message": "{"}), json!({"message": "{\"to\":7}"})]
    {
        assert_eq!(a.error("sendMessage", bad).await, 600);
    }
    assert!(a.hears_nothing().await && b.hears_nothing().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_named_often_is_told_once_and_a_flood_ends_at_its_sender() {
    let world = World::start().await;
    let session = world.session().await;
    let (mut a, con_a) = world.join(&session, "PUBLISHER").await;
    let (mut b, con_b) = world.join(&session, "SUBSCRIBER").await;
    a.told("participantJoined").await;
    a.publish().await;
    b.told("participantPublished").await;
    let many = json!({"to": vec![&con_b; 2_500], "type": "signal:often"}).to_string();
    a.ok("sendMessage", json!({"message": many})).await;
    assert_eq!(b.told("sendMessage").await, json!({"type": "signal:often", "from": con_a}));

    // What a burst may hold, and what it may not, whatever the method.
    let big = json!({"message": json!({"data": "x".repeat(50_000)}).to_string()});
    let changed = json!({"property": "videoTrack", "newValue": {"label": "\"".repeat(20_000)}, "reason": ""});
    for (method, params, code) in [("sendMessage", big, 600), ("streamPropertyChanged", changed, -32_602)] {
        for _ in 0..20 {
            a.send(method, params.clone()).await;
        }
        let (mut answers, mut refused) = (0, 0);
        while answers < 20 {
            // Refusals overtake what waits for the store, and the sender is told of its own signals.
            let frame = a.frame().await.unwrap();
            assert!(frame["error"]["code"].is_null() || frame["error"]["code"] == code, "{frame}");
            answers += u32::from(frame.get("id").is_some());
            refused += u32::from(frame.get("error").is_some());
        }
        assert!(refused > 0, "a megabyte of {method} at once");
    }
    let fresh = json!({"message": json!({"data": "hi", "type": "signal:b"}).to_string()});
    b.ok("sendMessage", fresh).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_is_answered_and_its_repetition_ends_the_socket() {
    let world = World::start().await;
    let session = world.session().await;
    let (mut bystander, _) = world.join(&session, "SUBSCRIBER").await;
    let deep = format!(
        r#"{{"jsonrpc":"2.0","method":"ping","id":1,"params":{}1{}}}"#,
        "[".repeat(40),
        "]".repeat(40)
    );
    for (text, code) in [
        ("{", -32_700),
        ("", -32_700),
        (r#"{"jsonrpc":"2.0","method":"ping","method":"leaveRoom","id":1}"#, -32_700),
        (deep.as_str(), -32_700),
        ("[]", -32_600),
        (r#"{"jsonrpc":"2.0","method":"ping","id":{"a":1}}"#, -32_600),
        (r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, -32_600),
    ] {
        let mut client = Client::open(world.port).await;
        for _ in 0..3 {
            client.send_text(text).await;
            assert_eq!(client.frame().await.unwrap()["error"]["code"], code, "{text}");
        }
        let frame = client.frame().await.unwrap_err().expect("a close frame");
        assert_eq!(u16::from(frame.code), 1008);
    }
    let mut client = Client::open(world.port).await;
    client.send_text(&"x".repeat(70_000)).await;
    assert!(client.frame().await.is_err(), "too long to be looked at");
    assert!(bystander.hears_nothing().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_stops_pinging_is_put_out() {
    let world = World::start().await;
    let session = world.session().await;
    let (mut watcher, _) = world.join(&session, "SUBSCRIBER").await;
    let (mut silent, con) = world.join(&session, "SUBSCRIBER").await;
    watcher.told("participantJoined").await;
    // The smallest interval that counts is a second: three of them later it is over.
    silent.ok("ping", json!({"interval": 1})).await;
    assert_eq!(
        watcher.told("participantLeft").await,
        json!({"connectionId": con, "reason": "networkDisconnect"})
    );
    let frame = silent.frame().await.unwrap_err().expect("a close frame");
    assert_eq!(frame.reason.as_str(), "Close for not receive ping from client");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_left_may_close_the_socket_itself_but_not_keep_it() {
    let world = World::with(1, |config| config.timing.farewell = Duration::from_millis(10)).await;
    let session = world.session().await;
    let (mut client, _) = world.join(&session, "SUBSCRIBER").await;
    client.ok("leaveRoom", json!({})).await;
    let frame = client.frame().await.unwrap_err().expect("a close frame");
    assert_eq!(u16::from(frame.code), 1000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_never_joins_is_closed() {
    let world = World::with(1, |config| config.timing.join_wait = Duration::from_millis(10)).await;
    let mut client = Client::open(world.port).await;
    let frame = client.frame().await.unwrap_err().expect("a close frame");
    assert_eq!(u16::from(frame.code), 1008);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_relay_refuses_is_an_error_and_leaves_nothing_behind() {
    let world = World::with(1, |config| config.timing.relay_wait = Duration::from_secs(2)).await;
    let session = world.session().await;
    let (mut a, _) = world.join(&session, "PUBLISHER").await;
    let (mut b, _) = world.join(&session, "PUBLISHER").await;
    for (reason, code) in [(Rejection::Full, 900), (Rejection::Invalid, 303), (Rejection::Busy, 303)] {
        world.relay.change(|held| held.refuse = Some(reason));
        assert_eq!(a.error("publishVideo", publish_params()).await, code, "{reason:?}");
    }
    world.relay.change(|held| held.refuse = None);
    assert!(b.hears_nothing().await, "no stream was announced");
    a.publish().await;
    b.told("participantPublished").await;
    world.relay.until(|held| held.peers.len() == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_is_put_out_and_the_others_go_on() {
    let world = World::start().await;
    let session = world.session().await;
    let (mut a, _) = world.join(&session, "SUBSCRIBER").await;
    let (stuck, con) = world.join(&session, "SUBSCRIBER").await;
    a.told("participantJoined").await;
    // From the application: what one participant may say in a while is bounded.
    let signal =
        json!({"session": session, "to": [con], "data": "x".repeat(40_000), "type": "big"}).to_string();
    // Its socket's buffers take some megabytes before anything waits here.
    for _ in 0..2_000 {
        if world.rest("POST", "/openvidu/api/signal", &signal).await.status == 406 {
            break;
        }
    }
    assert_eq!(a.told("participantLeft").await, json!({"connectionId": con, "reason": "networkDisconnect"}));
    drop(stuck);
}
