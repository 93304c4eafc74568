//! A client joins with a token.

use super::{Changes, Fact, Notice, Part, Participant, Person, Refusal, Session};

/// A client that joins, with the new ids for it.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// New private key by which its client takes up its place again.
    pub resume_key: String,
    /// The client's half of the connection's data.
    pub client_data: String,
    /// What the client says it runs on.
    pub platform: String,
    /// Address it comes from.
    pub ip: String,
    /// Name of the dialect its client reads.
    pub dialect: String,
    /// New id for logs.
    pub final_user_id: String,
    /// The time, in ms since 1970.
    pub now_ms: u64,
}

impl Session {
    /// Joins with `token`, which works for one join only. Returns the id of its connection.
    ///
    /// # Errors
    /// When the token is unknown or used. Both cases give the same error.
    pub fn join(&mut self, token: &str, arrival: Arrival) -> Result<(String, Changes), Refusal> {
        let id = self.roster.of_token(token).map(|connection| connection.id.clone()).unwrap_or_default();
        let now_ms = arrival.now_ms;
        let participant = Participant {
            active_at_ms: now_ms,
            resume_key: arrival.resume_key,
            client_data: arrival.client_data,
            platform: arrival.platform,
            ip: arrival.ip,
            dialect: arrival.dialect,
            final_user_id: arrival.final_user_id,
            stream: None,
            subscriptions: Vec::new(),
        };
        let activated = self.roster.activate(&id, participant);
        let connection = activated.ok_or(Refusal::Unauthorized("the token is unknown or was used before"))?;
        let metadata = connection.metadata();

        let mut changes = Changes::default();
        let joined = connection.participant.iter().map(|participant| Person::of(connection, participant));
        changes.facts.extend(joined.map(Fact::Joined));
        self.touch(Part::Connection(id.clone()));
        self.away.withhold_from(&id);
        let notice = Notice::Joined { connection: id.clone(), created_at_ms: now_ms, metadata };
        changes.tell(self.others_of(&id), notice);
        Ok((id, changes))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::super::{Audience, Notification, Role};
    use super::*;

    #[test]
    fn a_token_opens_one_door_once() {
        let mut session = empty();
        invite(&mut session, "con_A", Role::Publisher);
        assert!(!session.active());
        assert!(session.join("tok_con_A", arrival("con_A")).is_ok());
        assert!(session.active());
        for token in ["tok_con_A", "tok_con_B", "", "tok_con_"] {
            let refusal = session.join(token, arrival("con_B")).unwrap_err();
            assert!(matches!(refusal, Refusal::Unauthorized(_)), "{token}");
        }
    }

    #[test]
    fn the_others_hear_of_a_newcomer_and_the_newcomer_does_not() {
        let mut session = empty();
        join(&mut session, "con_A", Role::Publisher);
        invite(&mut session, "con_B", Role::Publisher);
        let newcomer = Arrival { client_data: "Bob".into(), ..arrival("con_B") };
        let (_, changes) = session.join("tok_con_B", newcomer).unwrap();
        let joined =
            Notice::Joined { connection: "con_B".into(), created_at_ms: 2_000, metadata: "Bob".into() };
        assert_eq!(
            changes.notifications,
            [Notification { to: Audience::Others("con_B".into()), notice: joined }]
        );
    }

    #[test]
    fn both_halves_of_the_data_are_joined_by_the_separator() {
        let mut session = empty();
        for (client, server, both) in [("c", "s", "c%/%s"), ("c", "", "c"), ("", "s", "s"), ("", "", "")] {
            let id = format!("con_{client}{server}");
            invite(&mut session, &id, Role::Publisher);
            let mut connection = session.roster.remove(&id).unwrap();
            connection.properties.data = server.into();
            session.roster.push(connection);
            let arrival = Arrival { client_data: client.into(), ..arrival(&id) };
            let _ = session.join(&format!("tok_{id}"), arrival).unwrap();
            assert_eq!(session.connection(&id).unwrap().metadata(), both);
        }
    }
}
