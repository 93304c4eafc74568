//! The use-cases of clients and applications, and how their changes take effect. This module contains no protocol.
//!
//! ```text
//!   adapter ── use-case ──► calls ── session model (registry) ──► Changes ──► carry_out ──► store, then notices and answer
//!                             └────── relay link                                  └───────► facts: webhook, records
//! ```

mod calls;
mod caps;
mod carry_out;
mod error;
mod expiry;
mod ice_servers;
mod member;
mod negotiation;
mod records;
mod recover;
mod restore;
mod turn;

use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep, timeout};

use crate::access::Access;
use crate::cdr::Journal;
use crate::clock;
use crate::config::Config;
use crate::delivery::Dialect;
use crate::rate::Addresses;
use crate::registry::Registry;
use crate::relay::Link;
use crate::store::{Pace, Store, StoreCounters, StoreError, Touched, Writer, WriterStats};
use crate::supervise::{Parts, Wanted};
pub use calls::{JoinRequest, Joined, NewConnection, PublishRequest, Published, SignalError};
pub use carry_out::Answer;
pub use error::CallError;
pub use ice_servers::IceClient;
pub use member::Member;

/// The running application.
pub struct App {
    /// The operator's configuration.
    pub config: Config,
    /// Every session.
    pub registry: Arc<Registry>,
    /// The relay.
    pub link: Link,
    /// When it started, in ms since 1970.
    pub started_at_ms: u64,
    /// Passes the facts on to the webhook and the records.
    pub journal: Arc<Journal>,
    /// REST requests of each address.
    pub rest_calls: Addresses,
    /// Who may do what.
    pub access: Access,
    /// The relay's TURN secret, after it was read from its file.
    pub(crate) turn_secret: OnceLock<String>,
    writer: Writer,
    /// Whether the process is about to end. Every WebSocket has a receiver.
    ending: watch::Sender<bool>,
}

impl App {
    /// Takes up what the store holds and starts the link. Must be called within the runtime.
    ///
    /// # Errors
    /// When the store cannot be read or the machine gives no thread.
    pub fn start(
        config: Config,
        access: Access,
        mut store: Box<dyn Store>,
        journal: Journal,
        dialects: &[&'static Dialect],
    ) -> Result<Arc<Self>, StoreError> {
        let parts = Parts::of_process();
        let registry = Arc::new(Registry::new(|session| {
            parts.give_up("session", &format!("a panic left the session {session} half changed"));
        }));
        let stale = restore::restore(store.as_mut(), &registry, dialects)?;
        tracing::info!(sessions = registry.len(), participants = registry.participants(), "restored");
        let pace = Pace { deadline: config.timing.store_deadline, ..Pace::default() };
        let source = records::Records(Arc::clone(&registry));
        let writer = Writer::start(store, Box::new(source), pace, parts)
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        for session in stale {
            writer.submit(Touched::whole(session), 0, |_| ());
        }
        let link = Link::start(config.server.control_socket(), Arc::clone(&registry) as _);
        let app = Arc::new(Self {
            rest_calls: Addresses::new(config.limits.rest()),
            access,
            config,
            registry,
            link,
            started_at_ms: clock::now_ms(),
            journal: Arc::new(journal),
            turn_secret: OnceLock::new(),
            writer,
            ending: watch::Sender::new(false),
        });
        app.await_restored();
        app.start_tasks(parts);
        Ok(app)
    }

    /// Gives each restored participant the time of `restart_grace` to come back. Then it is removed.
    fn await_restored(self: &Arc<Self>) {
        for cell in self.registry.all() {
            let mut locked = cell.lock_any();
            self.note_attendance(&mut locked);
            let keys: Vec<String> = locked.clients.values().map(|client| client.resume_key.clone()).collect();
            drop(locked);
            for key in keys {
                self.await_return(key, 0, self.config.timing.restart_grace);
            }
        }
    }

    fn start_tasks(self: &Arc<Self>, parts: &Parts) {
        let (app, registry) = (Arc::downgrade(self), &self.registry);
        parts.task("viewers", Self::recover_viewers(app.clone(), Arc::clone(registry)));
        parts.task("media errors", Self::tell_media_errors(app.clone(), Arc::clone(registry)));
        parts.task("media ends", Self::follow_media(app.clone(), Arc::clone(registry)));
        parts.task("unattended", Self::end_unattended(app.clone(), Arc::clone(registry)));
        parts.task("caps", Self::keep_caps(app.clone(), Arc::clone(registry)));
        let garbage_interval = Duration::from_secs(self.config.garbage.interval_s);
        if !garbage_interval.is_zero() {
            let remove = |app: &Self| app.remove_unused(clock::now_ms());
            parts.task("garbage", Self::every(app, garbage_interval, remove));
        }
    }

    /// The deadline of an operation that begins now and needs the relay.
    pub fn relay_deadline(&self) -> Instant {
        Instant::now() + self.config.timing.relay_wait
    }

    /// Waits until the store has tried to write all changes so far and the journal is done. It waits for
    /// `events_farewell` at most.
    pub async fn settle(&self) {
        let (done, durable) = oneshot::channel();
        self.writer.submit(Touched::none(), 0, |_| {
            let _ = done.send(());
        });
        let all = async {
            let _ = durable.await;
            self.journal.settled().await;
        };
        let _ = timeout(self.config.timing.events_farewell, all).await;
    }

    /// A receiver that becomes true when the process is about to end. A WebSocket drops its receiver after its
    /// goodbye.
    pub fn ending(&self) -> watch::Receiver<bool> {
        self.ending.subscribe()
    }

    /// Makes every WebSocket close, and waits until all have sent the reason. It waits for `goodbye` at most.
    pub async fn dismiss(&self) {
        self.ending.send_replace(true);
        let _ = timeout(self.config.timing.goodbye, self.ending.closed()).await;
    }

    /// What the store counts.
    pub fn store_stats(&self) -> WriterStats {
        self.writer.stats()
    }

    /// What the store had to set aside.
    pub fn store_counters(&self) -> &StoreCounters {
        self.writer.store_counters()
    }

    /// Calls `task` every `interval`, for as long as the application lives.
    async fn every(app: Weak<Self>, interval: Duration, task: impl Fn(&Self) + Send) -> Wanted {
        loop {
            sleep(interval).await;
            let Some(app) = app.upgrade() else { return Wanted };
            task(&app);
        }
    }
}
