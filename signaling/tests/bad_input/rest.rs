//! REST, row by row.

use serde_json::json;

use crate::support::{SECRET, World, basic, exchange};
use crate::{API, Bystander};

/// Bodies that are no JSON object, or none that may be.
const BODIES: [&[u8]; 20] = [
    b"{",
    b"}",
    b"[]",
    b"null",
    b"7",
    b"\"x\"",
    b"true",
    b"words",
    b"{'a':1}",
    b"{\"a\":1,}",
    b"{\"a\":1}{}",
    b"{\"a\":NaN}",
    b"{\"a\":1e999}",
    b"{\"a\":1,\"a\":2}",
    b"{\"a\":{\"b\":1,\"\\u0062\":2}}",
    b"{\"a\":\"\\ud800\"}",
    b"{\"a\":\"\x01\"}",
    b"{\"a\":\"\xff\xfe\"}",
    b"\xef\xbb\xbf{}",
    b"{\"a\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}",
];

/// The calls that read one. `S` is a session that is there.
const READERS: [&str; 4] = ["/sessions", "/sessions/S/connection", "/tokens", "/signal"];

/// Paths and methods that are none, or lead nowhere.
#[rustfmt::skip]
const PATHS: [(&str, &str, u16); 34] = [
    ("GET",    "/sessions/ses_none",                      404),
    ("GET",    "/sessions/%00",                           404),
    ("GET",    "/sessions/%ff",                           400),
    ("GET",    "/sessions/%",                             404),
    ("GET",    "/sessions/%zz",                           404),
    ("GET",    "/sessions/..%2f..%2fetc%2fpasswd",        404),
    ("GET",    "/sessions/'%20OR%201=1",                  404),
    ("GET",    "/sessions/S/connection/%ff",              400),
    ("GET",    "/sessions/S/connection/con_none",         404),
    ("GET",    "/sessions/ses_none/connection/con_none",  400),
    ("DELETE", "/sessions/S/connection/con_none",         404),
    ("DELETE", "/sessions/S/stream/str_none",             404),
    ("DELETE", "/sessions/S/stream/%ff",                  400),
    ("GET",    "/sessions?pendingConnections=maybe",      400),
    ("GET",    "/sessions?webRtcStats=1",                 400),
    ("GET",    "/sessions/S?webRtcStats=TRUE",            400),
    ("GET",    "/sessions/S/connection?pendingConnections=%ff", 400),
    ("GET",    "",                                        403),
    ("GET",    "/",                                       403),
    ("GET",    "//sessions",                              403),
    ("GET",    "/sessions/",                              403),
    ("GET",    "/Sessions",                               403),
    ("GET",    "/sessions/S/nothing",                     403),
    ("GET",    "/sessions/S/connection/con_none/more",    403),
    ("GET",    "/../../etc/passwd",                       403),
    ("PUT",    "/sessions",                               403),
    ("PUT",    "/sessions/S",                             403),
    ("PATCH",  "/sessions/S",                             403),
    ("TRACE",  "/sessions",                               403),
    ("BREW",   "/sessions",                               403),
    ("POST",   "/sessions/S/connection/con_none",         403),
    ("DELETE", "/sessions",                               403),
    ("POST",   "/config",                                 403),
    ("DELETE", "/signal",                                 403),
];

/// Headers that let nobody in.
#[rustfmt::skip]
const AUTHORIZATIONS: [&str; 14] = [
    "",
    "Authorization:",
    "Authorization: Basic",
    "Authorization: Basic ",
    "Authorization: Basic !!!",
    "Authorization: Basic Og==",
    "Authorization: Basic T1BFTlZJRFVBUFA6",
    "Authorization: Basic T1BFTlZJRFVBUFA6d3Jvbmc=",
    "Authorization: Basic b3BlbnZpZHVhcHA6dGVzdC1zZWNyZXQ=",
    "Authorization: Bearer test-secret",
    "Authorization: test-secret",
    "Authorization: Digest username=\"OPENVIDUAPP\"",
    "Authorization: Basic \u{e4}\u{f6}",
    "X-Authorization: Basic T1BFTlZJRFVBUFA6dGVzdC1zZWNyZXQ=",
];

/// Requests that are not HTTP, or not all there: the status, or none where the server just closes.
#[rustfmt::skip]
const RAW: [(&str, &str, Option<u16>); 14] = [
    ("no request",           "hello\r\n\r\n",                                                         Some(400)),
    ("a handshake of TLS",   "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}\r\n\r\n",                          Some(400)),
    ("an old version",       "GET /openvidu/api/sessions HTTP/0.9\r\n\r\n",                           Some(400)),
    ("a version to come",    "GET /openvidu/api/sessions HTTP/3.0\r\n\r\n",                           Some(400)),
    ("no path",              "GET  HTTP/1.1\r\nHost: x\r\n\r\n",                                      Some(400)),
    ("a header's half",      "GET /openvidu/api/sessions HTTP/1.1\r\nHost\r\n\r\n",                   Some(400)),
    ("a blank in a name",    "GET /openvidu/api/sessions HTTP/1.1\r\nHo st: x\r\n\r\n",               Some(400)),
    ("a length below zero",  "POST /openvidu/api/sessions HTTP/1.1\r\nContent-Length: -1\r\n\r\n",    Some(400)),
    ("a length too large",   "POST /openvidu/api/sessions HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n", Some(400)),
    ("a length in words",    "POST /openvidu/api/sessions HTTP/1.1\r\nContent-Length: ten\r\n\r\n",   Some(400)),
    ("two lengths",          "POST /openvidu/api/sessions HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", Some(400)),
    ("an unknown coding",    "POST /openvidu/api/sessions HTTP/1.1\r\nTransfer-Encoding: x\r\n\r\n",  Some(400)),
    ("no WebSocket",         "GET /openvidu HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",        Some(400)),
    ("an old WebSocket",     "GET /openvidu HTTP/1.1\r\nHost: x\r\nConnection: upgrade, close\r\nUpgrade: websocket\r\n\
                              Sec-WebSocket-Version: 8\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", Some(400)),
];

