//! What waits to be sent to signaling on one connection: a lane for answers and a lane for events.
//!
//! ```text
//!   shards, reader ── answer ──► answers: all of them, or the connection is cut ──┐
//!   shards ────────── event ───► events: the latest of each peer ─────────────────┴── take ──► writer
//! ```
//!
//! Nothing here waits for a signaling process that does not read. A lost answer would leave signaling with a wrong picture
//! of the relay, so the connection ends instead, and signaling starts again from a snapshot. An event describes the whole
//! state of its peer, so a newer one replaces it.

use std::collections::BTreeMap;
use std::mem;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use millrace_control::{Event, EventKind, FromRelay, PeerState, Reply};

/// Answers that may wait: four times as many as signaling has requests under way.
const ANSWERS_WAITING_MAX: usize = 65_536;

/// The two lanes of one connection. Cheap to clone.
#[derive(Clone)]
pub struct Lanes {
    shared: Arc<Shared>,
}

struct Shared {
    waiting: Mutex<Waiting>,
    filled: Condvar,
    /// Shut down when the connection is cut: the writer may be stuck in it.
    stream: UnixStream,
}

#[derive(Default)]
struct Waiting {
    answers: Vec<FromRelay>,
    events: Events,
    ended: bool,
}

impl Lanes {
    /// Empty lanes of the connection behind `stream`.
    pub fn new(stream: UnixStream) -> Self {
        let shared = Shared { waiting: Mutex::default(), filled: Condvar::new(), stream };
        Self { shared: Arc::new(shared) }
    }

    /// Adds an answer. Cuts the connection when too many wait.
    pub fn answer(&self, request: u64, reply: Reply) {
        self.answer_within(ANSWERS_WAITING_MAX, request, reply);
    }

    fn answer_within(&self, max: usize, request: u64, reply: Reply) {
        let mut waiting = self.lock();
        if waiting.ended {
            return;
        }
        if waiting.answers.len() < max {
            waiting.answers.push(FromRelay { request, reply: Some(reply) });
            self.shared.filled.notify_one();
        } else {
            drop(waiting);
            tracing::warn!(answers = max, "signaling does not read its answers; the connection is cut");
            self.end();
        }
    }

    /// Adds an event, in place of an older one about the same thing.
    pub fn event(&self, event: Event) {
        let mut waiting = self.lock();
        if !waiting.ended {
            waiting.events.add(event);
            self.shared.filled.notify_one();
        }
    }

