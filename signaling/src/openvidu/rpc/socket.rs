//! One WebSocket: its loop, its watchdog, its end.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::super::errors::{self, RpcError};
use super::instant::answer_at_once;
use super::methods::Handler;
use super::{Call, Caller, Method, Params, Request, success};
use crate::app::App;
use crate::delivery::{Outbox, Pull};
use crate::http::limiter::{Permit, Stage};
use crate::http::websocket::{Failure, Message, WebSocket};
use crate::openvidu::Generation;
use crate::rate::{Bucket, Rate};
use crate::session::Reason;

/// Requests of one socket that wait for their turn; one more ends it. Candidates do not wait here, so a browser may
/// subscribe to this many streams at once.
const REQUESTS_MAX: usize = 1_024;

/// Malformed frames a socket may send; at this many it is closed.
const GARBAGE_MAX: u32 = 3;

/// Frames beyond the rate a socket may send before it has kept to it again; at this many it is closed.
const EXCESS_MAX: u32 = 100;

/// What the client announces as its ping interval, until it does.
const PING_INTERVAL: Duration = Duration::from_secs(5);

/// Bounds of what it may announce.
const PING_INTERVAL_MIN_MS: u64 = 1_000;
const PING_INTERVAL_MAX_MS: u64 = 60_000;

/// How long a client may leave a frame unread.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a socket stays that sent what cannot be read, so that its client reads why: what is still on its way would
/// make the system reset the connection.
const FAREWELL_LINGER: Duration = Duration::from_secs(1);

/// The client's close code when it has left.
const CLOSED_BY_CLIENT: u16 = 4102;

/// RFC 6455 §7.4.1.
const CLOSE_NORMAL: u16 = 1000;
const CLOSE_GOING_AWAY: u16 = 1001;
const CLOSE_NO_TEXT: u16 = 1007;
const CLOSE_POLICY: u16 = 1008;
const CLOSE_TOO_LONG: u16 = 1009;
/// Registered by RFC 6455 §11.7 since: try again later.
const CLOSE_TRY_AGAIN: u16 = 1013;

/// Why a socket ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// The client closed it, with this code.
    Closed(Option<u16>),
    /// It broke, or the client does not read.
    Lost,
    /// Another socket took over.
    Replaced,
    /// No ping for too long.
    Silent,
    /// More waits than a client may leave unread.
    Overflow,
    /// Frames that are no requests, again and again, too many requests at once, or too many wrong tokens.
    Abuse,
    /// More frames than the operator allows, again and again.
    Flood,
    /// A message that cannot be read: the close code that says why, and the words.
    Unreadable(u16, &'static str),
    /// The participant has left and had its time to close the socket itself.
    Farewell,
    /// It never joined.
    Idle,
    /// It had not joined when its place was needed for another connection.
    Displaced,
    /// This process ends. The client comes back to the next one.
    Ending,
}

/// Serves one socket to its end.
pub async fn serve(
    app: Arc<App>,
    socket: WebSocket,
    ip: IpAddr,
    host: String,
    generation: Generation,
    permit: Arc<Permit>,
) {
    let caller = Arc::new(Caller {
        app,
        ip,
        host,
        generation,
        own: Arc::new(Outbox::default()),
        member: OnceLock::new(),
        is_entering: AtomicBool::new(false),
        refused_joins: AtomicU32::new(0),
    });
    // The channel allocates 32 places at a time; a box keeps them small.
    let (requests, queue) = mpsc::channel(REQUESTS_MAX);
    let worker = tokio::spawn(work(Arc::clone(&caller), queue));
    let mut socket = Socket::new(Arc::clone(&caller), socket, requests, permit);
    let end = socket.run().await;
    tracing::debug!(?end, ip = %caller.ip, "socket ended");
    socket.say_goodbye(&end).await;
    let reader = socket.reader;
    drop(socket);
    if caller.member.get().is_none() {
        // A join may be under way; what it leads to must not stay behind.
        let _ = worker.await;
    }
    conclude(&caller, &end, reader);
}

/// Carries out requests one after the other, for as long as they are of any use.
async fn work(caller: Arc<Caller>, mut queue: mpsc::Receiver<Box<Call>>) {
    while !caller.is_guessing()
        && let Some(call) = queue.recv().await
    {
        caller.handle(&call).await;
    }
}

/// What the end of a socket means for its participant.
fn conclude(caller: &Caller, end: &End, reader: u64) {
    let Some(member) = caller.member.get() else { return };
    let app = &caller.app;
    match end {
        End::Closed(Some(CLOSED_BY_CLIENT)) => {
            app.remove_now(&member.resume_key, reader, Reason::Disconnect);
        }
        End::Silent | End::Overflow => {
            app.remove_now(&member.resume_key, reader, Reason::NetworkDisconnect);
        }
        End::Replaced | End::Ending => {}
        End::Closed(_)
        | End::Lost
        | End::Abuse
        | End::Flood
        | End::Unreadable(..)
        | End::Farewell
        | End::Idle
        | End::Displaced => {
            app.await_return(member.resume_key.clone(), reader, app.config.timing.reconnect_grace);
        }
    }
}

