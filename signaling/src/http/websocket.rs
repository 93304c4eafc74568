//! The server's side of a WebSocket (RFC 6455).
//!
//! The library does the handshake, reads, and answers pings. Text frames are written here: the library copies each
//! message into a buffer that keeps the size of the largest one, and a client that joins a large room gets a message of
//! some 100 KiB.

use std::collections::VecDeque;

use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use bytes::{Buf as _, Bytes};
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error, ProtocolError};
use tokio_tungstenite::tungstenite::handshake::server::create_response;
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};

pub use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

/// What is read at once, in bytes. The library's own 128 KiB would be most of what a participant costs, and clients send
/// little but an offer now and then.
const READ_BUFFER_LEN: usize = 1 << 10;

/// Longest header of a frame that a server sends, in bytes.
const HEADER_LEN_MAX: usize = 10;

/// Why nothing more is read from a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// A message is longer than allowed.
    TooLong,
    /// A text is no UTF-8.
    NotUtf8,
    /// The connection broke, or the client broke the protocol.
    Broken,
}

/// A WebSocket after its handshake. It has no extensions.
#[derive(Debug)]
pub struct WebSocket(WebSocketStream<TokioIo<Upgraded>>);

/// Answers the handshake, and has the WebSocket served. A client may send messages of `message_len_max` bytes.
pub fn accept<F>(
    mut request: Request,
    message_len_max: usize,
    serve: impl FnOnce(WebSocket) -> F + Send + 'static,
) -> Response
where
    F: Future<Output = ()> + Send + 'static,
{
    let on_upgrade = request.extensions_mut().remove::<OnUpgrade>();
    let response = match create_response(&request.map(drop)) {
        Ok(response) => response.map(|()| Body::empty()),
        Err(error) => return refuse(&error),
    };
    let Some(on_upgrade) = on_upgrade else {
        return (StatusCode::UPGRADE_REQUIRED, "this connection cannot be upgraded").into_response();
    };
    tokio::spawn(async move {
        // Without an upgrade the client is gone.
        let Ok(upgraded) = on_upgrade.await else { return };
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_LEN)
            .max_message_size(Some(message_len_max))
            .max_frame_size(Some(message_len_max));
        let stream = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config));
        serve(WebSocket(stream.await)).await;
    });
    response
}

/// Says what is wrong with a handshake.
fn refuse(error: &Error) -> Response {
    let status = match error {
        Error::Protocol(ProtocolError::WrongHttpMethod) => StatusCode::METHOD_NOT_ALLOWED,
        _ => StatusCode::BAD_REQUEST,
    };
    (status, error.to_string()).into_response()
}

impl WebSocket {
    /// The next message. `None` when the connection is closed. Safe to drop while it waits.
    pub async fn next(&mut self) -> Option<Result<Message, Failure>> {
        Some(self.0.next().await?.map_err(|error| match error {
            Error::Capacity(CapacityError::MessageTooLong { .. }) => Failure::TooLong,
            Error::Utf8(_) => Failure::NotUtf8,
            _ => Failure::Broken,
        }))
    }

    /// Writes text messages together. After an error, or when it is dropped while it waits, nothing more can be written.
    ///
    /// # Errors
    /// When the connection is broken.
    pub async fn write(&mut self, mut texts: VecDeque<Utf8Bytes>) -> Result<(), Failure> {
        let Some(last) = texts.pop_back() else { return Ok(()) };
        // The answer to a ping may be half written.
        self.0.flush().await.map_err(|_| Failure::Broken)?;
        let mut frames = Vec::with_capacity(
            HEADER_LEN_MAX + texts.iter().map(|text| HEADER_LEN_MAX + text.len()).sum::<usize>(),
        );
        for text in texts {
            push_header(&mut frames, &text);
            frames.extend(text.as_bytes());
        }
        push_header(&mut frames, &last);
        // A long message is the last one, and is not copied.
        let mut frames = Bytes::from(frames).chain(Bytes::from(last));
        let stream = self.0.get_mut();
        stream.write_all_buf(&mut frames).await.map_err(|_| Failure::Broken)?;
        stream.flush().await.map_err(|_| Failure::Broken)
    }

    /// Sends a close frame. Does nothing when the connection is broken.
    pub async fn close(&mut self, code: u16, reason: &'static str) {
        let _ = self.0.close(Some(CloseFrame { code: code.into(), reason: reason.into() })).await;
    }
}

fn push_header(frames: &mut Vec<u8>, text: &Utf8Bytes) {
    let header = FrameHeader { opcode: OpCode::Data(Data::Text), ..FrameHeader::default() };
    // Writing to memory does not fail.
    let _ = header.format(text.len() as u64, frames);
}
