//! An application's server that is told of events, and behaves as a test wants.

use std::sync::{Arc, Mutex};

use rustls::pki_types::PrivateKeyDer;
use serde_json::Value;
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::PATIENCE;

/// What it does with an event.
pub enum Reaction {
    Answer(u16),
    /// Closes the connection without an answer.
    HangUp,
    /// Answers 200 once the test allows it.
    Hold,
}

/// One request as it came.
#[derive(Debug)]
pub struct Told {
    /// First line and headers.
    pub head: String,
    pub body: Vec<u8>,
    pub event: Value,
}

impl Told {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().filter_map(|line| line.split_once(": "));
        fields.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

pub struct Receiver {
    pub port: u16,
    /// Its certificate in PEM, if it has TLS.
    pub certificate: Option<String>,
    told: mpsc::UnboundedReceiver<Told>,
    held: Arc<Semaphore>,
    listening: JoinHandle<()>,
}

type React = dyn FnMut(&Value) -> Reaction + Send;

struct Shared {
    react: Mutex<Box<React>>,
    told: mpsc::UnboundedSender<Told>,
    held: Arc<Semaphore>,
}

impl Receiver {
    pub async fn start(react: impl FnMut(&Value) -> Reaction + Send + 'static) -> Self {
        Self::listen(None, react).await
    }

    /// By TLS, with a certificate of its own.
    pub async fn secure(react: impl FnMut(&Value) -> Reaction + Send + 'static) -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let mut receiver = Self::listen(Some(TlsAcceptor::from(Arc::new(config))), react).await;
        receiver.certificate = Some(made.cert.pem());
        receiver
    }

    async fn listen(
        tls: Option<TlsAcceptor>,
        react: impl FnMut(&Value) -> Reaction + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, told) = mpsc::unbounded_channel();
        let held = Arc::new(Semaphore::new(0));
        let shared =
            Arc::new(Shared { react: Mutex::new(Box::new(react)), told: sender, held: Arc::clone(&held) });
        let listening = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (shared, tls) = (Arc::clone(&shared), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, &shared).await,
                        Some(tls) => {
                            let Ok(stream) = tls.accept(stream).await else { return };
                            serve(stream, &shared).await;
                        }
                    }
                });
            }
        });
        Self { port, certificate: None, told, held, listening }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook?from=here", self.port)
    }

    pub async fn told(&mut self) -> Told {
        timeout(PATIENCE, self.told.recv()).await.expect("nothing was told").expect("it listens")
    }

    pub async fn event(&mut self) -> Value {
        self.told().await.event
    }

    /// Reads events up to the end of a session.
    pub async fn until_destroyed(&mut self) -> Vec<Value> {
        let mut events = vec![self.event().await];
        while events.last().unwrap()["event"] != "sessionDestroyed" {
            events.push(self.event().await);
        }
        events
    }

    /// Lets so many held requests go.
    pub fn let_go(&self, count: usize) {
        self.held.add_permits(count);
    }

    /// Whether nothing came that was not read.
    pub fn is_silent(&self) -> bool {
        self.told.is_empty()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// One connection: request after request.
async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, shared: &Shared) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head).await.unwrap_or(0) == 0 {
                return;
            }
        }
        let lower = head.to_lowercase();
        let length = lower.split("content-length: ").nth(1).expect("a body of known length");
        let length: usize = length.split("\r\n").next().unwrap().parse().unwrap();
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.unwrap();
        let event: Value = serde_json::from_slice(&body).unwrap();
        let reaction = (shared.react.lock().unwrap())(&event);
        let _ = shared.told.send(Told { head, body, event });
        let status = match reaction {
            Reaction::Answer(status) => status,
            Reaction::HangUp => return,
            Reaction::Hold => {
                shared.held.acquire().await.unwrap().forget();
                200
            }
        };
        let answer = format!("HTTP/1.1 {status} Some words\r\nContent-Length: 2\r\n\r\nOK");
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}
