//! The core of signaling under a protocol that is neither OpenVidu's nor Kurento's: an adapter of a few dozen lines publishes,
//! watches, re-points and leaves through the use-cases, against the real relay, with media.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::VecDeque;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clap::Parser as _;
use millrace_loadtest::peer::{DATAGRAM_LEN_MAX, Identity, Incoming, Peer, Profile, connect};
use millrace_loadtest::sdp::answer::{Answer, TrackNumbers};
use millrace_loadtest::sdp::numbers::CHROMIUM;
use millrace_loadtest::sdp::offer::{Offer, OfferedMedia, SentSsrcs};
use millrace_loadtest::sdp::{IceCredentials, Kind};
use millrace_signaling::app::{App, JoinRequest, Member, NewConnection, PublishRequest};
use millrace_signaling::delivery::{Dialect, Outbox, Pull, Text};
use millrace_signaling::registry::Liveness;
use millrace_signaling::session::{
    ConnectionProperties, MediaOptions, Notice, Reason, Role, SessionProperties,
};
use millrace_signaling::{Config, Server};
use rtp::header::Header;
use rtp::packet::Packet;
use tokio::time::{Instant, timeout};
use webrtc_util::Marshal as _;

/// Far beyond what any step takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often the viewer is pointed at another source.
const REPOINTS: usize = 100;

// ------------------------------------------------------------------------------------------------ the adapter

/// What clients of this protocol read: one line for each notice.
static TELEGRAPH: Dialect = Dialect {
    name: "telegraph",
    encode: |notice| match notice {
        Notice::Joined { connection, .. } => Some(format!("{connection} is here. STOP").into()),
        Notice::Left { connection, .. } => Some(format!("{connection} is gone. STOP").into()),
        Notice::Published { stream, .. } => Some(format!("{stream} begins. STOP").into()),
        Notice::Unpublished { connection, .. } => Some(format!("{connection} ends. STOP").into()),
        _ => None,
    },
    takes_offers: false,
};

/// A client of it: no socket, no WebSocket, no JSON.
struct Telegraph {
    app: Arc<App>,
    who: Member,
    unread: VecDeque<Text>,
}

impl Telegraph {
    async fn join(app: &Arc<App>, session: &str, name: &str) -> Self {
        let properties = ConnectionProperties { role: Role::Publisher, ..ConnectionProperties::default() };
        let token = format!("token of {name}");
        let new =
            NewConnection { id: name.into(), token: token.clone(), token_url: token.clone(), properties };
        app.create_connection(session, new).unwrap().1.await.unwrap();
        let outbox = Arc::new(Outbox::default());
        outbox.attach();
        let request = JoinRequest {
            session,
            token: &token,
            client_data: String::new(),
            platform: "wire".into(),
            ip: "127.0.0.1".into(),
            dialect: &TELEGRAPH,
            outbox,
            liveness: Liveness::Media,
            deadline: deadline(),
        };
        let who = app.join(request, |_| Ok::<_, millrace_signaling::app::CallError>(None)).await.unwrap();
        Self { app: Arc::clone(app), who, unread: VecDeque::new() }
    }

    async fn publish(&self, offer: &str) -> (String, String) {
        let options = MediaOptions { has_audio: true, ..MediaOptions::default() };
        let mut told = None;
        let request = PublishRequest { offer, options, loopback: false, deadline: deadline() };
        let answer = |published: &millrace_signaling::app::Published| {
            told = Some((published.stream.clone(), published.answer.clone()));
            None
        };
        self.app.publish(&self.who, request, answer).await.unwrap();
        told.unwrap()
    }

    async fn watch(&self, stream: &str, offer: &str) -> String {
        let mut told = None;
        let answer = |answer: &str| {
            told = Some(answer.to_owned());
            None
        };
        self.app.watch(&self.who, stream, offer, deadline(), answer).await.unwrap();
        told.unwrap()
    }

    async fn repoint(&self, from: &str, to: &str) {
        self.app.repoint(&self.who, from, to, deadline(), None).await.unwrap();
    }

    fn leave(&self) {
        self.app.leave(&self.who, Reason::Disconnect, None).unwrap();
    }

