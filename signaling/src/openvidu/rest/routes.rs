//! The calls of the REST API: one entry each. The router and the OpenAPI file are both made of it.

use std::sync::Arc;

use axum::routing::{MethodFilter, MethodRouter, on};

use super::fields::{self, Shape};
use super::request::Shown;
use super::{connections, invitations, server, sessions, signal};
use crate::app::App;

/// One method of one path.
pub(super) struct Route {
    pub(super) verb: Verb,
    /// Where its path begins: [`OPENVIDU`], or [`OURS`] for what OpenVidu does not have.
    pub(super) base: &'static str,
    /// Below the base.
    pub(super) path: &'static str,
    pub(super) access: Access,
    handler: fn(MethodFilter) -> MethodRouter<Arc<App>>,
    /// What it does, in one line.
    pub(super) summary: &'static str,
    /// Parameters of the query, all of them true or false.
    pub(super) query: &'static [(&'static str, &'static str)],
    /// What it reads.
    pub(super) body: Option<&'static Shape>,
    /// What it answers, besides what every call may.
    pub(super) answers: &'static [Answer],
}

/// Where OpenVidu's calls are.
pub(super) const OPENVIDU: &str = "/openvidu/api";

/// Where our own calls are.
pub(super) const OURS: &str = "/millrace/api";

/// The method of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verb {
    Get,
    Post,
    Delete,
}

/// Who may call.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// The application, by its secret; the monitor too where the method is GET.
    Secret,
    /// Everybody.
    Everybody,
}

/// One answer.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) content: Content,
    pub(super) about: &'static str,
}

/// What an answer carries.
#[derive(Clone, Copy)]
pub(super) enum Content {
    Nothing,
    Text,
    Json(&'static Shape),
}

const GET: Verb = Verb::Get;
const POST: Verb = Verb::Post;
const DELETE: Verb = Verb::Delete;

const STATS: (&str, &str) =
    (Shown::STATS, "Whether publishers and subscribers come with their PeerConnections");
const ACTIVE: [(&str, &str); 2] =
    [(Shown::PENDING, "Whether connections nobody has used yet are in it; false"), STATS];
const ALL: [(&str, &str); 2] =
    [(Shown::PENDING, "Whether connections nobody has used yet are in it; true"), STATS];

/// Every call there is. Another method of one of these paths is forbidden, and so is any other path.
pub(super) static ROUTES: [Route; 24] = [
    secret(GET, "/sessions", |filter| on(filter, sessions::list))
        .says("Lists the sessions")
        .query(&ACTIVE)
        .answers(&[json(&fields::SESSIONS)]),
    secret(POST, "/sessions", |filter| on(filter, sessions::create))
        .says("Makes a session")
        .body(&fields::SESSION_PROPERTIES)
        .answers(&[
            json(&fields::SESSION),
            empty(409, "There is a session of that id"),
            failure(503, "There are too many sessions"),
        ]),
    secret(GET, "/sessions/{session}", |filter| on(filter, sessions::get))
        .says("Shows a session")
        .query(&ACTIVE)
        .answers(&[json(&fields::SESSION), NO_SESSION]),
    secret(DELETE, "/sessions/{session}", |filter| on(filter, sessions::close))
        .says("Closes a session and puts everybody out")
        .answers(&[DONE, NO_SESSION]),
    secret(GET, "/sessions/{session}/connection", |filter| on(filter, connections::list))
        .says("Lists the connections of a session")
        .query(&ALL)
        .answers(&[json(&fields::CONNECTIONS), NO_SESSION]),
    secret(POST, "/sessions/{session}/connection", |filter| on(filter, connections::create))
        .says("Makes a connection, with the token a client joins with")
        .body(&fields::CONNECTION_PROPERTIES)
        .answers(&[
            json(&fields::CONNECTION),
            NO_SESSION,
            failure(501, "There are no IP cameras yet"),
            failure(503, "The session has too many connections"),
        ]),
    secret(GET, "/sessions/{session}/connection/{connection}", |filter| on(filter, connections::get))
        .says("Shows a connection")
        .query(&[STATS])
        .answers(&[json(&fields::CONNECTION), empty(404, "There is no such connection in the session")]),
    secret(DELETE, "/sessions/{session}/connection/{connection}", |filter| {
        on(filter, connections::disconnect)
    })
    .says("Puts a participant out, or takes back a token nobody has used")
    .answers(&[DONE, empty(404, "There is no such connection in the session")]),
    secret(DELETE, "/sessions/{session}/stream/{stream}", |filter| on(filter, connections::unpublish))
        .says("Ends a stream")
        .answers(&[DONE, empty(404, "There is no such stream in the session")]),
    secret(POST, "/tokens", |filter| on(filter, connections::create_token))
        .says("Makes a connection; the call of older applications")
        .body(&fields::TOKEN_PROPERTIES)
        .answers(&[
            json(&fields::TOKEN),
            NO_SESSION,
            failure(501, "There are no IP cameras yet"),
            failure(503, "The session has too many connections"),
        ]),
    secret(POST, "/signal", |filter| on(filter, signal::send))
        .says("Sends a signal to some or all participants of a session")
        .body(&fields::SIGNAL)
        .answers(&[
            empty(200, "Sent"),
            NO_SESSION,
            empty(406, "Nobody has joined, or one of the receivers is not there"),
        ]),
    secret(GET, "/recordings", |filter| on(filter, server::not_implemented))
        .says("Lists the recordings")
        .answers(&[NO_RECORDING]),
    secret(POST, "/recordings/start", |filter| on(filter, server::not_implemented))
        .says("Starts a recording")
        .answers(&[NO_RECORDING]),
    secret(POST, "/recordings/stop/{recording}", |filter| on(filter, server::not_implemented))
        .says("Ends a recording")
        .answers(&[NO_RECORDING]),
    secret(GET, "/recordings/{recording}", |filter| on(filter, server::not_implemented))
        .says("Shows a recording")
        .answers(&[NO_RECORDING]),
    secret(DELETE, "/recordings/{recording}", |filter| on(filter, server::not_implemented))
        .says("Deletes a recording")
        .answers(&[NO_RECORDING]),
    secret(GET, "/config", |filter| on(filter, server::config))
        .says("Shows how the server is configured")
        .answers(&[json(&fields::CONFIGURATION)]),
    secret(GET, "/config/openvidu-version", |filter| on(filter, server::version))
        .says("The release of OpenVidu whose clients are served")
        .answers(&[TEXT]),
    secret(GET, "/config/openvidu-recording", |filter| on(filter, server::no))
        .says("Whether recordings can be made")
        .answers(&[TEXT]),
    secret(GET, "/config/openvidu-recording-path", |filter| on(filter, server::nowhere))
        .says("Where recordings are; empty without recording")
        .answers(&[TEXT]),
    secret(GET, "/config/openvidu-cdr", |filter| on(filter, server::cdr))
        .says("Whether call detail records are written")
        .answers(&[TEXT]),
    Route {
        access: Access::Everybody,
        ..secret(GET, "/config/openvidu-publicurl", |filter| on(filter, server::public_url))
    }
    .says("Where clients reach the server")
    .answers(&[TEXT]),
    Route { base: OURS, ..secret(POST, "/invitations", |filter| on(filter, invitations::create)) }
        .says("Signs an invitation: a link by which guests enter without the secret")
        .body(&fields::INVITATION_PROPERTIES)
        .answers(&[json(&fields::INVITATION)]),
    Route {
        base: OURS,
        access: Access::Everybody,
        ..secret(POST, "/invitations/enter", |filter| on(filter, invitations::enter))
    }
    .says("Exchanges an invitation for a token")
    .body(&fields::INVITED)
    .answers(&[
        json(&fields::ENTRY),
        failure(403, "This server did not sign the invitation"),
        empty(404, "There is no such session, and the invitation does not make one"),
        failure(410, "The invitation has expired"),
        failure(503, "There are too many sessions, or too many connections in this one"),
    ]),
];

const NO_SESSION: Answer = empty(404, "There is no such session");
const NO_RECORDING: Answer = empty(501, "There are no recordings yet");
const DONE: Answer = empty(204, "Done");
const TEXT: Answer = Answer { status: 200, content: Content::Text, about: "As a bare text" };

impl Route {
    /// Its whole path.
    pub(super) fn whole_path(&self) -> String {
        format!("{}{}", self.base, self.path)
    }

