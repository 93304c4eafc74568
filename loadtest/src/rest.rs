//! The two REST calls a test needs: a session, and a connection with its token.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::http::{Endpoint, request};

/// The REST side of a server.
#[derive(Clone, Debug)]
pub struct Rest {
    endpoint: Endpoint,
    basic: String,
}

impl Rest {
    /// For the server at `url` with its shared secret.
    ///
    /// # Errors
    /// [`Failure::Usage`] when the URL cannot be read.
    pub fn new(url: &str, secret: &str) -> Result<Self, Failure> {
        let basic = STANDARD.encode(format!("OPENVIDUAPP:{secret}"));
        Ok(Self { endpoint: Endpoint::parse(url)?, basic })
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
        let response = request(&self.endpoint, "POST", path, &self.basic, &body.to_string()).await?;
        if response.status == 409 && !custom_id.is_empty() {
            return Ok(custom_id.to_owned());
        }
        let object = success(&format!("POST {path}"), response.status, &response.body)?;
        text_of(&object, "id", path)
    }

    /// Creates a connection and returns its token.
    ///
    /// # Errors
    /// [`Failure::Rest`] with the server's status.
    pub async fn create_token(&self, session: &str, role: &str) -> Result<String, Failure> {
        let body = json!({ "type": "WEBRTC", "role": role, "data": null, "record": null });
        let path = format!("/openvidu/api/sessions/{session}/connection");
        let response = request(&self.endpoint, "POST", &path, &self.basic, &body.to_string()).await?;
        let object = success(&format!("POST {path}"), response.status, &response.body)?;
        text_of(&object, "token", &path)
    }

    /// The server's statistics.
    ///
    /// # Errors
    /// [`Failure::Rest`] with the server's status.
    pub async fn stats(&self) -> Result<Value, Failure> {
        let path = "/millrace/stats";
        let response = request(&self.endpoint, "GET", path, &self.basic, "").await?;
        success(&format!("GET {path}"), response.status, &response.body)
    }

    /// Closes a session; one that is already gone is fine.
    ///
    /// # Errors
    /// [`Failure::Io`] when the server cannot be reached.
    pub async fn close_session(&self, session: &str) -> Result<(), Failure> {
        let path = format!("/openvidu/api/sessions/{session}");
        request(&self.endpoint, "DELETE", &path, &self.basic, "").await.map(|_| ())
    }
}

fn success(request: &str, status: u16, body: &str) -> Result<Value, Failure> {
    if status != 200 {
        return Err(Failure::rest(request, format!("status {status} {body}")));
    }
    serde_json::from_str(body).map_err(|error| Failure::rest(request, format!("not JSON ({error})")))
}

fn text_of(object: &Value, key: &str, request: &str) -> Result<String, Failure> {
    object[key]
        .as_str()
        .map(ToOwned::to_owned)
        .ok_or_else(|| Failure::rest(request, format!("no `{key}` in the answer")))
}
