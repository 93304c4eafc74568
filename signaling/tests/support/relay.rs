//! A relay that speaks the real control frames over a real socket and forwards nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use millrace_control::{
    Command, Counter, Counters, Done, Event, EventKind, FromRelay, PeerEvent, PeerInfo, PeerState, PutPeer,
    PutSubscription, PutTrack, Rejected, Rejection, RelayHello, RemovePeer, Reply, ShardCounters, ShardInfo,
    Snapshot, SubscriptionInfo, ToRelay, TrackInfo, VERSION, frame,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::PATIENCE;

/// What the relay holds.
#[derive(Clone, Default)]
pub struct Held {
    pub peers: BTreeMap<u64, (u32, PutPeer)>,
    pub tracks: BTreeMap<u64, (u32, PutTrack)>,
    pub subscriptions: BTreeMap<u64, (u32, PutSubscription)>,
    /// Everything that changed it, in order.
    pub log: Vec<(u32, Command)>,
    /// Connections so far.
    pub connections: usize,
    /// What the next commands are refused with.
    pub refuse: Option<Rejection>,
    /// A track that is refused on any peer but the one it is on.
    pub pinned: Option<u64>,
    /// Refusals so far.
    pub refusals: usize,
    /// Shards that answer nothing.
    pub deaf: BTreeSet<u32>,
}

impl Held {
    fn moves_pinned(&self, track: &PutTrack) -> bool {
        let on = self.tracks.get(&track.track);
        self.pinned == Some(track.track) && on.is_some_and(|(_, on)| on.peer != track.peer)
    }
}

pub struct FakeRelay {
    pub path: PathBuf,
    pub hello: RelayHello,
    held: watch::Sender<Held>,
    events: watch::Sender<Option<mpsc::UnboundedSender<FromRelay>>>,
    task: Option<JoinHandle<()>>,
}

impl FakeRelay {
    pub fn start(dir: &Path, shards: u32) -> Self {
        let hello = RelayHello {
            version: VERSION,
            epoch: 1,
            shards: (0..shards)
                .map(|shard| ShardInfo { shard, port: 5_000 + shard, ..ShardInfo::default() })
                .collect(),
            fingerprint: vec![0xAB; 32],
            addresses: vec!["192.0.2.7".into(), "10.1.2.3".into()],
            backend: "mmsg".into(),
            pid: 4_711,
            bridges: true,
            ..RelayHello::default()
        };
        let mut relay = Self {
            path: dir.join("control.sock"),
            hello,
            held: watch::Sender::default(),
            events: watch::Sender::default(),
            task: None,
        };
        relay.listen();
        relay
    }

    /// Begins to listen, with whatever it holds.
    pub fn listen(&mut self) {
        let _ = std::fs::remove_file(&self.path);
        let listener = UnixListener::bind(&self.path).unwrap();
        let (held, events, hello) = (self.held.clone(), self.events.clone(), self.hello.clone());
        self.task = Some(tokio::spawn(async move {
            // One at a time: signaling has one link.
            while let Ok((stream, _)) = listener.accept().await {
                held.send_modify(|held| held.connections += 1);
                serve(stream, &held, &events, &hello).await;
            }
        }));
    }

    /// Ends it, and the link with it. What it held stays, unless `forget` is called.
    pub async fn stop(&mut self) {
        let task = self.task.take().unwrap();
        task.abort();
        let _ = task.await;
    }

    /// Loses everything, as a restart without records does.
    pub fn forget(&mut self) {
        self.hello.epoch += 1;
        self.held.send_modify(|held| {
            *held = Held { connections: held.connections, ..Held::default() };
        });
    }

    pub fn change(&self, change: impl FnOnce(&mut Held)) {
        self.held.send_modify(change);
    }

    pub fn held(&self) -> Held {
        self.held.borrow().clone()
    }

    /// Waits until what it holds is as wanted.
    pub async fn until(&self, wanted: impl Fn(&Held) -> bool) -> Held {
        let mut held = self.held.subscribe();
        let found = timeout(PATIENCE, held.wait_for(|held| wanted(held))).await;
        found.expect("the relay never came to hold this").unwrap().clone()
    }

    /// Tells signaling of a peer.
    pub fn tell(&self, peer: u64, state: PeerState, reason: &str) {
        let event = PeerEvent {
            peer,
            state: state.into(),
            remote: "192.0.2.99:1".into(),
            reason: reason.into(),
            ..PeerEvent::default()
        };
        self.send(EventKind::Peer(event));
    }

    /// Tells signaling something of shard 0.
    pub fn send(&self, kind: EventKind) {
        let event = Event { shard: 0, kind: Some(kind) };
        let frame = FromRelay { request: 0, reply: Some(Reply::Event(event)) };
        self.events.borrow().as_ref().expect("signaling is connected").send(frame).unwrap();
    }
}