/// What a socket has to do.
enum Work {
    Pulled(Pull),
    Came(Option<Result<Message, Failure>>),
}

/// Waits for either direction, with no preference. Safe to drop while it waits.
async fn next(outbox: &Outbox, reader: u64, socket: &mut WebSocket) -> Work {
    tokio::select! {
        pulled = outbox.pull(reader) => Work::Pulled(pulled),
        message = socket.next() => Work::Came(message),
    }
}

/// Waits until this process is about to end. Safe to drop while it waits.
async fn is_ending(ending: &mut watch::Receiver<bool>) {
    // The sender lives as long as the application; without it there is nothing to wait for.
    let _ = ending.wait_for(|ends| *ends).await;
}

struct Socket {
    caller: Arc<Caller>,
    inner: WebSocket,
    requests: mpsc::Sender<Box<Call>>,
    /// Number of this socket at the outbox it reads.
    reader: u64,
    garbage: u32,
    /// The rate it may send frames with, and what it used of it.
    rate: Option<Rate>,
    sent: Bucket,
    /// Frames beyond the rate since it last kept to it.
    excess: u32,
    interval: Duration,
    pinged_at: Instant,
    join_by: Instant,
    farewell_at: Option<Instant>,
    permit: Arc<Permit>,
    /// Becomes true when this process is about to end, which waits for this to be dropped.
    ending: watch::Receiver<bool>,
}

impl Socket {
    fn new(
        caller: Arc<Caller>,
        inner: WebSocket,
        requests: mpsc::Sender<Box<Call>>,
        permit: Arc<Permit>,
    ) -> Self {
        let now = Instant::now();
        let rate = caller.app.config.limits.rpc();
        Self {
            reader: caller.own.attach(),
            ending: caller.app.ending(),
            join_by: now + caller.app.config.timing.join_wait,
            caller,
            inner,
            requests,
            garbage: 0,
            rate,
            sent: Bucket::new(now),
            excess: 0,
            interval: PING_INTERVAL,
            pinged_at: now,
            farewell_at: None,
            permit,
        }
    }

    async fn run(&mut self) -> End {
        loop {
            let outbox = Arc::clone(self.caller.outbox());
            let requests = self.requests.clone();
            let mut ending = self.ending.clone();
            let (deadline, at_deadline) = self.deadline();
            if self.caller.member.get().is_some() {
                self.permit.promote(Stage::Admitted);
            }
            let step = tokio::select! {
                biased;
                work = next(&outbox, self.reader, &mut self.inner) => match work {
                    Work::Pulled(pulled) => self.handle_pull(pulled).await,
                    Work::Came(message) => self.handle_message(message),
                },
                () = requests.closed() => Err(End::Abuse),
                () = self.permit.displaced() => Err(End::Displaced),
                () = is_ending(&mut ending) => Err(End::Ending),
                // Last: when this process could not run for a while, the ping that came meanwhile counts.
                () = sleep_until(deadline) => Err(at_deadline),
            };
            if let Err(end) = step {
                return end;
            }
        }
    }

    /// When the socket ends if nothing happens, and why.
    fn deadline(&self) -> (Instant, End) {
        if let Some(at) = self.farewell_at {
            return (at, End::Farewell);
        }
        let missed_max = self.caller.app.config.limits.pings_missed_max;
        let silent = (self.pinged_at + self.interval * missed_max, End::Silent);
        if self.caller.member.get().is_none() && self.join_by < silent.0 {
            return (self.join_by, End::Idle);
        }
        silent
    }

    async fn handle_pull(&mut self, pulled: Pull) -> Result<(), End> {
        match pulled {
            Pull::Texts(texts) => {
                let outbox = Arc::clone(self.caller.outbox());
                tokio::select! {
                    sent = timeout(SEND_TIMEOUT, self.inner.write(texts)) => match sent {
                        Ok(Ok(())) => Ok(()),
                        Ok(Err(_)) | Err(_) => Err(End::Lost),
                    },
                    () = outbox.overflow() => Err(End::Overflow),
                }
            }
            Pull::Finished => {
                self.farewell_at = Some(Instant::now() + self.caller.app.config.timing.farewell);
                Ok(())
            }
            Pull::Overflow => Err(End::Overflow),
            Pull::Replaced => Err(End::Replaced),
        }
    }

