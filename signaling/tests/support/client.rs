//! A client of the RPC, frame by frame.

use std::collections::VecDeque;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::{PATIENCE, PUBLISH, SUBSCRIBE};

/// A frame that a client library would not send.
pub enum Odd<'a> {
    Text(&'a str),
    Binary(&'a [u8]),
    /// A text frame of bytes that are no text.
    BadText(&'a [u8]),
}

pub struct Client {
    socket: WebSocketStream<TcpStream>,
    next_id: u64,
    /// Notifications that came while something else was awaited.
    inbox: VecDeque<Value>,
}

impl Client {
    pub async fn open(port: u16) -> Self {
        Self::open_at(port, "/openvidu?sessionId=any").await
    }

    /// Opens a socket where clients of the first generation do.
    pub async fn open_room(port: u16) -> Self {
        Self::open_at(port, "/room").await
    }

    async fn open_at(port: u16, path: &str) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let url = format!("ws://localhost:{port}{path}");
        let (socket, _) = client_async(url, stream).await.unwrap();
        Self { socket, next_id: 0, inbox: VecDeque::new() }
    }

    /// Opens a socket and joins with a token's URL.
    pub async fn join(port: u16, session: &str, token: &str) -> (Self, Value) {
        let mut client = Self::open(port).await;
        let result = client.ok("joinRoom", join_params(session, token)).await;
        (client, result)
    }

    pub async fn send_text(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.unwrap();
    }

    /// Sends what is no text, or none that may be sent.
    pub async fn send_odd(&mut self, odd: &Odd<'_>) {
        let message = match odd {
            Odd::Text(text) => Message::text(*text),
            Odd::Binary(bytes) => Message::binary(bytes.to_vec()),
            Odd::BadText(bytes) => {
                Message::Frame(Frame::message(bytes.to_vec(), OpCode::Data(Data::Text), true))
            }
        };
        // The server may close while it is on its way.
        let _ = self.socket.send(message).await;
    }

    /// Sends a request and gives its number.
    pub async fn send(&mut self, method: &str, params: Value) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let request = json!({"jsonrpc": "2.0", "method": method, "params": params, "id": id});
        self.send_text(&request.to_string()).await;
        id
    }

    /// The next frame, or the close frame the server sends.
    pub async fn frame(&mut self) -> Result<Value, Option<CloseFrame>> {
        loop {
            match timeout(PATIENCE, self.socket.next()).await.expect("nothing came") {
                Some(Ok(Message::Text(text))) => {
                    let value: Value = serde_json::from_str(&text).unwrap();
                    assert_eq!(value["jsonrpc"], "2.0", "clients drop it otherwise: {value}");
                    return Ok(value);
                }
                Some(Ok(Message::Close(frame))) => return Err(frame),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(None),
            }
        }
    }

    /// The answer to request `id`; notifications that come first are kept.
    pub async fn answer(&mut self, id: u64) -> Value {
        loop {
            let frame = self.frame().await.expect("the server closed the socket");
            if frame.get("method").is_some() {
                self.inbox.push_back(frame);
            } else if frame["id"] == id {
                assert!(frame.get("result").is_some() != frame.get("error").is_some(), "{frame}");
                return frame;
            }
        }
    }

    pub async fn call(&mut self, method: &str, params: Value) -> Value {
        let id = self.send(method, params).await;
        self.answer(id).await
    }

    /// Calls and expects a result.
    pub async fn ok(&mut self, method: &str, params: Value) -> Value {
        let answer = self.call(method, params).await;
        answer.get("result").unwrap_or_else(|| panic!("{method} failed: {answer}")).clone()
    }

    /// Calls and expects an error; gives its code.
    pub async fn error(&mut self, method: &str, params: Value) -> i64 {
        let answer = self.call(method, params).await;
        answer["error"]["code"].as_i64().unwrap_or_else(|| panic!("{method} did not fail: {answer}"))
    }

    /// The next notification.
    pub async fn next_told(&mut self) -> Value {
        match self.inbox.pop_front() {
            Some(frame) => frame,
            None => self.frame().await.expect("the server closed the socket"),
        }
    }

    /// The next notification, which must be of this method. Gives its parameters.
    pub async fn told(&mut self, method: &str) -> Value {
        let frame = self.next_told().await;
        assert_eq!(frame["method"], method, "{frame}");
        assert!(frame.get("id").is_none());
        frame["params"].clone()
    }

    /// Whether nothing was told so far: the server answers this ping after everything before it.
    pub async fn hears_nothing(&mut self) -> bool {
        self.ok("echo", json!({})).await;
        self.inbox.is_empty()
    }

    /// Publishes camera and microphone; gives the result.
    pub async fn publish(&mut self) -> Value {
        self.ok("publishVideo", publish_params()).await
    }

    /// Watches a stream; gives the SDP answer.
    pub async fn watch(&mut self, stream: &str) -> String {
        let result = self.ok("receiveVideoFrom", json!({"sender": stream, "sdpOffer": SUBSCRIBE})).await;
        result["sdpAnswer"].as_str().unwrap().to_owned()
    }

    /// Closes with a code, as the browser does.
    pub async fn close(mut self, code: u16) {
        let frame = CloseFrame { code: code.into(), reason: "".into() };
        self.socket.close(Some(frame)).await.unwrap();
        while self.frame().await.is_ok() {}
    }
}

pub fn join_params(session: &str, token: &str) -> Value {
    json!({"token": token, "session": session, "platform": "test", "sdkVersion": "2.32.2",
           "metadata": "", "secret": "", "recorder": false, "stt": false})
}

pub fn publish_params() -> Value {
    json!({"doLoopback": false, "hasAudio": true, "hasVideo": true, "audioActive": true, "videoActive": true,
           "typeOfVideo": "CAMERA", "frameRate": 15, "videoDimensions": "{\"width\":1280,\"height\":720}",
           "sdpOffer": PUBLISH})
}
