//! Somebody uses a token.

use super::{Changes, Fact, Notice, Participant, Person, Refusal, Session};

/// Who arrives, with the ids drawn for them.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// New private id of the RPC session.
    pub rpc_session: String,
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
    /// Uses `token`, which is good for one join only. Gives the connection it stands for.
    ///
    /// # Errors
    /// When the token is unknown or used; the two look the same from outside.
    pub fn join(&mut self, token: &str, arrival: Arrival) -> Result<(String, Changes), Refusal> {
        // Every token is compared, in constant time, so that a near miss takes as long as any other.
        let mut found = None;
        for (position, connection) in self.connections.iter().enumerate() {
            if same(connection.token.as_bytes(), token.as_bytes()) {
                found = Some(position);
            }
        }
        let connection = found
            .map(|position| &mut self.connections[position])
            .filter(|connection| connection.participant.is_none())
            .ok_or(Refusal::Unauthorized("the token is unknown or was used before"))?;
        connection.participant = Some(Participant {
            active_at_ms: arrival.now_ms,
            rpc_session: arrival.rpc_session,
            client_data: arrival.client_data,
            platform: arrival.platform,
            ip: arrival.ip,
            dialect: arrival.dialect,
            final_user_id: arrival.final_user_id,
            stream: None,
            subscriptions: Vec::new(),
        });
        let id = connection.id.clone();
        let metadata = connection.metadata();

        let mut changes = Changes::default();
        let joined = connection.participant.iter().map(|participant| Person::of(connection, participant));
        changes.facts.extend(joined.map(Fact::Joined));
        let notice = Notice::Joined { connection: id.clone(), created_at_ms: arrival.now_ms, metadata };
        changes.tell(self.told_of(&id), notice);
        Ok((id, changes))
    }
}

/// Compares in a time that depends on the lengths only.
fn same(a: &[u8], b: &[u8]) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(a, b).is_ok()
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::super::{Notification, Role};
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
        assert_eq!(changes.notifications, [Notification { to: vec!["rpc_con_A".into()], notice: joined }]);
    }

    #[test]
    fn both_halves_of_the_data_are_joined_by_the_separator() {
        let mut session = empty();
        for (client, server, both) in [("c", "s", "c%/%s"), ("c", "", "c"), ("", "s", "s"), ("", "", "")] {
            let id = format!("con_{client}{server}");
            invite(&mut session, &id, Role::Publisher);
            session.connections.last_mut().unwrap().properties.data = server.into();
            let arrival = Arrival { client_data: client.into(), ..arrival(&id) };
            let _ = session.join(&format!("tok_{id}"), arrival).unwrap();
            assert_eq!(session.connection(&id).unwrap().metadata(), both);
        }
    }
}
