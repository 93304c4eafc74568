//! The OpenVidu WebSocket RPC as openvidu-browser speaks it: JSON-RPC 2.0, pings, and the reconnection of a lost
//! socket. One task owns the socket; calls reach it through a channel, so a peer may ask while media flows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::failure::Failure;
use crate::http::{Endpoint, Stream};

/// What openvidu-browser announces with its first ping, and how often it pings.
const PING_INTERVAL: Duration = Duration::from_secs(5);
/// openvidu-browser's limit for every request.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two attempts to come back after a lost socket.
const RECONNECT_PAUSE: Duration = Duration::from_secs(1);
/// After this many attempts the participant counts as gone.
const RECONNECT_ATTEMPTS_MAX: u32 = 60;

type Socket = WebSocketStream<Box<dyn Stream>>;

/// One participant's signaling connection.
pub struct Rpc {
    calls: mpsc::UnboundedSender<Call>,
    notifications: mpsc::UnboundedReceiver<Notification>,
    reconnects: Arc<AtomicU32>,
}

/// A server message without id.
#[derive(Debug)]
pub struct Notification {
    /// Its name, such as `participantPublished`.
    pub method: String,
    /// Its parameters.
    pub params: Value,
}

struct Call {
    method: String,
    params: Value,
    reply: oneshot::Sender<Result<Value, String>>,
}

impl Rpc {
    /// Opens the socket a token points to, pings once, and joins with `joinRoom`. Returns the join's result too.
    ///
    /// # Errors
    /// [`Failure::Io`], or [`Failure::Rpc`] with the server's error object.
    pub async fn join(token: &str, client_data: &str) -> Result<(Self, Value), Failure> {
        let address = Address::of_token(token)?;
        let socket = address.open(false).await?;
        let (calls, inbox) = mpsc::unbounded_channel();
        let (notify, notifications) = mpsc::unbounded_channel();
        let reconnects = Arc::new(AtomicU32::new(0));
        let rpc = Self { calls, notifications, reconnects: Arc::clone(&reconnects) };
        let session = address.session.clone();
        let line = Line {
            address,
            inbox,
            notify,
            reconnects,
            next_id: 0,
            pending: BTreeMap::new(),
            rpc_session: None,
        };
        tokio::spawn(line.run(socket));
        let params = json!({
            "token": token, "session": session, "platform": "Chrome 156.0.0.0 (simulated) on Linux 64-bit",
            "sdkVersion": "2.32.2", "metadata": json!({ "clientData": client_data }).to_string(),
            "secret": "", "recorder": false, "stt": false
        });
        let joined = rpc.call("joinRoom", params).await?;
        Ok((rpc, joined))
    }

    /// One request and its result.
    ///
    /// # Errors
    /// [`Failure::Rpc`] with the server's error object, or after 10 s, or when the socket is gone.
    pub async fn call(&self, method: &str, params: Value) -> Result<Value, Failure> {
        let (reply, answer) = oneshot::channel();
        let call = Call { method: method.to_owned(), params, reply };
        self.calls.send(call).map_err(|_| Failure::rpc(method, "the connection has ended"))?;
        match timeout(CALL_TIMEOUT, answer).await {
            Ok(Ok(Ok(result))) => Ok(result),
            Ok(Ok(Err(why))) => Err(Failure::rpc(method, why)),
            Ok(Err(_)) => Err(Failure::rpc(method, "the socket was lost before the answer")),
            Err(_) => Err(Failure::rpc(method, "no answer within 10 s")),
        }
    }

    /// The next message the server sent by itself; `None` once the connection has ended.
    pub async fn notification(&mut self) -> Option<Notification> {
        self.notifications.recv().await
    }

    /// Drops what the server sends by itself from now on, instead of keeping it for somebody who never asks.
    pub fn ignore_notifications(&mut self) {
        self.notifications.close();
    }

    /// How often the socket was lost and won back.
    #[must_use]
    pub fn reconnects(&self) -> u32 {
        self.reconnects.load(Ordering::Relaxed)
    }
}

/// Where a token leads: the path is always `/openvidu`, whatever the token says.
struct Address {
    endpoint: Endpoint,
    session: String,
}

impl Address {
    fn of_token(token: &str) -> Result<Self, Failure> {
        let endpoint = Endpoint::parse(token)?;
        let query = token.split_once('?').map_or("", |(_, query)| query);
        let session = query
            .split('&')
            .find_map(|pair| pair.strip_prefix("sessionId="))
            .ok_or_else(|| Failure::rpc("connect", format!("the token `{token}` names no session")))?;
        Ok(Self { endpoint, session: session.to_owned() })
    }

    async fn open(&self, again: bool) -> Result<Socket, Failure> {
        let scheme = if self.endpoint.tls { "wss" } else { "ws" };
        let mut url = format!("{scheme}://{}/openvidu?sessionId={}", self.endpoint.authority(), self.session);
        if again {
            url.push_str("&reconnect=true");
        }
        let request = url.into_client_request().map_err(|error| Failure::rpc("connect", error))?;
        let stream = self.endpoint.connect().await?;
        let (socket, _) = tokio_tungstenite::client_async(request, stream)
            .await
            .map_err(|error| Failure::rpc("connect", error))?;
        Ok(socket)
    }
}

/// How one socket ended.
enum Ended {
    /// The participant has no more use for it.
    Done,
    /// The network or the server ended it.
    Lost,
}

