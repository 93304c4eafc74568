//! One control connection: frames in, answers and events out.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use millrace_control::{
    Command, Counters, Done, Event, EventKind, FromRelay, PeerEvent, PeerState, RelayHello, Reply, ToRelay,
    frame,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::mpsc;
use tokio::time::sleep_until;

use super::held::Held;

/// Bytes that are read at once.
const READ_BYTES: usize = 64 * 1024;

/// Serves signaling until it hangs up. Reading never waits for writing: signaling may send commands before it reads the
/// answers, and each side would wait for the other.
pub(super) async fn serve(stream: UnixStream, held: &Arc<Mutex<Held>>, hello: &RelayHello) -> io::Result<()> {
    lock(held).count_connection();
    let (mut reader, writer) = stream.into_split();
    let (answers, waiting) = mpsc::unbounded_channel();
    tokio::spawn(write(writer, waiting));
    let mut received = Vec::new();
    loop {
        let mut bytes = Vec::new();
        answer_all(&mut received, &mut bytes, held, hello)?;
        tell_live(&mut bytes, held);
        if !bytes.is_empty() && answers.send(bytes).is_err() {
            return Ok(());
        }
        let next_live = lock(held).next_live();
        received.reserve(READ_BYTES);
        tokio::select! {
            read = reader.read_buf(&mut received) => if read? == 0 { return Ok(()) },
            () = sleep_until(next_live.unwrap_or_else(Instant::now).into()), if next_live.is_some() => {}
        }
    }
}

async fn write(mut writer: OwnedWriteHalf, mut waiting: mpsc::UnboundedReceiver<Vec<u8>>) {
    while let Some(bytes) = waiting.recv().await {
        if writer.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

/// Answers every whole frame of `received`.
fn answer_all(
    received: &mut Vec<u8>,
    answers: &mut Vec<u8>,
    held: &Arc<Mutex<Held>>,
    hello: &RelayHello,
) -> io::Result<()> {
    let mut taken = 0;
    while let Some((message, len)) = frame::decode::<ToRelay>(&received[taken..]).map_err(io::Error::other)? {
        taken += len;
        for reply in answer(&message, &mut lock(held), hello) {
            let frame = FromRelay { request: message.request, reply: Some(reply) };
            frame::encode(&frame, answers).map_err(io::Error::other)?;
        }
    }
    received.drain(..taken);
    Ok(())
}

fn answer(message: &ToRelay, held: &mut Held, hello: &RelayHello) -> Vec<Reply> {
    match &message.command {
        Some(Command::Hello(_)) => vec![Reply::Hello(hello.clone())],
        Some(Command::Snapshot(_)) => {
            held.snapshot(message.shard, Instant::now()).into_iter().map(Reply::Snapshot).collect()
        }
        Some(Command::Counters(_)) => vec![Reply::Counters(Counters::default())],
        Some(command) => {
            held.apply(message.shard, command, Instant::now());
            vec![Reply::Done(Done {})]
        }
        None => vec![Reply::Done(Done {})],
    }
}

/// A relay tells of a handshake that begins, and of one that is done.
fn tell_live(events: &mut Vec<u8>, held: &Arc<Mutex<Held>>) {
    let live = lock(held).take_live(Instant::now());
    for (shard, peer) in live {
        for state in [PeerState::Dtls, PeerState::Live] {
            let event = PeerEvent {
                peer,
                state: state.into(),
                remote: "127.0.0.1:50000".into(),
                ..PeerEvent::default()
            };
            let event = Event { shard, kind: Some(EventKind::Peer(event)) };
            // An event of one peer is far below the longest frame.
            let _ = frame::encode(&FromRelay { request: 0, reply: Some(Reply::Event(event)) }, events);
        }
    }
}

pub(super) fn lock(held: &Mutex<Held>) -> MutexGuard<'_, Held> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}
