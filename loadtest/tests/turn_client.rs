//! The TURN client of webrtc-rs, unmodified, against our server.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use millrace_testkit::{FREE_MEDIA_PORTS, Program};
use serde_json::Value;
use stun::message::{Getter as _, Message};
use stun::xoraddr::XorMappedAddress;
use tokio::net::UdpSocket;
use turn::client::{Client, ClientConfig};
use webrtc_util::Conn;

/// Far beyond what any step takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// The relay by itself, and what it says once it is ready.
fn relay() -> (Program, Value) {
    // The workspace's tests build it too.
    let deps = std::env::current_exe().unwrap();
    let program = deps.ancestors().nth(2).unwrap().join("millrace");
    assert!(program.exists(), "no {}; build it with cargo build --bin millrace", program.display());
    let mut relay = Program::start(|dir| {
        let mut command = Command::new(program);
        command
            .arg("__relay")
            .args(FREE_MEDIA_PORTS)
            .args(["--turn-static-user", "ann:secret", "--turn-allow", "127.0.0.0/8", "--data-dir"])
            .arg(dir)
            .arg("--ready-file")
            .arg(dir.join("ready"))
            .env("MILLRACE_CONFIG", "/dev/null")
            // It ends with its standard input.
            .stdin(Stdio::piped());
        command
    })
    .unwrap();
    let ready = relay.dir().join("ready");
    let word = relay.ready_file(&ready).unwrap();
    (relay, word)
}

/// Somebody outside who says everything twice.
async fn echo() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 1500];
        while let Ok((len, from)) = socket.recv_from(&mut buffer).await {
            let _ = socket.send_to(&buffer[..len], from).await;
        }
    });
    address
}

async fn receive(conn: &impl Conn) -> (Vec<u8>, SocketAddr) {
    let mut buffer = [0; 1500];
    let received = tokio::time::timeout(PATIENCE, conn.recv_from(&mut buffer)).await;
    let (len, from) = received.expect("an answer in time").unwrap();
    (buffer[..len].to_vec(), from)
}

#[tokio::test(flavor = "multi_thread")]
async fn it_allocates_speaks_to_peers_and_is_heard() {
    let (_relay, ready) = relay();
    let turn = format!("127.0.0.1:{}", ready["turn_port"]);
    let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let own = socket.local_addr().unwrap();
    let client = Client::new(ClientConfig {
        stun_serv_addr: turn.clone(),
        turn_serv_addr: turn,
        username: "ann".into(),
        password: "secret".into(),
        realm: "millrace".into(),
        software: String::new(),
        rto_in_ms: 0,
        conn: socket,
        vnet: None,
    })
    .await
    .unwrap();
    client.listen().await.unwrap();
    assert_eq!(client.send_binding_request().await.unwrap(), own);
    let relayed = client.allocate().await.unwrap();
    let address = relayed.local_addr().unwrap();
    assert!((49_152..=65_535).contains(&address.port()), "{address}");

    // By Send indications first, and by a channel once the client has bound one.
    let peer = echo().await;
    for number in 0..100u8 {
        let data = vec![number; 20 + 10 * usize::from(number)];
        relayed.send_to(&data, peer).await.unwrap();
        assert_eq!(receive(&relayed).await, (data, peer));
    }

    // The media port sees the relayed address, and no socket is between.
    let port = u16::try_from(ready["shards"][0]["port"].as_u64().unwrap()).unwrap();
    let media = SocketAddr::new(address.ip(), port);
    let mut binding = Message::new();
    binding
        .build(&[Box::<stun::agent::TransactionId>::default(), Box::new(stun::message::BINDING_REQUEST)])
        .unwrap();
    relayed.send_to(&binding.raw, media).await.unwrap();
    let (answer, from) = receive(&relayed).await;
    assert_eq!(from, media);
    let mut message = Message::new();
    message.unmarshal_binary(&answer).unwrap();
    let mut mapped = XorMappedAddress::default();
    mapped.get_from(&message).unwrap();
    assert_eq!(SocketAddr::new(mapped.ip, mapped.port), address);
    client.close().await.unwrap();
}
