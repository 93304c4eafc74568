//! Whose request it is that a trusted HTTP proxy passes on: `Forwarded` (RFC 7239) or `X-Forwarded-For`.
//!
//! Each proxy adds the address it got the request from at the end of the list. So the list is read from its end, and the
//! first address that is not a trusted proxy's is the client's. Everything before it is the client's own word.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::http::HeaderMap;
use axum::http::header::{FORWARDED, HeaderName};

use super::Via;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The address of a client that its proxy does not name. No list of addresses has it.
const UNKNOWN: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// The connection as the client has it, where `via` is the proxy's.
///
/// `is_trusted` says whether an address is a trusted proxy's. A request of anybody else is as it came.
pub(super) fn client(via: Via, headers: &HeaderMap, is_trusted: impl Fn(IpAddr) -> bool) -> Via {
    if !is_trusted(via.remote) {
        return via;
    }
    let by_standard = first_untrusted(&standard(headers), &is_trusted);
    let by_custom = first_untrusted(&custom(headers), &is_trusted);
    let remote = match (by_standard, by_custom) {
        (None, None) => via.remote,
        (Some(ip), None) | (None, Some(ip)) => ip,
        // A proxy sets one of the two and passes on the other as the client sent it.
        (Some(one), Some(other)) => {
            if one == other {
                one
            } else {
                UNKNOWN
            }
        }
    };
    let tls = scheme(headers).map_or(via.tls, |scheme| scheme.eq_ignore_ascii_case("https"));
    Via { remote, tls, ..via }
}

/// The last address that is no trusted proxy's, or the first if all are. `None` is an empty list.
fn first_untrusted(list: &[Option<IpAddr>], is_trusted: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
    let client = list.iter().rev().find(|ip| ip.is_none_or(|ip| !is_trusted(ip))).or(list.first())?;
    Some(client.unwrap_or(UNKNOWN))
}

/// Addresses in `X-Forwarded-For`, in its order. `None` is one that cannot be read.
fn custom(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    elements(headers, &X_FORWARDED_FOR).iter().map(|element| address(element)).collect()
}

/// Addresses in `Forwarded`, in its order. `None` is one that is hidden or cannot be read.
fn standard(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    let elements = elements(headers, &FORWARDED);
    elements.iter().map(|element| parameter(element, "for").and_then(address)).collect()
}

/// `https` or `http`, as the proxy nearest to us says it.
fn scheme(headers: &HeaderMap) -> Option<String> {
    let standard = elements(headers, &FORWARDED);
    let standard = standard.last().and_then(|element| parameter(element, "proto")).map(str::to_owned);
    standard.or_else(|| elements(headers, &X_FORWARDED_PROTO).pop())
}

/// The elements of a list that may be spread over several headers of one name.
fn elements(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
    let values = headers.get_all(name).into_iter().map(|value| value.to_str().unwrap_or_default());
    values.flat_map(|value| value.split(',')).map(|element| element.trim().to_owned()).collect()
}

/// The value of a parameter: `for="[2001:db8::7]:4711";proto=https`.
fn parameter<'a>(element: &'a str, wanted: &str) -> Option<&'a str> {
    element.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        let is_wanted = name.trim().eq_ignore_ascii_case(wanted);
        is_wanted.then(|| value.trim().trim_matches('"'))
    })
}

/// An address with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim_matches('"');
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let ip = bare.parse().or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip()));
    ip.ok().map(|ip| ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    const PROXY: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V4(Ipv4Addr::new(10, 0, 0, 5))];

    fn seen(remote: &str, lines: &[(&'static str, &str)]) -> (String, bool) {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        let via = Via { tls: false, remote: remote.parse().unwrap(), port: 4480 };
        let client = client(via, &headers, |ip| PROXY.contains(&ip));
        (client.remote.to_string(), client.tls)
    }

    #[test]
    fn the_last_address_that_is_no_proxy_is_the_clients() {
        let (for_, xff) = ("forwarded", "x-forwarded-for");
        for (lines, ip) in [
            (&[][..], "127.0.0.1"),
            (&[(xff, "192.0.2.7")], "192.0.2.7"),
            (&[(xff, "127.0.0.1, 192.0.2.7")], "192.0.2.7"),
            (&[(xff, "192.0.2.9, 192.0.2.7, 10.0.0.5")], "192.0.2.7"),
            (&[(xff, "192.0.2.9"), (xff, "192.0.2.7")], "192.0.2.7"),
            (&[(xff, "127.0.0.1, 10.0.0.5")], "127.0.0.1"),
            (&[(xff, "192.0.2.7:4711")], "192.0.2.7"),
            (&[(xff, "::ffff:192.0.2.7")], "192.0.2.7"),
            (&[(xff, "2001:db8::7")], "2001:db8::7"),
            (&[(xff, "192.0.2.7, nonsense")], "0.0.0.0"),
            (&[(xff, "")], "0.0.0.0"),
            (&[(for_, "for=192.0.2.7;proto=http, For=10.0.0.5")], "192.0.2.7"),
            (&[(for_, "by=10.0.0.5; for=\"[2001:db8::7]:4711\"")], "2001:db8::7"),
            (&[(for_, "for=_hidden")], "0.0.0.0"),
            (&[(for_, "for=unknown, for=192.0.2.7")], "192.0.2.7"),
            (&[(for_, "proto=https")], "0.0.0.0"),
            (&[(for_, "for=192.0.2.7"), (xff, "192.0.2.7")], "192.0.2.7"),
            (&[(for_, "for=127.0.0.1"), (xff, "192.0.2.7")], "0.0.0.0"),
        ] {
            assert_eq!(seen("127.0.0.1", lines).0, ip, "{lines:?}");
        }
    }

    #[test]
    fn only_a_trusted_proxy_is_believed() {
        let lines = [("x-forwarded-for", "192.0.2.7"), ("x-forwarded-proto", "https")];
        assert_eq!(seen("198.51.100.9", &lines), ("198.51.100.9".into(), false));
        assert_eq!(seen("10.0.0.5", &lines), ("192.0.2.7".into(), true));
    }

    #[test]
    fn the_scheme_is_the_one_that_the_client_used() {
        let for_ = ("x-forwarded-for", "192.0.2.7");
        assert!(seen("127.0.0.1", &[for_, ("x-forwarded-proto", "https")]).1);
        assert!(!seen("127.0.0.1", &[for_, ("x-forwarded-proto", "http")]).1);
        assert!(!seen("127.0.0.1", &[for_]).1, "as the proxy came");
        assert!(seen("127.0.0.1", &[("forwarded", "for=192.0.2.7;proto=HTTPS")]).1);
    }
}