    /// Waits for frames and takes all of them, answers first. `None` when the connection has ended.
    pub fn take(&self) -> Option<Vec<FromRelay>> {
        let mut waiting = self.lock();
        while !waiting.ended && waiting.answers.is_empty() && waiting.events.is_empty() {
            waiting = self.shared.filled.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        if waiting.ended {
            return None;
        }
        let mut frames = mem::take(&mut waiting.answers);
        let events = mem::take(&mut waiting.events);
        drop(waiting);
        let event = |event| FromRelay { request: 0, reply: Some(Reply::Event(event)) };
        frames.extend(events.queue.into_iter().flatten().map(event));
        Some(frames)
    }

    /// Ends the connection. What waits is dropped.
    pub fn end(&self) {
        *self.lock() = Waiting { ended: true, ..Waiting::default() };
        self.shared.filled.notify_all();
        // The far end may have closed it already.
        let _ = self.shared.stream.shutdown(Shutdown::Both);
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Events in the order in which their subjects first had one. As many as there are peers and shards, and as there were
/// ends of peers.
#[derive(Default)]
struct Events {
    /// `None` where an event has become void.
    queue: Vec<Option<Event>>,
    /// Where the replaceable event of a subject stands.
    places: BTreeMap<Subject, usize>,
}

/// What an event is about, if a newer one of the same kind says everything that it says.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Peer(u64),
    Load(u32),
    Rebuilt(u32),
}

impl Events {
    const fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    fn add(&mut self, event: Event) {
        let subject = match &event.kind {
            None => return,
            Some(EventKind::Peer(peer)) => Subject::Peer(peer.peer),
            Some(EventKind::Load(_)) => Subject::Load(event.shard),
            Some(EventKind::Rebuilt(_)) => Subject::Rebuilt(event.shard),
            Some(EventKind::GivenUp(given_up)) => {
                // What was said of these peers before is no longer true.
                for peer in &given_up.peers {
                    if let Some(place) = self.places.remove(&Subject::Peer(*peer)) {
                        self.queue[place] = None;
                    }
                }
                self.queue.push(Some(event));
                return;
            }
        };
        match self.places.get(&subject) {
            // A peer that is put again after its end has both events: the end is news that must arrive.
            Some(&place) if !is_end(self.queue[place].as_ref()) || is_end(Some(&event)) => {
                self.queue[place] = Some(event);
            }
            _ => {
                self.places.insert(subject, self.queue.len());
                self.queue.push(Some(event));
            }
        }
    }
}

/// Whether an event is the end of a peer.
fn is_end(event: Option<&Event>) -> bool {
    let kind = event.and_then(|event| event.kind.as_ref());
    matches!(kind, Some(EventKind::Peer(peer)) if peer.state() == PeerState::Closed)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use millrace_control::{Done, GivenUp, Load, PeerEvent};

    use super::*;

    fn lanes() -> (Lanes, UnixStream) {
        let (near, far) = UnixStream::pair().unwrap();
        (Lanes::new(near), far)
    }

    fn peer(peer: u64, state: PeerState) -> Event {
        let event = PeerEvent { peer, state: state.into(), ..PeerEvent::default() };
        Event { shard: 0, kind: Some(EventKind::Peer(event)) }
    }

    fn given_up(peers: &[u64]) -> Event {
        Event { shard: 0, kind: Some(EventKind::GivenUp(GivenUp { peers: peers.into() })) }
    }

    fn events(lanes: &Lanes) -> Vec<Event> {
        let event = |frame: FromRelay| match frame.reply {
            Some(Reply::Event(event)) => Some(event),
            _ => None,
        };
        lanes.take().unwrap().into_iter().filter_map(event).collect()
    }

    #[test]
    fn the_latest_event_of_each_peer_arrives() {
        let (lanes, _far) = lanes();
        for state in [PeerState::Dtls, PeerState::Live] {
            lanes.event(peer(1, state));
            lanes.event(peer(2, state));
        }
        for peers in [3, 4] {
            let load = Load { peers, ..Load::default() };
            lanes.event(Event { shard: 7, kind: Some(EventKind::Load(load)) });
        }
        let load = EventKind::Load(Load { peers: 4, ..Load::default() });
        let wanted =
            [peer(1, PeerState::Live), peer(2, PeerState::Live), Event { shard: 7, kind: Some(load) }];
        assert_eq!(events(&lanes), wanted);
    }

    #[test]
    fn the_end_of_a_peer_is_never_merged_away() {
        let (lanes, _far) = lanes();
        let states = [PeerState::Live, PeerState::Closed, PeerState::Ice, PeerState::Live];
        states.into_iter().for_each(|state| lanes.event(peer(1, state)));
        assert_eq!(events(&lanes), [peer(1, PeerState::Closed), peer(1, PeerState::Live)]);
    }

    #[test]
    fn what_was_said_of_a_peer_that_is_given_up_is_void() {
        let (lanes, _far) = lanes();
        lanes.event(peer(1, PeerState::Live));
        lanes.event(peer(2, PeerState::Live));
        lanes.event(given_up(&[1]));
        lanes.event(peer(1, PeerState::Dtls));
        assert_eq!(events(&lanes), [peer(2, PeerState::Live), given_up(&[1]), peer(1, PeerState::Dtls)]);
    }

    #[test]
    fn a_storm_of_events_takes_no_answer_away() {
        let (lanes, _far) = lanes();
        (0..100_000).for_each(|round| lanes.event(peer(round % 2_000, PeerState::Live)));
        (1..=5_000).for_each(|request| lanes.answer(request, Reply::Done(Done {})));
        let frames = lanes.take().unwrap();
        assert!(frames[..5_000].iter().zip(1..).all(|(frame, request)| frame.request == request));
        assert_eq!(frames.len(), 7_000, "one event of each peer");
    }

    #[test]
    fn too_many_answers_cut_the_connection_and_none_is_skipped() {
        let (lanes, mut far) = lanes();
        (1..=3).for_each(|request| lanes.answer_within(2, request, Reply::Done(Done {})));
        assert!(lanes.take().is_none());
        assert_eq!(far.read(&mut [0]).unwrap(), 0, "the far end sees it");
        lanes.event(peer(1, PeerState::Live));
        lanes.answer(4, Reply::Done(Done {}));
        assert!(lanes.take().is_none());
    }
}
