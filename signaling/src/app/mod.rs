//! What REST and RPC share: the state, the store, the link to the relay, and the way a change takes effect.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use axum::extract::ws::Utf8Bytes;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use crate::clock;
use crate::config::Config;
use crate::openvidu::events;
use crate::openvidu::rpc::{Budget, Outbox};
use crate::relay::Link;
use crate::session::{Changes, PlacedPeer, Reason, Refusal, Session};
use crate::state::{Client, Shared, State};
use crate::store::{Store, StoreError, Writer};

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
    authorization: digest::Digest,
    writer: Writer,
}

/// One answer that leaves once its change is durable.
pub struct Answer {
    /// Where to.
    pub outbox: Arc<Outbox>,
    /// The text frame.
    pub text: Utf8Bytes,
}

impl App {
    /// Takes up what the store holds and starts the link. Must be called within the runtime.
    ///
    /// # Errors
    /// When the store cannot be read or the machine gives no thread.
    pub fn start(config: Config, secret: &str, mut store: Box<dyn Store>) -> Result<Arc<Self>, StoreError> {
        let shared = Arc::new(Shared::default());
        let restored = restore(store.load()?);
        tracing::info!(sessions = restored.sessions.len(), participants = restored.clients.len(), "restored");
        let waiting: Vec<String> = restored.clients.keys().cloned().collect();
        *shared.lock() = restored;

        let stored = Arc::clone(&shared);
        let writer = Writer::start(store, Box::new(move |id| stored.stored(id)))
            .map_err(|error| StoreError(error.to_string()))?;
        let link = Link::start(config.server.control_socket.clone(), Arc::clone(&shared) as _);
        let authorization = digest_of(&format!("Basic {}", STANDARD.encode(format!("{USER}:{secret}"))));
        let app =
            Arc::new(Self { config, shared, link, started_at_ms: clock::now_ms(), authorization, writer });
        for rpc_session in waiting {
            app.await_return(rpc_session, 0, app.config.timing.restart_grace);
        }
        app.every(NOTES_INTERVAL, |app| app.shared.lock().prune_notes());
        let garbage_interval = Duration::from_secs(app.config.garbage.interval_s);
        if !garbage_interval.is_zero() {
            app.every(garbage_interval, |app| app.remove_unused(clock::now_ms()));
        }
        Ok(app)
    }

    /// Whether an `Authorization` header holds the secret. Takes the same time for every wrong one of its length.
    pub fn authorized(&self, header: &str) -> bool {
        // The scheme's name is case-insensitive (RFC 7235 §2.1).
        let Some((scheme, credentials)) = header.split_once(' ') else { return false };
        scheme.eq_ignore_ascii_case("basic") && {
            let given = digest_of(&format!("Basic {}", credentials.trim_start()));
            aws_lc_rs::constant_time::verify_slices_are_equal(given.as_ref(), self.authorization.as_ref())
                .is_ok()
        }
    }

    /// Until when something that needs the relay and begins now may take.
    pub fn relay_deadline(&self) -> Instant {
        Instant::now() + self.config.timing.relay_wait
    }

    /// Commits the store could not make.
    pub fn store_failures(&self) -> u64 {
        self.writer.failures()
    }

    /// Carries out what follows from a change of `session`: the store first, then notifications and `answer`, in the
    /// order of the changes. The guard proves that the change itself was made under the same lock.
    pub fn carry_out(&self, state: &mut State, session: &str, changes: Changes, answer: Option<Answer>) {
        self.submit(state, session, changes, answer, true, || ());
    }

    /// The same for changes that are not stored, signals for example.
    pub fn deliver(&self, state: &mut State, session: &str, changes: Changes, answer: Option<Answer>) {
        self.submit(state, session, changes, answer, false, || ());
    }

    /// The same for REST, which waits until it is durable.
    pub fn carry_out_and_tell(
        &self,
        state: &mut State,
        session: &str,
        changes: Changes,
    ) -> oneshot::Receiver<()> {
        let (done, durable) = oneshot::channel();
        self.submit(state, session, changes, None, true, || {
            let _ = done.send(());
        });
        durable
    }

    fn submit(
        &self,
        state: &mut State,
        session: &str,
        changes: Changes,
        answer: Option<Answer>,
        stored: bool,
        done: impl FnOnce() + Send + 'static,
    ) {
        let mut messages: Vec<(Arc<Outbox>, Utf8Bytes)> = Vec::new();
        for notification in &changes.notifications {
            // One text for all who get it.
            let text = Utf8Bytes::from(events::notification(&notification.notice));
            let reached = notification.to.iter().filter_map(|to| state.clients.get(to));
            messages.extend(reached.map(|client| (Arc::clone(&client.outbox), text.clone())));
        }
        messages.extend(answer.map(|answer| (answer.outbox, answer.text)));
        let departed: Vec<Client> =
            changes.departed.iter().filter_map(|rpc_session| state.clients.remove(rpc_session)).collect();
        self.forget_media(state, session, &changes.removed_peers);
        if changes.closed {
            state.sessions.remove(session);
            tracing::info!(session, "session is over");
        }
        let dirty = if stored { vec![session.to_owned()] } else { Vec::new() };
        self.writer.submit(dirty, move || {
            for (outbox, text) in messages {
                outbox.push(text);
            }
            for client in departed {
                client.outbox.finish();
            }
            done();
        });
    }