    pub(super) fn handler(&self) -> MethodRouter<Arc<App>> {
        (self.handler)(self.verb.filter())
    }

    const fn says(self, summary: &'static str) -> Self {
        Self { summary, ..self }
    }

    const fn query(self, query: &'static [(&'static str, &'static str)]) -> Self {
        Self { query, ..self }
    }

    const fn body(self, body: &'static Shape) -> Self {
        Self { body: Some(body), ..self }
    }

    const fn answers(self, answers: &'static [Answer]) -> Self {
        Self { answers, ..self }
    }
}

impl Verb {
    const fn filter(self) -> MethodFilter {
        match self {
            Self::Get => MethodFilter::GET,
            Self::Post => MethodFilter::POST,
            Self::Delete => MethodFilter::DELETE,
        }
    }

    /// Its name in the OpenAPI file.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Post => "post",
            Self::Delete => "delete",
        }
    }
}

const fn secret(
    verb: Verb,
    path: &'static str,
    handler: fn(MethodFilter) -> MethodRouter<Arc<App>>,
) -> Route {
    let base = OPENVIDU;
    Route {
        verb,
        base,
        path,
        access: Access::Secret,
        handler,
        summary: "",
        query: &[],
        body: None,
        answers: &[],
    }
}

const fn json(shape: &'static Shape) -> Answer {
    Answer { status: 200, content: Content::Json(shape), about: shape.name }
}

const fn empty(status: u16, about: &'static str) -> Answer {
    Answer { status, content: Content::Nothing, about }
}

const fn failure(status: u16, about: &'static str) -> Answer {
    Answer { status, content: Content::Json(&fields::FAILURE), about }
}
