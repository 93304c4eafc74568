//! A client of Janus' API over WebSocket: one request at a time, told by its transaction from events.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;

use crate::failure::Failure;
use crate::http::{Endpoint, Stream};

const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// A session of the API.
pub struct Api {
    socket: WebSocketStream<Box<dyn Stream>>,
    session: u64,
    transaction: u64,
}

/// What a plugin answers.
#[derive(Debug)]
pub struct Answer {
    /// Its own part.
    pub data: Value,
    /// An SDP offer or answer, if there is one.
    pub sdp: Option<String>,
}

impl Api {
    /// Opens the socket and a session.
    ///
    /// # Errors
    /// [`Failure::Io`] and [`Failure::Rpc`].
    pub async fn connect(address: SocketAddr) -> Result<Self, Failure> {
        let failed = |why: String| Failure::rpc("connect", why);
        let endpoint = Endpoint { tls: false, host: address.ip().to_string(), port: address.port() };
        let mut request =
            format!("ws://{address}/").into_client_request().map_err(|error| failed(error.to_string()))?;
        request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static("janus-protocol"));
        let stream = endpoint.connect().await?;
        let (socket, _) = tokio_tungstenite::client_async(request, stream)
            .await
            .map_err(|error| failed(error.to_string()))?;
        let mut api = Self { socket, session: 0, transaction: 0 };
        api.session = id_of("create", &api.ask("create", json!({})).await?)?;
        Ok(api)
    }

    /// Attaches to a plugin; gives the handle.
    ///
    /// # Errors
    /// [`Failure::Rpc`] with Janus' reason.
    pub async fn attach(&mut self, plugin: &str) -> Result<u64, Failure> {
        id_of("attach", &self.ask("attach", json!({ "plugin": plugin })).await?)
    }

    /// Sends a handle's plugin a message, and an SDP with it as (type, text).
    ///
    /// # Errors
    /// [`Failure::Rpc`] with the plugin's reason.
    pub async fn message(
        &mut self,
        handle: u64,
        body: Value,
        sdp: Option<(&str, &str)>,
    ) -> Result<Answer, Failure> {
        let name = body["request"].as_str().unwrap_or("message").to_owned();
        let mut request = json!({ "handle_id": handle, "body": body });
        if let Some((kind, text)) = sdp {
            request["jsep"] = json!({ "type": kind, "sdp": text });
        }
        let answer = self.ask("message", request).await?;
        let data = answer["plugindata"]["data"].clone();
        if let Some(why) = data["error"].as_str() {
            return Err(Failure::rpc(&name, why));
        }
        Ok(Answer { data, sdp: answer["jsep"]["sdp"].as_str().map(str::to_owned) })
    }

    /// Waits until Janus says this of a handle, such as `webrtcup`.
    ///
    /// # Errors
    /// [`Failure::Rpc`] when it does not within 10 s.
    pub async fn event(&mut self, handle: u64, name: &str) -> Result<(), Failure> {
        let event = self.next(name, |message| message["janus"] == name && message["sender"] == handle);
        timeout(ANSWER_TIMEOUT, event).await.map_err(|_| Failure::rpc(name, "not within 10 s"))?.map(drop)
    }

    /// Tells Janus that the session is still wanted; it forgets sessions after a minute.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn keep_alive(&mut self) -> Result<(), Failure> {
        // Its only answer is an acknowledgement, which is passed over when something else is waited for.
        self.send("keepalive", json!({})).await.map(drop)
    }

    async fn send(&mut self, verb: &str, mut request: Value) -> Result<String, Failure> {
        self.transaction += 1;
        let transaction = self.transaction.to_string();
        request["janus"] = json!(verb);
        request["transaction"] = json!(transaction);
        if self.session != 0 {
            request["session_id"] = json!(self.session);
        }
        let message = Message::text(request.to_string());
        self.socket.send(message).await.map_err(|error| Failure::rpc(verb, error))?;
        Ok(transaction)
    }

    async fn ask(&mut self, verb: &str, request: Value) -> Result<Value, Failure> {
        let transaction = self.send(verb, request).await?;
        timeout(ANSWER_TIMEOUT, self.answer(verb, &transaction))
            .await
            .map_err(|_| Failure::rpc(verb, "no answer within 10 s"))?
    }

    async fn answer(&mut self, verb: &str, transaction: &str) -> Result<Value, Failure> {
        let is_answer = |message: &Value| message["transaction"] == transaction && message["janus"] != "ack";
        let answer = self.next(verb, is_answer).await?;
        match answer["janus"].as_str() {
            Some("error") => Err(Failure::rpc(verb, &answer["error"]["reason"])),
            _ => Ok(answer),
        }
    }

    /// The next message that is `wanted`; what comes before it is of no interest.
    async fn next(&mut self, verb: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value, Failure> {
        loop {
            let message = self.socket.next().await;
            let message = message.ok_or_else(|| Failure::rpc(verb, "the socket was closed"))?;
            let Message::Text(text) = message.map_err(|error| Failure::rpc(verb, error))? else { continue };
            let message = serde_json::from_str(&text).map_err(|error| Failure::rpc(verb, error))?;
            if wanted(&message) {
                return Ok(message);
            }
        }
    }
}

fn id_of(verb: &str, answer: &Value) -> Result<u64, Failure> {
    answer["data"]["id"].as_u64().ok_or_else(|| Failure::rpc(verb, format!("no id in {answer}")))
}