    /// Makes the relay forget peers of a session.
    pub fn forget_media(&self, state: &mut State, session: &str, peers: &[PlacedPeer]) {
        for removed in peers {
            state.peers.remove(&removed.peer);
        }
        let Some(home) = state.sessions.get(session).and_then(|session| session.shard) else { return };
        let mut by_shard: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
        for removed in peers {
            by_shard.entry(removed.shard.unwrap_or(home)).or_default().push(removed.peer);
        }
        for (shard, peers) in by_shard {
            self.link.forget(shard, peers);
        }
    }

    /// The socket of a participant is gone: it has some time to come back on another one.
    pub fn await_return(self: &Arc<Self>, rpc_session: String, reader: u64, grace: Duration) {
        let app = Arc::downgrade(self);
        tokio::spawn(async move {
            sleep(grace).await;
            if let Some(app) = app.upgrade() {
                app.expire(&rpc_session, reader);
            }
        });
    }

    fn expire(&self, rpc_session: &str, reader: u64) {
        self.remove_now(rpc_session, reader, Reason::NetworkDisconnect);
    }

    /// Takes a participant out at once, unless another socket than that of `reader` is its own by now. Gives whether
    /// it did.
    pub fn remove_now(&self, rpc_session: &str, reader: u64, reason: Reason) -> bool {
        let mut state = self.shared.lock();
        // Under the lock, as `connect` attaches under it.
        let still = |client: &&Client| client.outbox.reader() == reader;
        let Some(client) = state.clients.get(rpc_session).filter(still).cloned() else { return false };
        let Some(session) = state.sessions.get_mut(&client.session) else { return false };
        let Ok(changes) = session.leave(&client.connection, reason) else { return false };
        tracing::info!(session = client.session, connection = client.connection, ?reason, "is gone");
        self.carry_out(&mut state, &client.session, changes, None);
        true
    }

    /// Ends a session for everybody.
    ///
    /// # Errors
    /// When there is no such session.
    pub fn close_session(&self, id: &str, reason: Reason) -> Result<oneshot::Receiver<()>, Refusal> {
        self.close_locked(&mut self.shared.lock(), id, reason)
    }

    fn close_locked(
        &self,
        state: &mut State,
        id: &str,
        reason: Reason,
    ) -> Result<oneshot::Receiver<()>, Refusal> {
        let session = state.sessions.get_mut(id).ok_or(Refusal::SessionNotFound)?;
        let changes = session.close(reason);
        Ok(self.carry_out_and_tell(state, id, changes))
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

    /// Removes sessions that nobody ever joined and that are too old for that.
    pub fn remove_unused(&self, now_ms: u64) {
        let threshold_ms = self.config.garbage.threshold_s.saturating_mul(1_000);
        let is_old = |session: &Session| {
            !session.active() && now_ms.saturating_sub(session.created_at_ms) > threshold_ms
        };
        // One lock for the look and the deed: somebody may be about to join.
        let mut state = self.shared.lock();
        let unused = state.sessions.values().filter(|session| is_old(session));
        let unused: Vec<String> = unused.map(|session| session.id.clone()).collect();
        for id in unused {
            tracing::info!(session = id, "nobody ever joined");
            let _ = self.close_locked(&mut state, &id, Reason::SessionClosedByServer);
        }
    }
}

fn digest_of(text: &str) -> digest::Digest {
    digest::digest(&digest::SHA256, text.as_bytes())
}

/// The state that the stored values describe. One that does not read is left out: the others go on.
fn restore(values: Vec<(String, Vec<u8>)>) -> State {
    let mut state = State::default();
    for (id, value) in values {
        match serde_json::from_slice::<Session>(&value) {
            Ok(session) => {
                for (connection, participant) in session.participants() {
                    let client = Client {
                        session: id.clone(),
                        connection: connection.id.clone(),
                        outbox: Arc::new(Outbox::default()),
                        turn: Arc::default(),
                        budget: Budget::new(Instant::now()),
                    };
                    state.clients.insert(participant.rpc_session.clone(), client);
                }
                state.sessions.insert(id, session);
            }
            Err(error) => tracing::error!(session = id, %error, "a stored session does not read, left out"),
        }
    }
    state
}

/// Sessions by shard, for the statistics.
pub fn sessions_per_shard(state: &State) -> BTreeMap<u32, usize> {
    let mut count = BTreeMap::new();
    for shard in state.sessions.values().filter_map(|session| session.shard) {
        *count.entry(shard).or_default() += 1;
    }
    count
}
