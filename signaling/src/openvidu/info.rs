//! Two public paths that browsers and dashboards of the original open.

use std::collections::VecDeque;

use axum::extract::Request;
use axum::response::{Html, Response};

use crate::http::websocket;

/// Longest message that a client of this socket may send, in bytes. The server reads none.
const MESSAGE_LEN_MAX: usize = 1_024;

/// Said to who asks for the log. The original sends the log itself, to everybody; ours stays with its operator.
const GREETING: &str =
    concat!("Millrace ", env!("CARGO_PKG_VERSION"), ": the log is not sent over the network");

/// Where older clients send a user whose browser does not trust the certificate yet: who sees this trusts it.
pub async fn accept_certificate() -> Html<&'static str> {
    Html(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Certificate accepted</title>\
          <p>Your browser accepts the certificate of this server. Go back to the application.</p></html>",
    )
}

/// RFC 6455 §7.4.1.
const CLOSE_NORMAL: u16 = 1000;

/// Greets, and closes: nothing is kept open for strangers.
pub async fn info(request: Request) -> Response {
    websocket::accept(request, MESSAGE_LEN_MAX, |mut socket| async move {
        if socket.write(VecDeque::from([GREETING.into()])).await.is_ok() {
            socket.close(CLOSE_NORMAL, "").await;
        }
    })
}