    async fn reads(&mut self) -> String {
        while self.unread.is_empty() {
            match timeout(PATIENCE, self.who.outbox.pull(self.who.reader)).await.unwrap() {
                Pull::Texts(texts) => self.unread = texts,
                other => panic!("{other:?}"),
            }
        }
        self.unread.pop_front().unwrap().to_string()
    }
}

fn deadline() -> Instant {
    Instant::now() + PATIENCE
}

// ------------------------------------------------------------------------------------------------ its browsers

/// A transport with audio, on a stack that shares no line with the relay's.
struct Wire {
    offer: String,
    identity: Identity,
    ice: IceCredentials,
    ssrc: u32,
}

impl Wire {
    fn new(name: &str, sends: bool) -> Self {
        let (identity, ice) = (Identity::generate().unwrap(), IceCredentials::generate());
        let ssrc = rand::random::<u32>().max(1);
        let sends = sends.then_some(SentSsrcs { media: ssrc, rtx: None });
        let media = [OfferedMedia { kind: Kind::Audio, sends }];
        let fingerprint = identity.fingerprint();
        let offer =
            Offer { media: &media, ice: &ice, fingerprint: &fingerprint, numbers: &CHROMIUM, cname: name };
        Self { offer: offer.write(), identity, ice, ssrc }
    }

    async fn up(self, answer: &str, direction: &str) -> (Peer, TrackNumbers) {
        let answer = Answer::parse(answer, &[Kind::Audio]).unwrap();
        let numbers = answer.track(Kind::Audio, direction).unwrap();
        let peer =
            connect(&self.identity, self.ice, &answer.remote().unwrap(), Profile::Gcm128).await.unwrap();
        (peer, numbers)
    }
}

/// A publisher that says its own number over and over.
struct Voice {
    peer: Peer,
    payload_type: u8,
    ssrc: u32,
    number: u8,
    sequence: u16,
}

impl Voice {
    async fn speak(&mut self) {
        self.sequence = self.sequence.wrapping_add(1);
        let header = Header {
            version: 2,
            payload_type: self.payload_type,
            sequence_number: self.sequence,
            timestamp: u32::from(self.sequence) * 960,
            ssrc: self.ssrc,
            ..Header::default()
        };
        let packet = Packet { header, payload: Bytes::from(vec![self.number; 40]) };
        self.peer.send_rtp(&packet.marshal().unwrap()).await.unwrap();
    }
}

/// What a viewer has received: sequence number, timestamp, and whose voice it is.
#[derive(Clone, Copy, Debug)]
struct Heard {
    sequence: u16,
    timestamp: u32,
    ssrc: u32,
    number: u8,
}

fn listen(peer: &mut Peer, heard: &mut Vec<Heard>) {
    let mut buffer = [0; DATAGRAM_LEN_MAX];
    while let Some(incoming) = peer.try_receive(&mut buffer) {
        if let Incoming::Rtp { header, header_len, packet } = incoming {
            let number = packet[header_len];
            let (sequence, timestamp, ssrc) = (header.sequence_number, header.timestamp, header.ssrc);
            heard.push(Heard { sequence, timestamp, ssrc, number });
        }
    }
}

// ------------------------------------------------------------------------------------------------ the test

