//! HTTP by the relay's edge: over a Unix socket, behind a header that says whose connection it is.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use crate::support;

use std::net::Ipv6Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use millrace_signaling::net::Net;
use support::{World, basic};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixStream};

/// Somebody else, the relay, has the port of HTTPS.
async fn world(sockets_per_address_max: usize) -> (World, PathBuf) {
    let relays = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).await.unwrap();
    let https_port = relays.local_addr().unwrap().port();
    let mut path = PathBuf::new();
    let world = World::with(1, |config| {
        path = config.server.data_dir.with_file_name("http.sock");
        // As a killed process leaves it.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        config.server.http_socket = Some(path.clone());
        config.server.https_port = https_port;
        config.limits.sockets.sockets_per_address_max = sockets_per_address_max;
    })
    .await;
    (world, path)
}

/// A connection as the edge would pass on that of 192.0.2.`host`, which came to port 8443.
async fn passed_on(path: &PathBuf, host: u8) -> UnixStream {
    let mut stream = UnixStream::connect(path).await.unwrap();
    let header = [
        &b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c"[..],
        &[192, 0, 2, host, 198, 51, 100, 1, 0xc3, 0xcb],
        &8443u16.to_be_bytes(),
    ];
    stream.write_all(&header.concat()).await.unwrap();
    stream
}

async fn exchange(stream: &mut UnixStream, request: &str) -> String {
    let _ = stream.write_all(request.as_bytes()).await;
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_by_the_edge_is_https() {
    let (world, path) = world(0).await;
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let session = world.session().await;
    let secret = basic(support::SECRET);
    let post = |host: &str| {
        format!(
            "POST /openvidu/api/sessions/{session}/connection HTTP/1.1\r\n{host}Authorization: {secret}\r\n\
             Content-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}"
        )
    };
    let mut stream = passed_on(&path, 7).await;
    let answer = exchange(&mut stream, &post("Host: meet.example.org\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("wss://meet.example.org?sessionId="), "{answer}");
    // Without a name, the port that the client came to.
    let answer = exchange(&mut passed_on(&path, 7).await, &post("")).await;
    assert!(answer.contains("wss://127.0.0.1:8443?sessionId="), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_holds_for_the_client_behind_the_edge() {
    let (_world, path) = world(2).await;
    let get = "GET /millrace/ready HTTP/1.1\r\nHost: h\r\n\r\n";
    let mut held = Vec::new();
    for host in [7, 7, 8, 7] {
        let mut stream = passed_on(&path, host).await;
        stream.write_all(get.as_bytes()).await.unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.unwrap();
        assert_eq!(&head, b"HTTP/1.1 200", "192.0.2.{host}");
        held.push(stream);
    }
    // The third connection of 192.0.2.7 has closed its first one, and no other.
    let mut rest = Vec::new();
    let _ = held[0].read_to_end(&mut rest).await;
    for stream in &mut held[1..] {
        stream.write_all(get.as_bytes()).await.unwrap();
        let mut answers = vec![0; 4096];
        assert_ne!(stream.read(&mut answers).await.unwrap(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_say_whose_connection_it_is_gets_nothing() {
    let (_world, path) = world(0).await;
    let mut stream = UnixStream::connect(&path).await.unwrap();
    assert_eq!(
        exchange(&mut stream, "GET /millrace/ready HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await,
        ""
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_takes_nobody_s_word_for_who_is_there() {
    let (world, _path) = world(0).await;
    let mut stream = TcpStream::connect(("127.0.0.1", world.port)).await.unwrap();
    let header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x07\xc0\x00\x02\x01\x00\x01\x00\x01";
    stream.write_all(header).await.unwrap();
    stream.write_all(b"GET /millrace/ready HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_from_elsewhere_is_refused_whatever_he_knows() {
    let mut path = PathBuf::new();
    let world = World::with(1, |config| {
        path = config.server.data_dir.with_file_name("http.sock");
        config.server.http_socket = Some(path.clone());
        config.rest.support_deprecated_api = true;
        config.server.addresses.rest_allow =
            ["192.0.2.7", "198.51.100.0/24"].map(|net| Net::parse(net).unwrap()).into();
        config.rest.dashboard_allow = vec![Net::parse("192.0.2.8").unwrap()];
    })
    .await;
    let secret = basic(support::SECRET);
    let status = async |path_of_socket: &PathBuf, host, path: &str| {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: h\r\nAuthorization: {secret}\r\nConnection: close\r\n\r\n");
        let answer = exchange(&mut passed_on(path_of_socket, host).await, &request).await;
        answer.split(' ').nth(1).unwrap_or_default().to_owned()
    };
    for (served_path, from_7, from_8, from_9) in [
        ("/openvidu/api/sessions", "200", "403", "403"),
        ("/openvidu/api/config/openvidu-publicurl", "200", "403", "403"),
        ("/api/sessions", "200", "403", "403"),
        ("/config", "200", "403", "403"),
        ("/millrace/stats", "200", "403", "403"),
        ("/openvidu/cdr/none", "404", "403", "403"),
        ("/millrace/api", "403", "200", "403"),
        ("/millrace/openapi.json", "403", "200", "403"),
        ("/openvidu/info", "403", "400", "403"),
        ("/", "200", "200", "200"),
        ("/millrace/ready", "200", "200", "200"),
        ("/openvidu/accept-certificate", "200", "200", "200"),
        ("/openvidu", "400", "400", "400"),
    ] {
        for (host, wanted) in [(7, from_7), (8, from_8), (9, from_9)] {
            assert_eq!(status(&path, host, served_path).await, wanted, "{served_path} from 192.0.2.{host}");
        }
    }
    // An application on the same machine.
    assert_eq!(world.rest("GET", "/openvidu/api/sessions", "").await.status, 200);
}
