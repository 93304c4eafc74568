//! Messages among participants.

use std::collections::BTreeSet;

use super::{Audience, Changes, Fact, Notice, Refusal, Session};

/// A message to some or all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signal {
    /// Connection ids of the receivers. An empty set means every participant, the sender included.
    pub to: BTreeSet<String>,
    /// Type, as given.
    pub kind: Option<String>,
    /// Text, as given.
    pub data: Option<String>,
}

impl Session {
    /// Sends a signal from a participant, or from the application when `from` is absent.
    ///
    /// # Errors
    /// When the sender or a receiver is not in the session. Then the signal has no receivers at all.
    pub fn signal(&self, from: Option<&str>, signal: Signal) -> Result<Changes, Refusal> {
        if let Some(id) = from {
            self.participant(id)?;
        }
        let to = if signal.to.is_empty() {
            Audience::Everybody
        } else {
            if signal.to.iter().any(|id| self.participant(id).is_err()) {
                return Err(Refusal::SignalTo);
            }
            Audience::Only(signal.to.iter().cloned().collect())
        };
        let mut changes = Changes::default();
        changes.record(Fact::Signalled { from: from.map(str::to_owned), signal: signal.clone() });
        changes
            .tell(to, Notice::Signal { from: from.map(str::to_owned), kind: signal.kind, data: signal.data });
        Ok(changes)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Role;
    use super::super::testing::*;
    use super::*;

    #[test]
    fn nobody_means_everybody_and_a_wrong_receiver_stops_it_all() {
        let mut session = empty();
        join(&mut session, "con_A", Role::Subscriber);
        join(&mut session, "con_B", Role::Subscriber);
        invite(&mut session, "con_C", Role::Subscriber);
        let to =
            |ids: &[&str]| Signal { to: ids.iter().map(|&id| id.to_owned()).collect(), ..Signal::default() };

        let changes = session.signal(Some("con_A"), to(&[])).unwrap();
        assert_eq!(changes.notifications[0].to, Audience::Everybody);
        let changes = session.signal(None, to(&["con_B"])).unwrap();
        assert_eq!(changes.notifications[0].to, Audience::one("con_B"));
        let changes = session.signal(None, to(&["con_B", "con_A", "con_B"])).unwrap();
        let both = Audience::Only(vec!["con_A".into(), "con_B".into()]);
        assert_eq!(changes.notifications[0].to, both, "each once");
        assert_eq!(session.signal(None, to(&["con_B", "con_C"])), Err(Refusal::SignalTo));
        assert_eq!(session.signal(Some("con_X"), to(&[])), Err(Refusal::UserClosed));
    }
}
