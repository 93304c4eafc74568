//! What the TURN server counts, by the names that operators see.

use millrace_turn::server::{Counters, Gauges, REFUSALS, Reason};

/// Names of [`Counters::refused`], in the order of [`REFUSALS`].
const REFUSED: [&str; REFUSALS.len()] = [
    "turn_refused_400",
    "turn_refused_401",
    "turn_refused_403",
    "turn_refused_420",
    "turn_refused_437",
    "turn_refused_438",
    "turn_refused_440",
    "turn_refused_441",
    "turn_refused_442",
    "turn_refused_443",
    "turn_refused_486",
    "turn_refused_508",
];

/// Names of [`Counters::silences`], in the order of [`Reason::ALL`].
const DROPPED: [&str; Reason::ALL.len()] = [
    "turn_dropped_foreign",
    "turn_dropped_malformed",
    "turn_dropped_class",
    "turn_dropped_method",
    "turn_dropped_rate_limited",
    "turn_dropped_framing",
    "turn_dropped_empty",
    "turn_dropped_no_allocation",
    "turn_dropped_no_channel",
    "turn_dropped_no_permission",
    "turn_dropped_forbidden",
    "turn_dropped_no_socket",
    "turn_dropped_over_bandwidth",
    "turn_dropped_family",
    "turn_dropped_bad_indication",
    "turn_dropped_no_room",
];

/// Every figure with its name. Gauges come first: what is there now.
pub(super) fn each(counters: &Counters, gauges: Gauges) -> impl Iterator<Item = (&'static str, u64)> {
    let now = [
        ("turn_allocations", u64::from(gauges.allocations)),
        ("turn_permissions", u64::from(gauges.permissions)),
        ("turn_channels", u64::from(gauges.channels)),
        ("turn_users", u64::from(gauges.users)),
        ("turn_sockets", u64::from(gauges.sockets)),
    ];
    let so_far = [
        ("turn_allocations_opened", counters.allocations_opened),
        ("turn_allocations_refreshed", counters.allocations_refreshed),
        ("turn_allocations_released", counters.allocations_released),
        ("turn_allocations_expired", counters.allocations_expired),
        ("turn_allocations_abandoned", counters.allocations_abandoned),
        ("turn_permissions_opened", counters.permissions_opened),
        ("turn_channels_opened", counters.channels_opened),
        ("turn_bindings", counters.bindings),
        ("turn_bad_credentials", counters.bad_credentials),
        ("turn_to_peer_packets", counters.to_peer_packets),
        ("turn_to_peer_bytes", counters.to_peer_bytes),
        ("turn_to_client_packets", counters.to_client_packets),
        ("turn_to_client_bytes", counters.to_client_bytes),
    ];
    let refused = REFUSED.into_iter().zip(counters.refused);
    let dropped = DROPPED.into_iter().zip(counters.silences);
    now.into_iter().chain(so_far).chain(refused).chain(dropped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_in_the_order_of_what_they_name() {
        for (name, code) in REFUSED.into_iter().zip(REFUSALS) {
            assert_eq!(name, format!("turn_refused_{}", code.number()));
        }
        for (name, reason) in DROPPED.into_iter().zip(Reason::ALL) {
            assert_eq!(name, format!("turn_dropped_{}", reason.name()));
        }
    }
}
