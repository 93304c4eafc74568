//! Frames over the socket.

use std::io;
use std::time::Duration;

use millrace_control::{FromRelay, ToRelay, frame};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

/// How long the relay may leave a frame unread.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes read at a time.
const READ_LEN_BYTES: usize = 64 * 1024;

/// The reading end.
pub(super) struct Reader {
    socket: OwnedReadHalf,
    buffer: Vec<u8>,
}

impl Reader {
    pub(super) const fn new(socket: OwnedReadHalf) -> Self {
        Self { socket, buffer: Vec::new() }
    }

    /// The next frame. Safe to drop while it waits: what was read stays in the buffer.
    ///
    /// # Errors
    /// When the socket ends, or what comes is no frame.
    pub(super) async fn next(&mut self) -> io::Result<FromRelay> {
        loop {
            match frame::decode::<FromRelay>(&self.buffer) {
                Ok(Some((message, taken))) => {
                    self.buffer.drain(..taken);
                    return Ok(message);
                }
                Ok(None) => {}
                Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
            }
            self.buffer.reserve(READ_LEN_BYTES);
            if self.socket.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// The writing end.
pub(super) struct Writer {
    socket: OwnedWriteHalf,
    buffer: Vec<u8>,
}

impl Writer {
    pub(super) const fn new(socket: OwnedWriteHalf) -> Self {
        Self { socket, buffer: Vec::new() }
    }

    /// Sends frames, all at once.
    ///
    /// # Errors
    /// When the socket ends, the relay does not read, or a message is too long for a frame.
    pub(super) async fn send(&mut self, messages: &[ToRelay]) -> io::Result<()> {
        self.buffer.clear();
        for message in messages {
            frame::encode(message, &mut self.buffer).map_err(io::Error::other)?;
        }
        timeout(WRITE_TIMEOUT, self.socket.write_all(&self.buffer))
            .await
            .map_err(|_| io::ErrorKind::TimedOut)?
    }
}
