//! How many connections each port takes, so that together they never need more descriptors than the process may have.
//!
//! A descriptor that is missing would stop every port from accepting. The small ports have fixed shares, and the port of
//! HTTPS, which has every participant's WebSocket, gets what is left.

use std::fmt;

/// Descriptors of everything but the edge: shards, control, files.
const DESCRIPTORS_ELSEWHERE: usize = 512;
/// A client's own, and the one towards a shard or signaling.
const DESCRIPTORS_PER_CLIENT: usize = 2;

/// Part of all connections that TURN over TCP, TURN over TLS and all of ICE-TCP get each, and most of them.
const MEDIA_PART: usize = 10;
const MEDIA_MAX: usize = 4_096;
/// The same for the port of plain HTTP, whose connections are short.
const REDIRECT_PART: usize = 20;
const REDIRECT_MAX: usize = 512;

/// Which ports there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// HTTPS.
    pub https: bool,
    /// Plain HTTP that redirects to HTTPS.
    pub redirect: bool,
    /// TURN over TCP.
    pub turn_tcp: bool,
    /// TURN over TLS.
    pub turn_tls: bool,
    /// Ports of ICE-TCP, one a shard.
    pub ice_tcp: usize,
}

/// Connections that each port takes at a time. 0 is a port that is not served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shares {
    /// HTTPS.
    pub https: usize,
    /// Plain HTTP that redirects to HTTPS.
    pub redirect: usize,
    /// TURN over TCP.
    pub turn_tcp: usize,
    /// TURN over TLS.
    pub turn_tls: usize,
    /// Each port of ICE-TCP.
    pub ice_tcp: usize,
}

impl Shares {
    /// The shares where the process may have `descriptors` open and the operator wants `sockets_max` on one port.
    pub fn new(descriptors: usize, sockets_max: usize, served: Served) -> Self {
        let clients = descriptors.saturating_sub(DESCRIPTORS_ELSEWHERE) / DESCRIPTORS_PER_CLIENT;
        let share = |is_served: bool, part: usize, max: usize| {
            if is_served { (clients / part).min(max).min(sockets_max) } else { 0 }
        };
        let turn_tcp = share(served.turn_tcp, MEDIA_PART, MEDIA_MAX);
        let turn_tls = share(served.turn_tls, MEDIA_PART, MEDIA_MAX);
        let ice_tcp =
            share(served.ice_tcp > 0, MEDIA_PART, MEDIA_MAX).checked_div(served.ice_tcp).unwrap_or(0);
        let redirect = share(served.redirect, REDIRECT_PART, REDIRECT_MAX);
        let taken = turn_tcp + turn_tls + ice_tcp * served.ice_tcp + redirect;
        let https = if served.https { clients.saturating_sub(taken).min(sockets_max) } else { 0 };
        Self { https, redirect, turn_tcp, turn_tls, ice_tcp }
    }

    /// Says in words for an operator why the shares are too small for so many participants. `None` if they suffice.
    pub fn fault(&self, sockets_max: usize, participants_max: usize) -> Option<String> {
        if self.https == 0 || self.https >= participants_max {
            return None;
        }
        let cure = if self.https == sockets_max {
            "raise limits.sockets-max"
        } else {
            "raise the limit of open files (LimitNOFILE=, ulimit -n)"
        };
        Some(format!(
            "the port of HTTPS takes {} connections, but limits.participants-max is {participants_max}; {cure}, or lower \
             limits.participants-max",
            self.https
        ))
    }
}

impl fmt::Display for Shares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { https, redirect, turn_tcp, turn_tls, ice_tcp } = self;
        write!(
            f,
            "HTTPS {https}, TURN over TCP {turn_tcp}, TURN over TLS {turn_tls}, ICE-TCP {ice_tcp} a shard, plain HTTP {redirect}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Served = Served { https: true, redirect: true, turn_tcp: true, turn_tls: true, ice_tcp: 16 };
    const USUAL: Served = Served { ice_tcp: 0, redirect: false, ..ALL };

    #[test]
    fn https_gets_what_the_small_ports_leave() {
        // 16 shards with ICE-TCP are 19 ports. With equal shares HTTPS had 1 711 of these.
        let shares = Shares::new(65_536, usize::MAX, ALL);
        assert_eq!(
            shares,
            Shares { https: 22_250, redirect: 512, turn_tcp: 3_251, turn_tls: 3_251, ice_tcp: 203 }
        );
        // With the units as they are shipped.
        assert_eq!(
            Shares::new(1_048_576, 65_536, ALL),
            Shares { https: 65_536, redirect: 512, turn_tcp: 4_096, turn_tls: 4_096, ice_tcp: 256 }
        );
        assert_eq!(Shares::new(1_024, 65_536, USUAL).https, 256 - 25 - 25);
    }

    #[test]
    fn they_never_need_more_than_there_is() {
        for descriptors in [0, 512, 513, 600, 1_024, 4_096, 65_536, 1_048_576] {
            for served in [ALL, USUAL, Served { https: true, ..Served::default() }] {
                let shares = Shares::new(descriptors, 20_000, served);
                let clients = shares.https
                    + shares.redirect
                    + shares.turn_tcp
                    + shares.turn_tls
                    + shares.ice_tcp * served.ice_tcp;
                assert!(2 * clients + 512 <= descriptors.max(512), "{descriptors}: {shares}");
                assert!(shares.https <= 20_000);
            }
        }
    }

    #[test]
    fn an_operator_hears_of_more_participants_than_connections() {
        let shares = Shares::new(65_536, 16_384, USUAL);
        assert!(shares.fault(16_384, 50_000).unwrap().contains("limits.sockets-max"));
        let shares = Shares::new(65_536, 65_536, USUAL);
        assert!(shares.fault(65_536, 50_000).unwrap().contains("LimitNOFILE"));
        assert_eq!(Shares::new(1_048_576, 65_536, USUAL).fault(65_536, 50_000), None);
        assert_eq!(Shares::default().fault(1, 50_000), None, "signaling has the port");
    }
}
