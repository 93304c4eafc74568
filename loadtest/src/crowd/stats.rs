//! What the server says of itself in `GET /millrace/stats`, without the sessions: those of a full server are megabytes.

use serde::Deserialize;

use super::api::Api;
use crate::failure::Failure;

/// Path of the statistics.
pub(super) const STATS: &str = "/millrace/stats";

#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(super) struct Stats {
    pub(super) signaling: Signaling,
}

/// The part about signaling.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Signaling {
    pub(super) pid: u32,
    pub(super) participants: u64,
    /// How long requests waited for a lock; absent in older servers.
    pub(super) lock_wait: Option<LockWait>,
}

/// Waits for any lock since the start of the server, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LockWait {
    #[serde(rename = "p50Us")]
    pub(super) p50: u64,
    #[serde(rename = "p99Us")]
    pub(super) p99: u64,
    #[serde(rename = "p999Us")]
    pub(super) p999: u64,
    #[serde(rename = "maxUs")]
    pub(super) max: u64,
}

/// Asks for the statistics.
pub(super) async fn stats(api: &Api) -> Result<Stats, Failure> {
    let response = api.get(STATS).await?;
    let failed = |why: String| Failure::rest("GET /millrace/stats", why);
    if response.status != 200 {
        return Err(failed(format!("status {}", response.status)));
    }
    serde_json::from_slice(&response.body)
        .map_err(|error| failed(format!("the answer does not read: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lock_waits_are_read_where_they_are_reported() {
        let of = |text: &str| serde_json::from_str::<Stats>(text).unwrap().signaling;
        let older =
            of(r#"{"version":"0.1","signaling":{"pid":7,"participants":2,"more":{}},"sessions":[{}]}"#);
        assert_eq!((older.pid, older.participants, older.lock_wait), (7, 2, None));
        let waits = r#"{"p50Us":1,"p99Us":20,"p999Us":300,"maxUs":4000}"#;
        let newer = of(&format!(r#"{{"signaling":{{"pid":7,"participants":2,"lockWait":{waits}}}}}"#));
        assert_eq!(newer.lock_wait, Some(LockWait { p50: 1, p99: 20, p999: 300, max: 4_000 }));
    }
}
