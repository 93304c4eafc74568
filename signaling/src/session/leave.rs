//! Participants leave or are removed. The session ends with its last participant.

use super::{Audience, Changes, Endpoint, Fact, Flow, Notice, Part, Person, Reason, Refusal, Session};

impl Session {
    /// Removes a participant with its stream and its subscriptions. The other participants get a notice.
    ///
    /// # Errors
    /// When the participant is not there (any more).
    pub fn leave(&mut self, id: &str, reason: Reason) -> Result<Changes, Refusal> {
        let mut changes = Changes::default();
        self.take_out(id, reason, &mut changes)?;
        Ok(changes)
    }

    /// Removes a participant for a moderator or the application. Every participant gets a notice, the removed one
    /// too. Only the recorder gets the notice of its own removal, because it is hidden from the others.
    ///
    /// # Errors
    /// When there is no such participant.
    pub fn evict(&mut self, id: &str, reason: Reason) -> Result<Changes, Refusal> {
        let told = self.all_of(id);
        let mut changes = Changes::default();
        self.take_out(id, reason, &mut changes).map_err(|_| Refusal::UserNotFound)?;
        changes.tell(told, Notice::Evicted { connection: id.to_owned(), reason });
        Ok(changes)
    }

    /// The moderator `by` removes the participant `id`.
    ///
    /// # Errors
    /// When `by` is no moderator or there is no such participant.
    pub fn force_disconnect(&mut self, by: &str, id: &str) -> Result<Changes, Refusal> {
        self.require_moderator(by)?;
        self.evict(id, Reason::ForceDisconnectByUser)
    }

    /// Removes a connection whose token was not used. Returns whether there was one.
    pub fn remove_pending(&mut self, id: &str) -> bool {
        let is_pending = self.roster.get(id).is_some_and(|connection| connection.participant.is_none());
        if is_pending {
            self.roster.remove(id);
            self.touch(Part::Connection(id.to_owned()));
        }
        is_pending
    }

    /// Ends the session. Each participant gets a notice of its own removal only, because all are removed at once.
    pub fn close(&mut self, reason: Reason) -> Changes {
        let mut changes = Changes { closed: true, ..Changes::default() };
        changes.removed_peers = self.graph.endpoints().map(Endpoint::placed).collect();
        for (connection, participant) in self.participants() {
            let id = &connection.id;
            let own = participant.stream.iter().map(|stream| Flow::published(id, stream));
            let watched = participant.subscriptions.iter().map(|watched| self.flow_of(id, watched));
            changes.facts.extend(own.chain(watched).map(|flow| Fact::Ended { flow, reason }));
            changes.record(Fact::Left { person: Person::of(connection, participant), reason });
        }
        changes.record(Fact::Closed { reason });
        let everybody: Vec<String> =
            self.participants().map(|(connection, _)| connection.id.clone()).collect();
        self.clear();
        for connection in everybody {
            changes.tell(
                Audience::one(&*connection),
                Notice::Evicted { connection: connection.clone(), reason },
            );
            changes.departed.push(connection);
        }
        changes
    }

    pub(super) fn require_moderator(&self, id: &str) -> Result<(), Refusal> {
        let (connection, _) = self.participant(id)?;
        if connection.properties.moderates() {
            return Ok(());
        }
        Err(Refusal::Unauthorized("only a moderator may do this"))
    }

