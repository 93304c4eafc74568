//! Call detail records: what is written, where, and how much of it is kept.

use crate::support;

use millrace_signaling::Config;
use serde_json::{Value, json};
use support::{World, request};

/// Writes records, with these bounds.
fn writing(len_bytes_max: u64, old_max: usize) -> impl FnOnce(&mut Config) {
    move |config| {
        config.events.cdr = true;
        config.events.cdr_file_len_bytes_max = len_bytes_max;
        config.events.cdr_old_files_max = old_max;
    }
}

/// Waits until so many lines are on disk.
async fn until_written(world: &World, count: u64) {
    let waiting = async {
        loop {
            let stats = world.rest("GET", "/millrace/stats", "").await.json();
            let cdr = &stats["signaling"]["events"]["cdr"];
            assert_eq!(cdr["lost"], 0);
            if cdr["written"].as_u64().expect("a number") >= count {
                assert_eq!(cdr["written"], count);
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(support::PATIENCE, waiting).await.expect("it was never written");
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn names(lines: &[Value]) -> Vec<&str> {
    lines
        .iter()
        .map(|line| line.as_object().expect("an object").keys().next().expect("a name").as_str())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_a_few_lines_for_whoever_has_the_secret() {
    let world = World::with(1, writing(1_000_000, 2)).await;
    let session = world.session().await;
    let (mut a, _) = world.join(&session, "PUBLISHER").await;
    let stream = a.publish().await["id"].clone();
    // Back on another PeerConnection: nothing new.
    let again = json!({"stream": stream, "sdpString": support::PUBLISH});
    a.ok("reconnectStream", again).await;
    let message = json!({"to": [], "type": "signal:chat", "data": "two\nlines"}).to_string();
    a.ok("sendMessage", json!({ "message": message })).await;
    a.ok("leaveRoom", json!({})).await;
    until_written(&world, 7).await;

    let list = world.rest("GET", "/openvidu/cdr", "").await;
    assert_eq!((list.status, list.json()), (200, json!(["CDR.log"])));
    let file = world.rest("GET", "/openvidu/cdr/CDR.log", "").await;
    assert_eq!(file.status, 200);
    assert!(file.headers.to_lowercase().contains("content-type: text/plain"), "{}", file.headers);
    assert_eq!(file.body, std::fs::read_to_string(world.dir.join("data/cdr/CDR.log")).unwrap());
    let lines = lines(&file.body);
    let expected = [
        "sessionCreated",
        "participantJoined",
        "webrtcConnectionCreated",
        "signalSent",
        "webrtcConnectionDestroyed",
        "participantLeft",
        "sessionDestroyed",
    ];
    assert_eq!(names(&lines), expected);
    let over = &lines[6]["sessionDestroyed"];
    let keys: Vec<&str> = over.as_object().unwrap().keys().map(String::as_str).collect();
    let all = ["sessionId", "uniqueSessionId", "timestamp", "startTime", "duration", "reason"];
    assert_eq!(keys, all, "without the name inside");
    assert_eq!(lines[3]["signalSent"]["data"], "two\nlines");

    for path in ["/openvidu/cdr", "/openvidu/cdr/CDR.log"] {
        assert_eq!(request(world.port, "GET", path, None, "").await.status, 401);
    }
    let config = world.rest("GET", "/openvidu/api/config", "").await.json();
    assert_eq!((&config["OPENVIDU_CDR"], &config["OPENVIDU_WEBHOOK"]), (&json!(true), &json!(false)));
    assert_eq!(world.rest("GET", "/openvidu/api/config/openvidu-cdr", "").await.body, "true");
}

#[tokio::test(flavor = "multi_thread")]
async fn old_files_are_put_aside_and_the_oldest_go() {
    // Some lines a file.
    let world = World::with(1, writing(500, 3)).await;
    for _ in 0..20 {
        let session = world.session().await;
        assert_eq!(world.rest("DELETE", &format!("/openvidu/api/sessions/{session}"), "").await.status, 204);
    }
    until_written(&world, 40).await;
    let listed: Vec<String> =
        serde_json::from_value(world.rest("GET", "/openvidu/cdr", "").await.json()).unwrap();
    assert_eq!(listed.len(), 4);
    assert_eq!(listed[3], "CDR.log");
    let mut all = Vec::new();
    for name in &listed {
        let body = world.rest("GET", &format!("/openvidu/cdr/{name}"), "").await.body;
        assert!(!body.is_empty() && body.len() <= 500, "{name}: {}", body.len());
        all.extend(lines(&body));
    }
    // What is left is the end of it, without a hole: made and over in turns, the last one over.
    assert!(all.len() >= 4 && all.len() < 40, "{}", all.len());
    for (at, name) in names(&all).iter().rev().enumerate() {
        assert_eq!(*name, if at % 2 == 0 { "sessionDestroyed" } else { "sessionCreated" });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_records_can_be_read_and_only_where_there_are_any() {
    let world = World::with(1, writing(1_000, 1)).await;
    std::fs::write(world.dir.join("data/cdr/other.txt"), "x").unwrap();
    for name in ["other.txt", "CDR-1.log", "..%2Fsecret", "%2e%2e%2fsignaling.redb", "CDR.log%00", "..", "."]
    {
        let status = world.rest("GET", &format!("/openvidu/cdr/{name}"), "").await.status;
        assert!(matches!(status, 400 | 404), "{name}: {status}");
    }
    let without = World::start().await;
    for path in ["/openvidu/cdr", "/openvidu/cdr/CDR.log"] {
        assert_eq!(without.rest("GET", path, "").await.status, 404);
    }
    assert_eq!(without.rest("GET", "/openvidu/api/config/openvidu-cdr", "").await.body, "false");
    assert!(!without.dir.join("data/cdr").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_cannot_be_stops_the_start() {
    use clap::Parser as _;
    let dir = support::scratch();
    std::fs::write(dir.join("file"), "x").unwrap();
    let (data, path) = (dir.join("data").display().to_string(), dir.join("file/cdr").display().to_string());
    let ports = ["x", "--https-port", "0", "--http-port", "0"];
    let arguments = ports.into_iter().chain(["--data-dir", &data, "--cdr", "--cdr-path", &path]);
    let config = Config::try_parse_from(arguments).unwrap();
    let Err(error) = millrace_signaling::Server::start(config).await else { panic!("it started") };
    assert!(error.to_string().contains("--cdr-path"), "{error}");
}
