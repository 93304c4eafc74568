//! Events that wait for an application's server: in order within a session, sessions in turns, and bounded.

use std::collections::{BTreeMap, VecDeque};

use axum::http::HeaderValue;
use bytes::Bytes;

/// One event on its way to the application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Letter {
    /// Names the event among all others.
    pub(super) id: HeaderValue,
    /// JSON.
    pub(super) body: Bytes,
}

impl Letter {
    /// Gives it an id of 128 random bits.
    pub(super) fn new(body: Bytes) -> Self {
        let id = format!("evt_{:032x}", rand::random::<u128>());
        Self { id: id.parse().expect("letters and digits"), body }
    }
}

/// How much may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Most events of one session.
    pub session_max: usize,
    /// Most events of all sessions.
    pub all_max: usize,
    /// Most bytes of all sessions' events.
    pub len_bytes_max: usize,
}

/// Events by session. At most one of each session is being sent.
pub(super) struct Queues {
    bounds: Bounds,
    sessions: BTreeMap<String, VecDeque<Letter>>,
    /// Sessions with an event that waits and none that is being sent. The front is served next.
    ready: VecDeque<String>,
    /// Number of events that wait, and their bytes.
    waiting: usize,
    len_bytes: usize,
}

/// What became of an event that was pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    /// It can be taken now.
    Ready,
    /// It waits behind others of its session.
    Behind,
    /// There is no room. The events that wait stay, so the application sees no gap before this one.
    Dropped,
}

impl Queues {
    pub(super) const fn new(bounds: Bounds) -> Self {
        Self { bounds, sessions: BTreeMap::new(), ready: VecDeque::new(), waiting: 0, len_bytes: 0 }
    }

    pub(super) fn push(&mut self, session: &str, letter: Letter) -> Pushed {
        let full = self.waiting >= self.bounds.all_max
            || self.len_bytes.saturating_add(letter.body.len()) > self.bounds.len_bytes_max
            || self.sessions.get(session).is_some_and(|queue| queue.len() >= self.bounds.session_max);
        if full {
            return Pushed::Dropped;
        }
        self.waiting += 1;
        self.len_bytes += letter.body.len();
        if let Some(queue) = self.sessions.get_mut(session) {
            queue.push_back(letter);
            return Pushed::Behind;
        }
        self.sessions.insert(session.to_owned(), VecDeque::from([letter]));
        self.ready.push_back(session.to_owned());
        Pushed::Ready
    }

    /// The next event. Its session gives no other one until [`Self::done`].
    pub(super) fn take(&mut self) -> Option<(String, Letter)> {
        let session = self.ready.pop_front()?;
        let letter = self.sessions.get_mut(&session)?.pop_front()?;
        self.waiting -= 1;
        self.len_bytes -= letter.body.len();
        Some((session, letter))
    }

    /// The event that was taken of this session is delivered or given up. Returns whether its next one can be taken.
    pub(super) fn done(&mut self, session: String) -> bool {
        if self.sessions.get(&session).is_some_and(|queue| !queue.is_empty()) {
            self.ready.push_back(session);
            return true;
        }
        self.sessions.remove(&session);
        false
    }

    /// Whether no event waits or is being sent.
    pub(super) fn is_idle(&self) -> bool {
        self.sessions.is_empty()
    }

    /// How many events wait.
    pub(super) const fn waiting(&self) -> usize {
        self.waiting
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queues(session_max: usize, all_max: usize, len_bytes_max: usize) -> Queues {
        Queues::new(Bounds { session_max, all_max, len_bytes_max })
    }

    impl From<&'static str> for Letter {
        fn from(body: &'static str) -> Self {
            Self::new(body.into())
        }
    }

    fn take(queues: &mut Queues) -> Option<(String, String)> {
        queues.take().map(|(session, letter)| (session, String::from_utf8(letter.body.to_vec()).unwrap()))
    }

    fn pair(session: &str, event: &str) -> Option<(String, String)> {
        Some((session.into(), event.into()))
    }

    #[test]
    fn a_session_keeps_its_order_and_sessions_take_turns() {
        let mut queues = queues(9, 9, 99);
        assert_eq!(queues.push("a", "a1".into()), Pushed::Ready);
        assert_eq!(queues.push("a", "a2".into()), Pushed::Behind);
        assert_eq!(queues.push("a", "a3".into()), Pushed::Behind);
        assert_eq!(queues.push("b", "b1".into()), Pushed::Ready);
        assert_eq!(take(&mut queues), pair("a", "a1"));
        assert_eq!(take(&mut queues), pair("b", "b1"));
        assert_eq!(take(&mut queues), None, "a2 waits for a1 to be done");
        assert_eq!(queues.push("b", "b2".into()), Pushed::Behind, "b1 is being sent");
        assert!(queues.done("b".into()));
        assert!(queues.done("a".into()));
        assert_eq!(take(&mut queues), pair("b", "b2"));
        assert_eq!(take(&mut queues), pair("a", "a2"));
        assert!(!queues.done("b".into()));
        assert!(queues.done("a".into()) && !queues.is_idle());
        assert_eq!(take(&mut queues), pair("a", "a3"));
        assert!(!queues.done("a".into()) && queues.is_idle());
    }

    #[test]
    fn every_bound_holds_and_room_comes_back() {
        let mut one_session = queues(2, 9, 99);
        for expected in [Pushed::Ready, Pushed::Behind, Pushed::Dropped] {
            assert_eq!(one_session.push("a", "x".into()), expected);
        }
        assert_eq!(one_session.push("b", "x".into()), Pushed::Ready, "others have room");

        let mut all = queues(9, 2, 99);
        for (session, expected) in [("a", Pushed::Ready), ("b", Pushed::Ready), ("c", Pushed::Dropped)] {
            assert_eq!(all.push(session, "x".into()), expected);
        }
        let _ = all.take();
        assert_eq!(all.push("c", "x".into()), Pushed::Ready);

        let mut bytes = queues(9, 9, 5);
        for (event, expected) in [("123", Pushed::Ready), ("456", Pushed::Dropped), ("45", Pushed::Behind)] {
            assert_eq!(bytes.push("a", event.into()), expected);
        }
        assert_eq!(bytes.waiting(), 2);
    }
}
