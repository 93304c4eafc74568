//! `GET /millrace/stats`: what an operator wants to see at a glance, and what tests account by.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract;
use millrace_control::{Counter, Counters, RelayHello, ShardInfo};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value, json};

use crate::app::App;
use crate::clock;
use crate::http::long_list::{JsonText, LongList};
use crate::registry::{Account, Copier, PeerNote, SessionCell, SessionState};
use crate::session::{Connection, Participant};

/// The statistics as JSON. Sessions are copied one by one: none waits for the others.
pub async fn stats(extract::State(app): extract::State<Arc<App>>) -> JsonText {
    let counters = app.link.counters(app.relay_deadline()).await.unwrap_or_default();
    let up = app.link.relay().is_some();
    let relay = app.link.last_relay().unwrap_or_default();
    let store = app.store_stats();
    let registry = &app.registry;
    let (mut copier, mut sessions) = (Copier::default(), LongList::default());
    let mut on_shard: BTreeMap<u32, usize> = BTreeMap::new();
    for cell in registry.all() {
        let Some((head, shard)) = session_head(&cell) else { continue };
        let mut participants = LongList::default();
        let copy = |state: &SessionState, connection: &Connection| {
            if let Some(participant) = &connection.participant {
                participants.push(&ParticipantFigures { connection, participant, state });
            }
        };
        if copier.each_connection(&cell, copy).await {
            shard.into_iter().for_each(|shard| *on_shard.entry(shard).or_default() += 1);
            sessions.push_text(&participants.inside(&head, "participants"));
        }
    }
    let head = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "backend": relay.backend,
        "relay": relay_json(&relay, up, registry.rebuilds()),
        "signaling": {
            "pid": std::process::id(),
            "uptimeMs": clock::now_ms().saturating_sub(app.started_at_ms),
            "participants": registry.participants(),
            "lockWait": registry.waits().stats(),
            "storeFailures": store.failures,
            "storeLate": store.late,
            "storeRefused": store.refused,
            "storeUnwritten": store.unwritten,
            "storeSetAside": app.store_counters().files_set_aside(),
            "storeRecordsSetAside": app.store_counters().records_set_aside(),
            "events": app.journal.stats(),
        },
        "edge": counters_json(&counters.edge),
        "shards": shards_json(&relay.shards, &counters, &on_shard, &registry.ledger().accounts()),
    });
    sessions.inside(&head, "sessions")
}

fn relay_json(relay: &RelayHello, up: bool, rebuilds: u64) -> Value {
    let fingerprint: Vec<String> = relay.fingerprint.iter().map(|byte| format!("{byte:02X}")).collect();
    json!({
        "connected": up,
        "pid": relay.pid,
        "epoch": relay.epoch.to_string(),
        "addresses": relay.addresses,
        "turnPort": relay.turn_port,
        "turnTlsPort": relay.turn_tls_port,
        "httpsPort": relay.https_port,
        "fingerprint": fingerprint.join(":"),
        "rebuilds": rebuilds,
    })
}

fn shards_json(
    shards: &[ShardInfo],
    counters: &Counters,
    sessions: &BTreeMap<u32, usize>,
    accounts: &BTreeMap<u32, Account>,
) -> Vec<Value> {
    let counters_of = |id: u32| {
        let found = counters.shards.iter().find(|shard| shard.shard == id);
        counters_json(found.into_iter().flat_map(|shard| &shard.counters))
    };
    let account = |id: u32| accounts.get(&id).copied().unwrap_or_default();
    let shard_json = |shard: &ShardInfo| {
        json!({
            "id": shard.shard,
            "port": shard.port,
            "sessions": sessions.get(&shard.shard).copied().unwrap_or(0),
            "promised": account(shard.shard).promised,
            "peersMax": account(shard.shard).peers_max,
            "draining": account(shard.shard).drains,
            "busyPermille": account(shard.shard).busy_permille,
            "counters": counters_of(shard.shard),
        })
    };
    shards.iter().map(shard_json).collect()
}

fn counters_json<'a>(counters: impl IntoIterator<Item = &'a Counter>) -> Value {
    let pair = |counter: &Counter| (counter.name.clone(), json!(counter.value));
    Value::Object(counters.into_iter().map(pair).collect::<Map<_, _>>())
}

/// What is said of a session besides its participants, and its shard. `None` when it has ended.
fn session_head(cell: &Arc<SessionCell>) -> Option<(Value, Option<u32>)> {
    let locked = cell.lock()?;
    let (session, shard) = (&locked.session, locked.session.shard());
    Some((json!({"id": session.id, "shard": shard, "connections": session.roster().len()}), shard))
}

/// One participant. It is written under the lock of its session.
struct ParticipantFigures<'a> {
    connection: &'a Connection,
    participant: &'a Participant,
    state: &'a SessionState,
}

impl Serialize for ParticipantFigures<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { connection, participant, state } = *self;
        let peer = |stream, endpoint, kind| PeerFigures { stream, endpoint, kind, state };
        let published = participant.stream.iter().map(|it| peer(&it.id, it.endpoint, "publisher"));
        let watched = participant.subscriptions.iter().map(|it| peer(&it.stream, it.endpoint, "subscriber"));
        let mut object = serializer.serialize_map(None)?;
        object.serialize_entry("connection", &connection.id)?;
        object.serialize_entry("role", connection.properties.role.as_str())?;
        object.serialize_entry("peers", &published.chain(watched).collect::<Vec<_>>())?;
        object.end()
    }
}

struct PeerFigures<'a> {
    stream: &'a str,
    endpoint: u64,
    kind: &'static str,
    state: &'a SessionState,
}

impl Serialize for PeerFigures<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let note = self.state.peers.get(self.endpoint);
        let shard = self.state.session.graph().get(self.endpoint).and_then(|endpoint| endpoint.shard);
        let mut object = serializer.serialize_map(None)?;
        // A text: numbers beyond 2^53 lose digits in JavaScript.
        object.serialize_entry("peer", &self.endpoint.to_string())?;
        object.serialize_entry("kind", self.kind)?;
        object.serialize_entry("shard", &shard.or(self.state.session.shard()))?;
        object.serialize_entry("stream", self.stream)?;
        object.serialize_entry("state", note.map_or("unknown", PeerNote::state_name))?;
        object.serialize_entry("remote", note.map_or("", |note| note.remote.as_str()))?;
        object.serialize_entry("reason", note.map_or("", |note| note.reason.as_str()))?;
        object.end()
    }
}
