//! One participant: joins, publishes, watches the others, keeps its socket alive, comes back when it is lost, leaves.
//!
//! It does what openvidu-browser does, in the same order, but for the packets: there is no transport behind its offers.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

use super::api::Api;
use super::line::Line;
use super::plan::{Place, Plan};
use super::tally::{Step, Tally};
use crate::failure::Failure;
use crate::publisher::publish_parameters;
use crate::sdp::answer::Answer;
use crate::sdp::numbers::CHROMIUM;
use crate::sdp::offer::{Offer, OfferedMedia, SentSsrcs};
use crate::sdp::{IceCredentials, Kind};

/// openvidu-browser's interval of pings. A ping that has no answer by the next one ends the socket.
const PING_INTERVAL: Duration = Duration::from_secs(5);
/// openvidu-browser's limit for every request.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// openvidu-browser's pause between two attempts to come back. The first attempt is at a random time within it, so
/// that not all of a crowd come at the same moment.
const RECONNECT_PAUSE: Duration = Duration::from_secs(3);
/// After so many attempts the participant counts as gone.
const RECONNECT_ATTEMPTS_MAX: u32 = 100;
/// What every participant sends and watches.
const KINDS: [Kind; 2] = [Kind::Audio, Kind::Video];

/// What the participants of a run share.
pub(super) struct Crowd {
    pub(super) api: Api,
    pub(super) plan: Plan,
    pub(super) tally: Tally,
    pub(super) phase: watch::Sender<Phase>,
    /// ICE candidates that are sent for each offer.
    pub(super) candidates: usize,
    /// Sockets that stay open; see [`Member::may_sleep`].
    pub(super) sockets: usize,
}

/// What the participants do once they are there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Phase {
    Stay,
    /// They leave one after the other, from this time on, so many a second.
    Leave {
        from: Instant,
        rate: f64,
    },
}

/// Plays participant `number`, who is due to join at `due`, to its end.
pub(super) async fn play(crowd: Arc<Crowd>, number: usize, due: Instant) {
    let place = crowd.plan.place(number);
    // In a box of its own: what joining needs is freed once the participant is there.
    match Box::pin(Member::arrive(&crowd, place, due)).await {
        Ok(member) => member.stay().await,
        Err(failure) => crowd.tally.failed(what_of(&failure), &failure.to_string()),
    }
}

/// The part of a failure that is the same for all participants.
fn what_of(failure: &Failure) -> String {
    match failure {
        Failure::Rest { request, .. } => request.clone(),
        Failure::Rpc { method, .. } => method.clone(),
        Failure::Io(error) => format!("socket: {:?}", error.kind()),
        other => other.to_string(),
    }
}

/// A request that was sent and not answered yet.
struct Call {
    id: u64,
    asked: Asked,
    at: Instant,
}

/// The answer to joinRoom.
#[derive(Deserialize)]
struct JoinAnswer {
    id: u64,
    result: Joined,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Joined {
    id: String,
    session_id: String,
    value: Vec<There>,
}

/// A participant who is there already.
#[derive(Deserialize)]
struct There {
    id: String,
    #[serde(default)]
    streams: Vec<Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Ping,
    Join,
    Publish,
    Watch,
    Candidate,
    Connect,
    Leave,
}

impl Asked {
    const fn method(self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::Join => "joinRoom",
            Self::Publish => "publishVideo",
            Self::Watch => "receiveVideoFrom",
            Self::Candidate => "onIceCandidate",
            Self::Connect => "connect",
            Self::Leave => "leaveRoom",
        }
    }
}

/// How the time on one socket ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The participant has left, or the server does not want it.
    Over,
    /// The socket is gone.
    Lost,
    /// The participant is complete, and others need its descriptor.
    Asleep,
}

struct Member {
    crowd: Arc<Crowd>,
    place: Place,
    line: Line,
    due: Instant,
    /// Its connection id.
    id: String,
    /// What it comes back with.
    rpc_session: String,
    fingerprint: String,
    next_id: u64,
    calls: Vec<Call>,
    publishes: bool,
    watches: usize,
    leaves: bool,
    /// When its socket was lost, until it is back.
    lost_at: Option<Instant>,
}

