//! The RPC, row by row.

use millrace_signaling::openvidu::rpc::METHODS;
use serde_json::{Value, json};

use crate::support::{Client, Odd, SUBSCRIBE, World, join_params, publish_params};
use crate::tables::{FRAMES, HARMLESS, READS_NOTHING, TYPES, VALUES};
use crate::{API, Bystander};

/// Parameters that are right for a moderator who watches somebody of its own session.
fn right(method: &str, host: &str, stream: &str) -> Value {
    match method {
        "joinRoom" => join_params("ses_none", "tok_none"),
        "publishVideo" => publish_params(),
        "receiveVideoFrom" => json!({"sender": stream, "sdpOffer": SUBSCRIBE}),
        "prepareReceiveVideoFrom" => json!({"sender": stream, "reconnect": false}),
        "unsubscribeFromVideo" => json!({"sender": host}),
        "reconnectStream" => json!({"stream": stream, "sdpOffer": SUBSCRIBE, "forciblyReconnect": false}),
        "onIceCandidate" => {
            json!({"endpointName": host, "candidate": "", "sdpMid": "0", "sdpMLineIndex": 0})
        }
        "sendMessage" => json!({"message": "{\"to\":[],\"type\":\"signal:x\",\"data\":\"y\"}"}),
        "streamPropertyChanged" => {
            json!({"streamId": stream, "property": "videoActive", "newValue": true, "reason": "x"})
        }
        "videoData" => json!({"width": 1, "height": 1, "videoActive": true, "audioActive": true}),
        _ => json!({}),
    }
}

/// A session with somebody who publishes, where the rows are tried.
struct Stage {
    session: String,
    host: String,
    stream: String,
    _publisher: Client,
}

impl Stage {
    async fn new(world: &World) -> Self {
        let session = world.session().await;
        let (mut publisher, host) = world.join(&session, "PUBLISHER").await;
        let stream = publisher.publish().await["id"].as_str().unwrap().to_owned();
        Self { session, host, stream, _publisher: publisher }
    }

    /// Somebody who may call `method`: not joined yet where that is the point of it.
    async fn caller(&self, world: &World, method: &str) -> Client {
        match method {
            "joinRoom" | "connect" => Client::open(world.port).await,
            _ => world.join(&self.session, "MODERATOR").await.0,
        }
    }