#[tokio::test(flavor = "multi_thread")]
async fn a_third_protocol_publishes_watches_repoints_and_leaves() {
    let dir = tempfile::tempdir().unwrap();
    let (_relay, server) = start(dir.path()).await;
    let app = Arc::clone(server.app());
    app.create_session(SessionProperties { custom_session_id: "wire".into(), ..Default::default() })
        .unwrap()
        .1
        .await
        .unwrap();

    let mut speakers = Vec::new();
    let mut streams = Vec::new();
    let mut clients = Vec::new();
    for (number, name) in (1u8..).zip(["ada", "ben", "cleo"]) {
        let client = Telegraph::join(&app, "wire", name).await;
        let wire = Wire::new(name, true);
        let ssrc = wire.ssrc;
        let (stream, answer) = client.publish(&wire.offer).await;
        let (peer, numbers) = wire.up(&answer, "recvonly").await;
        speakers.push(Voice { peer, payload_type: numbers.payload_type, ssrc, number, sequence: 0 });
        streams.push(stream);
        clients.push(client);
    }
    assert_eq!(clients[0].reads().await, "ben is here. STOP");
    assert_eq!(clients[0].reads().await, format!("{} begins. STOP", streams[1]));

    let viewer = Telegraph::join(&app, "wire", "vera").await;
    let wire = Wire::new("vera", false);
    let answer = viewer.watch(&streams[0], &wire.offer).await;
    let (mut peer, _) = wire.up(&answer, "sendonly").await;

    let mut heard = Vec::new();
    hear(&mut speakers, &mut peer, &mut heard, 1).await;
    for turn in 1..=REPOINTS {
        let (from, to) = ((turn - 1) % 3, turn % 3);
        viewer.repoint(&streams[from], &streams[to]).await;
        hear(&mut speakers, &mut peer, &mut heard, u8::try_from(to).unwrap() + 1).await;
    }
    check(&heard);
    assert_eq!(peer.anomalies.undecryptable, 0, "every packet is opened, and none twice");

    clients[2].leave();
    assert_eq!(last_of(&mut clients[0]).await, "cleo is gone. STOP");
    clients.iter().take(2).for_each(Telegraph::leave);
    viewer.leave();
    assert!(app.registry.is_empty(), "the last one ends the session");
}

/// Everybody speaks until the viewer hears `number`.
async fn hear(speakers: &mut [Voice], peer: &mut Peer, heard: &mut Vec<Heard>, number: u8) {
    let began = heard.len();
    let until = Instant::now() + PATIENCE;
    while !heard[began..].iter().any(|packet| packet.number == number) {
        assert!(Instant::now() < until, "nothing of {number} after {} packets", heard.len());
        for speaker in &mut *speakers {
            speaker.speak().await;
        }
        let _ = timeout(Duration::from_millis(20), peer.readable()).await;
        listen(peer, heard);
    }
}

/// To the viewer it is one stream: numbers without a gap, time that runs forward.
fn check(heard: &[Heard]) {
    assert!(heard.iter().all(|packet| packet.ssrc == heard[0].ssrc));
    let mut packets = heard.to_vec();
    packets.sort_by_key(|packet| packet.sequence.wrapping_sub(heard[0].sequence));
    for pair in packets.windows(2) {
        let (a, b) = (pair[0], pair[1]);
        assert_eq!(b.sequence, a.sequence.wrapping_add(1), "{a:?} {b:?}");
        let step = b.timestamp.wrapping_sub(a.timestamp);
        assert!(step > 0 && step < 48_000 * 5, "time runs forward, and does not jump: {a:?} {b:?}");
    }
    let changes = packets.windows(2).filter(|pair| pair[0].number != pair[1].number).count();
    assert_eq!(changes, REPOINTS, "each source is heard in its turn and no other");
}

async fn last_of(client: &mut Telegraph) -> String {
    loop {
        let text = client.reads().await;
        if text.contains("gone") {
            return text;
        }
    }
}

/// The relay by itself. It ends with its standard input.
struct Relay(Child);

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn start(dir: &Path) -> (Relay, Server) {
    // The workspace's tests build it too.
    let deps = std::env::current_exe().unwrap();
    let program = deps.ancestors().nth(2).unwrap().join("millrace");
    assert!(program.exists(), "no {}; build it with cargo build --bin millrace", program.display());
    let control = dir.join("control.sock");
    let child = Command::new(program)
        .args([
            "__relay",
            "--media-port",
            "0",
            "--shards",
            "1",
            "--turn",
            "false",
            "--public-ip",
            "127.0.0.1",
        ])
        .arg("--control-socket")
        .arg(&control)
        .arg("--data-dir")
        .arg(dir)
        .env("MILLRACE_CONFIG", "/dev/null")
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let relay = Relay(child);
    let arguments =
        ["signaling", "--secret", "test-secret", "--https-port", "0", "--http-port", "0", "--control-socket"];
    let arguments = arguments.iter().map(std::ffi::OsString::from);
    let more = [control.into_os_string(), "--data-dir".into(), dir.as_os_str().to_owned()];
    let config = Config::try_parse_from(arguments.chain(more)).unwrap();
    let server = Server::start(config).await.unwrap();
    server.app().link.ready(deadline()).await.unwrap();
    (relay, server)
}