    fn handle_message(&mut self, message: Option<Result<Message, Failure>>) -> Result<(), End> {
        // A client that keeps sending must not postpone the join or farewell deadline.
        if let (at, end @ (End::Idle | End::Farewell)) = self.deadline()
            && Instant::now() >= at
        {
            return Err(end);
        }
        match message {
            Some(Ok(Message::Text(text))) => self.handle_text(&text),
            // Binary frames are none of the protocol's; it answers WebSocket pings by itself.
            Some(Ok(Message::Binary(_))) => self.handle_text(""),
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => self.count().map(drop),
            Some(Ok(Message::Close(frame))) => Err(End::Closed(frame.map(|frame| frame.code.into()))),
            Some(Err(Failure::TooLong)) => Err(End::Unreadable(CLOSE_TOO_LONG, "message too long")),
            Some(Err(Failure::NotUtf8)) => Err(End::Unreadable(CLOSE_NO_TEXT, "no UTF-8")),
            Some(Err(Failure::Broken)) | None => Err(End::Lost),
        }
    }

    /// Counts one more frame. Gives whether it keeps to the rate.
    fn count(&mut self) -> Result<bool, End> {
        let Some(rate) = self.rate else { return Ok(true) };
        let now = Instant::now();
        if self.sent.is_whole(now) {
            self.excess = 0;
        }
        let keeps = self.sent.spend(now, rate, 1).is_ok();
        self.excess += u32::from(!keeps);
        if self.excess < EXCESS_MAX { Ok(keeps) } else { Err(End::Flood) }
    }

    fn handle_text(&mut self, text: &str) -> Result<(), End> {
        let keeps = self.count()?;
        let request = match Request::parse(text) {
            Ok(request) => request,
            Err((id, error)) => {
                self.garbage += 1;
                self.caller.outbox().push(error.answer(&id).into());
                return if self.garbage < GARBAGE_MAX { Ok(()) } else { Err(End::Abuse) };
            }
        };
        let Request { id, method, params } = request;
        let method = Method::named(&method);
        match (&method.handler, self.caller.member.get()) {
            (Handler::Ping, _) => {
                self.handle_ping(&params);
                self.caller.outbox().push(success(&id, &json!({"value": "pong"})));
            }
            // All but what keeps the socket alive.
            _ if !keeps => {
                let most = self.caller.app.config.limits.rpc_per_s_max;
                let why = format!("too many requests: {most} a second may come");
                self.caller.outbox().push(RpcError::new(errors::TOO_OFTEN, why).answer(&id).into());
            }
            (Handler::Connect, _) => match self.caller.connect(&id, &params) {
                Ok(reader) => self.reader = reader,
                Err(error) => self.caller.outbox().push(error.answer(&id).into()),
            },
            (Handler::Instant(answer), Some(member)) => {
                let answer = match answer_at_once(member, *answer, &params) {
                    Ok(result) => success(&id, &result),
                    Err(error) => error.answer(&id).into(),
                };
                self.caller.outbox().push(answer);
            }
            _ => {
                let call = Call { method, id, params, deadline: self.caller.app.relay_deadline() };
                self.requests.try_send(Box::new(call)).map_err(|_| End::Abuse)?;
            }
        }
        Ok(())
    }

    fn handle_ping(&mut self, params: &Params) {
        self.pinged_at = Instant::now();
        if let Some(interval_ms) = params.optional_u64("interval") {
            let interval_ms = interval_ms.clamp(PING_INTERVAL_MIN_MS, PING_INTERVAL_MAX_MS);
            self.interval = Duration::from_millis(interval_ms);
        }
    }

    /// Sends what still waits, if that is of any use, and a close frame.
    async fn say_goodbye(&mut self, end: &End) {
        let (code, reason) = match end {
            // Who does not read does not read a farewell either.
            End::Closed(_) | End::Lost | End::Overflow => return,
            End::Replaced => (CLOSE_NORMAL, "another socket took over"),
            End::Farewell => (CLOSE_NORMAL, "left"),
            End::Idle => (CLOSE_POLICY, "did not join"),
            End::Displaced => (CLOSE_TRY_AGAIN, "too many connections that have not joined"),
            End::Ending => (CLOSE_GOING_AWAY, "the server is restarted"),
            End::Silent => (CLOSE_NORMAL, "Close for not receive ping from client"),
            End::Abuse => (CLOSE_POLICY, "malformed or refused requests"),
            End::Flood => (CLOSE_POLICY, "too many requests"),
            End::Unreadable(code, why) => (*code, *why),
        };
        let closing = async {
            // The last error answers, which may say what is wrong; and notices that still gather before a restart, since
            // the next process does not know them.
            if matches!(end, End::Abuse | End::Flood | End::Ending) {
                let outbox = Arc::clone(self.caller.outbox());
                outbox.hurry();
                while let Ok(Pull::Texts(texts)) = timeout(Duration::ZERO, outbox.pull(self.reader)).await {
                    if self.inner.write(texts).await.is_err() {
                        return;
                    }
                }
            }
            self.inner.close(code, reason).await;
            if matches!(end, End::Unreadable(..)) {
                sleep(FAREWELL_LINGER).await;
            }
        };
        let _ = timeout(SEND_TIMEOUT, closing).await;
    }
}