/// A request with the right secret, and any bytes for a body.
fn whole(method: &str, path: &str, body: &[u8]) -> Vec<u8> {
    let secret = basic(SECRET);
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: {secret}\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_none_are_refused_by_every_call_that_reads_one() {
    let world = World::start().await;
    let mut bystander = Bystander::of(&world).await;
    let session = world.session().await;
    for path in READERS {
        let path = format!("{API}{}", path.replace('S', &session));
        for body in BODIES {
            let row = format!("{path} {}", String::from_utf8_lossy(body));
            let answer = exchange(world.port, &whole("POST", &path, body)).await.expect("an answer");
            assert_eq!(answer.status, 400, "{row}: {answer:?}");
            let told = answer.json();
            assert_eq!((&told["status"], &told["path"]), (&json!(400), &json!(path)), "{row}");
            assert!(told["message"].as_str().is_some_and(|words| !words.is_empty()), "{row}");
            bystander.fine(&row).await;
        }
        let body = format!("{{\"data\":\"{}\"}}", "x".repeat(65_537));
        let answer = exchange(world.port, &whole("POST", &path, body.as_bytes())).await.expect("an answer");
        assert_eq!(answer.status, 413, "{path}");
        bystander.fine(&path).await;
    }
    bystander.leave(&world, "bodies").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_and_methods_that_are_none_lead_nowhere() {
    let world = World::start().await;
    let mut bystander = Bystander::of(&world).await;
    let session = world.session().await;
    for (method, path, status) in PATHS {
        let path = format!("{API}{}", path.replace("/S", &format!("/{session}")));
        let row = format!("{method} {path}");
        let answer = exchange(world.port, &whole(method, &path, b"")).await.expect("an answer");
        assert_eq!(answer.status, status, "{row}: {answer:?}");
        if status != 404 {
            assert_eq!(answer.json()["status"], status, "{row}");
        }
        bystander.fine(&row).await;
    }
    // Another session's connection or stream in the path of one's own.
    for (kind, id) in [("connection", bystander.id.clone()), ("stream", bystander.stream.clone())] {
        let path = format!("{API}/sessions/{session}/{kind}/{id}");
        let answer = exchange(world.port, &whole("DELETE", &path, b"")).await.expect("an answer");
        assert_eq!(answer.status, 404, "{path}");
        bystander.fine(&path).await;
    }
    bystander.leave(&world, "paths").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_prove_nothing_and_requests_that_are_none_are_refused() {
    let world = World::start().await;
    let mut bystander = Bystander::of(&world).await;
    for header in AUTHORIZATIONS {
        let line = if header.is_empty() { String::new() } else { format!("{header}\r\n") };
        for path in ["/openvidu/api/sessions", "/openvidu/api/nothing", "/millrace/stats", "/openvidu/cdr"] {
            let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{line}\r\n");
            let answer = exchange(world.port, request.as_bytes()).await.expect("an answer");
            assert_eq!(answer.status, 401, "{header} {path}: {answer:?}");
            assert!(answer.headers.contains("www-authenticate"), "{answer:?}");
            bystander.fine(header).await;
        }
    }
    for (row, request, status) in RAW {
        let answer = exchange(world.port, request.as_bytes()).await;
        assert_eq!(answer.as_ref().map(|answer| answer.status), status, "{row}: {answer:?}");
        bystander.fine(row).await;
    }
    let secret = basic(SECRET);
    let many = "X: y\r\n".repeat(100);
    let large = format!("X: {}\r\n", "y".repeat(300_000));
    for (row, more, status) in [("many headers", many, 431), ("a large one", large, 431)] {
        let request = format!(
            "GET {API}/sessions HTTP/1.1\r\nConnection: close\r\nAuthorization: {secret}\r\n{more}\r\n"
        );
        let answer = exchange(world.port, request.as_bytes()).await.expect("an answer");
        assert_eq!(answer.status, status, "{row}");
        bystander.fine(row).await;
    }
    // A host that is none does not get into the URLs that are handed on.
    let path = format!("{API}/sessions/{}/connection", world.session().await);
    for host in ["", "evil.example/path", "evil.example?x", "a b", "<script>", "x:99999", "u@evil.example"] {
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nAuthorization: {secret}\r\n\
             Content-Length: 0\r\n\r\n"
        );
        let answer = exchange(world.port, request.as_bytes()).await.expect("an answer");
        let token = answer.json()["token"].as_str().unwrap_or_default().to_owned();
        assert!(answer.status == 200 && token.starts_with("ws://127.0.0.1:"), "{host}: {answer:?}");
        bystander.fine(host).await;
    }
    bystander.leave(&world, "headers").await;
}
