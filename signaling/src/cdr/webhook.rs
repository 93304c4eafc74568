//! Tells an application's server. It may be slow, fail or be absent: calls never notice.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::client::{Client, Line};
use super::event::Event;
use super::queues::{Pushed, Queues};
use super::{Bounds, Endpoint, Kind};

/// Most requests at a time, each of another session.
const WORKERS: usize = 8;

/// Attempts for one event, the first included.
const TRIES: u32 = 5;

/// What the operator wants to be told, and how.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where.
    pub endpoint: Endpoint,
    /// Sent along with each.
    pub headers: HeaderMap,
    /// Which ones.
    pub kinds: Vec<Kind>,
    /// Whether the certificate of the other end is checked.
    pub verify_tls: bool,
    /// How much may wait.
    pub bounds: Bounds,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// Pause before the second attempt; each later one is twice as long.
    pub pause: Duration,
}

/// The sender. Ends, with what it has not sent, when it is dropped.
pub(super) struct Webhook {
    kinds: Vec<Kind>,
    shared: Arc<Shared>,
    _workers: JoinSet<()>,
}

/// What became of the events.
#[derive(Debug, Default)]
struct Counters {
    delivered: AtomicU64,
    /// Given up after all attempts, or refused.
    failed: AtomicU64,
    /// There was no room.
    dropped: AtomicU64,
}

struct Shared {
    queues: Mutex<Queues>,
    /// One permit for each session in the queues that is ready.
    ready: Semaphore,
    idle: Notify,
    client: Client,
    pause: Duration,
    counters: Counters,
    /// Whether the last one came to nothing, so that the log says so once.
    failing: AtomicBool,
    /// Whether the last one that was brought found no room.
    full: AtomicBool,
}

/// How one attempt ended.
enum Attempt {
    Taken,
    /// It will not get better.
    Refused(StatusCode),
    /// It may.
    Failed(String),
}

impl Webhook {
    /// Starts the workers. Must be called within the runtime.
    pub(super) fn start(settings: Settings) -> Result<Self, String> {
        let Settings { endpoint, headers, kinds, verify_tls, bounds, timeout, pause } = settings;
        let client = Client::new(endpoint, headers, verify_tls, timeout)?;
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

    /// Takes an event along if there is room. Never waits.
    pub(super) fn push(&self, session: &str, event: &Event) {
        let pushed = self.shared.lock().push(session, event.body());
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

    /// Events that wait, that were delivered, that failed, that were dropped.
    pub(super) fn counts(&self) -> [u64; 4] {
        let counters = &self.shared.counters;
        let waiting = self.shared.lock().waiting() as u64;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        [waiting, read(&counters.delivered), read(&counters.failed), read(&counters.dropped)]
    }
}

/// Sends what there is, one event after the other.
async fn work(shared: Arc<Shared>) {
    let mut line = None;
    while let Ok(permit) = shared.ready.acquire().await {
        permit.forget();
        let Some((session, event)) = shared.lock().take() else { continue };
        shared.deliver(&mut line, &session, event).await;
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

    async fn deliver(&self, line: &mut Option<Line>, session: &str, event: Bytes) {
        let mut pause = self.pause;
        for attempt in 1..=TRIES {
            match self.attempt(line, event.clone()).await {
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
                Attempt::Failed(why) if attempt == TRIES => self.give_up(session, &why),
                Attempt::Failed(why) => {
                    tracing::debug!(session, attempt, why, "the webhook, once more");
                    sleep(pause).await;
                    pause = pause.saturating_mul(2);
                }
            }
        }
    }

    async fn attempt(&self, line: &mut Option<Line>, event: Bytes) -> Attempt {
        match self.client.post(line, event).await {
            Ok(status) if status.is_success() => Attempt::Taken,
            Ok(status) if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                Attempt::Failed(format!("answered {status}"))
            }
            Ok(status) => Attempt::Refused(status),
            Err(error) => Attempt::Failed(error.to_string()),
        }
    }

    fn give_up(&self, session: &str, why: &str) {
        self.counters.failed.fetch_add(1, Ordering::Relaxed);
        if !self.failing.swap(true, Ordering::Relaxed) {
            tracing::warn!(session, why, "the webhook did not take an event; the next ones are counted only");
        }
    }
}
