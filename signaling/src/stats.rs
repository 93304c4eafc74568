//! `GET /millrace/stats`: what an operator wants to see at a glance, and what tests account by.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract;
use millrace_control::{Counter, Counters, RelayHello, ShardInfo};
use serde_json::{Map, Value, json};

use crate::app::{App, sessions_per_shard};
use crate::clock;
use crate::session::{Connection, Media, Participant, Session};
use crate::state::{PeerNote, State};

/// The statistics as JSON.
pub async fn stats(extract::State(app): extract::State<Arc<App>>) -> Json<Value> {
    let counters = app.link.counters(app.relay_deadline()).await.unwrap_or_default();
    let up = app.link.relay().is_some();
    let relay = app.link.last_relay().unwrap_or_default();
    let store = app.store_stats();
    let state = app.shared.lock();
    Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "backend": relay.backend,
        "relay": relay_json(&relay, up, state.rebuilds),
        "signaling": {
            "pid": std::process::id(),
            "uptimeMs": clock::now_ms().saturating_sub(app.started_at_ms),
            "participants": state.clients.len(),
            "storeFailures": store.failures,
            "storeLate": store.late,
            "storeRefused": store.refused,
            "storeUnwritten": store.unwritten,
            "storeSetAside": app.store_counters().files_set_aside(),
            "storeRecordsSetAside": app.store_counters().records_set_aside(),
            "events": app.journal.stats(),
        },
        "edge": counters_json(&counters.edge),
        "shards": shards_json(&relay.shards, &counters, &sessions_per_shard(&state)),
        "sessions": state.sessions.values().map(|session| session_json(session, &state)).collect::<Vec<_>>(),
    }))
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

fn shards_json(shards: &[ShardInfo], counters: &Counters, sessions: &BTreeMap<u32, usize>) -> Vec<Value> {
    let counters_of = |id: u32| {
        let found = counters.shards.iter().find(|shard| shard.shard == id);
        counters_json(found.into_iter().flat_map(|shard| &shard.counters))
    };
    let shard_json = |shard: &ShardInfo| {
        json!({
            "id": shard.shard,
            "port": shard.port,
            "sessions": sessions.get(&shard.shard).copied().unwrap_or(0),
            "counters": counters_of(shard.shard),
        })
    };
    shards.iter().map(shard_json).collect()
}

fn counters_json<'a>(counters: impl IntoIterator<Item = &'a Counter>) -> Value {
    let pair = |counter: &Counter| (counter.name.clone(), json!(counter.value));
    Value::Object(counters.into_iter().map(pair).collect::<Map<_, _>>())
}

fn session_json(session: &Session, state: &State) -> Value {
    let participants = session.participants();
    json!({
        "id": session.id,
        "shard": session.shard,
        "connections": session.connections().len(),
        "participants": participants.map(|(connection, active)| participant_json(connection, active, session.shard, state)).collect::<Vec<_>>(),
    })
}

fn participant_json(
    connection: &Connection,
    participant: &Participant,
    home: Option<u32>,
    state: &State,
) -> Value {
    let publisher = participant.stream.iter().map(|stream| (&stream.id, &stream.media, "publisher"));
    let subscribers = participant.subscriptions.iter().map(|it| (&it.stream, &it.media, "subscriber"));
    let peers: Vec<Value> = publisher
        .chain(subscribers)
        .map(|(stream, media, kind)| peer_json(kind, stream, media, home, state))
        .collect();
    json!({"connection": connection.id, "role": connection.properties.role.as_str(), "peers": peers})
}

fn peer_json(kind: &str, stream: &str, media: &Media, home: Option<u32>, state: &State) -> Value {
    let note = state.peers.get(media.id());
    json!({
        // A text: numbers beyond 2^53 lose digits in JavaScript.
        "peer": media.id().to_string(),
        "kind": kind,
        "shard": media.shard.or(home),
        "stream": stream,
        "state": note.map_or("unknown", PeerNote::state_name),
        "remote": note.map_or("", |note| note.remote.as_str()),
        "reason": note.map_or("", |note| note.reason.as_str()),
    })
}
