//! What an operator can set of the relay's TURN server.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use crate::turn::HTTPS_PORT;
use millrace_turn::server::{Cidr, Config, Credentials, Limits, PeerPolicy, Quota};

// A doc comment on a group of options would become the description of the whole program.
#[derive(Clone, Debug, clap::Args)]
#[allow(missing_docs, reason = "see above")]
pub struct TurnServer {
    /// Realm of the TURN credentials. Keep it short: every answer to an unauthenticated request carries it.
    #[arg(id = "turn-realm", long = "turn-realm", value_name = "NAME", default_value = "millrace")]
    pub realm: String,

    /// The previous TURN secret. Credentials computed from it stay valid until they expire.
    #[arg(id = "turn-secret-previous", long = "turn-secret-previous", value_name = "S")]
    pub secret_previous: Option<String>,

    /// A TURN user whose password never expires, for tests. Repeatable.
    #[arg(
        id = "turn-static-user", long = "turn-static-user",
        value_name = "NAME:PASSWORD",
        value_delimiter = ',',
        value_parser = name_and_password
    )]
    pub static_users: Vec<(String, String)>,

    /// Addresses that TURN clients may reach besides the media ports of this relay, such as 203.0.113.0/24. Repeatable.
    #[arg(id = "turn-allow", long = "turn-allow", value_name = "CIDR", value_delimiter = ',')]
    pub allow: Vec<Cidr>,

    /// Addresses that TURN clients may not reach, even if turn-allow contains them. Repeatable.
    #[arg(id = "turn-deny", long = "turn-deny", value_name = "CIDR", value_delimiter = ',')]
    pub deny: Vec<Cidr>,

    /// UDP ports of relayed addresses.
    #[arg(
        id = "turn-relay-ports", long = "turn-relay-ports",
        value_name = "MIN-MAX",
        default_value = "49152-65535",
        value_parser = port_range
    )]
    pub relay_ports: RangeInclusive<u16>,

    /// Maximum number of TURN allocations on all shards together.
    #[arg(
        id = "turn-allocations-max",
        long = "turn-allocations-max",
        value_name = "N",
        default_value_t = 16_384
    )]
    pub allocations_max: u32,

    /// Maximum number of TURN allocations of one user on each shard.
    #[arg(
        id = "turn-allocations-per-user-max",
        long = "turn-allocations-per-user-max",
        value_name = "N",
        default_value_t = 128
    )]
    pub allocations_per_user_max: u32,

    /// Maximum bit rate relayed for one user, both directions together, in bit/s. 0 means unlimited.
    #[arg(
        id = "turn-bandwidth-per-user-max-bps",
        long = "turn-bandwidth-per-user-max-bps",
        value_name = "BPS",
        default_value_t = 0
    )]
    pub bandwidth_per_user_max_bps: u64,
}

/// Permissions and channels that a user may have for each of its allocations. A browser needs one of each for every address
/// that we announce.
const PEERS_PER_ALLOCATION: u32 = 8;

/// Facts of this start that are not options.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// Announced addresses, best first.
    pub addresses: &'a [IpAddr],
    /// Media port of each shard.
    pub media_ports: &'a [u16],
    /// The UDP port TURN got.
    pub port: u16,
    /// Whether TURN is on UDP port 443 too.
    pub udp_443: bool,
    /// The secret in use.
    pub secret: &'a str,
}

impl TurnServer {
    /// The configuration of each shard's server. The shards share the relayed ports and the quotas.
    pub fn configs(&self, facts: &Facts<'_>) -> Vec<Config> {
        let shards = facts.media_ports.len();
        (0..shards).map(|shard| self.config(facts, shard, shards)).collect()
    }

