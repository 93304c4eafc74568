//! The port of plain HTTP: redirects to HTTPS, and passes on to signaling what a certificate authority asks for.

use std::time::Duration;

use millrace_signaling::http::plain::{CHALLENGE_PATH, Redirect};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::{Instant, timeout_at};

/// Longest header of a request, in bytes.
const HEAD_LEN_MAX: usize = 16 << 10;
/// Most fields of it.
const FIELDS_MAX: usize = 64;

/// What is done with a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is signaling's.
    PassOn,
    /// It is answered with this.
    Answer(String),
}

/// Reads the header of a request into `read`. Gives false if it does not come whole and in time.
pub(super) async fn read_head(
    stream: &mut (impl AsyncRead + Unpin),
    read: &mut Vec<u8>,
    patience: Duration,
) -> bool {
    let deadline = Instant::now() + patience;
    loop {
        let from = read.len().saturating_sub(3);
        match timeout_at(deadline, stream.read_buf(read)).await {
            Ok(Ok(1..)) if read[from..].windows(4).any(|window| window == b"\r\n\r\n") => return true,
            Ok(Ok(1..)) if read.len() < HEAD_LEN_MAX => {}
            _ => return false,
        }
    }
}

/// What becomes of a request with this header. `None` is no HTTP.
pub(super) fn judge(head: &[u8], redirect: &Redirect) -> Option<Verdict> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut request = httparse::Request::new(&mut fields);
    request.parse(head).ok().filter(httparse::Status::is_complete)?;
    let path = request.path.filter(|path| path.starts_with('/')).unwrap_or("/");
    if path.starts_with(CHALLENGE_PATH) {
        return Some(Verdict::PassOn);
    }
    let host = request.headers.iter().find(|field| field.name.eq_ignore_ascii_case("host"));
    let host = host.and_then(|field| std::str::from_utf8(field.value).ok());
    let (status, location) = match redirect.location(host, path) {
        Some(location) => (Redirect::status(request.method?), format!("location: {location}\r\n")),
        None => (400, String::new()),
    };
    let words = match status {
        301 => "Moved Permanently",
        308 => "Permanent Redirect",
        _ => "Bad Request",
    };
    Some(Verdict::Answer(format!(
        "HTTP/1.1 {status} {words}\r\n{location}Content-Length: 0\r\nConnection: close\r\n\r\n"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(request: &str) -> Option<Verdict> {
        judge(request.as_bytes(), &Redirect { authority: None, https_port: 4443 })
    }

    #[test]
    fn all_but_a_challenge_is_redirected() {
        let challenge = "GET /.well-known/acme-challenge/x HTTP/1.1\r\nHost: h\r\n\r\n";
        assert_eq!(judged(challenge), Some(Verdict::PassOn));
        for (request, status, location) in [
            ("GET /a?b=c HTTP/1.1\r\nHost: h:80\r\n\r\n", 301, Some("https://h:4443/a?b=c")),
            ("POST /a HTTP/1.1\r\nhOST: h\r\n\r\n", 308, Some("https://h:4443/a")),
            (
                "GET http://h/.well-known/acme-challenge/x HTTP/1.1\r\nHost: h\r\n\r\n",
                301,
                Some("https://h:4443/"),
            ),
            ("GET / HTTP/1.0\r\n\r\n", 400, None),
            ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400, None),
        ] {
            let Some(Verdict::Answer(answer)) = judged(request) else { panic!("{request}") };
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {answer}");
            let found = answer.lines().find_map(|line| line.strip_prefix("location: "));
            assert_eq!(found, location, "{request}");
        }
        for nonsense in ["GET / HTTP/1.1\r\nHost: h\r\n", "\x16\x03\x01\r\n\r\n", "GET\r\n\r\n"] {
            assert_eq!(judged(nonsense), None, "{nonsense:?}");
        }
    }

    #[tokio::test]
    async fn a_header_is_read_however_it_is_cut() {
        let request = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";
        for cut in 0..request.len() {
            let (mut pieces, mut read) = (request[..cut].chain(&request[cut..]), Vec::new());
            assert!(read_head(&mut pieces, &mut read, Duration::from_secs(60)).await);
            assert_eq!(read, request);
        }
        let endless = [b'x'; 2 * HEAD_LEN_MAX];
        for never in [&b"GET / HTTP/1.1\r\n"[..], &endless] {
            assert!(!read_head(&mut &*never, &mut Vec::new(), Duration::from_secs(60)).await);
        }
    }
}
