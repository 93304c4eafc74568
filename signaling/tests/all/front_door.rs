//! What comes before authentication: proxies, plain HTTP on the port of HTTPS, connections that do not join.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use crate::support;

use std::time::Duration;

use millrace_signaling::net::Net;
use serde_json::json;
use support::{Client, PATIENCE, SECRET, World, basic};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

fn nets(list: &[&str]) -> Vec<Net> {
    list.iter().map(|net| Net::parse(net).unwrap()).collect()
}

/// Sends bytes to a port and reads until it closes.
async fn exchange(port: u16, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    // A server that refuses does not read it.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

fn get(path: &str, more: &str) -> Vec<u8> {
    let secret = basic(SECRET);
    format!("GET {path} HTTP/1.1\r\nHost: h\r\nAuthorization: {secret}\r\n{more}Connection: close\r\n\r\n")
        .into()
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

const SESSIONS: &str = "/openvidu/api/sessions";

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_proxy_speaks_for_its_clients() {
    let world = World::with(1, |config| {
        config.server.addresses.rest_allow = nets(&["192.0.2.7"]);
        config.server.addresses.trusted_proxies = nets(&["127.0.0.1"]);
    })
    .await;
    for (header, wanted) in [
        ("X-Forwarded-For: 192.0.2.7\r\n", "200"),
        ("X-Forwarded-For: 192.0.2.8\r\n", "403"),
        ("X-Forwarded-For: 127.0.0.1, 192.0.2.8\r\n", "403"),
        ("Forwarded: for=192.0.2.7\r\n", "200"),
        ("Forwarded: for=127.0.0.1\r\nX-Forwarded-For: 192.0.2.8\r\n", "403"),
        ("Forwarded: for=unknown\r\n", "403"),
        ("", "200"),
    ] {
        assert_eq!(status(&exchange(world.port, &get(SESSIONS, header)).await), wanted, "{header}");
    }
    for (proxy, wanted) in [
        (&b"PROXY TCP4 192.0.2.7 198.51.100.1 1 2\r\n"[..], "200"),
        (b"PROXY TCP4 192.0.2.8 198.51.100.1 1 2\r\n", "403"),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x08\xc6\x33\x64\x01\x00\x01\x00\x02", "403"),
    ] {
        // What its client says behind that is the client's own word.
        let claim = get(SESSIONS, "X-Forwarded-For: 192.0.2.7\r\n");
        assert_eq!(status(&exchange(world.port, &[proxy, &claim].concat()).await), wanted);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_trusted_proxies_nobody_speaks_for_others() {
    let world = World::with(1, |config| config.server.addresses.rest_allow = nets(&["192.0.2.7"])).await;
    let claim = get(SESSIONS, "X-Forwarded-For: 192.0.2.8\r\nX-Forwarded-Proto: https\r\n");
    assert_eq!(status(&exchange(world.port, &claim).await), "200", "it is this machine that asks");
    let proxy = b"PROXY TCP4 192.0.2.7 198.51.100.1 1 2\r\n";
    let answer = exchange(world.port, &[&proxy[..], &get(SESSIONS, "")].concat()).await;
    assert_ne!(status(&answer), "200", "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_behind_a_proxy_have_the_clients_scheme() {
    let world = World::with(1, |config| config.server.addresses.trusted_proxies = nets(&["127.0.0.1"])).await;
    let session = world.session().await;
    let secret = basic(SECRET);
    for (proto, url) in [("https", "wss://meet.example.org?"), ("http", "ws://meet.example.org?")] {
        let request = format!(
            "POST {SESSIONS}/{session}/connection HTTP/1.1\r\nHost: meet.example.org\r\nAuthorization: {secret}\r\n\
             Content-Type: application/json\r\nX-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: {proto}\r\n\
             Content-Length: 2\r\nConnection: close\r\n\r\n{{}}"
        );
        let answer = exchange(world.port, request.as_bytes()).await;
        assert!(answer.contains(url), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_on_the_port_of_https_is_served_to_this_machine_and_explained_to_others() {
    let world = World::with(1, |config| config.server.addresses.trusted_proxies = nets(&["127.0.0.1"])).await;
    let port = world.server.https_port;
    let session = world.session().await;
    let secret = basic(SECRET);
    let request = format!(
        "POST {SESSIONS}/{session}/connection HTTP/1.1\r\nHost: localhost:{port}\r\nAuthorization: {secret}\r\n\
         Content-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}"
    );
    let answer = exchange(port, request.as_bytes()).await;
    assert!(answer.contains(&format!("\"ws://localhost:{port}?sessionId=")), "{answer}");
    let token = world.token(&session, "PUBLISHER").await;
    Client::join(port, &session, &token).await;

    let proxied = [&b"PROXY TCP4 192.0.2.8 198.51.100.1 1 2\r\n"[..], request.as_bytes()].concat();
    let answer = exchange(port, &proxied).await;
    assert_eq!(status(&answer), "400");
    assert!(answer.contains("This port serves HTTPS. Use the same address with https://"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_of_older_releases_say_that_they_are_switched_off() {
    let world = World::start().await;
    for path in ["/api/sessions", "/api/tokens", "/config", "/config/openvidu-publicurl", "/info"] {
        let answer = exchange(world.port, &get(path, "Origin: https://app.example.org\r\n")).await;
        assert_eq!(status(&answer), "404", "{path}");
        assert!(answer.contains("access-control-allow-origin: *"), "{answer}");
        assert!(answer.contains("SUPPORT_DEPRECATED_API=true"), "{answer}");
        let preflight = format!("OPTIONS {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        assert_eq!(status(&exchange(world.port, preflight.as_bytes()).await), "200", "{path}");
    }
}

/// A WebSocket that never joins.
async fn silent(port: u16, from: [u8; 4]) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    let mut stream = socket.connect(([127, 0, 0, 1], port).into()).await.unwrap();
    let upgrade = "GET /openvidu HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    stream.write_all(upgrade.as_bytes()).await.unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_that_do_not_join_keep_nobody_out() {
    // Where signaling serves HTTPS itself.
    let world = World::with(1, |config| config.limits.sockets.sockets_max = 100).await;
    let port = world.server.https_port;
    let session = world.session().await;
    let mut flood = Vec::new();
    for _ in 0..100 {
        for host in 2..5 {
            flood.push(silent(port, [127, 0, 0, host]).await);
        }
    }
    // They take turns in the small budget, and all of the rest is for others.
    let mut joined = Vec::new();
    for _ in 0..30 {
        let token = world.token(&session, "SUBSCRIBER").await;
        joined.push(Client::join(port, &session, &token).await);
        let answer = exchange(port, &get(SESSIONS, "")).await;
        assert_eq!(status(&answer), "200");
    }
    for (client, _) in &mut joined {
        client.ok("ping", json!({})).await;
    }
    assert!(world.server.sockets() <= 100);
    drop(flood);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_port_refuses_and_goes_on_when_somebody_leaves() {
    const MOST: usize = 8;
    let world = World::with(1, |config| config.limits.sockets.sockets_max = MOST).await;
    let port = world.server.https_port;
    let session = world.session().await;
    let mut joined = Vec::new();
    for _ in 0..MOST {
        let token = world.token(&session, "SUBSCRIBER").await;
        joined.push(Client::join(port, &session, &token).await.0);
    }
    // All places are participants'.
    assert_eq!(exchange(port, &get(SESSIONS, "")).await, "");
    for client in &mut joined {
        client.ok("ping", json!({})).await;
    }
    joined.pop();
    let served = async {
        while status(&exchange(port, &get(SESSIONS, "")).await) != "200" {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, served).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_does_not_join_is_told_why_it_goes() {
    let world = World::with(1, |config| config.limits.sockets.sockets_max = 1).await;
    let mut waits = Client::open(world.port).await;
    waits.ok("ping", json!({})).await;
    // Its time is two seconds.
    let next = async {
        loop {
            let answer = exchange(world.port, &get(SESSIONS, "")).await;
            if status(&answer) == "200" {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, next).await.unwrap();
    let closed = loop {
        if let Err(closed) = waits.frame().await {
            break closed.expect("the server said why");
        }
    };
    assert_eq!(u16::from(closed.code), 1013, "{closed:?}");
}
