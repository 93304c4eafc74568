//! The rounds in which the relay is compared with what is desired: once a minute, one shard after the other. A removal that
//! failed, or an event that was missed, lasts no longer than that.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use millrace_control::{Command, Snapshot};
use tokio::time::Instant;

/// How often and how long things are tried. The defaults are what the product uses.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Time between two rounds.
    pub round: Duration,
    /// Time until a shard that did not answer is asked again.
    pub again: Duration,
    /// Time that a shard may take for its next page.
    pub page: Duration,
    /// Age from which what a command has named is compared again: longer than any change of several commands takes.
    pub quiet: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            round: Duration::from_secs(60),
            again: Duration::from_secs(2),
            page: Duration::from_secs(2),
            quiet: Duration::from_secs(15),
        }
    }
}

/// Which shard's turn it is. Knows no socket: it says what is to be asked, and takes the answers.
#[derive(Debug)]
pub(super) struct Rounds {
    pace: Pace,
    shards: Vec<u32>,
    /// Shards that are still to be compared in this round.
    waiting: VecDeque<u32>,
    /// Shards that did not answer.
    unknown: BTreeSet<u32>,
    next_round_at: Instant,
    again_at: Instant,
    step: Step,
}

/// What is going on with one shard.
#[derive(Debug)]
enum Step {
    Idle,
    /// Its pages come.
    Asked {
        shard: u32,
        request: u64,
        pages: Snapshot,
        until: Instant,
    },
    /// What it lacks or holds too much is being put right.
    Correcting {
        shard: u32,
        under_way: BTreeMap<u64, Command>,
        refused: Vec<(Command, String)>,
        until: Instant,
    },
}

/// What a correction came to.
pub(super) enum Outcome {
    Done,
    Refused(String),
    /// The next round sees to it.
    Later,
}

impl Rounds {
    /// Rounds over `shards`, of which `unknown` did not answer when the link came up.
    pub(super) fn new(pace: Pace, shards: Vec<u32>, unknown: BTreeSet<u32>, now: Instant) -> Self {
        let (next_round_at, again_at) = (now + pace.round, now + pace.again);
        Self { pace, shards, waiting: VecDeque::new(), unknown, next_round_at, again_at, step: Step::Idle }
    }

    /// When [`Rounds::next`] is to be called.
    pub(super) fn deadline(&self, now: Instant) -> Instant {
        match &self.step {
            Step::Asked { until, .. } | Step::Correcting { until, .. } => *until,
            Step::Idle if !self.waiting.is_empty() => now,
            Step::Idle if !self.unknown.is_empty() => self.again_at.min(self.next_round_at),
            Step::Idle => self.next_round_at,
        }
    }

    /// The shard to ask now, if one is to be asked.
    pub(super) fn next(&mut self, now: Instant) -> Option<u32> {
        if let Step::Asked { shard, until, .. } | Step::Correcting { shard, until, .. } = self.step
            && now >= until
        {
            tracing::debug!(shard, "a shard does not answer; what it holds is unknown");
            self.give_up(shard, now);
        }
        if !matches!(self.step, Step::Idle) {
            return None;
        }
        if now >= self.next_round_at {
            self.next_round_at = now + self.pace.round;
            self.unknown.clear();
            self.waiting = self.shards.iter().copied().collect();
        }
        if now >= self.again_at {
            self.waiting.extend(std::mem::take(&mut self.unknown));
        }
        self.waiting.pop_front()
    }

    /// A shard was asked by `request`.
    pub(super) fn asked(&mut self, shard: u32, request: u64, now: Instant) {
        self.step = Step::Asked { shard, request, pages: Snapshot::default(), until: now + self.pace.page };
    }

    /// A page came. Gives the shard with all it holds when that was the last one.
    pub(super) fn handle_page(
        &mut self,
        request: u64,
        page: Snapshot,
        now: Instant,
    ) -> Option<(u32, Snapshot)> {
        let Step::Asked { shard, request: asked, pages, until } = &mut self.step else { return None };
        if *asked != request {
            return None;
        }
        *until = now + self.pace.page;
        let complete = page.complete;
        add(pages, page);
        complete.then(|| (*shard, std::mem::take(pages)))
    }

    /// The shard refuses to say what it holds.
    pub(super) fn handle_no_page(&mut self, request: u64, now: Instant) {
        if let Step::Asked { shard, request: asked, .. } = self.step
            && asked == request
        {
            self.give_up(shard, now);
        }
    }

