//! What there may not be more of, and how that is said.

use crate::support;

use serde_json::json;
use support::{Client, Odd, SECRET, World, basic, join_params, request};

const API: &str = "/openvidu/api/sessions";

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
    client.ok("leaveRoom", json!({})).await;
    assert_eq!(world.rest("POST", "/openvidu/api/sessions", "{}").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn participants_and_tokens_are_counted_over_all_sessions() {
    let world = World::with(1, |config| {
        config.limits.participants_max = 3;
        config.limits.pending_connections_max = 3;
    })
    .await;
    let (first, second) = (world.session().await, world.session().await);
    let (mut leaves, _) = world.join(&first, "PUBLISHER").await;
    let _stay = (world.join(&first, "PUBLISHER").await, world.join(&second, "PUBLISHER").await);
    let token = world.token(&second, "PUBLISHER").await;
    let mut late = Client::open(world.port).await;
    let refused = late.call("joinRoom", join_params(&second, &token)).await;
    assert_eq!(refused["error"]["code"], 204, "{refused}");
    leaves.ok("leaveRoom", json!({})).await;
    late.ok("joinRoom", join_params(&second, &token)).await;

    // Used tokens count no more, so three may wait; wherever they are.
    let made = world.token(&first, "PUBLISHER").await;
    world.token(&first, "PUBLISHER").await;
    world.token(&second, "PUBLISHER").await;
    let path = format!("/openvidu/api/sessions/{second}/connection");
    let refused = world.rest("POST", &path, "{}").await;
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(refused.json()["message"].as_str().is_some_and(|words| words.contains("wait")), "{refused:?}");
    // One that goes makes room.
    late.ok("leaveRoom", json!({})).await;
    Client::join(world.port, &first, &made).await;
    assert_eq!(world.rest("POST", &path, "{}").await.status, 200);
    assert_eq!(world.rest("POST", &path, "{}").await.status, 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_too_often_is_told_and_then_closed() {
    const BURST: usize = 30;
    let world = World::with(1, |config| {
        config.limits.rpc_per_s_max = 1;
        config.limits.rpc_burst_max = u32::try_from(BURST).unwrap();
    })
    .await;
    let session = world.session().await;
    let (mut quiet, _) = world.join(&session, "PUBLISHER").await;
    let token = world.token(&session, "PUBLISHER").await;
    let (mut loud, joined) = Client::join(world.port, &session, &token).await;
    quiet.told("participantJoined").await;
    // The join was one; every further second allows one more.
    let (mut done, mut refused) = (1, 0);
    let closed = loop {
        loud.send("echo", json!({})).await;
        match loud.frame().await {
            Ok(answer) if answer["error"]["code"] == -32_000 => {
                assert!(answer["error"]["message"].as_str().unwrap().contains("too many requests"));
                refused += 1;
                // What keeps the socket alive is answered all the same.
                if refused == 1 {
                    assert_eq!(loud.ok("ping", json!({"interval": 5000})).await["value"], "pong");
                }
            }
            Ok(answer) => {
                assert_eq!(answer["result"], json!({}), "{answer}");
                done += 1;
            }
            Err(closed) => break closed,
        }
    };
    assert!(done >= BURST, "{done}");
    assert_eq!(refused, 98, "then it was closed; the ping was one too many as well");
    let closed = closed.expect("the server said why");
    assert_eq!((u16::from(closed.code), closed.reason.as_str()), (1008, "too many requests"));
    // Others go on, and so may it.
    quiet.ok("echo", json!({})).await;
    let mut again = Client::open(world.port).await;
    again.ok("connect", json!({"sessionId": joined["sessionId"], "reconnect": true})).await;
    again.ok("echo", json!({})).await;
    assert!(quiet.hears_nothing().await, "it was there all the time");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lifted_is_no_bound() {
    let world = World::with(1, |config| {
        config.limits.rpc_per_s_max = 0;
        config.limits.rpc_burst_max = 1;
        config.limits.rest_per_s_max = 0;
        config.limits.rest_burst_max = 1;
        config.limits.wrong_secrets_per_min_max = 0;
    })
    .await;
    let session = world.session().await;
    let (mut client, _) = world.join(&session, "PUBLISHER").await;
    for _ in 0..50 {
        client.ok("echo", json!({})).await;
        let wrong = request(world.port, "GET", API, Some(&basic("wrong-secret")), "").await;
        assert_eq!(wrong.status, 401);
    }
}

/// What a refusal says about when to come back, in seconds.
fn retry_after(answer: &support::Answer) -> u64 {
    let header = answer.headers.lines().find_map(|line| line.strip_prefix("retry-after: "));
    header.unwrap_or_else(|| panic!("{answer:?}")).trim().parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_calls_too_often_is_to_come_back() {
    let world = World::with(1, |config| {
        config.limits.rest_per_s_max = 1;
        config.limits.rest_burst_max = 8;
    })
    .await;
    let session = world.session().await;
    let (mut client, _) = world.join(&session, "PUBLISHER").await;
    let path = format!("{API}/{session}");
    let mut passed = 2;
    let refused = loop {
        let answer = world.rest("GET", &path, "").await;
        if answer.status != 200 {
            break answer;
        }
        passed += 1;
    };
    assert!(passed >= 8, "{passed}");
    assert_eq!((refused.status, retry_after(&refused)), (429, 1));
    assert!(refused.headers.contains("access-control-allow-origin: *"), "pages can read it: {refused:?}");
    let body = refused.json();
    assert_eq!((&body["status"], &body["error"]), (&json!(429), &json!("Too Many Requests")));
    assert_eq!((&body["path"], body["timestamp"].is_u64()), (&json!(path), true));
    // It is the API that is asked too often: pages, sockets and participants go on.
    assert_eq!(request(world.port, "GET", "/", None, "").await.status, 200);
    client.ok("echo", json!({})).await;
    Client::open(world.port).await.ok("ping", json!({})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_guesses_so_many_secrets() {
    let world = World::with(1, |config| config.limits.wrong_secrets_per_min_max = 3).await;
    let call = async |secret: Option<&str>| {
        let header = secret.map(basic);
        request(world.port, "GET", API, header.as_deref(), "").await
    };
    for _ in 0..9 {
        assert_eq!(call(None).await.status, 401, "nothing was guessed");
        assert_eq!(call(Some(SECRET)).await.status, 200);
    }
    for _ in 0..3 {
        assert_eq!(call(Some("wrong-secret")).await.status, 401);
    }
    let refused = call(Some("wrong-secret")).await;
    assert_eq!(refused.status, 429);
    assert!((1..=20).contains(&retry_after(&refused)), "{refused:?}");
    let message = refused.json()["message"].as_str().unwrap().to_owned();
    assert!(message.contains("wrong secrets"), "{message}");
    let stats = request(world.port, "GET", "/millrace/stats", Some(&basic("wrong-secret")), "").await;
    assert_eq!(stats.status, 429, "wherever it is asked for");
    assert_eq!(call(None).await.status, 401);
    // The application shares its address with others where there is a proxy, and goes on.
    assert_eq!(call(Some(SECRET)).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_as_long_as_the_operator_says() {
    const MOST: usize = 20_000;
    let world = World::with(1, |config| {
        config.limits.message_len_bytes_max = MOST;
        config.limits.data_len_bytes_max = 100;
    })
    .await;
    let session = world.session().await;
    let (mut bystander, _) = world.join(&session, "PUBLISHER").await;
    let frame = |len_bytes: usize| {
        let empty = json!({"jsonrpc": "2.0", "method": "ping", "params": {"x": ""}, "id": 7}).to_string();
        empty.replacen("\"x\":\"\"", &format!("\"x\":\"{}\"", "x".repeat(len_bytes - empty.len())), 1)
    };
    for (len_bytes, fits) in [(MOST, true), (MOST + 1, false), (40 * MOST, false)] {
        let mut client = Client::open(world.port).await;
        client.send_odd(&Odd::Text(&frame(len_bytes))).await;
        match client.frame().await {
            Ok(answer) => assert!(fits && answer["result"]["value"] == "pong", "{len_bytes}: {answer}"),
            Err(closed) => {
                let closed = closed.expect("the server said why");
                assert!(!fits && u16::from(closed.code) == 1009, "{len_bytes}: {closed:?}");
                assert_eq!(closed.reason.as_str(), "message too long");
            }
        }
        let body = |len_bytes| json!({"customSessionId": null, "x": "x".repeat(len_bytes)}).to_string();
        let len_bytes = len_bytes - body(0).len();
        let status = world.rest("POST", API, &body(len_bytes)).await.status;
        assert_eq!(status, if fits { 200 } else { 413 }, "{len_bytes}");
    }
    let path = format!("{API}/{session}/connection");
    for (len_bytes, fits) in [(100, true), (101, false)] {
        let data = "x".repeat(len_bytes);
        let status = world.rest("POST", &path, &json!({"data": data}).to_string()).await.status;
        assert_eq!(status, if fits { 200 } else { 400 });
        let token = world.token(&session, "PUBLISHER").await;
        let mut params = join_params(&session, &token);
        params["metadata"] = json!(data);
        let answer = Client::open(world.port).await.call("joinRoom", params).await;
        assert_eq!(answer["error"]["code"] == 500, !fits, "{answer}");
    }
    bystander.ok("echo", json!({})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_come_back_as_fast_as_the_operator_says() {
    let world = World::with(1, |config| config.limits.signal_bytes_per_s_max = 1).await;
    let session = world.session().await;
    let (mut client, _) = world.join(&session, "PUBLISHER").await;
    let message = json!({"to": [], "type": "signal:x", "data": "x".repeat(9_000)}).to_string();
    let mut sent = 0;
    let code = loop {
        let answer = client.call("sendMessage", json!({"message": message})).await;
        if let Some(code) = answer["error"]["code"].as_i64() {
            break code;
        }
        sent += 1;
    };
    // 128 KiB at once, 9 296 bytes each.
    assert_eq!((sent, code), (14, 600));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_web_socket_counts_as_the_connection_it_is() {
    let world = World::start().await;
    let session = world.session().await;
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(world.join(&session, "PUBLISHER").await);
    }
    // Requests come one at a time, so they alone are never as many.
    let counted = async |wanted: usize| {
        while world.server.sockets() != wanted {
            tokio::task::yield_now().await
        }
    };
    tokio::time::timeout(support::PATIENCE, counted(5)).await.unwrap();
    clients.clear();
    tokio::time::timeout(support::PATIENCE, counted(0)).await.unwrap();
}
