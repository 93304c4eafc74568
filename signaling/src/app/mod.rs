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

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use crate::access::Access;
use crate::cdr::Journal;
use crate::clock;
use crate::config::Config;
use crate::delivery::Dialect;
use crate::rate::Addresses;
use crate::relay::Link;
use crate::state::{Shared, State};
use crate::store::{Pace, Store, StoreCounters, StoreError, Touched, Writer, WriterStats, whole};
use crate::supervise::Parts;
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
        let (restored, unreadable) = restore::restore(whole::load(&mut *store)?, dialects);
        whole::set_aside(&mut *store, &unreadable)?;
        tracing::info!(sessions = restored.sessions.len(), participants = restored.clients.len(), "restored");
        let waiting: Vec<String> = restored.clients.keys().cloned().collect();
        *shared.lock() = restored;

        let stored = Arc::clone(&shared);
        let all = Arc::clone(&shared);
        let source = whole::WholeSessions {
            values: Box::new(move |id| stored.stored(id)),
            ids: Box::new(move || all.lock().sessions.keys().map(|id| id.as_str().into()).collect()),
        };
        let pace = Pace { deadline: config.timing.store_deadline, ..Pace::default() };
        let writer = Writer::start(store, Box::new(source), pace, Parts::of_process())
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
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
        self.writer.submit(Touched::none(), 0, |_| {
            let _ = done.send(());
        });
        let all = async {
            let _ = durable.await;
            self.journal.settled().await;
        };
        let _ = timeout(self.config.timing.events_farewell, all).await;
    }

    /// Figures of writing to the store.
    pub fn store_stats(&self) -> WriterStats {
        self.writer.stats()
    }

    /// What the store has set aside.
    pub fn store_counters(&self) -> &StoreCounters {
        self.writer.store_counters()
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
