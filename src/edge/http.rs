//! HTTP on its way to signaling: the bytes as they are, behind a PROXY header that says who sent them.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use millrace_signaling::http::UNAVAILABLE;
use millrace_signaling::http::limiter::{Permit, Stage};
use millrace_signaling::http::proxy::{self, Door, Ends};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout};

use super::{Count, Shared};

/// Between two tries to reach signaling.
const TRY_INTERVAL: Duration = Duration::from_millis(50);

/// Bytes that may be between the two at once, in each direction. Clients send little but an offer now and then.
const TO_SIGNALING_LEN: usize = 4 << 10;
const TO_CLIENT_LEN: usize = 8 << 10;

/// The origin of a connection, for the PROXY header.
#[derive(Clone, Copy)]
pub(super) struct Origin {
    /// Address of the client.
    pub(super) remote: SocketAddr,
    /// The address that it came to.
    pub(super) local: SocketAddr,
    /// The port it came to.
    pub(super) door: Door,
}

/// Pipes `client` to signaling until both have ended. `read` is what was read of the client already.
pub(super) async fn run(
    client: impl AsyncRead + AsyncWrite + Unpin,
    read: &[u8],
    origin: Origin,
    socket: &Path,
    permit: &Permit,
    shared: &Shared,
) -> Count {
    let Some(mut signaling) = connect(socket, Instant::now() + shared.timing.signaling_wait).await else {
        say(client, UNAVAILABLE, shared.timing.stalled).await;
        return Count::HttpUnavailable;
    };
    // From here on signaling counts the connection. If the client does not join, signaling closes it, which frees its
    // place here.
    permit.promote(Stage::Admitted);
    shared.count(Count::Http);
    let ends = Ends { remote: origin.remote, local: origin.local };
    let mut first = proxy::header(&ends, origin.door);
    first.extend_from_slice(read);
    if signaling.write_all(&first).await.is_ok() {
        drop(first);
        pipe(client, signaling, permit, shared.timing.stalled).await;
    }
    Count::HttpEnded
}

/// Says something to a client and ends the connection.
pub(super) async fn say(mut client: impl AsyncWrite + Unpin, words: &[u8], stalled: Duration) {
    let said = async {
        client.write_all(words).await?;
        client.shutdown().await
    };
    // A client that does not read it is gone.
    let _ = timeout(stalled, said).await;
}

/// Carries bytes both ways until both have ended. Signaling has deadlines for everything that it waits for. It cannot
/// see a client that keeps its end open after signaling has closed, or that does not read what is left.
async fn pipe(
    client: impl AsyncRead + AsyncWrite,
    mut signaling: UnixStream,
    permit: &Permit,
    stalled: Duration,
) {
    let (from_client, to_client) = tokio::io::split(client);
    let (from_signaling, to_signaling) = signaling.split();
    // Either end may break off at any time. This is no error of the edge.
    let mut up = pin!(pour::<TO_SIGNALING_LEN>(from_client, to_signaling, stalled));
    let mut down = pin!(pour::<TO_CLIENT_LEN>(from_signaling, to_client, stalled));
    tokio::select! {
        _ = &mut up => drop(down.await),
        _ = &mut down => {
            // A newcomer may take the place now.
            permit.demote();
            drop(timeout(stalled, up).await);
        }
    }
}

/// Carries bytes one way, and passes the end of the stream on.
async fn pour<const LEN: usize>(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    stalled: Duration,
) -> io::Result<()> {
    let mut piece = vec![0; LEN];
    let poured = loop {
        let len = match from.read(&mut piece).await {
            Ok(0) => break Ok(()),
            Ok(len) => len,
            Err(error) => break Err(error),
        };
        let write = async {
            to.write_all(&piece[..len]).await?;
            // TLS may hold back a part.
            to.flush().await
        };
        if let Err(error) = timeout(stalled, write).await.map_err(io::Error::from).flatten() {
            break Err(error);
        }
    };
    timeout(stalled, to.shutdown()).await??;
    poured
}

/// Connects to signaling. Retries until `deadline`, because signaling may be restarting.
async fn connect(socket: &Path, deadline: Instant) -> Option<UnixStream> {
    loop {
        match UnixStream::connect(socket).await {
            Ok(stream) => return Some(stream),
            Err(_) if Instant::now() < deadline => sleep(TRY_INTERVAL).await,
            Err(error) => {
                tracing::warn!(%error, socket = %socket.display(), "signaling cannot be reached");
                return None;
            }
        }
    }
}
