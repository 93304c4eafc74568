//! Joining, leaving, and coming back.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::super::errors::{self, RpcError};
use super::super::{first, shapes};
use super::{Call, Caller, Outcome, Params, success};
use crate::access::Denied;
use crate::app::IceClient;
use crate::clock;
use crate::delivery::Budget;
use crate::ice_servers;
use crate::ids;
use crate::openvidu::Generation;
use crate::session::{
    Arrival, Changes, Connection, ConnectionProperties, IceServer, MediaServer, Participant, RECORDER,
    Reason, Refusal, Role, Session, SessionProperties,
};
use crate::state::{Client, Identity, State};

/// Longest description of the client's platform that is kept, in characters.
const PLATFORM_LEN_MAX: usize = 256;

impl Caller {
    pub(super) async fn join_room(&self, call: &Call) -> Result<Outcome, RpcError> {
        if self.identity.get().is_some() {
            return Err(Refusal::ExistingUser.into());
        }
        let params = &call.params;
        let (session, door) = self.door(params)?;
        let limits = &self.app.config.limits;
        let client_data = params
            .optional_text("metadata")
            .ok()
            .filter(|data| data.is_none_or(|data| data.len() <= limits.data_len_bytes_max))
            .ok_or_else(|| RpcError::new(errors::METADATA, "the metadata is no text or too long"))?;
        let platform = params.optional_text("platform").ok().flatten().unwrap_or_default();
        let sdk_version = params.optional_text("sdkVersion").ok().flatten();
        let arrival = Arrival {
            rpc_session: ids::rpc_session(),
            client_data: client_data.unwrap_or_default().to_owned(),
            platform: platform.chars().take(PLATFORM_LEN_MAX).collect(),
            ip: self.ip.to_string(),
            dialect: self.generation.dialect().name.to_owned(),
            final_user_id: ids::final_user(),
            now_ms: clock::now_ms(),
        };

        // The ICE servers name a port of the relay's, so nobody joins before there is one.
        let relay = match self.app.link.last_relay() {
            Some(relay) => relay,
            None => self.app.link.ready(call.deadline).await.map_err(|error| no_media_node(&error))?,
        };
        let mut state = self.app.shared.lock();
        // `connect` may have come in between; it too sets the identity under the lock.
        if self.identity.get().is_some() {
            return Err(Refusal::ExistingUser.into());
        }
        // Before anything is made by the secret: a refused join leaves nothing behind.
        if state.clients.len() >= limits.participants_max {
            return Err(Refusal::Limit("participants").into());
        }
        let (token, opened) = match door {
            Door::Token(token) => (token_of(token).to_owned(), Changes::default()),
            // Nothing is made that nobody could use.
            Door::Secret(_) if relay.shards.is_empty() => return Err(no_media_node(&"there is no shard")),
            Door::Secret(as_what) => self.open_by_secret(&mut state, session, as_what)?,
        };
        // A place first: the token is good for one join, and without a place this is none.
        let shard = state.shard_for(session, &relay);
        let model = state.sessions.get_mut(session).ok_or(Refusal::SessionNotFound)?;
        let shard = shard.ok_or_else(|| no_media_node(&"there is no shard"))?;
        let rpc_session = arrival.rpc_session.clone();
        let (connection, mut changes) = model.join(&token, arrival)?;
        changes.facts.splice(0..0, opened.facts);
        model.shard = Some(shard);
        let media_port = relay.shards.iter().find(|found| found.shard == shard).map_or(0, |found| found.port);

        let result = self.join_result(&state, session, &connection, media_port, sdk_version)?;
        let turn = Arc::default();
        let identity = Identity {
            session: session.to_owned(),
            connection: connection.clone(),
            rpc_session: rpc_session.clone(),
            outbox: Arc::clone(&self.own),
            turn: Arc::clone(&turn),
            reader: self.own.reader(),
        };
        let budget = Budget::new(Instant::now());
        let client = Client {
            session: session.to_owned(),
            connection,
            dialect: self.generation.dialect(),
            outbox: Arc::clone(&self.own),
            turn,
            budget,
        };
        tracing::info!(session, connection = client.connection, shard, "joined");
        state.clients.insert(rpc_session, client);
        self.app.carry_out(&mut state, session, changes, self.answer(&call.id, &result));
        // Set under the lock: a later request of this socket finds the participant or is not joined.
        self.identity.set(identity).map_err(|_| Refusal::ExistingUser)?;
        Ok(Outcome::Submitted)
    }

