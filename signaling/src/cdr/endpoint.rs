//! Where events are sent.

use axum::http::Uri;
use axum::http::uri::PathAndQuery;
use rustls::pki_types::ServerName;

/// An address of HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Whether by TLS.
    pub tls: bool,
    /// Name or address, without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Path and query.
    pub path: String,
    /// What the `Host` header says.
    pub authority: String,
}

impl Endpoint {
    /// Reads `http://host[:port][/path]` or `https://…`.
    ///
    /// # Errors
    /// When it is something else, in words for an operator.
    pub fn parse(url: &str) -> Result<Self, String> {
        let wrong = || "not of the form https://host:port/path".to_owned();
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(wrong()),
        };
        let authority = uri.authority().ok_or_else(wrong)?.as_str();
        if authority.contains('@') {
            return Err("a user name in the URL is not sent; give a header \"Authorization: …\"".into());
        }
        let host = authority_host(&uri).ok_or_else(wrong)?;
        // A name that TLS cannot ask for is none.
        ServerName::try_from(host.clone()).map_err(|_| wrong())?;
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let path = uri.path_and_query().map_or("/", PathAndQuery::as_str);
        Ok(Self { tls, host, port, path: path.to_owned(), authority: authority.to_owned() })
    }
}

fn authority_host(uri: &Uri) -> Option<String> {
    let host = uri.host()?;
    let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    Some(literal.unwrap_or(host).to_owned()).filter(|host| !host.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let parts = |url: &str| {
            let found = Endpoint::parse(url).unwrap();
            (found.tls, found.host, found.port, found.path, found.authority)
        };
        let whole = (true, "app.example".into(), 5000, "/hook?key=1".into(), "app.example:5000".into());
        assert_eq!(parts("https://app.example:5000/hook?key=1"), whole);
        assert_eq!(parts("http://10.0.0.1"), (false, "10.0.0.1".into(), 80, "/".into(), "10.0.0.1".into()));
        assert_eq!(parts("https://[::1]/"), (true, "::1".into(), 443, "/".into(), "[::1]".into()));
        for bad in ["", "app.example", "/hook", "ftp://h/", "https://", "https://a b/", "https://u:p@h/"] {
            assert!(Endpoint::parse(bad).is_err(), "{bad}");
        }
    }
}
