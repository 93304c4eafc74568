//! Two public paths that browsers and dashboards of the original open.

use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocketUpgrade, close_code};
use axum::response::{Html, IntoResponse as _, Response};

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

/// Greets, and closes: nothing is kept open for strangers.
pub async fn info(upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>) -> Response {
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejection) => return rejection.into_response(),
    };
    upgrade.max_message_size(MESSAGE_LEN_MAX).max_frame_size(MESSAGE_LEN_MAX).on_upgrade(
        |mut socket| async move {
            let goodbye = CloseFrame { code: close_code::NORMAL, reason: "".into() };
            if socket.send(Message::text(GREETING)).await.is_ok() {
                let _ = socket.send(Message::Close(Some(goodbye))).await;
            }
        },
    )
}