    /// The session a client names, and what it shows to enter.
    fn door<'a>(&self, params: &'a Params) -> Result<(&'a str, Door<'a>), RpcError> {
        let named = params
            .text("session")
            .map_err(|_| RpcError::new(errors::SESSION_ID, "the session is missing"))?;
        let given = params.optional_text("secret")?.filter(|secret| !secret.is_empty());
        let (session, secret, as_what) = match self.generation {
            Generation::First => {
                let (session, within) = first::session_and_secret(named);
                let is_allowed = self.app.config.compat.first_generation_secret;
                (session, given.or(within).filter(|_| is_allowed), Guest::Founder)
            }
            Generation::Second => {
                let records = params.optional_bool("recorder")?.unwrap_or(false);
                (named, given, if records { Guest::Recorder } else { Guest::Insecure })
            }
        };
        match secret {
            Some(secret) => {
                self.check_secret(secret)?;
                Ok((session, Door::Secret(as_what)))
            }
            None if as_what == Guest::Recorder => {
                Err(Refusal::Unauthorized("who records has to show the secret").into())
            }
            None => Ok((session, Door::Token(token(params)?))),
        }
    }

    /// Checks a secret that a client shows.
    ///
    /// # Errors
    /// When it is not the application's, or too many wrong ones came from the client's address.
    fn check_secret(&self, secret: &str) -> Result<(), RpcError> {
        match self.app.access.identify(Some(secret), self.ip) {
            Ok(principal) if principal.may_manage() => Ok(()),
            Ok(_) => Err(Refusal::Unauthorized("the monitor's secret opens no session").into()),
            Err(Denied::WrongSecret) => Err(Refusal::Unauthorized("the secret is wrong").into()),
            Err(Denied::TooManyWrong(wait)) => {
                let seconds = wait.as_secs() + 1;
                let why = format!("too many wrong secrets from this address; try again in {seconds} s");
                Err(RpcError::new(errors::TOO_OFTEN, why))
            }
        }
    }

    /// Makes a token that opens the session, and the session where a founder finds none. Gives the token.
    fn open_by_secret(
        &self,
        state: &mut State,
        id: &str,
        as_what: Guest,
    ) -> Result<(String, Changes), RpcError> {
        let mut opened = Changes::default();
        if !state.sessions.contains_key(id) {
            if as_what != Guest::Founder || !ids::is_custom_session(id) {
                return Err(Refusal::SessionNotFound.into());
            }
            if state.sessions.len() >= self.app.config.limits.sessions_max {
                return Err(Refusal::Limit("sessions").into());
            }
            let properties = SessionProperties {
                custom_session_id: id.to_owned(),
                forced_video_codec: self.app.config.streams.forced_video_codec,
                ..SessionProperties::default()
            };
            let session = Session::new(id.to_owned(), ids::relay(), properties, clock::now_ms());
            opened = session.open();
            state.sessions.insert(id.to_owned(), session);
        }
        let token = ids::token();
        let (own_id, role) = match as_what {
            Guest::Founder => (ids::connection(), Role::Moderator),
            Guest::Insecure => (ids::connection(), Role::Subscriber),
            Guest::Recorder => (RECORDER.to_owned(), Role::Subscriber),
        };
        let session = state.sessions.get_mut(id).ok_or(Refusal::SessionNotFound)?;
        if session.connection(&own_id).is_some() {
            return Err(Refusal::ExistingUser.into());
        }
        let connection = Connection {
            id: own_id,
            created_at_ms: clock::now_ms(),
            token_url: token.clone(),
            token: token.clone(),
            properties: ConnectionProperties { role, by_secret: true, ..ConnectionProperties::default() },
            participant: None,
        };
        session.add_connection(connection, self.app.config.limits.connections_per_session_max)?;
        Ok((token, opened))
    }

    fn join_result(
        &self,
        state: &State,
        session: &str,
        connection: &str,
        media_port: u32,
        sdk_version: Option<&str>,
    ) -> Result<Value, RpcError> {
        let session = state.sessions.get(session).ok_or(Refusal::SessionNotFound)?;
        let (connection, participant) = session.participant(connection)?;
        let ice_servers = self.app.ice_servers(IceClient {
            own: &connection.properties.custom_ice_servers,
            host: &self.host,
            media_port,
            now_ms: clock::now_ms(),
        });
        let reported = &self.app.config.compat.reported_version;
        let version = match self.generation {
            Generation::First => reported.to_application(),
            Generation::Second => reported.to_client(sdk_version),
        };
        // Clients of the first generation know one way only.
        let media_server = match self.generation {
            Generation::First => MediaServer::Kurento,
            Generation::Second => session.properties.media_server,
        };
        let media_server = media_server.as_str();
        let terms = Terms { version, ice_servers, media_server, generation: self.generation };
        Ok(joined(session, connection, participant, terms))
    }

    pub(super) fn leave_room(&self, caller: &Identity, call: &Call) -> Result<Outcome, RpcError> {
        let mut state = self.app.shared.lock();
        let session = state.sessions.get_mut(&caller.session).ok_or(Refusal::UserClosed)?;
        let changes = session.leave(&caller.connection, Reason::Disconnect)?;
        let answer = self.answer(&call.id, &json!({}));
        self.app.carry_out(&mut state, &caller.session, changes, answer);
        Ok(Outcome::Submitted)
    }

    /// Takes up the RPC session of a lost socket on this one. Gives the number to read its outbox with.
    ///
    /// # Errors
    /// When there is no such session any more, or this socket has one.
    pub(super) fn connect(&self, id: &Value, params: &Params) -> Result<u64, RpcError> {
        let refused = || RpcError::new(errors::RECONNECTION, "reconnection error");
        let rpc_session = params.text("sessionId").map_err(|_| refused())?;
        if self.identity.get().is_some() {
            return Err(refused());
        }
        let state = self.app.shared.lock();
        let client = state.clients.get(rpc_session).ok_or_else(refused)?;
        let result = json!({"sessionId": rpc_session, "value": "reconnection successful"});
        let reader = client.outbox.resume(success(id, &result)).ok_or_else(refused)?;
        let identity = Identity {
            session: client.session.clone(),
            connection: client.connection.clone(),
            rpc_session: rpc_session.to_owned(),
            outbox: Arc::clone(&client.outbox),
            turn: Arc::clone(&client.turn),
            reader,
        };
        tracing::info!(session = identity.session, connection = identity.connection, "came back");
        self.identity.set(identity).map_err(|_| refused())?;
        Ok(reader)
    }
}