    fn take_out(&mut self, id: &str, reason: Reason, changes: &mut Changes) -> Result<(), Refusal> {
        let (connection, participant) = self.participant(id)?;
        let person = Person::of(connection, participant);
        let others = self.others_of(id);
        self.away.forget(id);
        self.drop_stream(id, reason, changes);
        self.drop_watched(id, reason, changes);
        self.offers.forget_all_of(id);
        self.roster.remove(id);
        self.touch(Part::Connection(id.to_owned()));
        self.remember_gone(id.to_owned());
        changes.departed.push(id.to_owned());
        changes.tell(others, Notice::Left { connection: id.to_owned(), reason });
        changes.closed = !self.active();
        changes.record(Fact::Left { person, reason });
        if changes.closed {
            changes.record(Fact::Closed { reason: Reason::LastParticipantLeft });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::super::{Notification, Role};
    use super::*;

    fn call() -> Session {
        let mut session = empty();
        join(&mut session, "con_A", Role::Moderator);
        join(&mut session, "con_B", Role::Publisher);
        let _ = publish(&mut session, "con_A", 1).unwrap();
        let _ = publish(&mut session, "con_B", 2).unwrap();
        let _ = watch(&mut session, "con_A", "con_B", 3);
        let _ = watch(&mut session, "con_B", "con_A", 4);
        session
    }

    #[test]
    fn who_leaves_takes_every_peer_along_that_only_made_sense_with_them() {
        let mut session = call();
        let changes = session.leave("con_B", Reason::Disconnect).unwrap();
        let mut removed = removed(&changes);
        removed.sort_unstable();
        assert_eq!(removed, [2, 3, 4]);
        assert_eq!(changes.departed, ["con_B"]);
        assert!(!changes.closed);
        assert_eq!(session.graph().endpoints().map(Endpoint::id).collect::<Vec<_>>(), [1]);
        assert_eq!(session.leave("con_B", Reason::Disconnect), Err(Refusal::UserClosed));
    }

    #[test]
    fn the_last_one_ends_the_session() {
        let mut session = call();
        let _ = session.leave("con_B", Reason::Disconnect).unwrap();
        invite(&mut session, "con_C", Role::Publisher);
        assert!(session.leave("con_A", Reason::Disconnect).unwrap().closed);
    }

    #[test]
    fn only_a_moderator_puts_others_out_and_the_victim_hears_of_it_last() {
        let mut session = call();
        let refusal = session.force_disconnect("con_B", "con_A").unwrap_err();
        assert!(matches!(refusal, Refusal::Unauthorized(_)));
        assert_eq!(session.force_disconnect("con_A", "con_X"), Err(Refusal::UserNotFound));

        let changes = session.force_disconnect("con_A", "con_B").unwrap();
        let reason = Reason::ForceDisconnectByUser;
        let left = Notice::Left { connection: "con_B".into(), reason };
        let evicted = Notice::Evicted { connection: "con_B".into(), reason };
        assert_eq!(
            changes.notifications,
            [
                Notification { to: Audience::Others("con_B".into()), notice: left },
                Notification { to: Audience::Everybody, notice: evicted },
            ]
        );
    }

    #[test]
    fn closing_tells_each_one_and_leaves_nothing_in_the_relay() {
        let mut session = call();
        session.reserve("con_A", endpoint(9));
        let changes = session.close(Reason::SessionClosedByServer);
        assert_eq!(changes.notifications.len(), 2);
        assert_eq!(changes.departed.len(), 2);
        let mut removed = removed(&changes);
        removed.sort_unstable();
        assert_eq!(removed, [1, 2, 3, 4, 9]);
        assert!(changes.closed);
    }

    #[test]
    fn the_records_hear_of_every_end_once() {
        let mut session = call();
        let _ = watch(&mut session, "con_B", "con_B", 5);
        let ends = |changes: &Changes| -> Vec<(&str, String, Reason)> {
            let end = |fact: &Fact| match fact {
                Fact::Ended { flow, reason } => {
                    ("flow", format!("{}<{}", flow.connection, flow.from.as_deref().unwrap_or("")), *reason)
                }
                Fact::Left { person, reason } => ("person", person.connection.clone(), *reason),
                Fact::Closed { reason } => ("session", String::new(), *reason),
                other => panic!("{other:?}"),
            };
            changes.facts.iter().map(end).collect()
        };
        let reason = Reason::NetworkDisconnect;
        let flow = |text: &str, reason| ("flow", text.to_owned(), reason);
        let changes = session.clone().leave("con_B", reason).unwrap();
        let flows = ["con_B<", "con_A<con_B", "con_B<con_B", "con_B<con_A"].map(|text| flow(text, reason));
        assert_eq!(ends(&changes), [&flows[..], &[("person", "con_B".into(), reason)]].concat());

        let reason = Reason::SessionClosedByServer;
        let changes = session.clone().close(reason);
        assert_eq!(ends(&changes).len(), 5 + 2 + 1, "flows, people, session");
        assert_eq!(ends(&changes).last(), Some(&("session", String::new(), reason)));

        let changes = session.unsubscribe("con_B", "con_A").unwrap();
        assert_eq!(ends(&changes), [flow("con_B<con_A", Reason::Unsubscribe)]);
        let _ = session.leave("con_B", reason).unwrap();
        let last = session.leave("con_A", Reason::Disconnect).unwrap();
        assert_eq!(ends(&last).last(), Some(&("session", String::new(), Reason::LastParticipantLeft)));
    }

    #[test]
    fn an_unused_token_can_be_taken_back_a_used_one_cannot() {
        let mut session = call();
        invite(&mut session, "con_C", Role::Publisher);
        assert!(session.remove_pending("con_C"));
        assert!(!session.remove_pending("con_C"));
        assert!(!session.remove_pending("con_A"));
    }
}
