//! The relay's own program at its control socket: greetings, refusals, frames that are none, a second connection.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use millrace_control as contract;
use millrace_control::{ClientHello, Command as Ask, FromRelay, Rejection, Reply, ToRelay, frame};
use millrace_testkit::{PATIENCE, Program};

const HELLO: Ask = Ask::Hello(ClientHello { version: contract::VERSION });

/// A relay of two shards on free ports.
struct Relay(Program);

impl Relay {
    fn start() -> Self {
        Self(Program::start(|dir| command(dir, "2")).unwrap())
    }

    /// A connection that has greeted.
    fn greet(&self) -> Connection {
        let mut connection = self.connect();
        assert!(matches!(connection.ask(0, HELLO), Reply::Hello(_)));
        connection
    }

    fn connect(&self) -> Connection {
        let start = Instant::now();
        loop {
            match UnixStream::connect(self.0.dir().join("control.sock")) {
                Ok(stream) => {
                    stream.set_read_timeout(Some(PATIENCE)).unwrap();
                    return Connection { stream, buffer: Vec::new(), next: 1 };
                }
                Err(error) => assert!(start.elapsed() < PATIENCE, "no control socket: {error}"),
            }
            std::thread::yield_now();
        }
    }
}

/// A relay on free ports.
fn command(dir: &Path, shards: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millrace-relay"));
    command.args(["--media-port", "0", "--turn-port", "0", "--turn-tls-port", "0", "--shards", shards]);
    command.arg("--data-dir").arg(dir).env("MILLRACE_CONFIG", "/dev/null").stderr(Stdio::null());
    command
}

struct Connection {
    stream: UnixStream,
    buffer: Vec<u8>,
    next: u64,
}

impl Connection {
    fn ask(&mut self, shard: u32, command: Ask) -> Reply {
        let request = self.next;
        self.next += 1;
        let mut bytes = Vec::new();
        frame::encode(&ToRelay { request, shard, command: Some(command) }, &mut bytes);
        self.stream.write_all(&bytes).unwrap();
        loop {
            let frame = self.read().expect("the relay closed the connection");
            if frame.request == request {
                return frame.reply.unwrap();
            }
        }
    }

