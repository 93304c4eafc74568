//! Where events are sent.

use axum::http::Uri;
use axum::http::uri::Scheme;
use rustls::pki_types::ServerName;

/// An absolute URL of HTTP or HTTPS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint(Uri);

impl Endpoint {
    /// Reads `http://host[:port][/path]` or `https://…`.
    ///
    /// # Errors
    /// For any other text, in words for an operator.
    pub fn parse(url: &str) -> Result<Self, String> {
        let wrong = || "not of the form https://host:port/path".to_owned();
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        if uri.scheme() != Some(&Scheme::HTTP) && uri.scheme() != Some(&Scheme::HTTPS) {
            return Err(wrong());
        }
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err("a user name in the URL is not sent; give a header \"Authorization: …\"".into());
        }
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        // A host that TLS cannot ask for is no host.
        ServerName::try_from(host).map_err(|_| wrong())?;
        Ok(Self(uri))
    }

    pub(super) fn uri(&self) -> &Uri {
        &self.0
    }

    pub(super) fn is_tls(&self) -> bool {
        self.0.scheme() == Some(&Scheme::HTTPS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_http_are_taken_and_no_others() {
        for (url, tls) in [
            ("https://app.example:5000/hook?key=1", true),
            ("http://10.0.0.1", false),
            ("https://[::1]/", true),
            ("HTTP://app.example/", false),
        ] {
            assert_eq!(Endpoint::parse(url).unwrap().is_tls(), tls, "{url}");
        }
        for bad in [
            "",
            "app.example",
            "/hook",
            "ftp://h/",
            "https://",
            "https://:1/",
            "https://a b/",
            "https://a..b/",
            "https://u:p@h/",
        ] {
            assert!(Endpoint::parse(bad).is_err(), "{bad}");
        }
    }
}
