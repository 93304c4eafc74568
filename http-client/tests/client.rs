//! Requests to servers that behave well, badly, or not at all, on loopback.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use millrace_http_client::{Client, Limits, SendError, Trust, TrustError};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

const LIMITS: Limits = Limits { timeout: Duration::from_secs(60), answer_len_max: 100, kept_max: 1 };

fn get(url: &str) -> Request<Full<Bytes>> {
    Request::get(url).body(Full::default()).unwrap()
}

fn client(limits: Limits) -> Client {
    Client::new(&Trust::Any, limits).unwrap()
}

/// Answers every request with these bytes; an empty answer is none.
async fn answering(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &str) {
    let mut stream = BufReader::new(&mut stream);
    let mut head = String::new();
    while stream.read_line(&mut head).await.is_ok_and(|len| len > 0) {
        if head.ends_with("\r\n\r\n") && !answer.is_empty() {
            head.clear();
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    }
}

/// A server without TLS. Gives its URL and the number of its connections.
async fn plain(answer: &'static str) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/x?y=z", listener.local_addr().unwrap());
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(answering(stream, answer));
        }
    });
    (url, count)
}

#[tokio::test]
async fn an_answer_is_whole_and_a_redirect_is_one() {
    let (url, _) =
        plain("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n").await;
    let answer = client(LIMITS).send(get(&url)).await.unwrap();
    assert_eq!((answer.status(), &answer.body()[..]), (StatusCode::OK, &b"abcde"[..]));
    let (url, count) = plain("HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(client(LIMITS).send(get(&url)).await.unwrap().status(), StatusCode::FOUND);
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_long_answer_is_cut_and_silence_ends() {
    let long = format!("HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n{}", "x".repeat(101));
    let (url, _) = plain(long.leak()).await;
    assert!(matches!(client(LIMITS).send(get(&url)).await, Err(SendError::TooLong)));
    assert_eq!(client(LIMITS).status(get(&url)).await.unwrap(), StatusCode::OK);
    let (url, _) = plain("").await;
    let limits = Limits { timeout: Duration::from_millis(20), ..LIMITS };
    assert!(matches!(client(limits).send(get(&url)).await, Err(SendError::Timeout)));
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = client(LIMITS).send(get(&format!("http://{gone}/"))).await.unwrap_err();
    assert!(matches!(&error, SendError::Connect(why) if why.contains("refused")), "{error}");
}

#[tokio::test]
async fn a_connection_serves_again_where_that_is_wanted() {
    for (kept_max, connections) in [(1, 1), (0, 3)] {
        let (url, count) = plain("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK").await;
        let client = client(Limits { kept_max, ..LIMITS });
        for _ in 0..3 {
            assert_eq!(client.status(get(&url)).await.unwrap(), StatusCode::OK);
        }
        assert_eq!(count.load(Ordering::SeqCst), connections, "{kept_max} kept");
    }
}

/// A certificate that names localhost, with its key.
struct Made {
    params: CertificateParams,
    key: KeyPair,
    certificate: rcgen::Certificate,
}

impl Made {
    fn own(is_ca: IsCa) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.is_ca = is_ca;
        let certificate = params.self_signed(&key).unwrap();
        Self { params, key, certificate }
    }

    fn authority() -> Self {
        Self::own(IsCa::Ca(BasicConstraints::Unconstrained))
    }

    fn signed_by(authority: &Self) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, "a server");
        let issuer = Issuer::from_params(&authority.params, &authority.key);
        let certificate = params.signed_by(&key, &issuer).unwrap();
        Self { params, key, certificate }
    }

    /// Serves HTTPS with it; gives the URL.
    async fn serve(&self) -> String {
        let chain: Vec<CertificateDer<'static>> = vec![self.certificate.der().clone()];
        let key = PrivateKeyDer::try_from(self.key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        answering(stream, "HTTP/1.1 204 No Content\r\n\r\n").await;
                    }
                });
            }
        });
        format!("https://localhost:{port}/")
    }

    /// Trusts what is written to a file of this test.
    fn trusted(&self, test: &str) -> Trust {
        let path = scratch(test);
        std::fs::write(&path, self.certificate.pem()).unwrap();
        Trust::File(path)
    }
}

fn scratch(test: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{test}-{}.pem", std::process::id()))
}

async fn status(trust: &Trust, url: &str) -> Result<StatusCode, SendError> {
    Client::new(trust, LIMITS).unwrap().status(get(url)).await
}

#[tokio::test]
async fn certificates_are_accepted_as_they_are_trusted() {
    let (authority, other) = (Made::authority(), Made::authority());
    let server = Made::signed_by(&authority);
    let url = server.serve().await;
    assert!(status(&authority.trusted("authority"), &url).await.is_ok());
    assert!(status(&Trust::Any, &url).await.is_ok());
    let error = status(&other.trusted("other"), &url).await.unwrap_err();
    assert!(matches!(error, SendError::Certificate(_)), "{error}");
    assert!(error.to_string().contains("not trusted"), "{error}");
    // The name counts, unless the very certificate is in the file.
    let elsewhere = url.replace("localhost", "127.0.0.1");
    let error = status(&authority.trusted("authority"), &elsewhere).await.unwrap_err();
    assert!(matches!(error, SendError::Certificate(_)), "{error}");
    assert!(status(&server.trusted("server"), &elsewhere).await.is_ok());
}

#[tokio::test]
async fn a_self_signed_certificate_may_be_in_the_file_itself() {
    for (test, is_ca) in [("plain", IsCa::NoCa), ("as-openssl", IsCa::Ca(BasicConstraints::Unconstrained))] {
        let server = Made::own(is_ca);
        let url = server.serve().await;
        assert!(status(&server.trusted(test), &url).await.is_ok(), "{test}");
    }
}

#[test]
fn a_file_without_certificates_is_refused_by_its_name() {
    for (test, text) in
        [("none", None), ("empty", Some("")), ("wrong", Some("-----BEGIN CERTIFICATE-----\n?\n"))]
    {
        let path = scratch(test);
        if let Some(text) = text {
            std::fs::write(&path, text).unwrap();
        }
        let error = Trust::File(path.clone()).tls_config().unwrap_err();
        assert!(matches!(error, TrustError::File { .. }), "{error}");
        assert!(error.to_string().starts_with(&*path.to_string_lossy()), "{error}");
    }
}
