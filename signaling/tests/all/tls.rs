//! HTTPS with the certificate made on the first start, and what a stranger gets who does not speak HTTP.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use crate::support;

use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, HandshakeKind, RootCertStore};
use support::{World, basic};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

async fn connect(world: &World) -> TlsStream<TcpStream> {
    connect_as(world, client(world)).await
}

fn client(world: &World) -> Arc<ClientConfig> {
    let pem = std::fs::read(world.dir.join("data/tls-certificate.pem")).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&pem).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Arc::new(config)
}

async fn connect_as(world: &World, client: Arc<ClientConfig>) -> TlsStream<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", world.server.https_port)).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(client).connect(name, stream).await.unwrap()
}

async fn exchange(stream: &mut TlsStream<TcpStream>, request: &str) -> String {
    // A server that refuses early does not read it all.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut bytes = Vec::new();
    // Clients differ in how they say goodbye; what was said before counts.
    let _ = stream.read_to_end(&mut bytes).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn https_speaks_http_1_1_and_hands_out_secure_sockets() {
    let world = World::start().await;
    let session = world.session().await;
    let port = world.server.https_port;
    let mut stream = connect(&world).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"http/1.1".as_slice()));
    let secret = basic(support::SECRET);
    let request = format!(
        "POST /openvidu/api/sessions/{session}/connection HTTP/1.1\r\nHost: localhost:{port}\r\n\
         Authorization: {secret}\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}"
    );
    let answer = exchange(&mut stream, &request).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains(&format!("wss://localhost:{port}?sessionId={session}&token=tok_")), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_without_end_is_refused() {
    let world = World::start().await;
    let mut stream = connect(&world).await;
    let request = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(400_000));
    let answer = exchange(&mut stream, &request).await;
    // The refusal itself may be lost with what was never read.
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    assert_eq!(world.rest("GET", "/openvidu/api/sessions", "").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_back_resumes_though_nothing_is_kept_of_others() {
    let world = World::start().await;
    let client = client(&world);
    let request = "GET /millrace/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
        let mut stream = connect_as(&world, Arc::clone(&client)).await;
        assert_eq!(stream.get_ref().1.handshake_kind(), Some(kind));
        // Tickets come with the answer.
        assert!(exchange(&mut stream, request).await.starts_with("HTTP/1.1 200"));
        // More strangers than any memory of them would hold.
        if kind == HandshakeKind::Full {
            for _ in 0..300 {
                drop(connect(&world).await);
            }
        }
    }
}