    fn config(&self, facts: &Facts<'_>, shard: usize, shards: usize) -> Config {
        let secret = facts.secret;
        let secrets = [Some(secret), self.secret_previous.as_deref()];
        let credentials = Credentials {
            realm: self.realm.clone(),
            secrets: secrets.into_iter().flatten().map(|secret| secret.as_bytes().to_vec()).collect(),
            static_users: self.static_users.clone(),
        };
        let ipv4 =
            facts.addresses.iter().find_map(|ip| if let IpAddr::V4(ip) = ip { Some(*ip) } else { None });
        let ipv6 =
            facts.addresses.iter().find_map(|ip| if let IpAddr::V6(ip) = ip { Some(*ip) } else { None });
        let mut config = Config::new(credentials, (ipv4, ipv6));
        config.ports = part_of(&self.relay_ports, shard, shards);
        config.policy = self.policy(facts);
        let peers_max = self.allocations_per_user_max.saturating_mul(PEERS_PER_ALLOCATION);
        let user = Quota {
            allocations_max: self.allocations_per_user_max,
            permissions_max: peers_max,
            channels_max: peers_max,
            bandwidth_max_bytes_per_s: self.bandwidth_per_user_max_bps.div_ceil(8),
        };
        let share = self.allocations_max.div_ceil(u32::try_from(shards).unwrap_or(1));
        config.limits = Limits { user, total: Quota { allocations_max: share, ..Quota::UNLIMITED } };
        config
    }

    fn policy(&self, facts: &Facts<'_>) -> PeerPolicy {
        let everywhere = |port: &u16| {
            facts.addresses.iter().map(move |&ip| SocketAddr::new(ip, *port)).collect::<Vec<_>>()
        };
        let own_ports = [Some(facts.port), facts.udp_443.then_some(HTTPS_PORT)].into_iter().flatten();
        PeerPolicy {
            media: facts.media_ports.iter().flat_map(everywhere).collect(),
            allow: self.allow.clone(),
            deny: self.deny.clone(),
            own: own_ports.map(|port| SocketAddr::from(([0, 0, 0, 0], port))).collect(),
            host: facts.addresses.to_vec(),
        }
    }
}

/// The part of `range` that belongs to shard `shard` of `shards`.
fn part_of(range: &RangeInclusive<u16>, shard: usize, shards: usize) -> RangeInclusive<u16> {
    let (first, count) = (usize::from(*range.start()), range.len());
    let edge = |part: usize| u16::try_from(first + count * part / shards).unwrap_or(u16::MAX);
    // The last port may be 65535, and the number above it is no port.
    let last = u16::try_from(first + count * (shard + 1) / shards - 1).unwrap_or(u16::MAX);
    edge(shard)..=last
}

fn name_and_password(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((name, password)) if !name.is_empty() && !password.is_empty() => {
            Ok((name.to_owned(), password.to_owned()))
        }
        _ => Err("a static user is NAME:PASSWORD, both of them not empty".to_owned()),
    }
}

fn port_range(text: &str) -> Result<RangeInclusive<u16>, String> {
    let wrong = || format!("{text} is no range of ports; one looks like 49152-65535");
    let (first, last) = text.split_once('-').ok_or_else(wrong)?;
    let (first, last) =
        (first.trim().parse().map_err(|_| wrong())?, last.trim().parse().map_err(|_| wrong())?);
    // Ports below 1024 belong to well-known services (RFC 6335, section 6).
    if first < 1024 || last < first {
        return Err(format!("{text}: the first port must be at least 1024 and not above the last"));
    }
    Ok(first..=last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_share_the_ports_without_a_gap() {
        for (range, shards) in [(49_152..=65_535, 1), (49_152..=65_535, 7), (2000..=2010, 4)] {
            let parts: Vec<_> = (0..shards).map(|shard| part_of(&range, shard, shards)).collect();
            assert_eq!((parts[0].start(), parts[shards - 1].end()), (range.start(), range.end()));
            assert!(parts.windows(2).all(|pair| *pair[0].end() + 1 == *pair[1].start()), "{parts:?}");
        }
    }

    #[test]
    fn nonsense_is_refused_with_words() {
        for text in ["", "1-2-3", "5000", "70000-80000", "5000-4000", "80-90"] {
            assert!(port_range(text).unwrap_err().contains(text), "{text}");
        }
        assert!(name_and_password("nobody").is_err() && name_and_password("a:").is_err());
        assert_eq!(name_and_password("a:b:c").unwrap(), ("a".to_owned(), "b:c".to_owned()));
    }
}
