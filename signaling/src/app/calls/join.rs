//! Joining, coming back, and leaving.

use std::collections::BTreeSet;
use std::sync::Arc;

use millrace_control::RelayHello;
use tokio::time::Instant;

use super::super::{Answer, App, CallError, Member};
use crate::clock;
use crate::delivery::{Budget, Dialect, Outbox};
use crate::ids;
use crate::registry::{Client, Liveness, LockedSession, Place};
use crate::session::{Arrival, Changes, Reason, Refusal};

/// A client that wants to join.
pub struct JoinRequest<'a> {
    /// The session.
    pub session: &'a str,
    /// The token of a connection that waits.
    pub token: &'a str,
    /// The client's half of the connection's data.
    pub client_data: String,
    /// What the client says it runs on.
    pub platform: String,
    /// Address it comes from.
    pub ip: String,
    /// The dialect that it reads.
    pub dialect: &'static Dialect,
    /// The queue of messages to it. The queue of a client without a socket has no reader.
    pub outbox: Arc<Outbox>,
    /// How it shows that it is still there.
    pub liveness: Liveness,
    /// The answer is of no use after this time.
    pub deadline: Instant,
}

/// A client that has just joined, under its session's lock.
pub struct Joined<'a> {
    /// Its session.
    pub locked: &'a LockedSession<'a>,
    /// The client as the use-cases know it.
    pub member: &'a Member,
    /// UDP port of its shard.
    pub media_port: u32,
}

impl App {
    /// A client joins with a token. `answer` runs under the session's lock, and its result is sent with the change.
    /// If `answer` fails, the client has not joined, but its token is used up.
    ///
    /// # Errors
    /// When the session, the token or a shard is missing, or there are too many participants.
    pub async fn join<E: From<CallError>>(
        &self,
        request: JoinRequest<'_>,
        answer: impl FnOnce(&Joined<'_>) -> Result<Option<Answer>, E>,
    ) -> Result<Member, E> {
        // The answer needs the relay's ports, so no client can join before the first relay.
        let relay = match self.link.last_relay() {
            Some(relay) => relay,
            None => {
                let ready = self.link.ready(request.deadline).await;
                ready.map_err(|error| CallError::unreachable(&error))?
            }
        };
        self.join_now(&relay, request, answer)
    }

    fn join_now<E: From<CallError>>(
        &self,
        relay: &RelayHello,
        request: JoinRequest<'_>,
        answer: impl FnOnce(&Joined<'_>) -> Result<Option<Answer>, E>,
    ) -> Result<Member, E> {
        let refused = |refusal: Refusal| E::from(CallError::from(refusal));
        let cell = self.registry.get(request.session).ok_or_else(|| refused(Refusal::SessionNotFound))?;
        let mut locked = cell.lock().ok_or_else(|| refused(Refusal::SessionNotFound))?;
        if self.registry.participants() >= self.config.limits.participants_max {
            return Err(refused(Refusal::Limit("participants")));
        }
        // Find a shard before the token is used, because a token works for one join only.
        let shard = self.registry.shard_for(&locked.session).ok_or_else(|| E::from(CallError::no_shard()))?;
        self.recognise(&mut locked);
        let resume_key = ids::rpc_session();
        let arrival = Arrival {
            resume_key: resume_key.clone(),
            client_data: request.client_data,
            platform: request.platform,
            ip: request.ip,
            dialect: request.dialect.name.to_owned(),
            final_user_id: ids::final_user(),
            now_ms: clock::now_ms(),
        };
        let (connection, changes) = locked.session.join(request.token, arrival).map_err(refused)?;
        locked.session.move_to(shard);
        let client = Client {
            resume_key: resume_key.clone(),
            dialect: request.dialect,
            outbox: request.outbox,
            negotiation: Arc::default(),
            budget: Budget::new(Instant::now()),
            liveness: request.liveness,
        };
        let member = Member::of(&cell, &connection, &client, client.outbox.reader());
        locked.clients.insert(connection.clone(), client);
        let port = relay.shards.iter().find(|found| found.shard == shard).map_or(0, |found| found.port);
        let answer = match answer(&Joined { locked: &locked, member: &member, media_port: port }) {
            Ok(answer) => answer,
            Err(error) => {
                // No notice of the join was sent, so no notice of the leave is sent either.
                locked.clients.remove(&connection);
                let _ = locked.session.leave(&connection, Reason::Disconnect);
                return Err(error);
            }
        };
        self.registry.add_place(resume_key, Place { cell: Arc::clone(&cell), connection });
        tracing::info!(session = request.session, connection = member.connection, shard, "joined");
        self.carry_out(&mut locked, changes, answer);
        Ok(member)
    }

    /// Ends the absence of participants whose media still flow. Their clients have not noticed the restart of signaling.
    fn recognise(&self, locked: &mut LockedSession<'_>) {
        if locked.session.away().next().is_none() {
            return;
        }
        let carrying = locked.session.graph().agreed().filter(|(_, endpoint)| locked.peers.carries(endpoint));
        let there: BTreeSet<String> = carrying.map(|(owner, _)| owner.to_owned()).collect();
        let mut changes = Changes::default();
        there.iter().for_each(|id| changes.notifications.extend(locked.session.come_back(id).notifications));
        if !changes.notifications.is_empty() {
            self.carry_out(locked, changes, None);
        }
    }

    /// A client takes its place again. Under the session's lock, `resume` attaches the new socket to the outbox and
    /// returns the number of the reader. It returns `None` when too much was lost meanwhile. After a restart, newcomers
    /// get to know the participant only now.
    ///
    /// # Errors
    /// When there is no such place any more.
    pub fn resume(
        &self,
        resume_key: &str,
        resume: impl FnOnce(&Outbox) -> Option<u64>,
    ) -> Result<Member, Refusal> {
        let Place { cell, connection } = self.registry.place_of(resume_key).ok_or(Refusal::UserClosed)?;
        let mut locked = cell.lock().ok_or(Refusal::UserClosed)?;
        let client = locked.clients.get(&connection).ok_or(Refusal::UserClosed)?;
        let reader = resume(&client.outbox).ok_or(Refusal::UserClosed)?;
        tracing::info!(session = %cell.id(), connection, "came back");
        let member = Member::of(&cell, &connection, client, reader);
        let changes = locked.session.come_back(&connection);
        if !changes.notifications.is_empty() {
            self.carry_out(&mut locked, changes, None);
        }
        drop(locked);
        Ok(member)
    }

    /// The participant of that connection, as one of its clients would act.
    ///
    /// # Errors
    /// When there is no such session, or the connection has not joined.
    pub fn member(&self, session: &str, connection: &str) -> Result<Member, Refusal> {
        let cell = self.registry.get(session).ok_or(Refusal::SessionNotFound)?;
        let locked = cell.lock().ok_or(Refusal::SessionNotFound)?;
        let client = locked.clients.get(connection).ok_or(Refusal::UserNotFound)?;
        let member = Member::of(&cell, connection, client, client.outbox.reader());
        drop(locked);
        Ok(member)
    }

    /// A member leaves.
    ///
    /// # Errors
    /// When it has left already.
    pub fn leave(&self, who: &Member, reason: Reason, answer: Option<Answer>) -> Result<(), Refusal> {
        self.change(who, |session| Ok((session.leave(&who.connection, reason)?, answer)))
    }
}