/// The task behind an [`Rpc`].
struct Line {
    address: Address,
    inbox: mpsc::UnboundedReceiver<Call>,
    notify: mpsc::UnboundedSender<Notification>,
    reconnects: Arc<AtomicU32>,
    next_id: u64,
    pending: BTreeMap<u64, (String, oneshot::Sender<Result<Value, String>>)>,
    rpc_session: Option<String>,
}

impl Line {
    async fn run(mut self, mut socket: Socket) {
        loop {
            match self.serve(&mut socket).await {
                Ended::Done => {
                    let _ = socket.close(None).await;
                    return;
                }
                Ended::Lost => match self.come_back().await {
                    Some(new) => socket = new,
                    None => return,
                },
            }
        }
    }

    /// Serves one socket until it ends.
    async fn serve(&mut self, socket: &mut Socket) -> Ended {
        let mut ping = interval(PING_INTERVAL);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut params = Some(json!({ "interval": 5000 }));
        let mut pong_due: Option<(u64, Instant)> = None;
        loop {
            tokio::select! {
                _ = ping.tick() => {
                    if pong_due.is_some() {
                        return Ended::Lost;
                    }
                    let id = self.next_id;
                    if self.send(socket, "ping", params.take()).await.is_err() {
                        return Ended::Lost;
                    }
                    pong_due = Some((id, Instant::now()));
                }
                call = self.inbox.recv() => {
                    let Some(call) = call else { return Ended::Done };
                    let id = self.next_id;
                    if self.send(socket, &call.method, Some(call.params)).await.is_err() {
                        let _ = call.reply.send(Err("the socket was lost while sending".to_owned()));
                        return Ended::Lost;
                    }
                    self.pending.insert(id, (call.method, call.reply));
                }
                message = socket.next() => match message {
                    Some(Ok(Message::Text(text))) => {
                        let answered = self.handle_text(text.as_str());
                        if pong_due.is_some_and(|(id, _)| answered == Some(id)) {
                            pong_due = None;
                        }
                    }
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return Ended::Lost,
                    Some(Ok(_)) => {}
                }
            }
        }
    }

    async fn send(&mut self, socket: &mut Socket, method: &str, params: Option<Value>) -> Result<(), ()> {
        let mut message = json!({ "jsonrpc": "2.0", "method": method });
        if let Some(params) = params {
            message["params"] = params;
        }
        message["id"] = self.next_id.into();
        self.next_id += 1;
        socket.send(Message::text(message.to_string())).await.map_err(|_| ())
    }

    /// Takes one server message; returns the id it answered.
    fn handle_text(&mut self, text: &str) -> Option<u64> {
        let mut message: Value = serde_json::from_str(text).ok()?;
        if message["jsonrpc"] != "2.0" {
            return None;
        }
        if let Some(method) = message["method"].as_str() {
            let notification = Notification { method: method.to_owned(), params: message["params"].clone() };
            let _ = self.notify.send(notification);
            return None;
        }
        let id = message["id"].as_u64()?;
        // The real client drops an answer that has both or neither.
        let outcome = match (message.get("result").is_some(), message.get("error").is_some()) {
            (true, false) => Ok(message["result"].take()),
            (false, true) => Err(message["error"].to_string()),
            _ => return None,
        };
        if let Some((method, reply)) = self.pending.remove(&id) {
            if let (true, Ok(result)) = (method == "joinRoom", &outcome) {
                self.rpc_session = result["sessionId"].as_str().map(ToOwned::to_owned);
            }
            let _ = reply.send(outcome);
        }
        Some(id)
    }

    /// A lost socket: a new one with `connect`, as the real client does it.
    async fn come_back(&mut self) -> Option<Socket> {
        self.pending.clear();
        let session = self.rpc_session.clone()?;
        for _ in 0..RECONNECT_ATTEMPTS_MAX {
            if self.inbox.is_closed() {
                return None;
            }
            if let Ok(mut socket) = self.address.open(true).await {
                let params = json!({ "sessionId": session, "reconnect": true });
                match self.reconnect_on(&mut socket, params).await {
                    Some(true) => {
                        self.reconnects.fetch_add(1, Ordering::Relaxed);
                        return Some(socket);
                    }
                    Some(false) => return None,
                    None => {}
                }
            }
            tokio::time::sleep(RECONNECT_PAUSE).await;
        }
        None
    }

    /// Whether the server took us back; `None` when the socket broke before it said so.
    async fn reconnect_on(&mut self, socket: &mut Socket, params: Value) -> Option<bool> {
        let id = self.next_id;
        self.send(socket, "connect", Some(params)).await.ok()?;
        let answer = async {
            while let Some(Ok(message)) = socket.next().await {
                let Message::Text(text) = message else { continue };
                let value: Value = serde_json::from_str(text.as_str()).ok()?;
                if value["id"].as_u64() == Some(id) {
                    return Some(value.get("result").is_some());
                }
                self.handle_text(text.as_str());
            }
            None
        };
        timeout(CALL_TIMEOUT, answer).await.ok().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_leads_to_its_session() {
        let address = Address::of_token("wss://media.example:4443?sessionId=ses_A&token=tok_B").unwrap();
        assert_eq!(address.session, "ses_A");
        assert_eq!(address.endpoint.authority(), "media.example:4443");
        assert!(Address::of_token("wss://media.example?token=tok_B").is_err());
    }
}