impl Member {
    /// Gets a token, opens the socket and asks to join.
    async fn arrive(crowd: &Arc<Crowd>, place: Place, due: Instant) -> Result<Self, Failure> {
        let began = Instant::now();
        crowd.api.create_session(&place.session).await?;
        let role = if place.publishes { "PUBLISHER" } else { "SUBSCRIBER" };
        let token = crowd.api.create_token(&place.session, role).await?;
        crowd.tally.took(Step::Token, began.elapsed());
        let line = Line::open(&crowd.api.endpoint, place.source, &place.session, false).await?;
        let mut member = Self {
            crowd: Arc::clone(crowd),
            line,
            due,
            id: String::new(),
            rpc_session: String::new(),
            fingerprint: random_fingerprint(),
            next_id: 0,
            calls: Vec::new(),
            publishes: false,
            watches: 0,
            leaves: false,
            lost_at: None,
            place,
        };
        member.call(Asked::Ping, json!({ "interval": PING_INTERVAL.as_millis() as u64 })).await;
        let join = json!({
            "token": token, "session": member.place.session, "platform": "Chrome 156.0.0.0 (simulated) on Linux 64-bit",
            "sdkVersion": "2.32.2", "metadata": json!({ "clientData": "one of many" }).to_string(),
            "secret": "", "recorder": false, "stt": false
        });
        member.call(Asked::Join, join).await;
        Ok(member)
    }

    async fn stay(mut self) {
        loop {
            match self.serve().await {
                End::Over => return self.line.close().await,
                End::Lost if self.come_back().await => {}
                End::Lost | End::Asleep => return,
            }
        }
    }

    /// Serves one socket until it ends.
    async fn serve(&mut self) -> End {
        let mut phase = self.crowd.phase.subscribe();
        let mut ping = interval(PING_INTERVAL);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ping.reset();
        loop {
            let end = tokio::select! {
                text = self.line.next() => match text {
                    Some(text) => self.handle_text(&text).await,
                    None => Some(End::Lost),
                },
                _ = ping.tick() => self.tick().await,
                () = turn_to_leave(&mut phase, self.place.number), if !self.leaves => {
                    self.leaves = true;
                    self.call(Asked::Leave, json!({})).await;
                    None
                }
            };
            if let Some(end) = end {
                return end;
            }
        }
    }

    /// Pings, and gives up what has waited too long.
    async fn tick(&mut self) -> Option<End> {
        let (late, calls) = self.calls.drain(..).partition(|call| call.at.elapsed() > CALL_TIMEOUT);
        self.calls = calls;
        for Call { asked, .. } in late {
            self.fail(asked, "no answer", "the server did not answer within 10 s");
            if matches!(asked, Asked::Join | Asked::Leave) {
                return Some(End::Over);
            }
        }
        if self.calls.iter().any(|call| matches!(call.asked, Asked::Ping | Asked::Connect)) {
            return Some(End::Lost);
        }
        if self.may_sleep() {
            return Some(End::Asleep);
        }
        self.call(Asked::Ping, Value::Null).await;
        None
    }

    /// Whether the participant is complete, and so many have joined since that its socket is one too many. The server
    /// keeps such a participant only if it waits long enough for lost sockets.
    fn may_sleep(&self) -> bool {
        let is_complete = self.publishes == self.place.publishes && self.watches >= self.place.watches;
        is_complete && self.crowd.tally.joined() >= self.place.number.saturating_add(self.crowd.sockets)
    }

