//! What a server is made with.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use crate::server::credentials::{Credentials, REALM_BYTES_MAX, USERNAME_BYTES_MAX};
use crate::server::policy::PeerPolicy;

/// How much one user, or all together, may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Allocations at a time.
    pub allocations_max: u32,
    /// Permissions at a time, over all allocations.
    pub permissions_max: u32,
    /// Channels at a time, over all allocations.
    pub channels_max: u32,
    /// Data relayed in both directions, in bytes a second; half a second's worth may come at once. 0: no limit.
    pub bandwidth_max_bytes_per_s: u64,
}

impl Quota {
    /// No limit but the room for records.
    pub const UNLIMITED: Self = Self {
        allocations_max: u32::MAX,
        permissions_max: u32::MAX,
        channels_max: u32::MAX,
        bandwidth_max_bytes_per_s: 0,
    };
}

/// Limits of one server. A server counts for itself: where several share the clients, each holds its own part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// For each user.
    pub user: Quota,
    /// For all together; the number of records is a limit too.
    pub total: Quota,
}

impl Default for Limits {
    /// 12 allocations a user: a browser makes one for each of its interfaces, families and servers.
    fn default() -> Self {
        let user = Quota { allocations_max: 12, permissions_max: 96, channels_max: 96, ..Quota::UNLIMITED };
        Self { user, total: Quota::UNLIMITED }
    }
}

/// Lifetime of an allocation that asks for none, in seconds (RFC 8656 §3.2).
pub const LIFETIME_DEFAULT_S: u32 = 600;

/// Longest lifetime of an allocation, in seconds (RFC 8656 §7.2).
pub const LIFETIME_MAX_S: u32 = 3600;

/// Lifetime of a permission, in seconds (RFC 8656 §9).
pub const PERMISSION_LIFETIME_S: u32 = 300;

/// Lifetime of a channel, in seconds (RFC 8656 §12).
pub const CHANNEL_LIFETIME_S: u32 = 600;

/// How a server is to behave.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who may ask.
    pub credentials: Credentials,
    /// Whom they may reach.
    pub policy: PeerPolicy,
    /// The addresses that relayed ones have, as they are announced. A family without one is answered with 440.
    pub relayed: (Option<Ipv4Addr>, Option<Ipv6Addr>),
    /// The ports that relayed addresses have. Of 49152 to 65535 each server on a host has its own part.
    pub ports: RangeInclusive<u16>,
    /// Quotas.
    pub limits: Limits,
    /// Longest lifetime of an allocation in seconds, at least [`LIFETIME_DEFAULT_S`].
    pub lifetime_max_s: u32,
    /// Whether SHA-256 and user hashes are offered (RFC 8489 §9.2.1). It makes each answer to a stranger 28 bytes longer, and
    /// no browser uses it, so that it is off unless a client needs it; requests with MESSAGE-INTEGRITY-SHA256 are
    /// understood in any case.
    pub offer_sha256: bool,
}

impl Config {
    /// A configuration with the limits of the RFC, without SHA-256 on offer.
    pub fn new(credentials: Credentials, relayed: (Option<Ipv4Addr>, Option<Ipv6Addr>)) -> Self {
        Self {
            credentials,
            policy: PeerPolicy::default(),
            relayed,
            ports: 49_152..=65_535,
            limits: Limits::default(),
            lifetime_max_s: LIFETIME_MAX_S,
            offer_sha256: false,
        }
    }

    /// Whether a server can keep to it.
    ///
    /// # Errors
    /// [`BadConfig`], the first that is wrong, in words for whoever wrote it.
    pub fn check(&self) -> Result<(), BadConfig> {
        let realm = self.credentials.realm.as_bytes();
        // Quoted text (RFC 8489 §14.9).
        let is_quotable = realm.iter().all(|byte| *byte >= b' ' && !matches!(byte, b'"' | b'\\' | 0x7f));
        if realm.is_empty() || realm.len() > REALM_BYTES_MAX || !is_quotable {
            return Err(BadConfig::Realm);
        }
        if self.ports.is_empty() || self.ports.contains(&0) {
            return Err(BadConfig::Ports);
        }
        if self.lifetime_max_s < LIFETIME_DEFAULT_S {
            return Err(BadConfig::Lifetime);
        }
        let names = self.credentials.static_users.iter().map(|(name, _)| name.len());
        let mut odd = names.filter(|len| !(1..=USERNAME_BYTES_MAX).contains(len));
        if odd.next().is_some() || self.credentials.secrets.iter().any(Vec::is_empty) {
            return Err(BadConfig::Credentials);
        }
        if self.relayed == (None, None) { Err(BadConfig::Relayed) } else { Ok(()) }
    }

    /// The relayed address of a family, by its index among a record's addresses.
    pub(super) fn relayed_ip(&self, family: usize) -> Option<IpAddr> {
        if family == 0 { self.relayed.0.map(IpAddr::V4) } else { self.relayed.1.map(IpAddr::V6) }
    }
}

/// What is wrong with a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadConfig {
    /// [`Credentials::realm`].
    Realm,
    /// A user without a name or with too long a one, or an empty secret, which everybody knows.
    Credentials,
    /// [`Config::ports`].
    Ports,
    /// [`Config::lifetime_max_s`].
    Lifetime,
    /// [`Config::relayed`] has no address.
    Relayed,
}

impl std::fmt::Display for BadConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Realm => {
                "the realm must have 1 to 128 bytes without quotes, backslashes and control characters"
            }
            Self::Credentials => "a user must have a name of 1 to 508 bytes, and a secret must not be empty",
            Self::Ports => "the relayed ports must be a range of ports from 1 on",
            Self::Lifetime => "the longest lifetime must be at least 600 seconds",
            Self::Relayed => "there must be an address to relay from",
        })
    }
}

impl std::error::Error for BadConfig {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_cannot_keep_to_is_said() {
        let good = || {
            let credentials = Credentials {
                realm: "example.org".into(),
                secrets: vec![b"secret".to_vec()],
                static_users: vec![("george".into(), String::new())],
            };
            Config::new(credentials, (Some(Ipv4Addr::LOCALHOST), None))
        };
        assert_eq!(good().check(), Ok(()));
        type Change = fn(&mut Config);
        let cases: [(Change, BadConfig); 8] = [
            (|config| config.credentials.realm.clear(), BadConfig::Realm),
            (|config| config.credentials.realm = "x".repeat(129), BadConfig::Realm),
            (|config| config.credentials.realm = "a\"b".into(), BadConfig::Realm),
            (|config| config.credentials.secrets.push(vec![]), BadConfig::Credentials),
            (|config| config.credentials.static_users[0].0.clear(), BadConfig::Credentials),
            (|config| config.ports = 0..=9, BadConfig::Ports),
            (|config| config.lifetime_max_s = 599, BadConfig::Lifetime),
            (|config| config.relayed = (None, None), BadConfig::Relayed),
        ];
        for (change, bad) in cases {
            let mut config = good();
            change(&mut config);
            assert_eq!(config.check(), Err(bad));
            assert!(!bad.to_string().is_empty());
        }
    }
}