    /// Parameters of `method`, one of which is replaced.
    async fn params(&self, world: &World, method: &str, name: &str, value: Option<Value>) -> Value {
        let mut params = right(method, &self.host, &self.stream);
        if method == "joinRoom" {
            params = join_params(&self.session, &world.token(&self.session, "PUBLISHER").await);
        }
        match value {
            Some(value) => params[name] = value,
            None => drop(params.as_object_mut().unwrap().remove(name)),
        }
        params
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_parameter_of_every_method_is_what_it_should_be() {
    let world = World::start().await;
    let mut bystander = Bystander::of(&world).await;
    let stage = Stage::new(&world).await;
    for method in METHODS.iter().map(|method| method.name) {
        let named = TYPES.iter().any(|row| row.0 == method) || READS_NOTHING.contains(&method);
        assert!(named, "{method} is in no table");
    }
    for (method, name, wanted, code) in TYPES {
        let mut caller = stage.caller(&world, method).await;
        for value in wanted.wrong() {
            if method == "publishVideo" && name == "filter" && value == Some(json!({})) {
                continue; // No filter is what there is.
            }
            let row = format!("{method} with {name} = {value:?}");
            let params = stage.params(&world, method, name, value).await;
            let answer = caller.call(method, params).await;
            assert_eq!(answer["error"]["code"], code, "{row}: {answer}");
            assert!(answer["error"]["message"].as_str().is_some_and(|words| !words.is_empty()), "{row}");
            bystander.fine(&row).await;
        }
    }
    assert!(bystander.rows > 300, "{}", bystander.rows);
    bystander.leave(&world, "wrong types").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_that_are_no_use_have_their_documented_errors() {
    let world = World::start().await;
    let mut bystander = Bystander::of(&world).await;
    let stage = Stage::new(&world).await;
    for (method, name, values, code) in VALUES {
        let mut caller = stage.caller(&world, method).await;
        for value in values {
            let row = format!("{method} with {name} = {:.40}", format!("{value:?}"));
            let params = stage.params(&world, method, name, Some(json!(value))).await;
            assert_eq!(caller.error(method, params).await, code, "{row}");
            bystander.fine(&row).await;
        }
    }
    // What belongs to another session is as good as nothing.
    let (con, stream) = (bystander.id.clone(), bystander.stream.clone());
    let mut caller = stage.caller(&world, "").await;
    let to = json!({"to": [con], "type": "signal:x", "data": "y"}).to_string();
    for (method, name, value, code) in [
        ("receiveVideoFrom", "sender", &stream, 105),
        ("prepareReceiveVideoFrom", "sender", &stream, 105),
        ("unsubscribeFromVideo", "sender", &con, 102),
        ("reconnectStream", "stream", &stream, 105),
        ("onIceCandidate", "endpointName", &con, 102),
        ("sendMessage", "message", &to, 601),
        ("forceDisconnect", "connectionId", &con, 102),
        ("forceUnpublish", "streamId", &stream, 105),
    ] {
        let params = stage.params(&world, method, name, Some(json!(value))).await;
        assert_eq!(caller.error(method, params).await, code, "{method}");
        bystander.fine(method).await;
    }
    bystander.leave(&world, "useless texts").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_real_clients_may_say_is_let_through() {
    let world = World::start().await;
    let mut bystander = Bystander::of(&world).await;
    let stage = Stage::new(&world).await;
    for (method, name, values) in HARMLESS {
        for value in values {
            let row = format!("{method} with {name} = {value}");
            let mut caller = stage.caller(&world, method).await;
            let params = stage.params(&world, method, name, None).await.to_string();
            // As text: some of these are no value of ours.
            let open = params.strip_suffix('}').unwrap();
            let comma = if open == "{" { "" } else { "," };
            let frame = format!(
                r#"{{"jsonrpc":"2.0","id":99,"method":"{method}","params":{open}{comma}"{name}":{value}}}}}"#
            );
            caller.send_text(&frame).await;
            let answer = caller.answer(99).await;
            assert!(answer.get("result").is_some(), "{row}: {answer}");
            caller.ok("leaveRoom", json!({})).await;
            bystander.fine(&row).await;
        }
    }
    bystander.leave(&world, "let through").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_are_no_requests_are_answered_and_the_third_is_the_last() {
    let world = World::start().await;
    let mut bystander = Bystander::of(&world).await;
    let stage = Stage::new(&world).await;
    for (row, text, code) in FRAMES {
        let mut caller = stage.caller(&world, "").await;
        caller.send_text(text).await;
        let answer = caller.frame().await.expect("one is forgiven");
        assert_eq!(answer["error"]["code"], code, "{row}: {answer}");
        assert!(answer.as_object().is_some_and(|answer| answer.contains_key("id")), "{row}: {answer}");
        // It did nothing, and the socket goes on.
        assert_eq!(caller.ok("echo", json!({})).await, json!({}), "{row}");
        if code != -32_601 {
            caller.send_text(text).await;
            caller.send_text(text).await;
            let ends = async {
                loop {
                    if let Err(end) = caller.frame().await {
                        return end;
                    }
                }
            };
            let closed = ends.await.expect("the server says why");
            assert_eq!(u16::from(closed.code), 1008, "{row}");
        }
        bystander.fine(row).await;
    }
    let long = format!(r#"{{"jsonrpc":"2.0","method":"{}","id":1}}"#, "x".repeat(65));
    let nested = format!("{}{}", "[".repeat(30_000), "]".repeat(30_000));
    for (row, text, code) in [("a long name", long, -32_600), ("great depth", nested, -32_700)] {
        let mut caller = stage.caller(&world, "").await;
        caller.send_text(&text).await;
        assert_eq!(caller.frame().await.unwrap()["error"]["code"], code, "{row}");
        bystander.fine(row).await;
    }
    // What is not even text. Each row: what it is, the frame, how often, and how the socket is closed.
    let oversized = "x".repeat(65_537);
    for (row, frame, count, code) in [
        ("bytes", Odd::Binary(b"\0\xff\xfe"), 3, 1008),
        ("a request in bytes", Odd::Binary(br#"{"jsonrpc":"2.0","method":"ping","id":1}"#), 3, 1008),
        ("text that is none", Odd::BadText(b"\xc3\x28"), 1, 1007),
        ("too long a text", Odd::Text(&oversized), 1, 1009),
        ("too many bytes", Odd::Binary(oversized.as_bytes()), 1, 1009),
    ] {
        let mut caller = stage.caller(&world, "").await;
        for _ in 0..count {
            caller.send_odd(&frame).await;
        }
        let closed = loop {
            match caller.frame().await {
                Ok(answer) => assert_eq!(answer["error"]["code"], -32_700, "{row}"),
                Err(closed) => break closed,
            }
        };
        assert_eq!(closed.map(|frame| u16::from(frame.code)), Some(code), "{row}");
        bystander.fine(row).await;
    }
    bystander.leave(&world, "frames").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_done_for_who_has_not_joined_and_no_token_works_twice() {
    let world = World::start().await;
    let mut bystander = Bystander::of(&world).await;
    let stage = Stage::new(&world).await;
    let methods = METHODS.iter().filter(|method| method.needs_join()).map(|method| method.name);
    for method in methods.chain(["nothing", "", "__proto__"]) {
        let params = right(method, &bystander.id, &bystander.stream);
        assert_eq!(Client::open(world.port).await.error(method, params).await, 803, "{method}");
        bystander.fine(method).await;
    }

    let (here, there) = (stage.session.clone(), bystander.session.clone());
    let used = world.token(&here, "PUBLISHER").await;
    let (mut inside, joined) = Client::join(world.port, &here, &used).await;
    let taken_back = world.token(&here, "PUBLISHER").await;
    let listed = world.rest("GET", &format!("{API}/sessions/{here}/connection"), "").await.json();
    let pending = listed["content"].as_array().unwrap().last().unwrap()["id"].as_str().unwrap().to_owned();
    world.rest("DELETE", &format!("{API}/sessions/{here}/connection/{pending}"), "").await;
    let over = world.session().await;
    let too_late = world.token(&over, "PUBLISHER").await;
    world.rest("DELETE", &format!("{API}/sessions/{over}"), "").await;
    let (mut left, gone) = Client::join(world.port, &here, &world.token(&here, "PUBLISHER").await).await;
    left.ok("leaveRoom", json!({})).await;
    let unused = world.token(&here, "PUBLISHER").await;

    assert_eq!(inside.error("joinRoom", join_params(&here, &unused)).await, 104, "it is in already");
    for (row, session, token, code) in [
        ("used", &here, used.as_str(), 401),
        ("used, without its URL", &here, used.split("token=").nth(1).unwrap(), 401),
        ("taken back", &here, &taken_back, 401),
        ("of another session", &there, &unused, 401),
        ("of a session that is over", &over, &too_late, 202),
        ("the number of a session in place of one", &here, joined["sessionId"].as_str().unwrap(), 401),
    ] {
        let mut caller = Client::open(world.port).await;
        assert_eq!(caller.error("joinRoom", join_params(session, token)).await, code, "{row}");
        bystander.fine(row).await;
    }
    for (row, number) in [("of one who left", &gone["sessionId"]), ("no number", &joined["id"])] {
        let mut caller = Client::open(world.port).await;
        assert_eq!(caller.error("connect", json!({"sessionId": number})).await, 40_007, "{row}");
        bystander.fine(row).await;
    }
    // All that spoilt nothing: the unused one is still good.
    Client::open(world.port).await.ok("joinRoom", join_params(&here, &unused)).await;
    bystander.leave(&world, "strangers and tokens").await;
}
