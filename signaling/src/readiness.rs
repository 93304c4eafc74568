//! `GET /millrace/ready`: whether calls can be made now, and what each part of that says. For load balancers and monitors,
//! so it needs no secret and shows nothing that clients do not see anyway.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::acme;
use crate::app::App;
use crate::clock;
use crate::supervise;

/// What calls need.
struct Parts {
    /// Whether the relay is there.
    relay: bool,
    /// The addresses for media that clients get.
    addresses: Vec<String>,
    /// Commits the store could not make since the start. Calls go on without them, until a restart.
    store_failures: u64,
    /// Threads and tasks that have ended and should not have.
    dead: Vec<&'static str>,
    /// When the certificate of HTTPS expires, in ms since 1970; `None` when that is not known here, as where the relay
    /// serves HTTPS on a data directory of its own.
    certificate_expires_at_ms: Option<u64>,
}

/// 200 while calls can be made, 503 while not.
pub(crate) async fn ready(State(app): State<Arc<App>>) -> (StatusCode, Json<Value>) {
    let relay = app.link.relay();
    let parts = Parts {
        relay: relay.is_some(),
        addresses: app.link.last_relay().map(|relay| relay.addresses.clone()).unwrap_or_default(),
        store_failures: app.store_stats().failures,
        dead: supervise::Parts::of_process().dead(),
        certificate_expires_at_ms: certificate_expires_at_ms(&app).await,
    };
    let (status, report) = report(&parts, clock::now_ms());
    (status, Json(report))
}

async fn certificate_expires_at_ms(app: &App) -> Option<u64> {
    let server = &app.config.server;
    let file = server.certificate.choice().ok()?.certificate_file(&server.data_dir);
    acme::expires_at_ms(&tokio::fs::read(file).await.ok()?)
}

/// Without a relay, without an address to send to, or with a certificate that has expired, there are no calls. Without a store there
/// are, so that alone is no reason for 503.
fn report(parts: &Parts, now_ms: u64) -> (StatusCode, Value) {
    let is_valid = parts.certificate_expires_at_ms.map(|at| now_ms < at);
    let is_whole = parts.relay && !parts.addresses.is_empty() && parts.dead.is_empty();
    let is_ready = is_whole && is_valid != Some(false);
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let report = json!({
        "ready": is_ready,
        "relay": {"connected": parts.relay, "addresses": parts.addresses},
        "store": {"failures": parts.store_failures},
        "parts": {"dead": parts.dead},
        "certificate": {"valid": is_valid, "expiresAt": parts.certificate_expires_at_ms},
    });
    (status, report)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole() -> Parts {
        Parts {
            relay: true,
            addresses: vec!["192.0.2.1".into()],
            store_failures: 0,
            dead: Vec::new(),
            certificate_expires_at_ms: Some(1_001),
        }
    }

    #[test]
    fn what_calls_need_must_be_there() {
        let status = |parts: Parts| report(&parts, 1_000).0;
        assert_eq!(status(whole()), StatusCode::OK);
        assert_eq!(status(Parts { store_failures: 7, ..whole() }), StatusCode::OK, "calls go on");
        let unknown = Parts { certificate_expires_at_ms: None, ..whole() };
        assert_eq!(status(unknown), StatusCode::OK);
        for lacking in [
            Parts { relay: false, ..whole() },
            Parts { addresses: Vec::new(), ..whole() },
            Parts { dead: vec!["store"], ..whole() },
            Parts { certificate_expires_at_ms: Some(1_000), ..whole() },
        ] {
            assert_eq!(status(lacking), StatusCode::SERVICE_UNAVAILABLE);
        }
    }

    #[test]
    fn each_part_is_told() {
        let (_, told) = report(&Parts { store_failures: 7, ..whole() }, 1_000);
        let expected = json!({"ready": true, "relay": {"connected": true, "addresses": ["192.0.2.1"]},
            "store": {"failures": 7}, "parts": {"dead": []}, "certificate": {"valid": true, "expiresAt": 1_001}});
        assert_eq!(told, expected);
    }
}
