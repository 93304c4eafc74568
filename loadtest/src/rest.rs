//! The two REST calls a test needs: a session, and a connection with its token.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use millrace_http_client::{Client, Limits, Trust};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::http::Endpoint;

/// Each request has a connection of its own, so that join times hold the cost of one. A list of sessions may be some
/// megabytes long.
const LIMITS: Limits = Limits { timeout: Duration::from_secs(10), answer_len_max: 4 << 20, kept_max: 0 };

/// The REST side of a server. Any certificate is accepted: test servers make their own.
#[derive(Clone, Debug)]
pub struct Rest {
    base: String,
    authorization: String,
    client: Client,
}

impl Rest {
    /// For the server at `url` with its shared secret.
    ///
    /// # Errors
    /// [`Failure::Usage`] when the URL cannot be read.
    pub fn new(url: &str, secret: &str) -> Result<Self, Failure> {
        let authorization = format!("Basic {}", STANDARD.encode(format!("OPENVIDUAPP:{secret}")));
        let client = Client::new(&Trust::Any, LIMITS).map_err(|error| Failure::Usage(error.to_string()))?;
        Ok(Self { base: Endpoint::parse(url)?.base(), authorization, client })
    }

    /// Creates a session and returns its id; an existing one of this name is used (409).
    ///
    /// # Errors
    /// [`Failure::Rest`] with the server's status.
    pub async fn create_session(&self, custom_id: &str) -> Result<String, Failure> {
        let body = json!({
            "mediaMode": "ROUTED", "recordingMode": "MANUAL", "customSessionId": custom_id,
            "defaultRecordingProperties": {
                "name": "", "hasAudio": true, "hasVideo": true, "outputMode": "COMPOSED",
                "recordingLayout": "BEST_FIT", "resolution": "1280x720", "frameRate": 25, "shmSize": 536_870_912
            }
        });
        let path = "/openvidu/api/sessions";
        let response = self.request(Method::POST, path, body.to_string()).await?;
        if response.status() == StatusCode::CONFLICT && !custom_id.is_empty() {
            return Ok(custom_id.to_owned());
        }
        let object = success(&format!("POST {path}"), &response)?;
        text_of(&object, "id", path)
    }

    /// Creates a connection and returns its token.
    ///
    /// # Errors
    /// [`Failure::Rest`] with the server's status.
    pub async fn create_token(&self, session: &str, role: &str) -> Result<String, Failure> {
        let body = json!({ "type": "WEBRTC", "role": role, "data": null, "record": null });
        let path = format!("/openvidu/api/sessions/{session}/connection");
        let response = self.request(Method::POST, &path, body.to_string()).await?;
        let object = success(&format!("POST {path}"), &response)?;
        text_of(&object, "token", &path)
    }

    /// The server's statistics.
    ///
    /// # Errors
    /// [`Failure::Rest`] with the server's status.
    pub async fn stats(&self) -> Result<Value, Failure> {
        let path = "/millrace/stats";
        let response = self.request(Method::GET, path, String::new()).await?;
        success(&format!("GET {path}"), &response)
    }

    /// Closes a session; one that is already gone is fine.
    ///
    /// # Errors
    /// [`Failure::Rest`] when the server cannot be reached.
    pub async fn close_session(&self, session: &str) -> Result<(), Failure> {
        let path = format!("/openvidu/api/sessions/{session}");
        self.request(Method::DELETE, &path, String::new()).await.map(|_| ())
    }

    /// One request with the secret and a JSON body. Any status is an answer.
    async fn request(&self, method: Method, path: &str, body: String) -> Result<Response<Bytes>, Failure> {
        let what = format!("{method} {path}");
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header(AUTHORIZATION, &self.authorization)
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json")
            .body(Full::from(body))
            .map_err(|error| Failure::rest(&what, error))?;
        self.client.send(request).await.map_err(|error| Failure::rest(&what, error))
    }
}

fn success(request: &str, response: &Response<Bytes>) -> Result<Value, Failure> {
    if response.status() != StatusCode::OK {
        let body = String::from_utf8_lossy(response.body());
        return Err(Failure::rest(request, format!("status {} {body}", response.status().as_u16())));
    }
    serde_json::from_slice(response.body())
        .map_err(|error| Failure::rest(request, format!("not JSON ({error})")))
}

fn text_of(object: &Value, key: &str, request: &str) -> Result<String, Failure> {
    object[key]
        .as_str()
        .map(ToOwned::to_owned)
        .ok_or_else(|| Failure::rest(request, format!("no `{key}` in the answer")))
}