impl Drop for FakeRelay {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

async fn serve(
    mut stream: UnixStream,
    held: &watch::Sender<Held>,
    events: &watch::Sender<Option<mpsc::UnboundedSender<FromRelay>>>,
    hello: &RelayHello,
) {
    let (sender, mut told) = mpsc::unbounded_channel();
    events.send_replace(Some(sender));
    let mut buffer = Vec::new();
    loop {
        while let Some((message, taken)) = frame::decode::<ToRelay>(&buffer).unwrap() {
            buffer.drain(..taken);
            let Some(reply) = answer(&message, held, hello) else { continue };
            if write(&mut stream, &FromRelay { request: message.request, reply: Some(reply) }).await.is_err()
            {
                return;
            }
        }
        tokio::select! {
            read = stream.read_buf(&mut buffer) => if !matches!(read, Ok(1..)) { return },
            Some(event) = told.recv() => if write(&mut stream, &event).await.is_err() { return },
        }
    }
}

async fn write(stream: &mut UnixStream, message: &FromRelay) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    frame::encode(message, &mut bytes).unwrap();
    stream.write_all(&bytes).await
}

/// The answer of the shard, if it is not deaf.
fn answer(message: &ToRelay, held: &watch::Sender<Held>, hello: &RelayHello) -> Option<Reply> {
    let command = message.command.clone().unwrap();
    match &command {
        Command::Hello(_) => return Some(Reply::Hello(hello.clone())),
        Command::Counters(_) => return Some(Reply::Counters(counters(hello))),
        _ if held.borrow().deaf.contains(&message.shard) => return None,
        Command::Snapshot(_) => return Some(Reply::Snapshot(snapshot(&held.borrow(), message.shard))),
        _ => {}
    }
    Some(carry_out(message.shard, command, held))
}

fn carry_out(shard: u32, command: Command, held: &watch::Sender<Held>) -> Reply {
    let moves = match &command {
        Command::PutTrack(it) => held.borrow().moves_pinned(it),
        _ => false,
    };
    let refuse = held.borrow().refuse.or(moves.then_some(Rejection::Invalid));
    if let Some(reason) = refuse {
        held.send_modify(|held| held.refusals += 1);
        let message = "as the test wants".into();
        return Reply::Rejected(Rejected { reason: reason.into(), message, fence: 0 });
    }
    held.send_modify(|held| match command {
        // Several removals read as one after the other.
        Command::RemovePeers(it) => {
            it.peers.into_iter().for_each(|peer| put(held, shard, Command::RemovePeer(RemovePeer { peer })))
        }
        command => put(held, shard, command),
    });
    Reply::Done(Done {})
}

fn put(held: &mut Held, shard: u32, command: Command) {
    held.log.push((shard, command.clone()));
    match command {
        Command::PutPeer(it) => drop(held.peers.insert(it.peer, (shard, it))),
        Command::PutTrack(it) => drop(held.tracks.insert(it.track, (shard, it))),
        Command::PutSubscription(it) => drop(held.subscriptions.insert(it.subscription, (shard, it))),
        Command::RemovePeer(it) => {
            held.peers.remove(&it.peer);
            held.tracks.retain(|_, (_, track)| track.peer != it.peer);
            held.subscriptions.retain(|_, (_, subscription)| subscription.peer != it.peer);
        }
        Command::RemoveTrack(it) => drop(held.tracks.remove(&it.track)),
        Command::RemoveSubscription(it) => drop(held.subscriptions.remove(&it.subscription)),
        _ => {}
    }
}

fn snapshot(held: &Held, shard: u32) -> Snapshot {
    let peer = |it: &PutPeer| PeerInfo {
        shard,
        room: it.room,
        peer: it.peer,
        state: PeerState::Live.into(),
        memo: it.memo.clone(),
        ..PeerInfo::default()
    };
    let subscription = |it: &PutSubscription| SubscriptionInfo {
        shard,
        subscription: it.subscription,
        peer: it.peer,
        track: it.track,
        home: it.home,
        paused: it.paused,
    };
    let here = |on: &u32| *on == shard;
    Snapshot {
        peers: held.peers.values().filter(|(on, _)| here(on)).map(|(_, it)| peer(it)).collect(),
        tracks: held
            .tracks
            .values()
            .filter(|(on, _)| here(on))
            .map(|(_, it)| TrackInfo { shard, track: it.track, peer: it.peer })
            .collect(),
        subscriptions: held
            .subscriptions
            .values()
            .filter(|(on, _)| here(on))
            .map(|(_, it)| subscription(it))
            .collect(),
        shard,
        complete: true,
    }
}

fn counters(hello: &RelayHello) -> Counters {
    let counter = || vec![Counter { name: "rtp_received".into(), value: 7 }];
    Counters {
        edge: Vec::new(),
        shards: hello
            .shards
            .iter()
            .map(|it| ShardCounters { shard: it.shard, counters: counter() })
            .collect(),
    }
}
