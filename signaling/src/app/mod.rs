//! What REST and RPC share: the state, the store, the link to the relay, and the way a change takes effect.

mod caps;
mod carry_out;
mod expiry;
mod ice_servers;
mod media_errors;
mod recover;
mod restore;
mod turn;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep, timeout};

use crate::access::Access;
use crate::cdr::Journal;
use crate::clock;
use crate::config::Config;
use crate::delivery::Dialect;
use crate::rate::Addresses;
use crate::relay::Link;
use crate::state::{Shared, State};
use crate::store::{Store, StoreError, Writer};
pub use carry_out::Answer;
pub use ice_servers::IceClient;

/// How often notes about peers that are gone are looked for.
const NOTES_INTERVAL: Duration = Duration::from_secs(60);

/// The running application.
pub struct App {
    /// What the operator said.
    pub config: Config,
    /// The state.
    pub shared: Arc<Shared>,
    /// The relay.
    pub link: Link,
    /// When it started, in ms since 1970.
    pub started_at_ms: u64,
    /// Who is told what happened.
    pub journal: Arc<Journal>,
    /// REST requests of each address.
    pub rest_calls: Addresses,
    /// Who may do what.
    pub access: Access,
    /// What the relay keeps on file, once it was read.
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
        let shared = Arc::new(Shared::default());
        let restored = restore::restore(store.load()?, dialects);
        tracing::info!(sessions = restored.sessions.len(), participants = restored.clients.len(), "restored");
        let waiting: Vec<String> = restored.clients.keys().cloned().collect();
        *shared.lock() = restored;

        let stored = Arc::clone(&shared);
        let writer = Writer::start(store, Box::new(move |id| stored.stored(id)))
            .map_err(|error| StoreError(error.to_string()))?;
        let link = Link::start(config.server.control_socket(), Arc::clone(&shared) as _);
        let app = Arc::new(Self {
            rest_calls: Addresses::new(config.limits.rest()),
            access,
            config,
            shared,
            link,
            started_at_ms: clock::now_ms(),
            journal: Arc::new(journal),
            turn_secret: OnceLock::new(),
            writer,
            ending: watch::Sender::new(false),
        });
        for rpc_session in waiting {
            app.await_return(rpc_session, 0, app.config.timing.restart_grace);
        }
        app.recover_viewers();
        app.tell_media_errors();
        app.keep_caps();
        app.every(NOTES_INTERVAL, |app| app.shared.lock().prune_notes());
        let garbage_interval = Duration::from_secs(app.config.garbage.interval_s);
        if !garbage_interval.is_zero() {
            app.every(garbage_interval, |app| app.remove_unused(clock::now_ms()));
        }
        Ok(app)
    }

    /// Until when something that needs the relay and begins now may take.
    pub fn relay_deadline(&self) -> Instant {
        Instant::now() + self.config.timing.relay_wait
    }

    /// Waits, for some time, until what happened so far is durable and told.
    pub async fn settle(&self) {
        let (done, durable) = oneshot::channel();
        self.writer.submit(Vec::new(), || {
            let _ = done.send(());
        });
        let all = async {
            let _ = durable.await;
            self.journal.settled().await;
        };
        let _ = timeout(self.config.timing.events_farewell, all).await;
    }

    /// Becomes true when the process is about to end. A WebSocket drops it when it has said goodbye.
    pub fn ending(&self) -> watch::Receiver<bool> {
        self.ending.subscribe()
    }

    /// Has every WebSocket closed, and waits until all have said why, for some time.
    pub async fn dismiss(&self) {
        self.ending.send_replace(true);
        let _ = timeout(self.config.timing.goodbye, self.ending.closed()).await;
    }

    /// Commits the store could not make.
    pub fn store_failures(&self) -> u64 {
        self.writer.failures()
    }

    /// Calls `task` every `interval`, for as long as the application lives.
    fn every(self: &Arc<Self>, interval: Duration, task: impl Fn(&Self) + Send + 'static) {
        let app = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                sleep(interval).await;
                let Some(app) = app.upgrade() else { return };
                task(&app);
            }
        });
    }
}

/// Sessions by shard, for the statistics.
pub fn sessions_per_shard(state: &State) -> BTreeMap<u32, usize> {
    let mut count = BTreeMap::new();
    for shard in state.sessions.values().filter_map(|session| session.shard) {
        *count.entry(shard).or_default() += 1;
    }
    count
}