    fn give_up(&mut self, shard: u32, now: Instant) {
        self.step = Step::Idle;
        self.unknown.insert(shard);
        self.again_at = now + self.pace.again;
    }

    /// The shard is being put right by these requests.
    pub(super) fn corrects(&mut self, shard: u32, under_way: BTreeMap<u64, Command>, now: Instant) {
        self.step = match under_way.is_empty() {
            true => Step::Idle,
            false => {
                let until = now + self.pace.page;
                Step::Correcting { shard, under_way, refused: Vec::new(), until }
            }
        };
    }

    /// A correction was answered. Gives what was refused of the shard when that was the last one.
    pub(super) fn handle_corrected(
        &mut self,
        request: u64,
        outcome: Outcome,
    ) -> Option<Vec<(Command, String)>> {
        let Step::Correcting { under_way, refused, .. } = &mut self.step else { return None };
        let command = under_way.remove(&request)?;
        if let Outcome::Refused(why) = outcome {
            refused.push((command, why));
        }
        if !under_way.is_empty() {
            return None;
        }
        let refused = std::mem::take(refused);
        self.step = Step::Idle;
        Some(refused)
    }
}

/// Adds a page to those before it.
pub(super) fn add(pages: &mut Snapshot, page: Snapshot) {
    pages.peers.extend(page.peers);
    pages.tracks.extend(page.tracks);
    pages.subscriptions.extend(page.subscriptions);
    (pages.shard, pages.complete) = (page.shard, page.complete);
}

#[cfg(test)]
mod tests {
    use millrace_control::{PeerInfo, RemovePeer};

    use super::*;

    fn page(peer: u64, complete: bool) -> Snapshot {
        Snapshot { peers: vec![PeerInfo { peer, ..PeerInfo::default() }], complete, ..Snapshot::default() }
    }

    fn rounds(unknown: &[u32]) -> (Rounds, Instant) {
        let now = Instant::now();
        (Rounds::new(Pace::default(), vec![0, 1], unknown.iter().copied().collect(), now), now)
    }

    #[test]
    fn one_shard_after_the_other_once_a_minute() {
        let (mut rounds, start) = rounds(&[]);
        let minute = Pace::default().round;
        assert_eq!((rounds.deadline(start), rounds.next(start)), (start + minute, None));
        let now = start + minute;
        assert_eq!(rounds.next(now), Some(0));
        rounds.asked(0, 7, now);
        assert_eq!(rounds.next(now), None, "one at a time");
        assert!(rounds.handle_page(7, page(1, false), now).is_none());
        let (shard, whole) = rounds.handle_page(7, page(2, true), now).unwrap();
        assert_eq!((shard, whole.peers.len()), (0, 2));
        let remove = Command::RemovePeer(RemovePeer { peer: 1 });
        rounds.corrects(0, BTreeMap::from([(8, remove.clone()), (9, remove.clone())]), now);
        assert!(rounds.handle_corrected(8, Outcome::Refused("why".into())).is_none());
        assert_eq!(rounds.handle_corrected(9, Outcome::Done), Some(vec![(remove, "why".into())]));
        assert_eq!((rounds.deadline(now), rounds.next(now)), (now, Some(1)), "goes on after a refusal");
        rounds.asked(1, 10, now);
        rounds.handle_page(10, page(3, true), now).unwrap();
        rounds.corrects(1, BTreeMap::new(), now);
        assert_eq!((rounds.deadline(now), rounds.next(now)), (now + minute, None));
    }

    #[test]
    fn a_shard_that_does_not_answer_is_asked_again_and_again() {
        let (mut rounds, start) = rounds(&[1]);
        let mut now = start;
        for request in 1..=4 {
            now += Pace::default().again;
            assert_eq!((rounds.deadline(now), rounds.next(now)), (rounds.again_at, Some(1)));
            rounds.asked(1, request, now);
            now += Pace::default().page;
            assert_eq!(rounds.next(now), None, "too late");
            assert!(rounds.handle_page(request, page(1, true), now).is_none());
        }
        now += Pace::default().again;
        assert_eq!(rounds.next(now), Some(1));
        rounds.asked(1, 9, now);
        rounds.handle_no_page(9, now);
        assert_eq!((rounds.next(now), rounds.deadline(now)), (None, now + Pace::default().again));
    }
}
