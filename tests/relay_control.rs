//! The relay's own program at its control socket: greetings, refusals, frames that are none, a second connection.

#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "../signaling/control/tests/v1/mod.rs"]
mod v1;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use millrace_control as contract;
use millrace_control::{ClientHello, Command as Ask, FromRelay, Rejection, Reply, ToRelay, frame};

fn hello() -> Ask {
    Ask::Hello(ClientHello {
        version: contract::VERSION_MIN,
        version_min: contract::VERSION_MIN,
        version_max: contract::VERSION,
        node: "here".into(),
        boot: 7,
    })
}

const PATIENCE: Duration = Duration::from_secs(60);

/// A relay of two shards on free ports.
struct Relay {
    child: Child,
    dir: PathBuf,
}

impl Relay {
    fn start(name: &str) -> Self {
        Self::with(name, &[])
    }

    fn with(name: &str, more: &[&str]) -> Self {
        let dir = std::env::temp_dir().join(format!("millrace-control-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_millrace-relay"))
            .args([
                "--media-port",
                "0",
                "--turn-port",
                "0",
                "--turn-tls-port",
                "0",
                "--shards",
                "2",
                "--data-dir",
            ])
            .arg(&dir)
            .args(more)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, dir }
    }

    /// A connection that has greeted.
    fn greet(&self) -> Connection {
        let mut connection = self.connect();
        assert!(matches!(connection.ask(0, hello()), Reply::Hello(_)));
        connection
    }

    fn connect(&self) -> Connection {
        let start = Instant::now();
        loop {
            match UnixStream::connect(self.dir.join("control.sock")) {
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

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
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
        let frame = ToRelay { request, shard, command: Some(command), ..ToRelay::default() };
        frame::encode(&frame, &mut bytes).unwrap();
        self.stream.write_all(&bytes).unwrap();
        loop {
            let frame = self.read().expect("the relay closed the connection");
            if frame.request == request {
                return frame.reply.unwrap();
            }
        }
    }

    /// Sends a request and does not wait for its answer. Gives its number.
    fn say(&mut self, shard: u32, command: Ask) -> u64 {
        let request = self.next;
        self.next += 1;
        let mut bytes = Vec::new();
        let frame = ToRelay { request, shard, command: Some(command), ..ToRelay::default() };
        frame::encode(&frame, &mut bytes).unwrap();
        self.stream.write_all(&bytes).unwrap();
        request
    }

    /// Everything that a shard holds.
    fn snapshot(&mut self, shard: u32) -> contract::Snapshot {
        let request = self.say(shard, Ask::Snapshot(contract::SnapshotRequest {}));
        let mut whole = contract::Snapshot::default();
        while !whole.complete {
            let frame = self.read().expect("the relay closed the connection");
            let Some(Reply::Snapshot(page)) = frame.reply.filter(|_| frame.request == request) else {
                continue;
            };
            assert_eq!(page.shard, shard);
            whole.peers.extend(page.peers);
            whole.tracks.extend(page.tracks);
            whole.subscriptions.extend(page.subscriptions);
            whole.complete = page.complete;
        }
        whole
    }

    /// Waits for an event.
    fn told<T>(&mut self, pick: impl Fn(&contract::Event) -> Option<T>) -> T {
        loop {
            let frame = self.read().expect("the relay closed the connection");
            if let Some(Reply::Event(event)) = &frame.reply
                && let Some(found) = pick(event)
            {
                return found;
            }
        }
    }

    /// The next frame, or `None` when the relay has closed the connection.
    fn read(&mut self) -> Option<FromRelay> {
        self.read_as()
    }

    fn read_as<M: prost::Message + Default>(&mut self) -> Option<M> {
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
    let relay = Relay::start("hello");
    let mut connection = relay.connect();
    let Reply::Hello(hello) = connection.ask(0, hello()) else {
        panic!("no hello");
    };
    assert_eq!(hello.shards.iter().map(|shard| shard.shard).collect::<Vec<_>>(), [0, 1]);
    assert!(hello.shards.iter().all(|shard| shard.port != 0));
    assert_eq!((hello.fingerprint.len(), hello.pid), (32, relay.child.id()));
    assert!(!hello.addresses.is_empty());
    assert_eq!(
        connection.refused(0, Ask::Hello(ClientHello { version: 99, ..ClientHello::default() })),
        Rejection::Refused
    );
}

#[test]
fn commands_are_carried_out_once_however_often_they_come() {
    let relay = Relay::start("repeat");
    let mut connection = relay.greet();
    for _ in 0..3 {
        assert!(matches!(connection.ask(1, Ask::PutPeer(peer(5))), Reply::Done(_)));
    }
    let snapshot = connection.snapshot(1);
    assert_eq!(snapshot.peers.iter().map(|peer| (peer.shard, peer.peer)).collect::<Vec<_>>(), [(1, 5)]);
    for _ in 0..2 {
        assert!(matches!(
            connection.ask(1, Ask::RemovePeer(contract::RemovePeer { peer: 5 })),
            Reply::Done(_)
        ));
    }
    assert!(connection.snapshot(1).peers.is_empty());
}

#[test]
fn what_cannot_be_done_is_refused_in_words() {
    let relay = Relay::start("refuse");
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
    let relay = Relay::start("bridge");
    let mut connection = relay.connect();
    let Reply::Hello(hello) = connection.ask(0, hello()) else { panic!("no hello") };
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
    let (near, far) = (connection.snapshot(0), connection.snapshot(1));
    let held = &far.subscriptions[0];
    assert_eq!(
        (held.shard, held.home, near.tracks.len(), far.tracks.len()),
        (1, Some(0), 1, 0),
        "a mirror is no track of its own"
    );
}

#[test]
fn a_frame_that_is_none_ends_its_connection_and_nothing_else() {
    let relay = Relay::start("frames");
    for bytes in [&[0xFF; 8][..], &[0, 0, 0, 4, 0xFF, 0xFF, 0xFF, 0xFF]] {
        let mut connection = relay.connect();
        connection.stream.write_all(bytes).unwrap();
        assert!(connection.read().is_none(), "{bytes:?}");
    }
    assert!(matches!(relay.greet().ask(0, Ask::PutPeer(peer(5))), Reply::Done(_)));
}

#[test]
fn who_greets_takes_the_place_of_who_greeted_before() {
    let relay = Relay::start("second");
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
    let relay = Relay::start("rude");
    let mut connection = relay.connect();
    let mut bytes = Vec::new();
    let frame = ToRelay { request: 1, command: Some(Ask::PutPeer(peer(5))), ..ToRelay::default() };
    frame::encode(&frame, &mut bytes).unwrap();
    connection.stream.write_all(&bytes).unwrap();
    while let Some(frame) = connection.read() {
        assert!(matches!(frame.reply, Some(Reply::Rejected(_))), "{frame:?}");
    }
    assert!(relay.greet().snapshot(0).peers.is_empty());
}

#[test]
fn a_second_relay_on_the_same_directory_is_refused() {
    let relay = Relay::start("two");
    relay.greet();
    let second = Command::new(env!("CARGO_BIN_EXE_millrace-relay"))
        .args([
            "--media-port",
            "0",
            "--turn-port",
            "0",
            "--turn-tls-port",
            "0",
            "--shards",
            "1",
            "--data-dir",
        ])
        .arg(&relay.dir)
        .output()
        .unwrap();
    assert!(!second.status.success());
    assert!(String::from_utf8_lossy(&second.stderr).contains("another relay uses"));
    assert!(matches!(relay.greet().ask(0, Ask::PutPeer(peer(5))), Reply::Done(_)), "the first one goes on");
}

#[test]
fn hello_says_who_the_relay_is_and_what_it_can_hold() {
    let relay = Relay::start("who");
    let mut connection = relay.greet();
    for peer in 1..=3 {
        assert!(matches!(connection.ask(1, Ask::PutPeer(self::peer(peer))), Reply::Done(_)));
    }
    let Reply::Hello(hello) = relay.connect().ask(0, hello()) else { panic!("no hello") };
    assert_eq!((hello.version, hello.version_min, hello.version_max), (2, 1, 2));
    assert_eq!(hello.shards.iter().map(|shard| shard.peers).collect::<Vec<_>>(), [0, 3]);
    assert!(hello.shards.iter().all(|it| it.peers_max > 1_000 && it.tracks_max > 1_000));
    assert!(hello.boot != 0 && !hello.node.is_empty() && !hello.draining);
}

#[test]
fn a_shard_that_stands_still_keeps_nobody_from_the_others() {
    const STALL: Duration = Duration::from_secs(60);
    let relay = Relay::with("still", &["--allow-fault-injection"]);
    let mut connection = relay.greet();
    for (shard, id) in [(0, 5), (1, 6)] {
        assert!(matches!(connection.ask(shard, Ask::PutPeer(peer(id))), Reply::Done(_)));
    }
    stall(&mut connection, STALL);
    let stalled = Instant::now();
    // A new signaling greets, sees how many peers there are, and what shard 0 holds; of shard 1 it learns nothing.
    let mut connection = relay.connect();
    let Reply::Hello(hello) = connection.ask(0, hello()) else { panic!("no hello") };
    assert_eq!(hello.shards.iter().map(|shard| shard.peers).collect::<Vec<_>>(), [1, 1]);
    connection.say(1, Ask::Snapshot(contract::SnapshotRequest {}));
    assert_eq!(connection.snapshot(0).peers.len(), 1);
    for id in 7..20 {
        assert!(matches!(connection.ask(0, Ask::PutPeer(peer(id))), Reply::Done(_)));
    }
    assert!(stalled.elapsed() < STALL, "nothing waited for shard 1");
}

#[test]
fn a_shard_that_stood_still_says_what_it_holds() {
    let relay = Relay::with("stood", &["--allow-fault-injection"]);
    let mut connection = relay.greet();
    assert!(matches!(connection.ask(1, Ask::PutPeer(peer(6))), Reply::Done(_)));
    stall(&mut connection, Duration::from_millis(200));
    assert_eq!(connection.snapshot(1).peers.iter().map(|peer| peer.peer).collect::<Vec<_>>(), [6]);
}

/// Stops the thread of shard 1 for a while.
fn stall(connection: &mut Connection, time: Duration) {
    let for_ms = u32::try_from(time.as_millis()).unwrap();
    let stall = Ask::InjectStall(contract::InjectStall { for_ms });
    assert!(matches!(connection.ask(1, stall), Reply::Done(_)));
}

#[test]
fn calls_that_are_given_up_are_told() {
    let relay = Relay::with("given-up", &["--allow-fault-injection"]);
    let mut connection = relay.greet();
    for id in [5, 6] {
        assert!(matches!(connection.ask(1, Ask::PutPeer(peer(id))), Reply::Done(_)));
    }
    for _ in 0..6 {
        assert!(matches!(connection.ask(1, Ask::InjectPanic(contract::InjectPanic {})), Reply::Done(_)));
    }
    let (shard, mut peers) = connection.told(|event| match &event.kind {
        Some(contract::EventKind::GivenUp(given_up)) => Some((event.shard, given_up.peers.clone())),
        _ => None,
    });
    peers.sort_unstable();
    assert_eq!((shard, peers), (1, vec![5, 6]));
    assert!(connection.snapshot(1).peers.is_empty());
    let Reply::Hello(hello) = connection.ask(0, hello()) else { panic!("no hello") };
    assert_eq!(hello.shards[1].peers, 0);
}

#[test]
fn every_shard_tells_its_load_and_whether_the_relay_drains() {
    let relay = Relay::start("load");
    let mut connection = relay.greet();
    assert!(matches!(connection.ask(1, Ask::PutPeer(peer(5))), Reply::Done(_)));
    let load = |shard, draining| {
        move |event: &contract::Event| match event.kind {
            Some(contract::EventKind::Load(load)) if event.shard == shard && load.draining == draining => {
                Some(load)
            }
            _ => None,
        }
    };
    assert_eq!(connection.told(load(1, false)).peers, 1);
    assert_eq!(connection.told(load(0, false)).peers, 0);
    assert!(matches!(connection.ask(0, Ask::SetDrain(contract::SetDrain { on: true })), Reply::Done(_)));
    assert!(connection.told(load(0, true)).busy_permille < 2_000);
    let Reply::Hello(hello) = relay.connect().ask(0, hello()) else { panic!("no hello") };
    assert!(hello.draining);
}

#[test]
fn commands_may_be_pipelined_and_each_is_answered_once() {
    let relay = Relay::start("pipe");
    let mut connection = relay.greet();
    let asked: Vec<u64> = (1..=2_000)
        .map(|id| {
            let command = if id % 2 == 1 {
                Ask::PutPeer(peer(7))
            } else {
                Ask::RemovePeer(contract::RemovePeer { peer: 7 })
            };
            connection.say(1, command)
        })
        .collect();
    let mut answered = Vec::new();
    while answered.len() < asked.len() {
        let frame = connection.read().unwrap();
        match frame.reply {
            Some(Reply::Done(_)) => answered.push(frame.request),
            Some(Reply::Event(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(answered, asked, "in their order");
}

/// Signaling of the release before: it knows its own messages and no others.
#[test]
fn a_signaling_of_the_release_before_is_served() {
    let relay = Relay::with("v1", &["--allow-fault-injection"]);
    let mut connection = relay.connect();
    let mut ask = |shard: u32, command: v1::Command| {
        let request = connection.next;
        connection.next += 1;
        let mut bytes = Vec::new();
        frame::encode(&v1::ToRelay { request, shard, command: Some(command) }, &mut bytes).unwrap();
        connection.stream.write_all(&bytes).unwrap();
        let mut events = Vec::new();
        loop {
            let frame: v1::FromRelay = connection.read_as().expect("the relay closed the connection");
            match frame.reply.expect("a reply that version 1 knows") {
                v1::Reply::Event(event) => events.push(event.kind.expect("an event that version 1 knows")),
                reply if frame.request == request => return (reply, events),
                reply => panic!("an answer to nothing: {reply:?}"),
            }
        }
    };
    let v1::Reply::Hello(hello) = ask(0, v1::Command::Hello(v1::ClientHello { version: v1::VERSION })).0
    else {
        panic!("no hello");
    };
    assert_eq!((hello.version, hello.shards.len()), (v1::VERSION, 2));
    let put = |id| {
        v1::Command::PutPeer(v1::PutPeer {
            room: 1,
            peer: id,
            local_ufrag: format!("ours{id}"),
            local_pwd: "abcdefghijklmnopqrstuv".into(),
            remote_ufrag: "their".into(),
            remote_pwd: "abcdefghijklmnopqrstuv".into(),
            remote_fingerprint: vec![7; 32],
            ..Default::default()
        })
    };
    let codec = v1::Codec { format: 1, payload_type: 96, clock_rate_hz: 90_000, ..Default::default() };
    let codecs = vec![codec];
    let track = v1::PutTrack { track: 9, peer: 5, codecs: codecs.clone(), ..Default::default() };
    let watch =
        v1::PutSubscription { subscription: 7, track: 9, peer: 6, ssrc: 1, codecs, ..Default::default() };
    let watch = v1::PutSubscription { home: Some(0), ..watch };
    let commands = [
        (0, put(5)),
        (1, put(6)),
        (0, v1::Command::PutTrack(track)),
        (1, v1::Command::PutSubscription(watch)),
    ];
    for (shard, command) in commands {
        assert!(matches!(ask(shard, command).0, v1::Reply::Done(_)));
    }
    let v1::Reply::Snapshot(whole) = ask(0, v1::Command::Snapshot(v1::SnapshotRequest {})).0 else {
        panic!("no snapshot");
    };
    assert_eq!(whole.peers.iter().map(|peer| (peer.shard, peer.peer)).collect::<Vec<_>>(), [(0, 5), (1, 6)]);
    assert_eq!((whole.tracks.len(), whole.subscriptions.len()), (1, 1));
    // The calls of a shard that are given up read as closed. For two seconds nothing else is told but what it knows.
    for _ in 0..6 {
        assert!(matches!(ask(1, v1::Command::InjectPanic(v1::InjectPanic {})).0, v1::Reply::Done(_)));
    }
    let begin = Instant::now();
    loop {
        let (reply, events) = ask(0, v1::Command::Counters(v1::CountersRequest {}));
        assert!(matches!(reply, v1::Reply::Counters(_)));
        let closed = |event: &v1::EventKind| match event {
            v1::EventKind::Peer(peer) => peer.peer == 6 && peer.state() == v1::PeerState::Closed,
            v1::EventKind::Rebuilt(_) => false,
        };
        if events.iter().any(closed) {
            break;
        }
        assert!(begin.elapsed() < PATIENCE);
        std::thread::yield_now();
    }
}

#[test]
fn version_1_is_never_given_a_part_for_the_whole() {
    let relay = Relay::with("part", &["--allow-fault-injection"]);
    let mut connection = relay.greet();
    assert!(matches!(connection.ask(0, Ask::PutPeer(peer(5))), Reply::Done(_)));
    stall(&mut connection, Duration::from_secs(4));
    let mut connection = relay.connect();
    let hello = Ask::Hello(ClientHello { version: v1::VERSION, ..ClientHello::default() });
    assert!(matches!(connection.ask(0, hello), Reply::Hello(_)));
    let snapshot = || Ask::Snapshot(contract::SnapshotRequest {});
    loop {
        match connection.ask(0, snapshot()) {
            Reply::Snapshot(whole) => return assert_eq!(whole.peers.len(), 1),
            Reply::Rejected(rejected) => assert_eq!(rejected.reason(), Rejection::Busy),
            other => panic!("{other:?}"),
        }
    }
}
