//! Sends events to an application's server. That may be slow, fail or be absent: calls never wait for it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode};
use millrace_http_client::{SendError, Trust};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::client::Client;
use super::event::Event;
use super::queues::{Pushed, Queues};
use super::{Bounds, Endpoint, Kind, Letter};

/// Most requests at a time, each of another session.
const WORKERS: usize = 8;

/// Attempts for one event, the first included.
const TRIES: u32 = 5;

/// What to do about a certificate that is not accepted.
const UNTRUSTED: &str = "Name a PEM file with the receiver's certificate, or with the authority that signed it, in \
     events.webhook-ca-file; or set events.webhook-verify-tls to false, and any certificate is accepted, as OpenVidu does";

/// Where events are sent, which ones, and how.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The URL.
    pub endpoint: Endpoint,
    /// Headers of every request.
    pub headers: HeaderMap,
    /// Kinds of events that are sent.
    pub kinds: Vec<Kind>,
    /// Which certificates of the receiver are accepted.
    pub trust: Trust,
    /// Key of the signature. Without one nothing is signed.
    pub secret: Option<String>,
    /// How much may wait.
    pub bounds: Bounds,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// Pause before the second attempt; each later one is twice as long.
    pub pause: Duration,
}

/// The sender. Dropping it ends it; events that wait are lost then.
pub(super) struct Webhook {
    kinds: Vec<Kind>,
    shared: Arc<Shared>,
    _workers: JoinSet<()>,
}

/// Numbers of events.
#[derive(Debug, Default)]
struct Counters {
    delivered: AtomicU64,
    /// Given up after all attempts, or refused by the receiver.
    failed: AtomicU64,
    /// Dropped because too many wait.
    dropped: AtomicU64,
}

struct Shared {
    queues: Mutex<Queues>,
    /// One permit for each session whose next event can be sent.
    ready: Semaphore,
    idle: Notify,
    client: Client,
    pause: Duration,
    counters: Counters,
    /// Whether the last event was not delivered. The log says so once.
    failing: AtomicBool,
    /// Whether the last event that was pushed found no room.
    full: AtomicBool,
}

/// How one attempt ended.
enum Attempt {
    Taken,
    /// Another attempt would end the same.
    Refused(StatusCode),
    /// Another attempt may succeed.
    Failed(String),
    /// The certificate of the receiver is not accepted. Another attempt may succeed.
    Untrusted(String),
}

impl Webhook {
    /// Starts the workers. Must be called within the runtime.
    pub(super) fn start(settings: Settings) -> Result<Self, String> {
        let Settings { endpoint, headers, kinds, trust, secret, bounds, timeout, pause } = settings;
        let client = Client::new(endpoint, headers, &trust, secret.as_deref(), timeout, WORKERS)?;
        let shared = Arc::new(Shared {
            queues: Mutex::new(Queues::new(bounds)),
            ready: Semaphore::new(0),
            idle: Notify::new(),
            client,
            pause,
            counters: Counters::default(),
            failing: AtomicBool::new(false),
            full: AtomicBool::new(false),
        });
        let mut workers = JoinSet::new();
        for _ in 0..WORKERS {
            workers.spawn(work(Arc::clone(&shared)));
        }
        Ok(Self { kinds, shared, _workers: workers })
    }

    pub(super) fn wants(&self, kind: Kind) -> bool {
        self.kinds.contains(&kind)
    }

    /// Queues an event if there is room. Never waits.
    pub(super) fn push(&self, session: &str, event: &Event) {
        let pushed = self.shared.lock().push(session, Letter::new(event.body()));
        let full = pushed == Pushed::Dropped;
        match pushed {
            Pushed::Ready => self.shared.ready.add_permits(1),
            Pushed::Behind => {}
            Pushed::Dropped => {
                self.shared.counters.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
        if self.shared.full.swap(full, Ordering::Relaxed) != full && full {
            tracing::warn!(session, "too many events wait for the webhook: new ones are dropped");
        }
    }

    /// Waits until nothing is left to send.
    pub(super) async fn settled(&self) {
        loop {
            let idle = self.shared.idle.notified();
            if self.shared.lock().is_idle() {
                return;
            }
            idle.await;
        }
    }

    /// Numbers of events: waiting, delivered, failed, dropped.
    pub(super) fn counts(&self) -> [u64; 4] {
        let counters = &self.shared.counters;
        let waiting = self.shared.lock().waiting() as u64;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        [waiting, read(&counters.delivered), read(&counters.failed), read(&counters.dropped)]
    }
}

/// Sends one event after the other.
async fn work(shared: Arc<Shared>) {
    while let Ok(permit) = shared.ready.acquire().await {
        permit.forget();
        let Some((session, letter)) = shared.lock().take() else { continue };
        shared.deliver(&session, &letter).await;
        let mut queues = shared.lock();
        if queues.done(session) {
            shared.ready.add_permits(1);
        } else if queues.is_idle() {
            shared.idle.notify_waiters();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn deliver(&self, session: &str, letter: &Letter) {
        let mut pause = self.pause;
        for attempt in 1..=TRIES {
            let failed = match self.attempt(letter).await {
                Attempt::Taken => {
                    self.counters.delivered.fetch_add(1, Ordering::Relaxed);
                    if self.failing.swap(false, Ordering::Relaxed) {
                        tracing::info!("the webhook takes events again");
                    }
                    return;
                }
                Attempt::Refused(status) => {
                    self.give_up(session, &format!("answered {status}"));
                    return;
                }
                Attempt::Failed(why) => why,
                Attempt::Untrusted(why) => {
                    // An operator has to act, so the log does not wait for the last attempt.
                    self.warn_once(session, &why);
                    why
                }
            };
            if attempt == TRIES {
                return self.give_up(session, &failed);
            }
            tracing::debug!(session, attempt, failed, "the webhook gets this event once more");
            sleep(pause).await;
            pause = pause.saturating_mul(2);
        }
    }

    async fn attempt(&self, letter: &Letter) -> Attempt {
        match self.client.post(letter).await {
            Ok(status) if status.is_success() => Attempt::Taken,
            Ok(status) if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                Attempt::Failed(format!("answered {status}"))
            }
            Ok(status) => Attempt::Refused(status),
            Err(error @ SendError::Certificate(_)) => Attempt::Untrusted(format!("{error}. {UNTRUSTED}")),
            Err(error) => Attempt::Failed(error.to_string()),
        }
    }

    fn give_up(&self, session: &str, why: &str) {
        self.counters.failed.fetch_add(1, Ordering::Relaxed);
        self.warn_once(session, why);
    }

    /// Logs why an event is not delivered, unless the event before it was not either.
    fn warn_once(&self, session: &str, why: &str) {
        if !self.failing.swap(true, Ordering::Relaxed) {
            tracing::warn!(session, why, "the webhook did not take an event; later ones are only counted");
        }
    }
}
