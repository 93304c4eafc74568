//! Joining, leaving, and coming back.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde::Serialize;
use serde_json::{Value, json};

use super::super::errors::{self, RpcError};
use super::super::{first, shapes};
use super::{Call, Caller, Outcome, Params, success};
use crate::access::Denied;
use crate::app::{CallError, IceClient, JoinRequest, Joined, Member, NewConnection};
use crate::clock;
use crate::config::media_server;
use crate::ice_servers;
use crate::ids;
use crate::openvidu::Generation;
use crate::registry::Liveness;
use crate::session::{
    Connection, ConnectionProperties, IceServer, Offerer, RECORDER, Reason, Refusal, Role, SessionProperties,
};

/// Longest description of the client's platform that is kept, in characters.
const PLATFORM_LEN_MAX: usize = 256;

impl Caller {
    pub(super) async fn join_room(&self, call: &Call) -> Result<Outcome, RpcError> {
        // A socket joins or comes back once. The flag keeps `connect`, which the socket's own task handles, out meanwhile.
        if self.is_entering.swap(true, Ordering::AcqRel) {
            return Err(Refusal::ExistingUser.into());
        }
        let joined = self.enter(call).await;
        if joined.is_err() {
            self.is_entering.store(false, Ordering::Release);
        }
        joined.map(|()| Outcome::Submitted)
    }

    async fn enter(&self, call: &Call) -> Result<(), RpcError> {
        let params = &call.params;
        let (session, door) = self.door(params)?;
        let (client_data, platform) = self.described(params)?;
        let sdk_version = params.optional_text("sdkVersion").ok().flatten();
        let (token, made) = match door {
            Door::Token(token) => (token_of(token).to_owned(), None),
            Door::Secret(guest) => {
                let made = self.open_by_secret(session, guest)?;
                (made.token.clone(), Some(made.id))
            }
        };
        let request = JoinRequest {
            session,
            token: &token,
            client_data,
            platform,
            ip: self.ip.to_string(),
            dialect: self.generation.dialect(),
            outbox: Arc::clone(&self.own),
            liveness: Liveness::Socket,
            deadline: call.deadline,
        };
        let joined = self.app.join(request, |joined| {
            let answer = self.answer(&call.id, &self.join_result(joined, sdk_version)?);
            // Set under the session's lock: a later request of this socket finds the participant or has not joined.
            self.member.set(joined.member.clone()).map_err(|_| Refusal::ExistingUser)?;
            Ok::<_, RpcError>(answer)
        });
        let joined = joined.await;
        if let (Err(_), Some(id)) = (&joined, made) {
            // A connection that was made for this join alone goes with it.
            let _ = self.app.evict(session, &id);
        }
        joined.map(drop)
    }

