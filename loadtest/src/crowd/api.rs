//! The REST API over connections that stay open, as an application's server uses it. A connection for each request would
//! use up the ports of loopback: a closed one keeps its port for a minute.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::failure::Failure;
use crate::http::Endpoint;

/// Longest wait for an answer. A list of 50 000 participants takes a while.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(60);

type Sender = SendRequest<Full<Bytes>>;

/// The REST side of a server.
pub(super) struct Api {
    pub(super) endpoint: Endpoint,
    basic: String,
    idle: Mutex<Vec<Sender>>,
}

/// Status and body of an answer.
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) body: Bytes,
}

impl Api {
    /// For the server at `url`.
    pub(super) fn new(url: &str, secret: &str) -> Result<Self, Failure> {
        let basic = format!("Basic {}", STANDARD.encode(format!("OPENVIDUAPP:{secret}")));
        Ok(Self { endpoint: Endpoint::parse(url)?, basic, idle: Mutex::default() })
    }

    /// Creates a session; an existing one of this name is used.
    pub(super) async fn create_session(&self, custom_id: &str) -> Result<(), Failure> {
        let body = json!({ "customSessionId": custom_id }).to_string();
        let path = "/openvidu/api/sessions";
        match self.request(Method::POST, path, body).await?.status {
            200 | 409 => Ok(()),
            status => Err(Failure::rest(&format!("POST {path}"), format!("status {status}"))),
        }
    }

    /// Creates a connection and returns its token.
    pub(super) async fn create_token(&self, session: &str, role: &str) -> Result<String, Failure> {
        let body = json!({ "type": "WEBRTC", "role": role }).to_string();
        let path = format!("/openvidu/api/sessions/{session}/connection");
        let failed = |why: String| Failure::rest("POST /openvidu/api/sessions/{id}/connection", why);
        let response = self.request(Method::POST, &path, body).await?;
        if response.status != 200 {
            return Err(failed(format!("status {}", response.status)));
        }
        let object: Value = serde_json::from_slice(&response.body)
            .map_err(|error| failed(format!("the answer is not JSON: {error}")))?;
        object["token"].as_str().map(ToOwned::to_owned).ok_or_else(|| failed("no token".into()))
    }

    /// Closes a session.
    pub(super) async fn close_session(&self, session: &str) -> Result<(), Failure> {
        let path = format!("/openvidu/api/sessions/{session}");
        self.request(Method::DELETE, &path, String::new()).await.map(drop)
    }

    /// Reads `path`.
    pub(super) async fn get(&self, path: &str) -> Result<Response, Failure> {
        self.request(Method::GET, path, String::new()).await
    }

    async fn request(&self, method: Method, path: &str, body: String) -> Result<Response, Failure> {
        let failed = |why: String| Failure::rest(&format!("{method} {path}"), why);
        let exchange = async {
            let mut sender = self.sender().await?;
            let request = Request::builder()
                .method(&method)
                .uri(path)
                .header("Host", self.endpoint.authority())
                .header("Authorization", &self.basic)
                .header("Content-Type", "application/json")
                .body(Full::new(Bytes::from(body)))
                .map_err(|error| failed(error.to_string()))?;
            let response = sender.send_request(request).await.map_err(|error| failed(error.to_string()))?;
            let status = response.status().as_u16();
            let body = response.into_body().collect().await.map_err(|error| failed(error.to_string()))?;
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
            Ok(Response { status, body: body.to_bytes() })
        };
        timeout(RESPONSE_TIMEOUT, exchange).await.map_err(|_| failed("no answer within 60 s".into()))?
    }

    /// A connection that is free, or a new one.
    async fn sender(&self) -> Result<Sender, Failure> {
        loop {
            let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some(mut sender) = idle else { break };
            // The server closes a connection that was idle for some seconds.
            if sender.ready().await.is_ok() {
                return Ok(sender);
            }
        }
        let stream = self.endpoint.connect().await?;
        let (sender, connection) =
            handshake(TokioIo::new(stream)).await.map_err(|error| Failure::rest("connect", error))?;
        tokio::spawn(connection);
        Ok(sender)
    }
}
