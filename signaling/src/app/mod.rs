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
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

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

/// User name of the REST API.
const USER: &str = "OPENVIDUAPP";

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
    /// Wrong secrets of each address.
    pub wrong_secrets: Addresses,
    authorization: digest::Digest,
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
        secret: &str,
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
        let authorization = digest_of(&basic_header(secret));
        let app = Arc::new(Self {
            rest_calls: Addresses::new(config.limits.rest()),
            wrong_secrets: Addresses::new(config.limits.wrong_secrets()),
            config,
            shared,
            link,
            started_at_ms: clock::now_ms(),
            journal: Arc::new(journal),
            authorization,
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

    /// Whether an `Authorization` header, which came from `address`, holds the secret. Takes the same time for every
    /// wrong one of its length.
    ///
    /// # Errors
    /// As for [`Self::knows_secret`].
    pub fn authorized(&self, header: &str, address: IpAddr) -> Result<bool, Duration> {
        // The scheme's name is case-insensitive (RFC 7235 §2.1).
        let credentials = header.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"));
        self.guarded(address, || {
            credentials.is_some_and(|(_, text)| self.admits(&format!("Basic {}", text.trim_start())))
        })
    }

    /// Looks at a secret, unless that address has guessed too often.
    fn guarded(&self, address: IpAddr, is_right: impl FnOnce() -> bool) -> Result<bool, Duration> {
        let now = Instant::now();
        self.wrong_secrets.check(address, now)?;
        let is_right = is_right();
        if !is_right {
            // One that comes at the same time may have been the last: then this one is over, and was wrong all the same.
            let _ = self.wrong_secrets.spend(address, now);
        }
        Ok(is_right)
    }

    /// Whether that is the secret, which somebody shows from `address`. Takes the same time for every wrong one of its
    /// length.
    ///
    /// # Errors
    /// When too many wrong ones came from there: with the time until one is looked at again.
    pub fn knows_secret(&self, secret: &str, address: IpAddr) -> Result<bool, Duration> {
        self.guarded(address, || self.admits(&basic_header(secret)))
    }

    fn admits(&self, header: &str) -> bool {
        let given = digest_of(header);
        aws_lc_rs::constant_time::verify_slices_are_equal(given.as_ref(), self.authorization.as_ref()).is_ok()
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

fn basic_header(secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{USER}:{secret}")))
}

fn digest_of(text: &str) -> digest::Digest {
    digest::digest(&digest::SHA256, text.as_bytes())
}

/// Sessions by shard, for the statistics.
pub fn sessions_per_shard(state: &State) -> BTreeMap<u32, usize> {
    let mut count = BTreeMap::new();
    for shard in state.sessions.values().filter_map(|session| session.shard) {
        *count.entry(shard).or_default() += 1;
    }
    count
}