    /// What the client says of itself.
    fn described(&self, params: &Params) -> Result<(String, String), RpcError> {
        let limits = &self.app.config.limits;
        let client_data = params
            .optional_text("metadata")
            .ok()
            .filter(|data| data.is_none_or(|data| data.len() <= limits.data_len_bytes_max))
            .ok_or_else(|| RpcError::new(errors::METADATA, "the metadata is no text or too long"))?;
        let platform = params.optional_text("platform").ok().flatten().unwrap_or_default();
        let platform = platform.chars().take(PLATFORM_LEN_MAX).collect();
        Ok((client_data.unwrap_or_default().to_owned(), platform))
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

    /// Makes a connection that opens the session, and the session where a founder finds none.
    ///
    /// # Errors
    /// When there is no such session, or no place for one more. Then nothing is made.
    fn open_by_secret(&self, id: &str, guest: Guest) -> Result<Connection, RpcError> {
        let limits = &self.app.config.limits;
        if self.app.registry.participants() >= limits.participants_max {
            return Err(Refusal::Limit("participants").into());
        }
        if self.app.registry.ledger().choose().is_none() {
            return Err(CallError::NoMediaNode("there is no shard that takes more".into()).into());
        }
        if self.app.registry.get(id).is_none() {
            if guest != Guest::Founder || !ids::is_custom_session(id) {
                return Err(Refusal::SessionNotFound.into());
            }
            let properties = SessionProperties {
                custom_session_id: id.to_owned(),
                forced_video_codec: self.app.config.streams.forced_video_codec,
                ..SessionProperties::default()
            };
            match self.app.create_session(properties) {
                // Another founder came first.
                Ok(_) | Err(Refusal::SessionExists) => {}
                Err(refusal) => return Err(refusal.into()),
            }
        }
        let (own_id, role) = match guest {
            Guest::Founder => (ids::connection(), Role::Moderator),
            Guest::Insecure => (ids::connection(), Role::Subscriber),
            Guest::Recorder => (RECORDER.to_owned(), Role::Subscriber),
        };
        let token = ids::token();
        let properties = ConnectionProperties { role, by_secret: true, ..ConnectionProperties::default() };
        let new = NewConnection { id: own_id, token: token.clone(), token_url: token, properties };
        let (connection, _) = self.app.create_connection(id, new)?;
        Ok(connection)
    }

    fn join_result<'a>(
        &'a self,
        joined: &'a Joined<'_>,
        sdk_version: Option<&'a str>,
    ) -> Result<JoinResult<'a>, RpcError> {
        let session = &joined.locked.session;
        let (connection, participant) = session.participant(&joined.member.connection)?;
        let ice_servers = self.app.ice_servers(IceClient {
            own: &connection.properties.custom_ice_servers,
            host: &self.host,
            media_port: joined.media_port,
            now_ms: clock::now_ms(),
        });
        let reported = &self.app.config.compat.reported_version;
        let version = match self.generation {
            Generation::First => reported.to_application(),
            Generation::Second => reported.to_client(sdk_version),
        };
        // Clients of the first generation know one way only.
        let offerer = match self.generation {
            Generation::First => Offerer::Viewer,
            Generation::Second => session.properties.offerer,
        };
        Ok(JoinResult {
            id: &connection.id,
            final_user_id: &participant.final_user_id,
            created_at: participant.active_at_ms,
            metadata: connection.metadata(),
            value: shapes::Others { session, newcomer: &connection.id, generation: self.generation },
            session: &session.id,
            session_id: &participant.resume_key,
            version,
            media_server: media_server(offerer),
            video_simulcast: false,
            record: connection.properties.record,
            role: connection.properties.role.as_str(),
            turn: CoturnFields::of(&ice_servers),
            custom_ice_servers: ice_servers,
        })
    }

    pub(super) fn leave_room(&self, who: &Member, call: &Call) -> Result<Outcome, RpcError> {
        self.app.leave(who, Reason::Disconnect, self.nothing(&call.id))?;
        Ok(Outcome::Submitted)
    }

    /// Takes up the RPC session of a lost socket on this one. Gives the number to read its outbox with.
    ///
    /// # Errors
    /// When there is no such session any more, or this socket has one.
    pub(super) fn connect(&self, id: &Value, params: &Params) -> Result<u64, RpcError> {
        let refused = || RpcError::new(errors::RECONNECTION, "reconnection error");
        let resume_key = params.text("sessionId").map_err(|_| refused())?;
        if self.is_entering.swap(true, Ordering::AcqRel) {
            return Err(refused());
        }
        let result = json!({"sessionId": resume_key, "value": "reconnection successful"});
        let resumed = self.app.resume(resume_key, |outbox| outbox.resume(success(id, &result)));
        let member = resumed.map_err(|_| {
            self.is_entering.store(false, Ordering::Release);
            refused()
        })?;
        let reader = member.reader;
        self.member.set(member).map_err(|_| refused())?;
        Ok(reader)
    }
}

fn token(params: &Params) -> Result<&str, RpcError> {
    params.text("token").map_err(|_| RpcError::new(errors::TOKEN, "the token is missing"))
}

/// The token itself: clients send the whole URL it came in.
fn token_of(text: &str) -> &str {
    let Some((_, query)) = text.split_once('?') else { return text };
    query.split('&').find_map(|pair| pair.strip_prefix("token=")).unwrap_or(text)
}

/// What a client shows to enter a session.
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
    /// The recorder of an existing session. Other participants do not see it.
    Recorder,
}

/// The result of joinRoom.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JoinResult<'a> {
    id: &'a str,
    final_user_id: &'a str,
    created_at: u64,
    metadata: String,
    value: shapes::Others<'a>,
    session: &'a str,
    session_id: &'a str,
    /// A client that finds no full version here hangs for ever.
    version: &'a str,
    /// Name of the media server whose way of negotiating is spoken.
    media_server: &'static str,
    video_simulcast: bool,
    record: bool,
    role: &'static str,
    custom_ice_servers: Vec<IceServer>,
    #[serde(flatten)]
    turn: Option<CoturnFields>,
}

/// The TURN server once more, for clients that read these fields.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CoturnFields {
    coturn_ip: String,
    coturn_port: u16,
    turn_username: String,
    turn_credential: String,
}

impl CoturnFields {
    fn of(servers: &[IceServer]) -> Option<Self> {
        let turn = ice_servers::turn_of(servers)?;
        Some(Self {
            coturn_ip: turn.host.to_owned(),
            coturn_port: turn.port,
            turn_username: turn.username.to_owned(),
            turn_credential: turn.credential.to_owned(),
        })
    }
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
