//! The WebSocket RPC at `/openvidu`.
//!
//! ```text
//! socket ── frame ── message::Request ─┬─ ping, connect, echo, onIceCandidate, …   at once, in the socket's own task
//!    ▲                    methods      └─ everything else      one after the other, in the socket's worker
//!    │                                                            │ room · publish · subscribe · moderation
//!    └── Outbox ◄── store writer ◄── App::carry_out ◄─ session model, relay
//! ```
//!
//! Who the caller is follows from its socket alone, never from what it sends.

mod instant;
mod message;
mod methods;
mod moderation;
mod options;
mod publish;
mod room;
mod socket;
mod subscribe;

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::errors::{self, RpcError};
use crate::app::{Answer, App, CallError, Member};
use crate::delivery::Outbox;
use crate::openvidu::Generation;
use instant::answer_at_once;
pub use message::{Params, Request};
use methods::Handler;
pub use methods::{METHODS, Method};
pub(crate) use moderation::signal_of;
pub use socket::serve;

/// Joins one socket may try with tokens or sessions that are none.
const REFUSED_JOINS_MAX: u32 = 10;

/// The answers to those: no such session, no such token, or too many of them from there.
const JOIN_REFUSALS: [i32; 3] = [errors::SESSION, errors::UNAUTHORIZED, errors::TOO_OFTEN];

/// A socket and who is behind it.
pub struct Caller {
    app: Arc<App>,
    /// Address it comes from.
    ip: IpAddr,
    /// Name the client knows this server by.
    host: String,
    /// What kind of client it is.
    generation: Generation,
    /// Outbox of the socket until it joins or comes back.
    own: Arc<Outbox>,
    /// Who is behind it, once it has joined or come back.
    member: OnceLock<Member>,
    /// Whether a join or a return is under way, or was done: a socket does it once.
    is_entering: AtomicBool,
    /// Joins that were refused: guesses, perhaps.
    refused_joins: AtomicU32,
}

/// A request on its way to the task that carries it out.
struct Call {
    method: &'static Method,
    /// What to answer to.
    id: Value,
    params: Params,
    /// Until when its answer is of use.
    deadline: Instant,
}

/// How an answer leaves: now, or with the change it is part of.
enum Outcome {
    Result(Value),
    Submitted,
}

/// The text of a success.
fn success(id: &Value, result: &impl Serialize) -> Utf8Bytes {
    let result = serde_json::to_string(result).unwrap_or_else(|_| "null".into());
    format!(r#"{{"id":{id},"result":{result},"jsonrpc":"2.0"}}"#).into()
}

impl Caller {
    fn outbox(&self) -> &Arc<Outbox> {
        self.member.get().map_or(&self.own, |member| &member.outbox)
    }

    /// Who calls.
    ///
    /// # Errors
    /// When it has not joined.
    fn member(&self) -> Result<&Member, RpcError> {
        self.member
            .get()
            .ok_or_else(|| RpcError::new(errors::NOT_JOINED, "joinRoom must be the first method called"))
    }

    /// Whether it has guessed often enough.
    fn is_guessing(&self) -> bool {
        self.refused_joins.load(Ordering::Relaxed) >= REFUSED_JOINS_MAX
    }

    /// The answer to `id`, to leave with a change.
    fn answer(&self, id: &Value, result: &impl Serialize) -> Option<Answer> {
        Some(Answer { outbox: Arc::clone(self.outbox()), text: success(id, result) })
    }

    /// The answer to `id` that says no more than that it was done, to leave with a change.
    fn nothing(&self, id: &Value) -> Option<Answer> {
        self.answer(id, &json!({}))
    }

    /// Carries out one request and sees to its answer.
    async fn handle(&self, call: &Call) {
        match self.dispatch(call).await {
            Ok(Outcome::Submitted) => {}
            Ok(Outcome::Result(result)) => self.outbox().push(success(&call.id, &result)),
            Err(error) => self.outbox().push(error.answer(&call.id).into()),
        }
    }

    async fn dispatch(&self, call: &Call) -> Result<Outcome, RpcError> {
        if matches!(call.method.handler, Handler::Join) {
            let outcome = self.join_room(call).await;
            if outcome.as_ref().is_err_and(|error| JOIN_REFUSALS.contains(&error.code)) {
                self.refused_joins.fetch_add(1, Ordering::Relaxed);
            }
            return outcome;
        }
        let who = self.member()?;
        match call.method.handler {
            Handler::Instant(answer) => answer_at_once(who, answer, &call.params).map(Outcome::Result),
            Handler::Model(change) => change(self, who, call),
            Handler::Negotiation(negotiate) => {
                let turn = timeout_at(call.deadline, who.negotiation.lock()).await;
                let _turn = turn.map_err(|_| CallError::NoMediaNode("it took too long".into()))?;
                negotiate(self, who, call).await
            }
            Handler::Refused(code, why) => Err(RpcError::new(code, why)),
            Handler::Join => unreachable!("handled above"),
            Handler::Ping | Handler::Connect => unreachable!("the socket answers these itself"),
        }
    }
}

/// A session description of the client's, under the name that its method has for it.
fn sdp_param<'a>(params: &'a Params, name: &str) -> Result<&'a str, RpcError> {
    params.text(name).map_err(|_| RpcError::new(errors::SDP, format!("'{name}' is missing")))
}
