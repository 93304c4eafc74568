//! Address lists: from where the REST API and the dashboard may be asked.

use std::net::IpAddr;

use ipnet::IpNet;

/// One address, a range of them, or every address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Net {
    /// `None` is every address of both families.
    range: Option<IpNet>,
}

impl Net {
    /// Reads `198.51.100.1`, `198.51.100.0/24`, `2001:db8::/32` or `all`.
    ///
    /// # Errors
    /// For any other text. The message quotes it and names the forms, for an operator.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text == "all" {
            return Ok(Self { range: None });
        }
        let range = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        let range = range.map_err(|_| {
            format!(
                "'{text}' is not an address (198.51.100.1), not a range (198.51.100.0/24 with at most /32, \
                 2001:db8::/32 with at most /128) and not all"
            )
        })?;
        Ok(Self { range: Some(range) })
    }

    /// Whether it is every address.
    pub const fn is_all(&self) -> bool {
        self.range.is_none()
    }

    /// Whether an address is in it. IPv4 and IPv6 never match each other.
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.range.is_none_or(|range| range.contains(&ip))
    }
}

/// Whether `ip` may ask. An empty list allows every address. Loopback is always allowed, as with OpenVidu.
pub fn lets(list: &[Net], ip: IpAddr) -> bool {
    list.is_empty() || ip.is_loopback() || list.iter().any(|net| net.contains(ip))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lets_in(list: &[&str], ip: &str) -> bool {
        let list: Vec<_> = list.iter().map(|net| Net::parse(net).unwrap()).collect();
        lets(&list, ip.parse().unwrap())
    }

    #[test]
    fn an_address_is_in_its_range() {
        for (net, ip, is_in) in [
            ("198.51.100.1", "198.51.100.1", true),
            ("198.51.100.1", "198.51.100.2", false),
            (" 198.51.100.0/24", "198.51.100.255", true),
            ("198.51.100.7/24", "198.51.100.255", true),
            ("198.51.100.0/24", "198.51.101.0", false),
            ("198.51.100.128/25", "198.51.100.127", false),
            ("0.0.0.0/0", "203.0.113.1", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("2001:db8::/33", "2001:db8:7fff::1", true),
            ("2001:db8::/33", "2001:db8:8000::1", false),
            ("::/0", "2001:db8::1", true),
            ("all", "2001:db8::1", true),
            ("198.51.100.1", "127.0.0.1", true),
            ("198.51.100.1", "::1", true),
        ] {
            assert_eq!(lets_in(&[net], ip), is_in, "{net} {ip}");
        }
        assert!(lets_in(&[], "203.0.113.1"));
        assert!(lets_in(&["198.51.100.1", "203.0.113.0/24"], "203.0.113.1"));
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for bad in
            ["", "none", "198.51.100", "198.51.100.0/33", "198.51.100.0/", "2001:db8::/129", "h.example.org"]
        {
            assert!(Net::parse(bad).is_err(), "{bad}");
        }
    }
}