    /// A lost socket: a new one with `connect`, as openvidu-browser does it. False when the participant is gone.
    async fn come_back(&mut self) -> bool {
        for Call { asked, .. } in std::mem::take(&mut self.calls) {
            if !matches!(asked, Asked::Ping | Asked::Connect) {
                self.fail(asked, "socket lost", "the socket was lost before the answer");
            }
        }
        if self.leaves || self.rpc_session.is_empty() {
            return false;
        }
        if self.lost_at.is_none() {
            self.lost_at = Some(Instant::now());
            self.crowd.tally.change(|seen| seen.lost += 1);
        }
        sleep(RECONNECT_PAUSE.mul_f64(rand::random())).await;
        for _ in 0..RECONNECT_ATTEMPTS_MAX {
            let endpoint = &self.crowd.api.endpoint;
            if let Ok(line) = Line::open(endpoint, self.place.source, &self.place.session, true).await {
                self.line = line;
                let connect = json!({ "sessionId": self.rpc_session, "reconnect": true });
                self.call(Asked::Connect, connect).await;
                return true;
            }
            sleep(RECONNECT_PAUSE).await;
        }
        false
    }

    async fn handle_text(&mut self, text: &str) -> Option<End> {
        // Nothing follows from it, and a large room sends little else.
        if text.starts_with(r#"{"method":"participantJoined""#) {
            return None;
        }
        // So is the list of everyone there: a tree of it would cost more than all the rest.
        if let Some(place) = self.calls.iter().position(|call| call.asked == Asked::Join)
            && let Ok(answer) = serde_json::from_str::<JoinAnswer>(text)
            && answer.id == self.calls[place].id
        {
            let call = self.calls.swap_remove(place);
            self.has_joined(&call, answer.result).await;
            return None;
        }
        let Ok(mut message) = serde_json::from_str::<Value>(text) else {
            self.crowd.tally.failed("a message that is not JSON".into(), text);
            return None;
        };
        if let Some(method) = message["method"].as_str() {
            return self.handle_notification(method, &message["params"]).await;
        }
        let id = message["id"].as_u64();
        let place = self.calls.iter().position(|call| Some(call.id) == id)?;
        let call = self.calls.swap_remove(place);
        match message.get("error") {
            Some(error) => self.handle_error(&call, error),
            None => self.handle_result(&call, message["result"].take()).await,
        }
    }

    async fn handle_notification(&mut self, method: &str, params: &Value) -> Option<End> {
        match method {
            "participantPublished" => {
                let id = params["id"].as_str().unwrap_or_default();
                self.watch_all(id, params["streams"].as_array().map_or(&[], Vec::as_slice)).await;
            }
            "participantEvicted" if params["connectionId"] == self.id.as_str() => {
                self.crowd.tally.change(|seen| seen.evicted += 1);
                return Some(End::Over);
            }
            "forciblyReconnectSubscriber" => self.crowd.tally.change(|seen| seen.asked_back += 1),
            _ => {}
        }
        None
    }

    fn handle_error(&self, call: &Call, error: &Value) -> Option<End> {
        self.fail(call.asked, &error["code"].to_string(), &error["message"].to_string());
        match call.asked {
            Asked::Connect => {
                self.crowd.tally.change(|seen| seen.refused_back += 1);
                Some(End::Over)
            }
            Asked::Join | Asked::Leave => Some(End::Over),
            _ => None,
        }
    }

    async fn handle_result(&mut self, call: &Call, result: Value) -> Option<End> {
        let took = call.at.elapsed();
        match call.asked {
            Asked::Ping => self.crowd.tally.took(Step::Ping, took),
            Asked::Candidate => {}
            Asked::Join => {
                self.fail(call.asked, "bad answer", "joinRoom's answer has no id, session or list")
            }
            Asked::Publish if self.accepts(call.asked, &result, "recvonly") => {
                self.publishes = true;
                self.crowd.tally.took(Step::Publish, took);
                self.crowd.tally.change(|seen| seen.published += 1);
            }
            Asked::Watch if self.accepts(call.asked, &result, "sendonly") => {
                self.watches += 1;
                self.crowd.tally.took(Step::Watch, took);
                self.crowd.tally.change(|seen| seen.watched += 1);
            }
            Asked::Publish | Asked::Watch => {}
            Asked::Connect => {
                if let Some(lost_at) = self.lost_at.take() {
                    self.crowd.tally.took(Step::Back, lost_at.elapsed());
                }
                self.crowd.tally.change(|seen| seen.back += 1);
                self.call(Asked::Ping, json!({ "interval": PING_INTERVAL.as_millis() as u64 })).await;
            }
            Asked::Leave => {
                self.crowd.tally.change(|seen| seen.left += 1);
                return Some(End::Over);
            }
        }
        None
    }