/// No relay, no session.
pub(super) fn no_media_node(why: &impl std::fmt::Display) -> RpcError {
    RpcError::new(errors::MEDIA_NODE, format!("no media node can take the session: {why}"))
}

fn token(params: &Params) -> Result<&str, RpcError> {
    params.text("token").map_err(|_| RpcError::new(errors::TOKEN, "the token is missing"))
}

/// The token itself: clients send the whole URL it came in.
fn token_of(text: &str) -> &str {
    let Some((_, query)) = text.split_once('?') else { return text };
    query.split('&').find_map(|pair| pair.strip_prefix("token=")).unwrap_or(text)
}

/// What somebody shows who wants in.
enum Door<'a> {
    /// A token, or the URL it came in.
    Token(&'a str),
    /// The secret, which was right.
    Secret(Guest),
}

/// Who enters without a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Guest {
    /// A client of the first generation: where there is no session, it makes one.
    Founder,
    /// One that may do all in a session that is there, while its role says the least.
    Insecure,
    /// One that records a session that is there, and of whom nobody knows.
    Recorder,
}

/// What the server tells a newcomer about itself.
struct Terms<'a> {
    /// The release it is told we are.
    version: &'a str,
    /// What the client is to use for ICE.
    ice_servers: Vec<IceServer>,
    /// Name of the media server whose way of negotiating is spoken.
    media_server: &'static str,
    /// What kind of client it is.
    generation: Generation,
}

/// The result of joinRoom.
fn joined(session: &Session, own: &Connection, participant: &Participant, terms: Terms<'_>) -> Value {
    let others: Vec<Value> = session
        .participants()
        .filter(|(connection, _)| connection.id != own.id && !connection.is_hidden())
        .map(|(connection, participant)| shapes::participant(connection, participant, terms.generation))
        .collect();
    let mut result = Map::new();
    for (key, value) in [
        ("id", json!(own.id)),
        ("finalUserId", json!(participant.final_user_id)),
        ("createdAt", json!(participant.active_at_ms)),
        ("metadata", json!(own.metadata())),
        ("value", json!(others)),
        ("session", json!(session.id)),
        ("sessionId", json!(participant.rpc_session)),
        // A client that finds no full version here hangs for ever.
        ("version", json!(terms.version)),
        ("mediaServer", json!(terms.media_server)),
        ("videoSimulcast", json!(false)),
        ("record", json!(own.properties.record)),
        ("role", json!(own.properties.role.as_str())),
        ("customIceServers", json!(terms.ice_servers)),
    ] {
        result.insert(key.into(), value);
    }
    if let Some(turn) = ice_servers::turn_of(&terms.ice_servers) {
        for (key, value) in [
            ("coturnIp", json!(turn.host)),
            ("coturnPort", json!(turn.port)),
            ("turnUsername", json!(turn.username)),
            ("turnCredential", json!(turn.credential)),
        ] {
            result.insert(key.into(), value);
        }
    }
    Value::Object(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_in_its_url() {
        assert_eq!(token_of("wss://h:4443?sessionId=s&token=tok_A"), "tok_A");
        assert_eq!(token_of("ws://h?token=tok_A&sessionId=s"), "tok_A");
        assert_eq!(token_of("tok_A"), "tok_A");
        assert_eq!(token_of("wss://h?sessionId=s"), "wss://h?sessionId=s");
    }
}
