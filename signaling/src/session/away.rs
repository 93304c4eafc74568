//! Participants of an earlier process whose clients have not come back yet.
//!
//! The page of such a participant may be gone, so a newcomer is not shown it: its tile would stay dark. When its client
//! comes back, the newcomers of the meantime get the notices that they missed. Participants who were there before the
//! restart show it already, so for them nothing changes.

use std::collections::{BTreeMap, BTreeSet};

use super::{Audience, Changes, Notice, RECORDER, Session};

/// The participants that are away. Each one has the newcomers who do not know of it. The store does not keep this.
#[derive(Clone, Debug, Default)]
pub(super) struct Away(BTreeMap<String, BTreeSet<String>>);

impl Away {
    /// `newcomer` joins, and does not see the participants that are away.
    pub(super) fn withhold_from(&mut self, newcomer: &str) {
        for unaware in self.0.values_mut() {
            unaware.insert(newcomer.to_owned());
        }
    }

    /// Forgets a participant that has left.
    pub(super) fn forget(&mut self, id: &str) {
        self.0.remove(id);
        for unaware in self.0.values_mut() {
            unaware.remove(id);
        }
    }
}

impl Session {
    /// Every participant is away. Call it after the session is restored.
    pub fn begin_away(&mut self) {
        let ids = self.participants().map(|(connection, _)| (connection.id.clone(), BTreeSet::new()));
        self.away = Away(ids.collect());
    }

    /// Whether a newcomer is shown the participant `id`: it is not the recorder, and it is not away.
    pub fn is_shown(&self, id: &str) -> bool {
        id != RECORDER && !self.away.0.contains_key(id)
    }

    /// The participants that are away.
    pub fn away(&self) -> impl Iterator<Item = &str> {
        self.away.0.keys().map(String::as_str)
    }

    /// The client of `id` is back. The newcomers of the meantime get to know the participant and its stream.
    pub fn come_back(&mut self, id: &str) -> Changes {
        let mut changes = Changes::default();
        let Some(unaware) = self.away.0.remove(id) else { return changes };
        let Ok((connection, participant)) = self.participant(id) else { return changes };
        if id == RECORDER || unaware.is_empty() {
            return changes;
        }
        let to = Audience::Only(unaware.into_iter().collect());
        let created_at_ms = participant.active_at_ms;
        let metadata = connection.metadata();
        changes.tell(to.clone(), Notice::Joined { connection: id.to_owned(), created_at_ms, metadata });
        if let Some(stream) = &participant.stream {
            changes.tell(to, Notice::published(id, stream));
        }
        changes
    }

    /// The receivers of a notice about `id`: all other participants who know of it. A notice about the recorder has no
    /// receivers.
    pub(super) fn others_of(&self, id: &str) -> Audience {
        if id == RECORDER {
            return Audience::Only(Vec::new());
        }
        self.aware_of(id, false).unwrap_or_else(|| Audience::Others(id.to_owned()))
    }

    /// The receivers of a notice about `id` that it gets too.
    pub(super) fn all_of(&self, id: &str) -> Audience {
        if id == RECORDER {
            Audience::one(id)
        } else {
            self.aware_of(id, true).unwrap_or(Audience::Everybody)
        }
    }

    /// The participants who know of `id`. `None` if all do.
    fn aware_of(&self, id: &str, itself: bool) -> Option<Audience> {
        let unaware = self.away.0.get(id).filter(|unaware| !unaware.is_empty())?;
        let ids = self.participants().map(|(connection, _)| connection.id.as_str());
        let is_told = |other: &&str| if *other == id { itself } else { !unaware.contains(*other) };
        Some(Audience::Only(ids.filter(is_told).map(str::to_owned).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::super::{Notification, Reason, Role};
    use super::*;

    /// `con_A` publishes, `con_B` watches. After a restart `con_N` joins before they are back.
    fn restored() -> Session {
        let mut session = empty();
        join(&mut session, "con_A", Role::Publisher);
        join(&mut session, "con_B", Role::Subscriber);
        let _ = publish(&mut session, "con_A", 1).unwrap();
        session.begin_away();
        join(&mut session, "con_N", Role::Moderator);
        session
    }

    fn told(changes: &Changes) -> Vec<(&Audience, &'static str)> {
        let word = |notice: &Notice| match notice {
            Notice::Joined { .. } => "joined",
            Notice::Published { .. } => "published",
            Notice::Unpublished { .. } => "unpublished",
            Notice::Left { .. } => "left",
            Notice::Evicted { .. } => "evicted",
            other => panic!("{other:?}"),
        };
        changes.notifications.iter().map(|Notification { to, notice }| (to, word(notice))).collect()
    }

    #[test]
    fn a_newcomer_gets_to_know_who_is_away_when_it_comes_back() {
        let mut session = restored();
        let shown = |session: &Session| ["con_A", "con_B", "con_N"].map(|id| session.is_shown(id));
        assert_eq!(shown(&session), [false, false, true]);
        let newcomer = Audience::one("con_N");
        let back = session.come_back("con_A");
        assert_eq!(told(&back), [(&newcomer, "joined"), (&newcomer, "published")]);
        assert_eq!(shown(&session), [true, false, true]);
        assert!(session.come_back("con_A").notifications.is_empty(), "once");
        let later = session.unpublish("con_A").unwrap();
        assert_eq!(told(&later), [(&Audience::Others("con_A".into()), "unpublished")]);
    }

    #[test]
    fn who_was_never_shown_leaves_unseen_by_newcomers_only() {
        let mut session = restored();
        let knows = Audience::Only(vec!["con_A".into(), "con_B".into()]);
        let only_b = Audience::one("con_B");
        let stream = session.participant("con_A").unwrap().1.stream.clone().unwrap().id;
        let ended = session.force_unpublish_by("con_N", &stream).unwrap();
        assert_eq!(told(&ended), [(&knows, "unpublished")]);
        let evicted = session.clone().evict("con_A", Reason::ForceDisconnectByServer).unwrap();
        assert_eq!(told(&evicted), [(&only_b, "left"), (&knows, "evicted")]);
        let left = session.leave("con_A", Reason::NetworkDisconnect).unwrap();
        assert_eq!(told(&left), [(&only_b, "left")]);
        assert!(session.come_back("con_A").notifications.is_empty());
    }

    #[test]
    fn a_newcomer_who_has_left_gets_nothing() {
        let mut session = restored();
        let _ = session.leave("con_N", Reason::Disconnect).unwrap();
        assert!(session.come_back("con_A").notifications.is_empty());
    }
}
