//! What the edge counts. Written by its thread, read by whoever wants to know.

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

            /// As it stands in statistics.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }
        }
    };
}

counts! {
    /// Connections that came.
    Accepted = "edge_accepted",
    /// Connections that were closed at once, since there were enough.
    Refused = "edge_refused",
    /// Idle connections that made room for another.
    Displaced = "edge_displaced",
    /// TLS handshakes that failed or took too long.
    TlsFailed = "edge_tls_failed",
    /// Certificates that were read anew.
    CertificateRenewed = "edge_certificate_renewed",
    /// Certificates that changed into what cannot be used, so that the one before stayed.
    CertificateRefused = "edge_certificate_refused",
    /// Connections that never made a first request, or not in time.
    Silent = "edge_silent",
    /// Connections whose first bytes are of no protocol that their port serves.
    Strange = "edge_strange",
    /// Connections handed on to signaling.
    Http = "edge_http",
    /// Connections of those that have ended.
    HttpEnded = "edge_http_ended",
    /// Requests answered with 503, since signaling was not there.
    HttpUnavailable = "edge_http_unavailable",
    /// TURN over TCP begun.
    TurnTcp = "edge_turn_tcp",
    /// TURN over TLS begun.
    TurnTls = "edge_turn_tls",
    /// ICE-TCP begun.
    IceTcp = "edge_ice_tcp",
    /// Streams closed because the client broke the framing.
    ClosedBroken = "edge_closed_broken",
    /// Streams closed because the client did not read what it was sent.
    ClosedSlow = "edge_closed_slow",
    /// Streams closed because nothing came any more.
    ClosedIdle = "edge_closed_idle",
    /// Streams closed because no shard listens.
    ClosedUnserved = "edge_closed_unserved",
    /// Streams the client ended, or the network.
    ClosedByClient = "edge_closed_by_client",
    /// Messages of streams handed to shards.
    MessagesIn = "edge_messages_in",
    /// Messages of shards handed to streams.
    MessagesOut = "edge_messages_out",
}

/// All of them, since the process began.
#[derive(Debug, Default)]
pub struct Counters([AtomicU64; Count::ALL.len()]);

impl Counters {
    /// One more.
    pub(super) fn add(&self, what: Count) {
        self.add_many(what, 1);
    }

    /// So many more.
    pub(super) fn add_many(&self, what: Count, number: u64) {
        self.0[what as usize].fetch_add(number, Ordering::Relaxed);
    }

    /// How many there were.
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
