//! The call page and the page about the REST API, built into the program. They load nothing from other servers.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use axum::Router;
use axum::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
    IF_NONE_MATCH, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, get};

/// A file of `web/`.
macro_rules! embedded {
    ($name:literal) => {
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../web/", $name)).as_slice()
    };
}

/// Own files only; WebSockets to wherever the token says, which is where the page came from.
const POLICY: &str = "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data: blob:; \
                      media-src 'self' blob: mediastream:; worker-src 'self' blob:; \
                      style-src 'self' 'unsafe-inline'; object-src 'none'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// The call page and what it loads.
pub fn call_page<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let file = |kind, plain, brotli| served(File::new(kind, plain, Some(brotli)));
    Router::new()
        .route("/", file(HTML, embedded!("dist/index.html"), embedded!("dist/index.html.br")))
        .route("/app.js", file(SCRIPT, embedded!("dist/app.js"), embedded!("dist/app.js.br")))
        .route("/app.css", file(STYLE, embedded!("dist/app.css"), embedded!("dist/app.css.br")))
}

/// The page about the REST API and what it loads.
pub fn api_page<S: Clone + Send + Sync + 'static>() -> Router<S> {
    // 6 KB together: not worth compressing.
    let file = |kind, plain| served(File::new(kind, plain, None));
    Router::new()
        .route("/millrace/api", file(HTML, embedded!("api/index.html")))
        .route("/millrace/api.js", file(SCRIPT, embedded!("api/api.js")))
        .route("/millrace/api.css", file(STYLE, embedded!("api/api.css")))
}

fn served<S: Clone + Send + Sync + 'static>(file: File) -> MethodRouter<S> {
    let file = Arc::new(file);
    get(move |headers: HeaderMap| {
        let file = Arc::clone(&file);
        async move { file.answer(&headers) }
    })
}

/// A file as browsers get it.
struct File {
    kind: &'static str,
    plain: Form,
    /// Compressed with Brotli (RFC 7932) when `web/` was built.
    brotli: Option<Form>,
}

/// One form of a file. Each has an entity tag of its own (RFC 9110, section 8.8.3.3).
struct Form {
    bytes: &'static [u8],
    tag: String,
}

impl File {
    fn new(kind: &'static str, plain: &'static [u8], brotli: Option<&'static [u8]>) -> Self {
        Self { kind, plain: Form::new(plain), brotli: brotli.map(Form::new) }
    }

    /// 304 when the browser has this form already, else the file.
    fn answer(&self, headers: &HeaderMap) -> Response {
        let brotli = self.brotli.as_ref().filter(|_| accepts_brotli(headers));
        let form = brotli.unwrap_or(&self.plain);
        // The browser keeps the file, and asks each time whether it is still the same.
        let common = [(ETAG, &*form.tag), (CACHE_CONTROL, "no-cache"), (VARY, "accept-encoding")];
        if knows(headers, &form.tag) {
            return (StatusCode::NOT_MODIFIED, common).into_response();
        }
        let of_file = [
            (CONTENT_TYPE, self.kind),
            (CONTENT_SECURITY_POLICY, POLICY),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            // The address may hold the secret behind its #. No other site may see it.
            (REFERRER_POLICY, "no-referrer"),
        ];
        let mut response = (common, of_file, form.bytes).into_response();
        if brotli.is_some() {
            response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("br"));
        }
        response
    }
}

impl Form {
    fn new(bytes: &'static [u8]) -> Self {
        let hash: String =
            digest(&SHA256, bytes).as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        Self { bytes, tag: format!("\"{hash}\"") }
    }
}

/// Whether `Accept-Encoding` names Brotli with a weight above 0 (RFC 9110, section 12.5.3).
fn accepts_brotli(headers: &HeaderMap) -> bool {
    listed(headers, ACCEPT_ENCODING).any(|coding| {
        let (name, parameter) = coding.split_once(';').unwrap_or((coding, ""));
        let weight =
            parameter.trim().strip_prefix("q=").map_or(Some(1.0), |weight| weight.parse::<f32>().ok());
        name.trim().eq_ignore_ascii_case("br") && weight.is_some_and(|weight| weight > 0.0)
    })
}