    /// Publishes, and watches everyone who is there already.
    async fn has_joined(&mut self, call: &Call, joined: Joined) {
        self.crowd.tally.took(Step::JoinRoom, call.at.elapsed());
        self.crowd.tally.took(Step::Join, self.due.elapsed());
        self.crowd.tally.change(|seen| seen.count_join(Instant::now().into_std()));
        (self.id, self.rpc_session) = (joined.id, joined.session_id);
        if self.place.publishes {
            let offer = self.offer(true);
            self.call(Asked::Publish, publish_parameters(&KINDS, &offer)).await;
            self.send_candidates(&self.id.clone()).await;
        }
        for There { id, streams } in joined.value {
            self.watch_all(&id, &streams).await;
        }
    }

    /// Watches the streams of a participant.
    async fn watch_all(&mut self, participant: &str, streams: &[Value]) {
        for stream in streams {
            let offer = self.offer(false);
            self.call(Asked::Watch, json!({ "sender": stream["id"], "sdpOffer": offer })).await;
            self.send_candidates(participant).await;
        }
    }

    async fn send_candidates(&mut self, endpoint: &str) {
        for number in 0..self.crowd.candidates {
            let candidate = format!(
                "candidate:{number} 1 udp 2113937151 {} 50000 typ host generation 0 network-cost 999",
                self.place.source
            );
            let params = json!({
                "endpointName": endpoint, "candidate": candidate, "sdpMid": "0", "sdpMLineIndex": 0
            });
            self.call(Asked::Candidate, params).await;
        }
    }

    /// The offer of one more PeerConnection, with ICE credentials of its own.
    fn offer(&self, sends: bool) -> String {
        let ssrcs = |kind| SentSsrcs { media: rand::random(), rtx: (kind == Kind::Video).then(rand::random) };
        let media = KINDS.map(|kind| OfferedMedia { kind, sends: sends.then(|| ssrcs(kind)) });
        let (ice, fingerprint) = (IceCredentials::generate(), &self.fingerprint);
        Offer { media: &media, ice: &ice, fingerprint, numbers: &CHROMIUM, cname: "crowd" }.write()
    }

    /// Whether a browser could use the answer.
    fn accepts(&self, asked: Asked, result: &Value, direction: &str) -> bool {
        let answer = Answer::parse(result["sdpAnswer"].as_str().unwrap_or_default(), &KINDS);
        let usable = answer.and_then(|answer| {
            answer.remote()?;
            KINDS.into_iter().try_for_each(|kind| answer.track(kind, direction).map(drop))
        });
        if let Err(failure) = &usable {
            self.fail(asked, "unusable answer", &failure.to_string());
        }
        usable.is_ok()
    }

    fn fail(&self, asked: Asked, code: &str, text: &str) {
        self.crowd.tally.failed(format!("{} {code}", asked.method()), text);
    }

    /// Sends a request. A socket that is gone shows when it is read.
    async fn call(&mut self, asked: Asked, params: Value) {
        let mut message = json!({ "jsonrpc": "2.0", "method": asked.method() });
        if !params.is_null() {
            message["params"] = params;
        }
        let id = self.next_id;
        message["id"] = id.into();
        self.next_id += 1;
        self.calls.push(Call { id, asked, at: Instant::now() });
        let _ = self.line.send(message.to_string()).await;
    }
}

/// Ends when it is the turn of participant `number` to leave.
async fn turn_to_leave(phase: &mut watch::Receiver<Phase>, number: usize) {
    loop {
        let now = *phase.borrow_and_update();
        if let Phase::Leave { from, rate } = now {
            return sleep_until(from + Duration::from_secs_f64(number as f64 / rate)).await;
        }
        if phase.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

/// SHA-256 of a certificate that nobody has, as colon-separated hex.
fn random_fingerprint() -> String {
    let bytes: [u8; 32] = rand::random();
    bytes.map(|byte| format!("{byte:02X}")).join(":")
}
