//! Counters of the edge. Its thread writes them, statistics read them.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident = $text:literal),* $(,)?) => {
        /// Something the edge counts.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Count {
            $($(#[$doc])* $name),*
        }

        impl Count {
            const ALL: [Self; [$(Self::$name),*].len()] = [$(Self::$name),*];

            /// Its name in statistics.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }
        }
    };
}

counts! {
    /// Connections that were accepted by the kernel.
    Accepted = "edge_accepted",
    /// Connections that were closed because their port had no place for them.
    Refused = "edge_refused",
    /// Waiting or quiet connections that were closed for another.
    Displaced = "edge_displaced",
    /// TLS handshakes that failed or took too long.
    TlsFailed = "edge_tls_failed",
    /// Certificates that were reloaded.
    CertificateRenewed = "edge_certificate_renewed",
    /// Changed certificates that cannot be used, so that the one before stays.
    CertificateRefused = "edge_certificate_refused",
    /// Connections without a first request in time.
    Silent = "edge_silent",
    /// Connections whose first bytes are of no protocol that their port serves.
    Strange = "edge_strange",
    /// Connections passed on to signaling.
    Http = "edge_http",
    /// Those of them that have ended.
    HttpEnded = "edge_http_ended",
    /// Requests answered with 503 because signaling was away.
    HttpUnavailable = "edge_http_unavailable",
    /// Plain HTTP on the port of HTTPS from another machine, answered with a sentence.
    HttpsOnly = "edge_https_only",
    /// Requests redirected to HTTPS.
    Redirected = "edge_redirected",
    /// Connections of TURN over TCP.
    TurnTcp = "edge_turn_tcp",
    /// Connections of TURN over TLS.
    TurnTls = "edge_turn_tls",
    /// Connections of ICE-TCP.
    IceTcp = "edge_ice_tcp",
    /// Streams closed because the client broke the framing.
    ClosedBroken = "edge_closed_broken",
    /// Streams closed because the client read too slowly.
    ClosedSlow = "edge_closed_slow",
    /// Streams closed because the client was quiet for too long.
    ClosedIdle = "edge_closed_idle",
    /// Streams closed because no shard listened.
    ClosedUnserved = "edge_closed_unserved",
    /// Streams that the client or the network ended.
    ClosedByClient = "edge_closed_by_client",
    /// Messages from clients to shards.
    MessagesIn = "edge_messages_in",
    /// Messages from shards to clients.
    MessagesOut = "edge_messages_out",
}

/// All counters, since the process started.
#[derive(Debug, Default)]
pub struct Counters([AtomicU64; Count::ALL.len()]);

impl Counters {
    /// Adds one.
    pub(super) fn add(&self, what: Count) {
        self.add_many(what, 1);
    }

    /// Adds `number`.
    pub(super) fn add_many(&self, what: Count, number: u64) {
        self.0[what as usize].fetch_add(number, Ordering::Relaxed);
    }

    /// The value of a counter.
    pub fn get(&self, what: Count) -> u64 {
        self.0[what as usize].load(Ordering::Relaxed)
    }

    /// Every counter with its name, in a fixed order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        Count::ALL.into_iter().map(|what| (what.name(), self.get(what)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_place() {
        let counters = Counters::default();
        counters.add(Count::ClosedSlow);
        counters.add_many(Count::MessagesOut, 3);
        let raised: Vec<_> = counters.iter().filter(|(_, value)| *value > 0).collect();
        assert_eq!(raised, [("edge_closed_slow", 1), ("edge_messages_out", 3)]);
    }
}
