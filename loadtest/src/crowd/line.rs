//! One WebSocket of a participant, with buffers small enough for 50 000 of them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpSocket;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use crate::failure::Failure;
use crate::http::{Endpoint, Stream};

/// An SDP answer has some 4 KiB; buffers grow for what is longer.
const READ_BUFFER_BYTES: usize = 4096;
/// openvidu-browser's close code of a participant that has left.
const CLOSED_BY_CLIENT: u16 = 4102;

/// An open WebSocket.
pub(super) struct Line {
    socket: WebSocketStream<Box<dyn Stream>>,
}

impl Line {
    /// Opens a socket for `session`. `again` marks the reconnection of a participant.
    pub(super) async fn open(
        endpoint: &Endpoint,
        source: Ipv4Addr,
        session: &str,
        again: bool,
    ) -> Result<Self, Failure> {
        let scheme = if endpoint.tls { "wss" } else { "ws" };
        let again = if again { "&reconnect=true" } else { "" };
        let url = format!("{scheme}://{}/openvidu?sessionId={session}{again}", endpoint.authority());
        let failed = |error| Failure::rpc("upgrade", error);
        let request = url.into_client_request().map_err(failed)?;
        let stream = dial(endpoint, source).await?;
        let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER_BYTES).write_buffer_size(0);
        let (socket, _) = tokio_tungstenite::client_async_with_config(request, stream, Some(config))
            .await
            .map_err(failed)?;
        Ok(Self { socket })
    }

    /// Sends a text; false when the socket is gone.
    pub(super) async fn send(&mut self, text: String) -> bool {
        self.socket.send(Message::text(text)).await.is_ok()
    }

    /// The next text; `None` when the socket is gone. Nothing is lost when the wait is given up.
    pub(super) async fn next(&mut self) -> Option<Utf8Bytes> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => return Some(text),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    }

    /// Closes the socket as a client does that has left.
    pub(super) async fn close(mut self) {
        let frame = CloseFrame { code: CloseCode::from(CLOSED_BY_CLIENT), reason: Utf8Bytes::default() };
        let _ = self.socket.close(Some(frame)).await;
    }
}

/// Connects, on loopback from `source`: one address has too few ports for a large crowd.
async fn dial(endpoint: &Endpoint, source: Ipv4Addr) -> Result<Box<dyn Stream>, Failure> {
    let Some(server) = plain_loopback(endpoint) else { return endpoint.connect().await };
    let socket = TcpSocket::new_v4()?;
    socket.bind((source, 0).into())?;
    let stream = socket.connect(server).await?;
    stream.set_nodelay(true)?;
    Ok(Box::new(stream))
}

fn plain_loopback(endpoint: &Endpoint) -> Option<SocketAddr> {
    let address = match endpoint.host.as_str() {
        "localhost" => Ipv4Addr::LOCALHOST,
        host => host.parse().ok()?,
    };
    let is_plain_loopback = !endpoint.tls && address.is_loopback();
    is_plain_loopback.then_some(SocketAddr::new(IpAddr::V4(address), endpoint.port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_http_on_loopback_is_reached_from_many_addresses() {
        let server = |url: &str| plain_loopback(&Endpoint::parse(url).unwrap()).map(|at| at.to_string());
        assert_eq!(server("http://127.0.0.1:80").as_deref(), Some("127.0.0.1:80"));
        assert_eq!(server("http://localhost:81").as_deref(), Some("127.0.0.1:81"));
        for url in ["https://127.0.0.1:1", "http://192.0.2.1", "http://[::1]", "http://media.example"] {
            assert_eq!(server(url), None, "{url}");
        }
    }
}
