//! The WebSocket RPC at `/openvidu`.
//!
//! ```text
//! socket ── frame ── message::Request ─┬─ ping, connect, echo, onIceCandidate, …   at once, in the socket's own task
//!    ▲                                 └─ everything else      one after the other, in the socket's worker
//!    │                                                            │ room · media · moderation
//!    └── Outbox ◄── store writer ◄── App::carry_out ◄─ session model, relay
//! ```
//!
//! Who the caller is follows from its socket alone, never from what it sends.

mod budget;
mod media;
mod message;
mod moderation;
mod outbox;
mod room;
mod socket;

use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use axum::extract::ws::Utf8Bytes;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::errors::{self, RpcError};
use crate::app::{Answer, App};
use crate::state::Turn;
pub use budget::Budget;
pub use message::{Params, Request};
pub(crate) use moderation::signal_of;
pub use outbox::{Outbox, Pull};
pub use socket::serve;

/// Joins one socket may try with tokens or sessions that are none.
const REFUSED_JOINS_MAX: u32 = 10;

/// The answers to those: no such session, no such token.
const JOIN_REFUSALS: [i32; 2] = [errors::SESSION, errors::UNAUTHORIZED];

/// A socket and who is behind it.
pub struct Caller {
    app: Arc<App>,
    /// Address it comes from.
    ip: IpAddr,
    /// Name the client knows this server by.
    host: String,
    /// Outbox of the socket until it joins or comes back.
    own: Arc<Outbox>,
    identity: OnceLock<Identity>,
    /// Joins that were refused: guesses, perhaps.
    refused_joins: AtomicU32,
}

/// A participant.
#[derive(Clone)]
pub struct Identity {
    /// Its session.
    pub session: String,
    /// Its connection.
    pub connection: String,
    /// Its private RPC session id.
    pub rpc_session: String,
    /// Its outbox.
    pub outbox: Arc<Outbox>,
    /// Held while it negotiates.
    turn: Arc<Turn>,
    /// Number of this socket at the outbox. Another reader there is a newer socket.
    pub reader: u64,
}

/// A request with the time it came.
struct Timed {
    request: Request,
    /// Until when its answer is of use.
    deadline: Instant,
}

/// How an answer leaves: now, or with the change it is part of.
enum Outcome {
    Result(Value),
    Submitted,
}

/// The text of a success.
fn success(id: &Value, result: &Value) -> Utf8Bytes {
    json!({"id": id, "result": result, "jsonrpc": "2.0"}).to_string().into()
}

impl Caller {
    fn outbox(&self) -> &Arc<Outbox> {
        self.identity.get().map_or(&self.own, |identity| &identity.outbox)
    }

    /// Who calls.
    ///
    /// # Errors
    /// When it has not joined.
    fn identity(&self) -> Result<&Identity, RpcError> {
        self.identity
            .get()
            .ok_or_else(|| RpcError::new(errors::NOT_JOINED, "joinRoom must be the first method called"))
    }

    /// Whether it has guessed often enough.
    fn is_guessing(&self) -> bool {
        self.refused_joins.load(Ordering::Relaxed) >= REFUSED_JOINS_MAX
    }

    /// The answer to `id`, to leave with a change.
    fn answer(&self, id: &Value, result: &Value) -> Option<Answer> {
        Some(Answer { outbox: Arc::clone(self.outbox()), text: success(id, result) })
    }

    /// Carries out one request and sees to its answer.
    async fn handle(&self, timed: Timed) {
        let id = timed.request.id.clone();
        match self.dispatch(timed).await {
            Ok(Outcome::Submitted) => {}
            Ok(Outcome::Result(result)) => self.outbox().push(success(&id, &result)),
            Err(error) => self.outbox().push(error.answer(&id).into()),
        }
    }

    async fn dispatch(&self, timed: Timed) -> Result<Outcome, RpcError> {
        let Timed { request: Request { id, method, params }, deadline } = timed;
        if method == "joinRoom" {
            let outcome = self.join_room(&id, &params, deadline).await;
            if outcome.as_ref().is_err_and(|error| JOIN_REFUSALS.contains(&error.code)) {
                self.refused_joins.fetch_add(1, Ordering::Relaxed);
            }
            return outcome;
        }
        let caller = self.identity()?;
        // Another socket of the same participant may be negotiating.
        let negotiates = matches!(method.as_str(), "publishVideo" | "receiveVideoFrom" | "reconnectStream");
        let turn = async { if negotiates { Some(caller.turn.lock().await) } else { None } };
        let _turn = timeout_at(deadline, turn).await.map_err(|_| room::no_media_node(&"it took too long"))?;
        match method.as_str() {
            "leaveRoom" => self.leave_room(caller, &id),
            "publishVideo" => self.publish_video(caller, &id, &params, deadline).await,
            "unpublishVideo" => self.unpublish_video(caller, &id),
            "receiveVideoFrom" => self.receive_video_from(caller, &id, &params, deadline).await,
            "unsubscribeFromVideo" => self.unsubscribe_from_video(caller, &id, &params),
            "reconnectStream" => self.reconnect_stream(caller, &id, &params, deadline).await,
            "sendMessage" => self.send_message(caller, &id, &params),
            "streamPropertyChanged" => self.stream_property_changed(caller, &id, &params),
            "forceDisconnect" => self.force_disconnect(caller, &id, &params),
            "forceUnpublish" => self.force_unpublish(caller, &id, &params),
            _ => instant(&Request { id, method, params }).map(Outcome::Result),
        }
    }
}

/// What needs neither the model nor the relay, for somebody who has joined.
fn instant(request: &Request) -> Result<Value, RpcError> {
    match request.method.as_str() {
        "echo" | "videoData" => Ok(json!({})),
        "onIceCandidate" => media::on_ice_candidate(&request.params),
        method => Err(unavailable(method)),
    }
}

/// What this server does not do.
fn unavailable(method: &str) -> RpcError {
    match method {
        "applyFilter"
        | "removeFilter"
        | "execFilterMethod"
        | "addFilterEventListener"
        | "removeFilterEventListener" => RpcError::new(errors::UNAUTHORIZED, "this server has no filters"),
        "subscribeToSpeechToText" | "unsubscribeFromSpeechToText" => {
            RpcError::new(errors::EDITION, "this server has no speech to text")
        }
        "prepareReceiveVideoFrom" => {
            RpcError::new(errors::GENERIC, "here the client offers: call receiveVideoFrom with sdpOffer")
        }
        _ => RpcError::new(errors::METHOD, "no such method"),
    }
}
