//! What an application's server is told, and that nobody in a call notices how that server does.

use crate::support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use millrace_signaling::Config;
use serde_json::{Value, json};
use support::{Client, FakeRelay, Process, Reaction, Receiver, World};

const API: &str = "/openvidu/api";

/// Tells everything to that URL, without long pauses.
fn telling(url: String) -> impl FnOnce(&mut Config) {
    move |config| {
        config.events.webhook = true;
        config.events.webhook_endpoint = url;
        config.timing.webhook_pause = Duration::from_millis(1);
    }
}

async fn counts(world: &World) -> Value {
    world.rest("GET", "/millrace/stats", "").await.json()["signaling"]["events"]["webhook"].clone()
}

/// Waits until so many events came to nothing, or found no room.
async fn until(world: &World, what: &str, count: u64) -> Value {
    let waiting = async {
        loop {
            let counts = counts(world).await;
            if counts[what].as_u64().expect("a number") >= count {
                return counts;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(support::PATIENCE, waiting).await.expect("it never came to that")
}

async fn say(client: &mut Client, text: &str) {
    let message = json!({"to": [], "type": "signal:chat", "data": text}).to_string();
    client.ok("sendMessage", json!({ "message": message })).await;
}

fn names(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["event"].as_str().expect("a name")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_comes_in_order_with_its_fields() {
    let mut receiver = Receiver::start(|_| Reaction::Answer(200)).await;
    let url = receiver.url();
    let world = World::with(1, |config| {
        telling(url)(config);
        config.events.webhook_headers = vec![r#"["Authorization: Basic T1A=", "X-App: a, b"]"#.into()];
    })
    .await;
    let session = world.session().await;
    let (mut a, con_a) = world.join(&session, "MODERATOR").await;
    let (mut b, con_b) = world.join(&session, "PUBLISHER").await;
    let stream = a.publish().await["id"].as_str().unwrap().to_owned();
    b.watch(&stream).await;
    say(&mut a, "hi").await;
    let signal = json!({"session": session, "to": [con_a], "type": "signal:chat", "data": "ho"});
    assert_eq!(world.rest("POST", &format!("{API}/signal"), &signal.to_string()).await.status, 200);
    a.ok("forceDisconnect", json!({ "connectionId": con_b })).await;
    a.ok("unpublishVideo", json!({})).await;
    a.ok("leaveRoom", json!({})).await;

    let first = receiver.told().await;
    let head = first.head.to_lowercase();
    assert!(head.starts_with("post /hook?from=here http/1.1\r\n"), "{head}");
    for line in
        ["content-type: application/json", "authorization: basic t1a=", "x-app: a, b", "host: 127.0.0.1"]
    {
        assert!(head.contains(line), "{head}");
    }
    let mut events = vec![first.event];
    events.extend(receiver.until_destroyed().await);
    let fields: Vec<(&str, usize)> = events
        .iter()
        .map(|event| (event["event"].as_str().unwrap(), event.as_object().unwrap().len() - 1))
        .collect();
    let expected = [
        ("sessionCreated", 3),
        ("participantJoined", 10),
        ("participantJoined", 10),
        ("webrtcConnectionCreated", 12),
        ("webrtcConnectionCreated", 13),
        ("signalSent", 7),
        ("signalSent", 7),
        ("webrtcConnectionDestroyed", 16),
        ("participantLeft", 13),
        ("webrtcConnectionDestroyed", 15),
        ("participantLeft", 13),
        ("sessionDestroyed", 6),
    ];
    assert_eq!(fields, expected);
    let unique = events[0]["uniqueSessionId"].clone();
    assert_eq!(unique, format!("{session}_{}", events[0]["timestamp"]));
    assert!(events.iter().all(|event| event["sessionId"] == session && event["uniqueSessionId"] == unique));
    assert_eq!((&events[3]["connection"], &events[3]["streamId"]), (&json!("OUTBOUND"), &json!(stream)));
    assert_eq!((&events[4]["connection"], &events[4]["receivingFrom"]), (&json!("INBOUND"), &json!(con_a)));
    assert_eq!((&events[5]["from"], &events[5]["type"]), (&json!(con_a), &json!("chat")));
    assert_eq!((&events[6]["from"], &events[6]["type"]), (&Value::Null, &json!("signal:chat")));
    let reasons: Vec<&str> = events[7..].iter().map(|event| event["reason"].as_str().unwrap()).collect();
    let put_out = "forceDisconnectByUser";
    assert_eq!(reasons, [put_out, put_out, "unpublish", "disconnect", "lastParticipantLeft"]);
    assert_eq!(events[9]["startTime"], events[3]["timestamp"]);
    assert_eq!(events[11]["startTime"], events[0]["timestamp"]);

    let config = world.rest("GET", &format!("{API}/config"), "").await.json();
    assert_eq!((&config["OPENVIDU_WEBHOOK"], &config["OPENVIDU_CDR"]), (&json!(true), &json!(false)));
    assert_eq!(config["OPENVIDU_WEBHOOK_HEADERS"], json!(["Authorization: Basic T1A=", "X-App: a, b"]));
    assert_eq!(config["OPENVIDU_WEBHOOK_EVENTS"].as_array().unwrap().len(), 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_wanted_is_told() {
    let mut receiver = Receiver::start(|_| Reaction::Answer(204)).await;
    let url = receiver.url();
    let world = World::with(1, |config| {
        telling(url)(config);
        config.events.webhook_events =
            vec!["[participantLeft,sessionDestroyed,recordingStatusChanged]".into()];
    })
    .await;
    let session = world.session().await;
    let (mut a, _) = world.join(&session, "PUBLISHER").await;
    say(&mut a, "hi").await;
    a.ok("leaveRoom", json!({})).await;
    assert_eq!(names(&receiver.until_destroyed().await), ["participantLeft", "sessionDestroyed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_receiver_holds_nobody_up_and_gets_its_order() {
    let mut receiver = Receiver::start(|_| Reaction::Hold).await;
    let world = World::with(1, telling(receiver.url())).await;
    let session = world.session().await;
    assert_eq!(receiver.event().await["event"], "sessionCreated");
    // It answers nothing, and a whole call goes by.
    let (mut a, _) = world.join(&session, "PUBLISHER").await;
    let stream = a.publish().await["id"].as_str().unwrap().to_owned();
    let (mut b, _) = world.join(&session, "SUBSCRIBER").await;
    b.watch(&stream).await;
    for number in 0..20 {
        say(&mut b, &number.to_string()).await;
    }
    // Another session is told meanwhile.
    let other = world.session().await;
    assert_eq!(receiver.event().await["sessionId"], other);
    b.ok("leaveRoom", json!({})).await;
    a.ok("leaveRoom", json!({})).await;
    assert!(receiver.is_silent(), "one at a time in each session");

    receiver.let_go(1_000);
    let events = receiver.until_destroyed().await;
    let said: Vec<&str> = events.iter().filter_map(|event| event["data"].as_str()).collect();
    let expected: Vec<String> = (0..20).map(|number| number.to_string()).collect();
    assert_eq!(said, expected);
    let mut count = BTreeMap::new();
    names(&events).into_iter().for_each(|name| *count.entry(name).or_insert(0) += 1);
    assert_eq!((count["participantJoined"], count["participantLeft"], count["signalSent"]), (2, 2, 20));
    assert_eq!(counts(&world).await["dropped"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_bounded_and_the_rest_is_counted() {
    let mut receiver = Receiver::start(|_| Reaction::Hold).await;
    let url = receiver.url();
    let world = World::with(1, |config| {
        telling(url)(config);
        // Five of one session.
        config.events.webhook_waiting_max = 50;
    })
    .await;
    let session = world.session().await;
    receiver.event().await;
    let (mut a, _) = world.join(&session, "SUBSCRIBER").await;
    for number in 0..30 {
        say(&mut a, &number.to_string()).await;
    }
    // Joining and four signals wait behind the first event.
    let stuck = until(&world, "dropped", 26).await;
    assert_eq!(stuck, json!({"waiting": 5, "delivered": 0, "failed": 0, "dropped": 26}));
    receiver.let_go(1_000);
    assert_eq!(receiver.event().await["event"], "participantJoined");
    for number in 0..4 {
        assert_eq!(receiver.event().await["data"], number.to_string(), "without a hole");
    }
    until(&world, "delivered", 6).await;
    say(&mut a, "again").await;
    assert_eq!(receiver.event().await["data"], "again", "there is room again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_receiver_is_asked_again_five_times_in_order() {
    // Every event fails twice before it is taken, in two ways.
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    let mut receiver = Receiver::start(move |event| {
        let attempt = seen.entry(event.to_string()).or_default();
        *attempt += 1;
        match *attempt {
            1 => Reaction::Answer(500),
            2 => Reaction::HangUp,
            _ => Reaction::Answer(200),
        }
    })
    .await;
    let world = World::with(1, telling(receiver.url())).await;
    let session = world.session().await;
    let (mut a, _) = world.join(&session, "PUBLISHER").await;
    a.ok("leaveRoom", json!({})).await;
    for name in ["sessionCreated", "participantJoined", "participantLeft", "sessionDestroyed"] {
        for _ in 0..3 {
            assert_eq!(receiver.event().await["event"], name);
        }
    }
    let counts = until(&world, "delivered", 4).await;
    assert_eq!((&counts["failed"], &counts["dropped"]), (&json!(0), &json!(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_never_taken_is_given_up_and_the_next_one_comes() {
    let mut receiver = Receiver::start(|event| match event["event"].as_str().unwrap() {
        "sessionCreated" => Reaction::Answer(503),
        // No reason to ask again.
        "participantJoined" => Reaction::Answer(404),
        _ => Reaction::Answer(200),
    })
    .await;
    let world = World::with(1, telling(receiver.url())).await;
    let session = world.session().await;
    let (mut a, _) = world.join(&session, "PUBLISHER").await;
    a.ok("leaveRoom", json!({})).await;
    let events = receiver.until_destroyed().await;
    let created = "sessionCreated";
    let rest = ["participantJoined", "participantLeft", "sessionDestroyed"];
    assert_eq!(names(&events), [&[created; 5][..], &rest].concat());
    let counts = until(&world, "delivered", 2).await;
    assert_eq!(counts["failed"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_receiver_calls_are_what_they_were() {
    let gone = Receiver::start(|_| Reaction::Answer(200)).await.url();
    let world = World::with(1, telling(gone)).await;
    let session = world.session().await;
    let (mut a, _) = world.join(&session, "PUBLISHER").await;
    let (mut b, _) = world.join(&session, "SUBSCRIBER").await;
    a.told("participantJoined").await;
    let stream = a.publish().await["id"].as_str().unwrap().to_owned();
    b.told("participantPublished").await;
    b.watch(&stream).await;
    say(&mut b, "hi").await;
    assert_eq!(a.told("sendMessage").await["data"], "hi");
    let counts = until(&world, "failed", 6).await;
    assert_eq!((&counts["delivered"], &counts["waiting"]), (&json!(0), &json!(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_checked_unless_the_operator_says_otherwise() {
    // Of a receiver with a certificate of its own: by default, with that in a file, and with the check switched off.
    for (in_file, verify) in [(false, true), (true, true), (false, false)] {
        let mut receiver = Receiver::secure(|_| Reaction::Answer(200)).await;
        let url = format!("https://localhost:{}/hook", receiver.port);
        let dir = support::scratch();
        let file = dir.join("receiver.pem");
        std::fs::write(&file, receiver.certificate.as_ref().unwrap()).unwrap();
        let world = World::with(1, |config| {
            telling(url)(config);
            config.events.webhook_ca_file = in_file.then_some(file);
            config.events.webhook_verify_tls = verify;
        })
        .await;
        world.session().await;
        if verify && !in_file {
            until(&world, "failed", 1).await;
            assert!(receiver.is_silent());
        } else {
            assert_eq!(receiver.event().await["event"], "sessionCreated");
        }
    }
}

/// What the process logs, for a test.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no test panics with it").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// On one thread, so that everything logs to this test.
#[tokio::test]
async fn the_log_says_what_to_do_about_a_certificate() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let receiver = Receiver::secure(|_| Reaction::Answer(200)).await;
    let url = format!("https://localhost:{}/hook", receiver.port);
    let world = World::with(1, telling(url)).await;
    world.session().await;
    world.session().await;
    until(&world, "failed", 2).await;
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("the webhook did not take")).collect();
    let [line] = lines[..] else { panic!("once, and not for each event: {text}") };
    for word in
        ["its certificate is not trusted", "events.webhook-ca-file", "events.webhook-verify-tls to false"]
    {
        assert!(line.contains(word), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_keeps_its_id_in_every_attempt_and_each_is_signed() {
    const WEBHOOK_SECRET: &str = "a secret of the webhook";
    let mut attempts = 0;
    let mut receiver = Receiver::start(move |_| {
        attempts += 1;
        Reaction::Answer(if attempts < 3 { 503 } else { 200 })
    })
    .await;
    let url = receiver.url();
    let world = World::with(1, |config| {
        telling(url)(config);
        config.events.webhook_secret = Some(WEBHOOK_SECRET.into());
    })
    .await;
    let before_s = support::now_s();
    world.session().await;
    world.session().await;
    let told = [receiver.told().await, receiver.told().await, receiver.told().await, receiver.told().await];
    let mut ids: BTreeMap<&str, (u32, &Value)> = BTreeMap::new();
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, WEBHOOK_SECRET.as_bytes());
    for request in &told {
        let id = request.header("X-Millrace-Event-Id").expect("an id");
        let (count, event) = ids.entry(id).or_insert((0, &request.event));
        *count += 1;
        assert_eq!(*event, &request.event, "one id is one event");
        let signature = request.header("X-Millrace-Signature").expect("a signature");
        let (at_s, digits) = signature.strip_prefix("t=").unwrap().split_once(",v1=").unwrap();
        assert!((before_s..=support::now_s()).contains(&at_s.parse().unwrap()), "{signature}");
        let signed = [at_s.as_bytes(), b".", &request.body].concat();
        let tag = aws_lc_rs::hmac::sign(&key, &signed);
        let expected: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(digits, expected);
    }
    assert_eq!(ids.values().map(|(count, _)| count).sum::<u32>(), 4);
    assert_eq!(ids.len(), 2, "two events, one of which failed, or both: {ids:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_secret_nothing_is_signed() {
    let mut receiver = Receiver::start(|_| Reaction::Answer(200)).await;
    let world = World::with(1, telling(receiver.url())).await;
    world.session().await;
    let told = receiver.told().await;
    assert!(told.header("X-Millrace-Event-Id").is_some() && told.header("X-Millrace-Signature").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_that_cannot_be_stops_the_start() {
    use clap::Parser as _;
    let dir = support::scratch();
    let data = dir.join("data").display().to_string();
    let arguments = ["x", "--https-port", "0", "--http-port", "0", "--data-dir", &data, "--webhook"];
    let config = Config::try_parse_from(arguments).unwrap();
    let Err(error) = millrace_signaling::Server::start(config).await else { panic!("it started") };
    assert!(error.to_string().contains("--webhook-endpoint"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_told_to_end_tells_first_what_happened() {
    let mut receiver = Receiver::start(|_| Reaction::Hold).await;
    let dir = support::scratch();
    let _relay = FakeRelay::start(&dir, 1);
    let process = Process::with(&dir, &["--webhook", "--webhook-endpoint", &receiver.url(), "--cdr"]).await;
    let session = support::session(process.port).await;
    let (mut a, _) = support::join(process.port, &session, "PUBLISHER").await;
    a.ok("leaveRoom", json!({})).await;
    assert_eq!(receiver.event().await["event"], "sessionCreated");
    process.tell_to_end();
    receiver.let_go(4);
    let rest = receiver.until_destroyed().await;
    assert_eq!(names(&rest), ["participantJoined", "participantLeft", "sessionDestroyed"]);
    assert!(tokio::task::spawn_blocking(|| process.ends_well()).await.expect("it is waited for"));
    let records = std::fs::read_to_string(dir.join("data/cdr/CDR.log")).expect("records");
    assert_eq!(records.lines().count(), 4);
}
