//! From which addresses something may be asked for.

use std::net::IpAddr;

/// One address, a range of them, or all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Net {
    /// `None` is everywhere.
    range: Option<(IpAddr, u8)>,
}

impl Net {
    /// Reads `198.51.100.1`, `198.51.100.0/24`, `2001:db8::/32` or `all`.
    ///
    /// # Errors
    /// When it is something else, in words for an operator.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text == "all" {
            return Ok(Self { range: None });
        }
        let (ip, len) = text.split_once('/').map_or((text, None), |(ip, len)| (ip, Some(len)));
        let ip: IpAddr =
            ip.parse().map_err(|_| format!("'{text}' is no address, no range of addresses, and not all"))?;
        let len_max = if ip.is_ipv4() { 32 } else { 128 };
        let len = len.map_or(Some(len_max), |len| len.parse().ok()).filter(|len| *len <= len_max);
        let len = len.ok_or_else(|| format!("'{text}': behind / there is a number of up to {len_max}"))?;
        Ok(Self { range: Some((ip, len)) })
    }

    /// Whether an address is in it.
    pub fn contains(&self, ip: IpAddr) -> bool {
        let Some((net, len)) = self.range else { return true };
        match (net, ip) {
            (IpAddr::V4(net), IpAddr::V4(ip)) => {
                let differ = u32::from(net) ^ u32::from(ip);
                differ.leading_zeros() >= u32::from(len)
            }
            (IpAddr::V6(net), IpAddr::V6(ip)) => {
                let differ = u128::from(net) ^ u128::from(ip);
                differ.leading_zeros() >= u32::from(len)
            }
            _ => false,
        }
    }
}

/// Whether somebody there may ask. An empty list lets everybody; who is on this machine may always, as with OpenVidu.
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
