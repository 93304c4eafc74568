//! The REST API: shapes and statuses.

use crate::support;

use futures_util::StreamExt as _;
use serde_json::{Value, json};
use support::{Client, SECRET, World, basic, exchange, request};

const API: &str = "/openvidu/api";

#[tokio::test(flavor = "multi_thread")]
async fn nothing_works_without_the_secret_but_the_public_url() {
    let world = World::start().await;
    let close = basic("test-secreT");
    for authorization in
        [None, Some(close.as_str()), Some("Bearer test-secret"), Some("Basic"), Some("Basic !!!")]
    {
        for (method, path) in [
            ("GET", "/openvidu/api/sessions"),
            ("POST", "/openvidu/api/sessions"),
            ("GET", "/openvidu/api/config"),
            ("GET", "/openvidu/api/nothing"),
            ("DELETE", "/openvidu/api/sessions"),
            ("GET", "/millrace/stats"),
            ("POST", "/millrace/debug/panic/0"),
        ] {
            let answer = request(world.port, method, path, authorization, "").await;
            assert_eq!(answer.status, 401, "{method} {path} {authorization:?}");
            assert!(answer.headers.to_lowercase().contains("www-authenticate: basic"), "{answer:?}");
            assert_eq!(answer.json()["path"], path);
        }
    }
    let answer = request(world.port, "GET", "/openvidu/api/config/openvidu-publicurl", None, "").await;
    assert_eq!((answer.status, answer.body), (200, format!("http://localhost:{}", world.port)));
    let answer = request(world.port, "GET", "/millrace/ready", None, "").await;
    assert_eq!(answer.status, 200);
    assert!(world.rest("GET", "/openvidu/api/sessions", "").await.status == 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn statuses_are_the_originals() {
    let world = World::start().await;
    world.rest("POST", &format!("{API}/sessions"), r#"{"customSessionId":"A"}"#).await;
    let table = [
        // Sessions.
        ("POST", "/sessions", r#"{"customSessionId":"A"}"#, 409),
        ("POST", "/sessions", "", 200),
        ("POST", "/sessions", "[]", 400),
        ("POST", "/sessions", "{", 400),
        ("POST", "/sessions", r#"{"mediaMode":"X"}"#, 400),
        ("POST", "/sessions", r#"{"customSessionId":"a/b"}"#, 400),
        ("GET", "/sessions", "", 200),
        ("GET", "/sessions/A", "", 200),
        ("GET", "/sessions/A?pendingConnections=true&webRtcStats=true", "", 200),
        ("GET", "/sessions/A?pendingConnections=x", "", 400),
        ("GET", "/sessions?webRtcStats=1", "", 400),
        ("GET", "/sessions/%FF", "", 400),
        ("GET", "/sessions/B", "", 404),
        ("DELETE", "/sessions/B", "", 404),
        ("DELETE", "/sessions", "", 403),
        ("PUT", "/sessions/A", "", 403),
        // Connections.
        ("POST", "/sessions/B/connection", "{}", 404),
        ("POST", "/sessions/A/connection", "", 200),
        ("POST", "/sessions/A/connection", r#"{"role":"X"}"#, 400),
        ("POST", "/sessions/A/connection", r#"{"customIceServers":[{"url":"turn:h"}]}"#, 400),
        ("POST", "/sessions/A/connection", r#"{"type":"IPCAM"}"#, 400),
        ("POST", "/sessions/A/connection", r#"{"type":"IPCAM","rtspUri":"gopher://h"}"#, 400),
        ("GET", "/sessions/A/connection", "", 200),
        ("GET", "/sessions/B/connection", "", 404),
        ("GET", "/sessions/A/connection/con_X", "", 404),
        ("GET", "/sessions/B/connection/con_X", "", 400),
        ("DELETE", "/sessions/A/connection/con_X", "", 404),
        ("DELETE", "/sessions/B/connection/con_X", "", 400),
        ("PATCH", "/sessions/A/connection/con_X", r#"{"role":"MODERATOR"}"#, 403),
        ("DELETE", "/sessions/A/stream/str_X", "", 404),
        ("DELETE", "/sessions/B/stream/str_X", "", 400),
        ("POST", "/tokens", r#"{"session":"A"}"#, 200),
        ("POST", "/tokens", r#"{"session":"B"}"#, 404),
        ("POST", "/tokens", "{}", 400),
        // Signals.
        ("POST", "/signal", "{}", 400),
        ("POST", "/signal", r#"{"session":"A","to":"con_X"}"#, 400),
        ("POST", "/signal", r#"{"session":"B"}"#, 404),
        ("POST", "/signal", r#"{"session":"A"}"#, 406),
        // The rest.
        ("GET", "/config", "", 200),
        ("GET", "/config/openvidu-version", "", 200),
        ("GET", "/config/openvidu-recording-path", "", 200),
        ("GET", "/recordings", "", 501),
        ("GET", "/recordings/x", "", 501),
        ("POST", "/recordings/start", "{}", 501),
        ("POST", "/recordings/stop/x", "", 501),
        ("POST", "/recordings/stop", "", 403),
        ("DELETE", "/recordings", "", 403),
        ("POST", "/config/openvidu-publicurl", "", 403),
        ("GET", "/health", "", 403),
        ("DELETE", "/sessions/A", "", 204),
    ];
    for (method, path, body, status) in table {
        let answer = world.rest(method, &format!("{API}{path}"), body).await;
        assert_eq!(answer.status, status, "{method} {path} {body}: {answer:?}");
        if matches!(status, 400 | 403) {
            assert_eq!(answer.json()["status"], status);
            assert_eq!(answer.json()["path"], format!("{API}{}", path.split('?').next().unwrap()));
        }
        if matches!(status, 404 | 406 | 409 | 501) {
            assert_eq!(answer.body, "", "{method} {path}");
        }
    }
    let huge = format!(r#"{{"data":"{}"}}"#, "x".repeat(70_000));
    let answer = world.rest("POST", "/openvidu/api/sessions", &huge).await;
    assert_eq!((answer.status, answer.json()["status"].clone()), (413, json!(413)));
    let camera = r#"{"type":"IPCAM","rtspUri":"rtsp://192.0.2.1/a"}"#;
    let answer = world.rest("POST", &format!("{API}/tokens"), r#"{"session":"B","type":"IPCAM"}"#).await;
    assert_eq!(answer.status, 400);
    world.rest("POST", &format!("{API}/sessions"), r#"{"customSessionId":"C"}"#).await;
    let answer = world.rest("POST", &format!("{API}/sessions/C/connection"), camera).await;
    assert_eq!(answer.status, 501);
    assert_eq!(answer.json()["message"], "this server does not support IP cameras");
    assert_eq!(world.rest("POST", "/millrace/debug/panic/0", "").await.status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_of_older_releases_are_there_when_they_are_wanted() {
    let world = World::start().await;
    let older = World::with(1, |config| config.rest.support_deprecated_api = true).await;
    let public = [("/accept-certificate", 200), ("/config/openvidu-publicurl", 200)];
    let protected = [
        ("/api/sessions", 200),
        ("/api/nothing", 403),
        ("/config", 200),
        ("/config/openvidu-version", 200),
        ("/recordings/a/a.mp4", 404),
        ("/layouts/custom/index.html", 404),
    ];
    for (path, status) in public.into_iter().chain(protected) {
        assert_eq!(world.rest("GET", path, "").await.status, 404, "{path} is off by default");
        assert_eq!(older.rest("GET", path, "").await.status, status, "{path}");
        let expected = if public.contains(&(path, status)) { status } else { 401 };
        assert_eq!(request(older.port, "GET", path, None, "").await.status, expected, "{path}");
    }
    let made = older.rest("POST", "/api/sessions", r#"{"customSessionId":"old"}"#).await.json();
    assert_eq!(older.rest("GET", &format!("{API}/sessions/old"), "").await.json(), made);
    let answer = older.rest("PUT", "/api/sessions", "").await;
    assert_eq!((answer.status, answer.json()["path"].clone()), (403, json!("/api/sessions")));
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_may_accept_the_certificate_and_learn_nothing_else() {
    let world = World::start().await;
    let answer = request(world.port, "GET", "/openvidu/accept-certificate", None, "").await;
    assert!(answer.status == 200 && answer.headers.contains("text/html"), "{answer:?}");
    let path = "/openvidu/recordings/ses_A/ses_A.mp4";
    assert_eq!(request(world.port, "GET", path, None, "").await.status, 401);
    assert_eq!(world.rest("GET", path, "").await.status, 404);
    let stream = tokio::net::TcpStream::connect(("127.0.0.1", world.port)).await.unwrap();
    let url = format!("ws://localhost:{}/openvidu/info", world.port);
    let (mut socket, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
    let greeting = socket.next().await.unwrap().unwrap();
    assert!(greeting.to_text().unwrap().starts_with("Millrace "), "{greeting:?}");
    assert!(socket.next().await.unwrap().unwrap().is_close());
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_and_connections_have_the_originals_shape() {
    let world = World::start().await;
    let filled = r#"{"mediaMode":"ROUTED","recordingMode":"MANUAL","customSessionId":"","defaultRecordingProperties":
        {"name":"","hasAudio":true,"hasVideo":true,"outputMode":"COMPOSED","recordingLayout":"BEST_FIT",
         "resolution":"1280x720","frameRate":25,"shmSize":536870912}}"#;
    let session = world.rest("POST", "/openvidu/api/sessions", filled).await.json();
    let id = session["id"].as_str().unwrap().to_owned();
    let mut expected = json!({
        "id": id, "object": "session", "sessionId": id, "createdAt": session["createdAt"], "recording": false,
        "broadcasting": false, "mediaMode": "ROUTED", "recordingMode": "MANUAL",
        "defaultRecordingProperties": {"name": "", "hasAudio": true, "hasVideo": true, "outputMode": "COMPOSED",
            "recordingLayout": "BEST_FIT", "resolution": "1280x720", "frameRate": 25, "shmSize": 536870912},
        "customSessionId": "", "forcedVideoCodec": "MEDIA_SERVER_PREFERRED", "allowTranscoding": false,
        "connections": {"numberOfElements": 0, "content": []}});
    assert_eq!(session.to_string(), expected.to_string(), "the order of the keys counts too");

    let path = format!("/openvidu/api/sessions/{id}/connection");
    let connection = world.rest("POST", &path, r#"{"data":"server","record":false}"#).await.json();
    let (con, token) = (connection["id"].clone(), connection["token"].clone());
    let pending = json!({
        "id": con, "object": "connection", "status": "pending", "connectionId": con, "sessionId": id,
        "createdAt": connection["createdAt"], "type": "WEBRTC", "record": false, "role": "PUBLISHER",
        "kurentoOptions": null, "customIceServers": [], "rtspUri": null, "adaptativeBitrate": null,
        "onlyPlayWithSubscribers": null, "networkCache": null, "serverData": "server", "token": token,
        "activeAt": null, "location": null, "ip": null, "platform": null, "clientData": null, "publishers": null,
        "subscribers": null});
    assert_eq!(connection.to_string(), pending.to_string());

    let get = |path: String| async {
        let path = path;
        world.rest("GET", &path, "").await.json()
    };
    assert_eq!(get(format!("/openvidu/api/sessions/{id}")).await, expected, "pending ones are not shown");
    expected["connections"] = json!({"numberOfElements": 1, "content": [pending]});
    assert_eq!(get(format!("/openvidu/api/sessions/{id}?pendingConnections=true")).await, expected);
    assert_eq!(get(path.clone()).await, expected["connections"]);

    let (mut client, joined) = Client::join(world.port, &id, token.as_str().unwrap()).await;
    assert_eq!(joined["metadata"], "server");
    let stream = client.publish().await["id"].clone();
    let active = get(format!("{path}/{}", con.as_str().unwrap())).await;
    assert_eq!((active["status"].clone(), active["ip"].clone()), (json!("active"), json!("127.0.0.1")));
    assert_eq!((active["platform"].clone(), active["location"].clone()), (json!("test"), json!("unknown")));
    assert_eq!(active["publishers"][0]["streamId"], stream);
    assert_eq!(active["publishers"][0]["mediaOptions"]["frameRate"], 15);
    assert_eq!(active["subscribers"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn how_peer_connections_came_about_is_shown_on_request() {
    let world = World::start().await;
    let id = world.session().await;
    let (mut a, con_a) = world.join(&id, "PUBLISHER").await;
    let published = a.publish().await;
    let (mut b, con_b) = world.join(&id, "SUBSCRIBER").await;
    let stream = published["id"].as_str().unwrap();
    let answer = b.watch(stream).await;
    let stats = world.rest("GET", "/millrace/stats", "").await.json();
    let peer = stats["sessions"][0]["participants"][1]["peers"][0]["peer"].as_str().unwrap().parse().unwrap();
    world.relay.tell(peer, millrace_control::PeerState::Live, "");
    let is_live = async {
        let state = "/sessions/0/participants/1/peers/0/state";
        while world.rest("GET", "/millrace/stats", "").await.json().pointer(state).unwrap() != "live" {}
    };
    tokio::time::timeout(support::PATIENCE, is_live).await.expect("it is never told");

    let path = format!("{API}/sessions/{id}");
    let shown = world.rest("GET", &format!("{path}?webRtcStats=true"), "").await.json();
    let publisher = &shown["connections"]["content"][0]["publishers"][0];
    let keys: Vec<&String> = publisher.as_object().unwrap().keys().collect();
    let expected = [
        "createdAt",
        "streamId",
        "mediaOptions",
        "webrtcEndpointName",
        "localSdp",
        "remoteSdp",
        "clientIceCandidates",
        "serverIceCandidates",
        "localCandidate",
        "remoteCandidate",
        "events",
    ];
    assert_eq!(keys, expected);
    assert_eq!(publisher["webrtcEndpointName"], stream);
    assert_eq!(publisher["localSdp"], published["sdpAnswer"]);
    assert_eq!(publisher["remoteSdp"], support::PUBLISH);
    assert_eq!(publisher["remoteCandidate"], Value::Null);
    assert_eq!(publisher["events"][0]["type"], "ice");

    let watching = world.rest("GET", &format!("{path}/connection/{con_b}?webRtcStats=true"), "").await.json();
    let subscriber = &watching["subscribers"][0];
    assert_eq!(subscriber["webrtcEndpointName"], format!("{con_b}_{stream}"));
    assert_eq!(subscriber["localSdp"], answer);
    assert_eq!(subscriber["remoteSdp"], support::SUBSCRIBE);
    let candidate = subscriber["serverIceCandidates"][0].as_str().unwrap();
    assert!(answer.contains(&format!("a={candidate}\r\n")), "{candidate}");
    assert_eq!(subscriber["localCandidate"], candidate);
    assert_eq!(subscriber["remoteCandidate"], "candidate:1 1 udp 1862270975 192.0.2.99 1 typ prflx");
    assert_eq!(subscriber["events"][1]["type"], "live");

    let plain = world.rest("GET", &format!("{path}/connection/{con_a}"), "").await.json();
    assert_eq!(plain["publishers"][0].as_object().unwrap().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn applications_end_streams_connections_and_sessions() {
    let world = World::start().await;
    let session = world.session().await;
    let (mut a, con_a) = world.join(&session, "PUBLISHER").await;
    let (mut b, con_b) = world.join(&session, "PUBLISHER").await;
    a.told("participantJoined").await;
    let stream = a.publish().await["id"].as_str().unwrap().to_owned();
    b.told("participantPublished").await;

    let path = format!("/openvidu/api/sessions/{session}");
    let answer = world.rest("DELETE", &format!("{path}/stream/{stream}"), "").await;
    assert_eq!((answer.status, answer.body.as_str()), (204, ""));
    let told = json!({"connectionId": con_a, "reason": "forceUnpublishByServer"});
    assert_eq!(a.told("participantUnpublished").await, told);
    assert_eq!(b.told("participantUnpublished").await, told);

    assert_eq!(world.rest("DELETE", &format!("{path}/connection/{con_a}"), "").await.status, 204);
    let told = json!({"connectionId": con_a, "reason": "forceDisconnectByServer"});
    assert_eq!(a.told("participantEvicted").await, told);
    assert_eq!(b.told("participantLeft").await, told);
    assert_eq!(b.told("participantEvicted").await, told);

    let token = world.token(&session, "PUBLISHER").await;
    let listed: Value = world.rest("GET", &format!("{path}/connection"), "").await.json();
    let pending = listed["content"][1]["id"].as_str().unwrap().to_owned();
    assert_eq!(world.rest("DELETE", &format!("{path}/connection/{pending}"), "").await.status, 204);
    let mut c = Client::open(world.port).await;
    assert_eq!(c.error("joinRoom", support::join_params(&session, &token)).await, 401);

    assert_eq!(world.rest("DELETE", &path, "").await.status, 204);
    let told = json!({"connectionId": con_b, "reason": "sessionClosedByServer"});
    assert_eq!(b.told("participantEvicted").await, told);
    assert_eq!(world.rest("GET", &path, "").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_applications_signal_has_no_sender_and_its_type_as_given() {
    let world = World::start().await;
    let session = world.session().await;
    let (mut a, con_a) = world.join(&session, "SUBSCRIBER").await;
    let (mut b, _) = world.join(&session, "SUBSCRIBER").await;
    a.told("participantJoined").await;
    let signal = json!({"session": session, "to": [con_a], "type": "chat", "data": "hi"});
    let answer = world.rest("POST", "/openvidu/api/signal", &signal.to_string()).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    assert_eq!(a.told("sendMessage").await, json!({"data": "hi", "type": "chat"}));
    assert!(b.hears_nothing().await);
    let signal = json!({"session": session, "to": [con_a, "con_X"]});
    assert_eq!(world.rest("POST", "/openvidu/api/signal", &signal.to_string()).await.status, 406);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_sites_may_call_and_the_page_loads_nothing_from_elsewhere() {
    let world = World::start().await;
    let answer = request(world.port, "OPTIONS", "/openvidu/api/sessions", None, "").await;
    assert_eq!(answer.status, 200);
    assert!(answer.headers.contains("access-control-allow-origin: *"), "{}", answer.headers);
    for (path, kind) in [("/", "text/html"), ("/app.js", "text/javascript"), ("/app.css", "text/css")] {
        let answer = request(world.port, "GET", path, None, "").await;
        assert_eq!(answer.status, 200);
        assert!(answer.headers.contains(kind), "{}", answer.headers);
        assert!(answer.headers.contains("default-src 'self'"), "{}", answer.headers);
    }
    assert_eq!(request(world.port, "GET", "/nothing", None, "").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_name_the_public_address_with_the_port_in_use() {
    let world = World::with(1, |config| config.server.public_ip = vec!["192.0.2.1".parse().unwrap()]).await;
    let session = world.session().await;
    let token = world.token(&session, "PUBLISHER").await;
    let start = format!("wss://192.0.2.1:{}?sessionId={session}&token=tok_", world.server.https_port);
    assert!(token.starts_with(&start), "{token}");
    let url = world.rest("GET", &format!("{API}/config/openvidu-publicurl"), "").await.body;
    assert_eq!(url, format!("https://192.0.2.1:{}", world.server.https_port));
    // The ICE servers still name us as the client does.
    let (_, joined) = Client::join(world.port, &session, &token).await;
    assert_eq!(joined["customIceServers"], json!([{"url": "stun:localhost:5000"}]));
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_nobody_joins_are_removed_when_they_are_old() {
    let world = World::start().await;
    let (unused, used) = (world.session().await, world.session().await);
    let (mut client, _) = world.join(&used, "SUBSCRIBER").await;
    let app = world.server.app();
    let path = format!("{API}/sessions/{unused}");
    app.remove_unused(app.started_at_ms);
    assert_eq!(world.rest("GET", &path, "").await.status, 200);
    app.remove_unused(u64::MAX);
    assert_eq!(world.rest("GET", &path, "").await.status, 404);
    assert_eq!(world.rest("GET", &format!("{API}/sessions/{used}"), "").await.status, 200);
    assert!(client.hears_nothing().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_are_injected_only_where_that_is_allowed() {
    let world = World::with(2, |config| config.server.allow_fault_injection = true).await;
    assert_eq!(world.rest("POST", "/millrace/debug/panic/1", "").await.status, 204);
    let held = world.relay.held();
    assert!(matches!(held.log.as_slice(), [(1, millrace_control::Command::InjectPanic(_))]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_of_another_site_changes_nothing() {
    let world = World::with(1, |config| config.server.allow_fault_injection = true).await;
    // What a browser sends that remembers the secret: <form method=post enctype=text/plain> with one field.
    let post = async |path: &str, kind: &str, site: &str, body: &str| {
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: {}\r\nContent-Type: {kind}\r\n\
             Sec-Fetch-Site: {site}\r\nSec-Fetch-Mode: navigate\r\nContent-Length: {}\r\n\r\n{body}",
            basic(SECRET),
            body.len()
        );
        exchange(world.port, request.as_bytes()).await.expect("an answer")
    };
    let sessions = format!("{API}/sessions");
    let field = "{\"customSessionId\":\"forged\",\"x\":\"=\"}\r\n";
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"] {
        for site in ["cross-site", "same-site", "none"] {
            let answer = post(&sessions, kind, site, field).await;
            assert_eq!(answer.status, 415, "{kind} {site}: {answer:?}");
            let told = answer.json();
            assert_eq!((&told["status"], &told["path"]), (&json!(415), &json!(sessions)));
            assert!(told["message"].as_str().unwrap().contains("application/json"), "{told}");
        }
    }
    for path in [&*sessions, "/millrace/debug/panic/0"] {
        let answer = post(path, "text/plain", "cross-site", "").await;
        assert_eq!((answer.status, &answer.json()["path"]), (403, &json!(path)));
    }
    assert_eq!(world.rest("GET", &sessions, "").await.json()["numberOfElements"], 0);
    assert!(world.relay.held().log.is_empty(), "no shard panicked");
    // With the right header the same is an application's request, and one without a body needs none.
    assert_eq!(
        post(&sessions, "application/json", "none", "{\"customSessionId\":\"wanted\"}").await.status,
        200
    );
    assert_eq!(post(&sessions, "application/x-www-form-urlencoded", "none", "").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_says_what_each_part_does() {
    let mut world = World::start().await;
    let ready = async || request(world.port, "GET", "/millrace/ready", None, "").await;
    let answer = ready().await;
    let told = answer.json();
    assert_eq!((answer.status, &told["ready"]), (200, &json!(true)), "{told}");
    assert_eq!(told["relay"], json!({"connected": true, "addresses": ["192.0.2.7", "10.1.2.3"]}));
    assert_eq!((&told["store"]["failures"], &told["certificate"]["valid"]), (&json!(0), &json!(true)));
    assert!(
        told["certificate"]["expiresAt"].as_u64().is_some_and(|at| at > millrace_signaling::clock::now_ms())
    );
    world.relay.stop().await;
    let gone = async {
        loop {
            let answer = request(world.port, "GET", "/millrace/ready", None, "").await;
            if answer.status != 200 {
                break answer;
            }
        }
    };
    let answer = tokio::time::timeout(support::PATIENCE, gone).await.unwrap();
    assert_eq!((answer.status, &answer.json()["relay"]["connected"]), (503, &json!(false)));
}