    /// The next frame, or `None` when the relay has closed the connection.
    fn read(&mut self) -> Option<FromRelay> {
        loop {
            if let Some((message, taken)) = frame::decode(&self.buffer).unwrap() {
                self.buffer.drain(..taken);
                return Some(message);
            }
            let mut chunk = [0; 4096];
            match self.stream.read(&mut chunk) {
                Ok(0) => return None,
                Ok(read) => self.buffer.extend_from_slice(&chunk[..read]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn refused(&mut self, shard: u32, command: Ask) -> Rejection {
        match self.ask(shard, command) {
            Reply::Rejected(rejected) => {
                assert!(!rejected.message.is_empty(), "a refusal says why");
                rejected.reason()
            }
            other => panic!("expected a refusal, got {other:?}"),
        }
    }
}

fn peer(peer: u64) -> contract::PutPeer {
    contract::PutPeer {
        room: 1,
        peer,
        local_ufrag: format!("ours{peer}"),
        local_pwd: "abcdefghijklmnopqrstuv".into(),
        remote_ufrag: "their".into(),
        remote_pwd: "abcdefghijklmnopqrstuv".into(),
        remote_fingerprint: vec![7; 32],
        ..Default::default()
    }
}

#[test]
fn hello_tells_the_shards_and_another_version_is_refused() {
    let relay = Relay::start();
    let mut connection = relay.connect();
    let Reply::Hello(hello) = connection.ask(0, HELLO) else {
        panic!("no hello");
    };
    assert_eq!(hello.shards.iter().map(|shard| shard.shard).collect::<Vec<_>>(), [0, 1]);
    assert!(hello.shards.iter().all(|shard| shard.port != 0));
    assert_eq!((hello.fingerprint.len(), hello.pid), (32, relay.0.pid()));
    assert!(!hello.addresses.is_empty());
    assert_eq!(connection.refused(0, Ask::Hello(ClientHello { version: 99 })), Rejection::Refused);
}

#[test]
fn commands_are_carried_out_once_however_often_they_come() {
    let relay = Relay::start();
    let mut connection = relay.greet();
    for _ in 0..3 {
        assert!(matches!(connection.ask(1, Ask::PutPeer(peer(5))), Reply::Done(_)));
    }
    let Reply::Snapshot(snapshot) = connection.ask(0, Ask::Snapshot(contract::SnapshotRequest {})) else {
        panic!("no snapshot");
    };
    assert_eq!(snapshot.peers.iter().map(|peer| (peer.shard, peer.peer)).collect::<Vec<_>>(), [(1, 5)]);
    for _ in 0..2 {
        assert!(matches!(
            connection.ask(1, Ask::RemovePeer(contract::RemovePeer { peer: 5 })),
            Reply::Done(_)
        ));
    }
    let Reply::Snapshot(snapshot) = connection.ask(0, Ask::Snapshot(contract::SnapshotRequest {})) else {
        panic!("no snapshot");
    };
    assert!(snapshot.peers.is_empty());
}

#[test]
fn what_cannot_be_done_is_refused_in_words() {
    let relay = Relay::start();
    let mut connection = relay.greet();
    assert_eq!(connection.refused(9, Ask::PutPeer(peer(5))), Rejection::Unknown);
    let short = contract::PutPeer { remote_fingerprint: vec![7; 20], ..peer(5) };
    assert_eq!(connection.refused(0, Ask::PutPeer(short)), Rejection::Invalid);
    let orphan = contract::PutTrack { track: 1, peer: 5, ..Default::default() };
    assert_eq!(connection.refused(0, Ask::PutTrack(orphan)), Rejection::Unknown);
    assert_eq!(connection.refused(0, Ask::InjectPanic(contract::InjectPanic {})), Rejection::Refused);
}

#[test]
fn a_viewer_may_be_on_another_shard_than_the_publisher() {
    let relay = Relay::start();
    let mut connection = relay.connect();
    let Reply::Hello(hello) = connection.ask(0, HELLO) else { panic!("no hello") };
    assert!(hello.bridges);
    let codec =
        contract::Codec { format: 1, payload_type: 96, clock_rate_hz: 90_000, ..contract::Codec::default() };
    let track = contract::PutTrack { track: 9, peer: 5, codecs: vec![codec], ..Default::default() };
    let put = |home| {
        let codecs = vec![codec];
        let ids = contract::PutSubscription { subscription: 7, track: 9, peer: 6, ..Default::default() };
        Ask::PutSubscription(contract::PutSubscription { ssrc: 1, codecs, home, ..ids })
    };
    for (shard, command) in
        [(0, Ask::PutPeer(peer(5))), (1, Ask::PutPeer(peer(6))), (1, put(Some(0))), (0, Ask::PutTrack(track))]
    {
        assert!(matches!(connection.ask(shard, command), Reply::Done(_)));
    }
    assert_eq!(connection.refused(1, put(Some(2))), Rejection::Unknown);
    let Reply::Snapshot(snapshot) = connection.ask(0, Ask::Snapshot(contract::SnapshotRequest {})) else {
        panic!("no snapshot");
    };
    let held = &snapshot.subscriptions[0];
    assert_eq!(
        (held.shard, held.home, snapshot.tracks.len()),
        (1, Some(0), 1),
        "a mirror is no track of its own"
    );
}

#[test]
fn a_frame_that_is_none_ends_its_connection_and_nothing_else() {
    let relay = Relay::start();
    for bytes in [&[0xFF; 8][..], &[0, 0, 0, 4, 0xFF, 0xFF, 0xFF, 0xFF]] {
        let mut connection = relay.connect();
        connection.stream.write_all(bytes).unwrap();
        assert!(connection.read().is_none(), "{bytes:?}");
    }
    assert!(matches!(relay.greet().ask(0, Ask::PutPeer(peer(5))), Reply::Done(_)));
}

#[test]
fn who_greets_takes_the_place_of_who_greeted_before() {
    let relay = Relay::start();
    let mut first = relay.greet();
    let silent = relay.connect();
    assert!(
        matches!(first.ask(0, Ask::PutPeer(peer(5))), Reply::Done(_)),
        "who says nothing changes nothing"
    );
    let mut second = relay.greet();
    assert!(matches!(second.ask(0, Ask::PutPeer(peer(6))), Reply::Done(_)));
    assert!(first.read().is_none(), "the old connection is closed");
    drop(silent);
}

#[test]
fn a_command_without_a_greeting_ends_its_connection() {
    let relay = Relay::start();
    let mut connection = relay.connect();
    let mut bytes = Vec::new();
    frame::encode(&ToRelay { request: 1, shard: 0, command: Some(Ask::PutPeer(peer(5))) }, &mut bytes);
    connection.stream.write_all(&bytes).unwrap();
    while let Some(frame) = connection.read() {
        assert!(matches!(frame.reply, Some(Reply::Rejected(_))), "{frame:?}");
    }
    let Reply::Snapshot(snapshot) = relay.greet().ask(0, Ask::Snapshot(contract::SnapshotRequest {})) else {
        panic!("no snapshot");
    };
    assert!(snapshot.peers.is_empty());
}

#[test]
fn a_second_relay_on_the_same_directory_is_refused() {
    let relay = Relay::start();
    relay.greet();
    let second = command(relay.0.dir(), "1").stderr(Stdio::piped()).output().unwrap();
    assert!(!second.status.success());
    assert!(String::from_utf8_lossy(&second.stderr).contains("another relay uses"));
    assert!(matches!(relay.greet().ask(0, Ask::PutPeer(peer(5))), Reply::Done(_)), "the first one goes on");
}