/// Whether `If-None-Match` names this tag or every one (RFC 9110, section 13.1.2).
fn knows(headers: &HeaderMap, tag: &str) -> bool {
    listed(headers, IF_NONE_MATCH).any(|known| known == "*" || known.trim_start_matches("W/") == tag)
}

/// The entries of a header that is a list.
fn listed(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use tower::ServiceExt as _;

    use super::*;

    /// What a browser gets that sends these headers: the status, some headers, and the length of the body.
    async fn got(path: &str, headers: &[(&str, &str)]) -> (u16, HeaderMap, usize) {
        let request =
            headers.iter().fold(Request::get(path), |request, (name, value)| request.header(*name, *value));
        let router: Router = Router::new().merge(call_page()).merge(api_page());
        let answer = router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let (parts, body) = answer.into_parts();
        (parts.status.as_u16(), parts.headers, to_bytes(body, usize::MAX).await.unwrap().len())
    }

    #[tokio::test]
    async fn a_browser_that_knows_brotli_loads_a_quarter() {
        let (_, headers, plain) = got("/app.js", &[]).await;
        assert!(headers.get(CONTENT_ENCODING).is_none() && plain > 200_000, "{plain}");
        let (status, headers, packed) =
            got("/app.js", &[("accept-encoding", "gzip, deflate, br, zstd")]).await;
        assert_eq!(
            (status, &headers[CONTENT_ENCODING], &headers[VARY]),
            (200, &"br".parse().unwrap(), &"accept-encoding".parse().unwrap())
        );
        assert_eq!(headers[CONTENT_TYPE], SCRIPT);
        assert!(headers.contains_key(CONTENT_SECURITY_POLICY));
        assert!(packed * 4 < plain, "{packed} of {plain}");
        for other in ["gzip", "br;q=0", "br;q=0.0", "brotli", "identity"] {
            assert_eq!(got("/app.js", &[("accept-encoding", other)]).await.2, plain, "{other}");
        }
        assert!(
            got("/millrace/api.js", &[("accept-encoding", "br")]).await.1.get(CONTENT_ENCODING).is_none()
        );
    }

    #[tokio::test]
    async fn a_file_that_is_known_is_not_sent_again() {
        for (path, coding) in [("/", "br"), ("/app.js", "br"), ("/app.js", "gzip"), ("/millrace/api", "br")] {
            let coding = ("accept-encoding", coding);
            let (_, headers, _) = got(path, &[coding]).await;
            let tag = headers[ETAG].to_str().unwrap();
            for known in [tag, "*", &format!("W/{tag}"), &format!("\"x\", {tag}")] {
                let (status, headers, len) = got(path, &[coding, ("if-none-match", known)]).await;
                assert_eq!((status, len, &headers[ETAG]), (304, 0, &tag.parse().unwrap()), "{path} {known}");
            }
            assert_eq!(got(path, &[coding, ("if-none-match", "\"x\"")]).await.0, 200);
        }
        let tag = async |coding| got("/app.js", &[("accept-encoding", coding)]).await.1[ETAG].clone();
        assert_ne!(tag("br").await, tag("gzip").await, "each form has its own");
    }

    #[test]
    fn the_compressed_files_are_the_plain_ones() {
        for (plain, brotli) in [
            (embedded!("dist/index.html"), embedded!("dist/index.html.br")),
            (embedded!("dist/app.js"), embedded!("dist/app.js.br")),
            (embedded!("dist/app.css"), embedded!("dist/app.css.br")),
        ] {
            let mut unpacked = Vec::new();
            brotli_decompressor::BrotliDecompress(&mut { brotli }, &mut unpacked).unwrap();
            assert!(unpacked == plain, "web/dist is stale; run: cargo xtask web");
        }
    }
}
