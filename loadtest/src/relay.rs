//! The relay's own account of a run: its counters read before and after the counted packets, and what must not have
//! grown between.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use crate::failure::Failure;

/// Allocations made while a datagram was handled.
const ALLOCATIONS: &str = "media_allocations";
/// Counters that must stand still, and what it means when one moves.
const FORBIDDEN: [(&str, &str); 4] = [
    (ALLOCATIONS, "allocations on the relay's media path after warm-up"),
    ("io_send_errors", "datagrams the relay's kernel would not send"),
    ("io_truncated", "datagrams longer than the relay's buffers"),
    ("rebuilds", "shards rebuilt after a panic"),
];
/// Packets that were dropped for want of something of the relay's own.
const OUR_DISCARDS: &str = "discard_our_";

/// Counters of all shards, summed by name.
#[derive(Clone, Debug, Default)]
pub struct Reading(BTreeMap<String, u64>);

impl Reading {
    /// Takes the counters out of the server's statistics.
    ///
    /// # Errors
    /// [`Failure::Rest`] when the counters this module judges by are not in there: none is not the same as zero.
    pub fn of(stats: &Value) -> Result<Self, Failure> {
        let mut sums = BTreeMap::new();
        let shards = stats["shards"].as_array().map(Vec::as_slice).unwrap_or_default();
        for (name, value) in shards.iter().filter_map(|shard| shard["counters"].as_object()).flatten() {
            *sums.entry(name.clone()).or_default() += value.as_u64().unwrap_or_default();
        }
        match FORBIDDEN.iter().find(|(name, _)| !sums.contains_key(*name)) {
            Some((name, _)) => Err(Failure::rest("GET /millrace/stats", format!("no counter {name}"))),
            None => Ok(Self(sums)),
        }
    }
}

/// By how much each counter grew.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Account(BTreeMap<String, u64>);

impl Account {
    /// From two readings of one server.
    #[must_use]
    pub fn between(before: &Reading, after: &Reading) -> Self {
        let grown = |(name, value): (&String, &u64)| {
            let earlier = before.0.get(name).copied().unwrap_or_default();
            (name.clone(), value.saturating_sub(earlier))
        };
        Self(after.0.iter().map(grown).collect())
    }

    /// Growth of one counter.
    fn of(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or_default()
    }

    /// What must not have grown and did, a sentence each.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let forbidden = FORBIDDEN.iter().map(|(name, what)| (self.of(name), (*what).to_owned()));
        let ours = self.0.iter().filter(|(name, _)| name.starts_with(OUR_DISCARDS));
        let ours = ours.map(|(name, count)| (*count, format!("packets dropped by the relay ({name})")));
        let grown = forbidden.chain(ours).filter(|(count, _)| *count > 0);
        grown.map(|(count, what)| format!("{count} {what}")).collect()
    }
}

impl fmt::Display for Account {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sends = self.of("io_sends").max(1);
        write!(
            formatter,
            "relay: RTP in {}, out {}, {:.1} datagrams a send, media allocations {}, send errors {}, retries {}",
            self.of("rtp_in"),
            self.of("rtp_out"),
            self.of("io_datagrams_out") as f64 / sends as f64,
            self.of(ALLOCATIONS),
            self.of("io_send_errors"),
            self.of("io_send_retries"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn reading(allocations: u64, full: u64) -> Reading {
        let shard = |allocations: u64| {
            json!({"counters": {
                "media_allocations": allocations, "io_send_errors": 3, "io_truncated": 0, "rebuilds": 1,
                "discard_our_egress_full": full, "discard_peer_unknown_source": allocations
            }})
        };
        Reading::of(&json!({ "shards": [shard(allocations), shard(7)] })).unwrap()
    }

    #[test]
    fn only_growth_counts_and_only_of_what_must_not_grow() {
        let account = Account::between(&reading(5, 0), &reading(5, 0));
        assert_eq!(account.problems(), Vec::<String>::new());
        let problems = Account::between(&reading(5, 0), &reading(8, 2)).problems();
        assert_eq!(
            problems,
            [
                "3 allocations on the relay's media path after warm-up",
                "4 packets dropped by the relay (discard_our_egress_full)"
            ]
        );
    }

    #[test]
    fn statistics_without_the_counters_prove_nothing() {
        let why = Reading::of(&json!({ "shards": [] })).unwrap_err().to_string();
        assert!(why.contains("media_allocations"), "{why}");
    }
}
