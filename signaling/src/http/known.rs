//! Addresses that the operator has named.

use std::net::IpAddr;

use super::limiter::Source;
use crate::config::Addresses;
use crate::net::Net;

/// Whose connections count differently.
#[derive(Clone, Debug, Default)]
pub struct KnownAddresses {
    /// Addresses that may use the REST API. An empty list gives no address a privilege.
    pub rest_allow: Vec<Net>,
    /// Proxies that are believed when they say whose connection or request it is.
    pub trusted_proxies: Vec<Net>,
}

impl From<&Addresses> for KnownAddresses {
    fn from(options: &Addresses) -> Self {
        // `all` gives no address a privilege.
        let listed = options.rest_allow.iter().filter(|net| !net.is_all());
        Self { rest_allow: listed.copied().collect(), trusted_proxies: options.trusted_proxies.clone() }
    }
}

impl KnownAddresses {
    /// Whether the address is a trusted proxy's.
    pub fn is_proxy(&self, address: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|net| net.contains(address))
    }

    /// How a connection from this address counts.
    pub fn source(&self, address: IpAddr) -> Source {
        let address = address.to_canonical();
        let shared = self.is_proxy(address);
        let is_listed = address.is_loopback() || self.rest_allow.iter().any(|net| net.contains(address));
        Source { address, privileged: is_listed && !shared, shared }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_has_no_privilege_of_its_own() {
        let nets = |text: &str| vec![Net::parse(text).unwrap()];
        let known = KnownAddresses { rest_allow: nets("10.0.0.0/8"), trusted_proxies: nets("10.0.0.5") };
        for (address, privileged, shared) in [
            ("127.0.0.1", true, false),
            ("::ffff:10.0.0.4", true, false),
            ("10.0.0.5", false, true),
            ("192.0.2.7", false, false),
        ] {
            let source = known.source(address.parse().unwrap());
            assert_eq!((source.privileged, source.shared), (privileged, shared), "{address}");
        }
        let here = KnownAddresses { trusted_proxies: nets("127.0.0.1"), ..KnownAddresses::default() };
        assert!(!here.source("127.0.0.1".parse().unwrap()).privileged);
        assert!(!here.source("192.0.2.7".parse().unwrap()).privileged);
    }
}
