//! A stream whose client has to take what it is sent.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// What a client has to take within the limit while more waits for it, in bytes.
const PIECE_LEN: usize = 8 << 10;

/// Ends with an error when its client takes less than [`PIECE_LEN`] within a limit of time. Reading a byte now and then
/// is not enough to keep a connection.
pub(super) struct Paced<S> {
    stream: S,
    limit: Duration,
    /// When the client has to have taken the piece. It runs while something waits to be written.
    deadline: Option<Pin<Box<Sleep>>>,
    /// Bytes the client took since the deadline was set.
    taken: usize,
}

impl<S: AsyncWrite + Unpin> Paced<S> {
    pub(super) const fn new(stream: S, limit: Duration) -> Self {
        Self { stream, limit, deadline: None, taken: 0 }
    }

    /// Nothing can be written now. Ready with an error once that has lasted too long.
    fn wait<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        let deadline = self.deadline.get_or_insert_with(|| {
            self.taken = 0;
            Box::pin(sleep_until(Instant::now() + self.limit))
        });
        ready!(deadline.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    fn written(&mut self, written: Poll<io::Result<usize>>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Poll::Ready(written) = written else { return self.wait(cx) };
        if let Ok(len) = written {
            self.taken += len;
            if self.taken >= PIECE_LEN {
                self.deadline = None;
            }
        }
        Poll::Ready(written)
    }

    fn emptied(&mut self, emptied: Poll<io::Result<()>>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Poll::Ready(emptied) = emptied else { return self.wait(cx) };
        self.deadline = None;
        Poll::Ready(emptied)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.written(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.written(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.emptied(flushed, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.emptied(shut, cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    const NEVER: Duration = Duration::from_secs(3_600);
    const SOON: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn a_client_that_reads_gets_everything() {
        let (ours, mut client) = duplex(1_000);
        let body = vec![7; 300_000];
        let mut ours = Paced::new(ours, NEVER);
        let (sent, read) = tokio::join!(
            async {
                ours.write_all(&body).await?;
                ours.shutdown().await
            },
            async {
                let mut read = Vec::new();
                client.read_to_end(&mut read).await.map(|_| read)
            }
        );
        sent.unwrap();
        assert_eq!(read.unwrap(), body);
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_is_given_up() {
        let (ours, _client) = duplex(1_000);
        let error = Paced::new(ours, SOON).write_all(&[7; 2_000]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_byte_now_and_then_is_not_enough() {
        let (ours, mut client) = duplex(1_000);
        let reader = async {
            while client.read_u8().await.is_ok() {
                tokio::time::sleep(SOON / 50).await;
            }
        };
        let mut ours = Paced::new(ours, SOON);
        let writer = async {
            let error = ours.write_all(&vec![7; 1 << 20]).await.unwrap_err();
            drop(ours);
            error
        };
        let (error, ()) = tokio::join!(writer, reader);
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_pause_between_answers_costs_nothing() {
        let (ours, mut client) = duplex(1_000);
        let mut ours = Paced::new(ours, SOON);
        for _ in 0..3 {
            let mut read = [0; 1_000];
            ours.write_all(&read).await.unwrap();
            ours.flush().await.unwrap();
            tokio::time::sleep(2 * SOON).await;
            client.read_exact(&mut read).await.unwrap();
        }
    }
}
