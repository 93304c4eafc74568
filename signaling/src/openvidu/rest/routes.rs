//! The calls of the REST API: one line each.

use std::sync::Arc;

use axum::routing::{MethodFilter, MethodRouter, on};

use super::{connections, server, sessions, signal};
use crate::app::App;

/// One method of one path.
pub(super) struct Route {
    method: MethodFilter,
    /// Below `/openvidu/api`.
    pub(super) path: &'static str,
    pub(super) access: Access,
    handler: fn(MethodFilter) -> MethodRouter<Arc<App>>,
}

/// Who may call.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Whoever knows the secret.
    Secret,
    /// Everybody.
    Everybody,
}

/// Every call there is. Another method of one of these paths is forbidden, and so is any other path.
pub(super) static ROUTES: [Route; 22] = [
    secret(MethodFilter::GET, "/sessions", |filter| on(filter, sessions::list)),
    secret(MethodFilter::POST, "/sessions", |filter| on(filter, sessions::create)),
    secret(MethodFilter::GET, "/sessions/{session}", |filter| on(filter, sessions::get)),
    secret(MethodFilter::DELETE, "/sessions/{session}", |filter| on(filter, sessions::close)),
    secret(MethodFilter::GET, "/sessions/{session}/connection", |filter| on(filter, connections::list)),
    secret(MethodFilter::POST, "/sessions/{session}/connection", |filter| on(filter, connections::create)),
    secret(MethodFilter::GET, "/sessions/{session}/connection/{connection}", |filter| {
        on(filter, connections::get)
    }),
    secret(MethodFilter::DELETE, "/sessions/{session}/connection/{connection}", |filter| {
        on(filter, connections::disconnect)
    }),
    secret(MethodFilter::DELETE, "/sessions/{session}/stream/{stream}", |filter| {
        on(filter, connections::unpublish)
    }),
    secret(MethodFilter::POST, "/tokens", |filter| on(filter, connections::create_token)),
    secret(MethodFilter::POST, "/signal", |filter| on(filter, signal::send)),
    secret(MethodFilter::GET, "/recordings", |filter| on(filter, server::not_implemented)),
    secret(MethodFilter::POST, "/recordings/start", |filter| on(filter, server::not_implemented)),
    secret(MethodFilter::POST, "/recordings/stop/{recording}", |filter| on(filter, server::not_implemented)),
    secret(MethodFilter::GET, "/recordings/{recording}", |filter| on(filter, server::not_implemented)),
    secret(MethodFilter::DELETE, "/recordings/{recording}", |filter| on(filter, server::not_implemented)),
    secret(MethodFilter::GET, "/config", |filter| on(filter, server::config)),
    secret(MethodFilter::GET, "/config/openvidu-version", |filter| on(filter, server::version)),
    secret(MethodFilter::GET, "/config/openvidu-recording", |filter| on(filter, server::no)),
    secret(MethodFilter::GET, "/config/openvidu-recording-path", |filter| on(filter, server::nowhere)),
    secret(MethodFilter::GET, "/config/openvidu-cdr", |filter| on(filter, server::cdr)),
    Route {
        method: MethodFilter::GET,
        path: "/config/openvidu-publicurl",
        access: Access::Everybody,
        handler: |filter| on(filter, server::public_url),
    },
];

impl Route {
    pub(super) fn handler(&self) -> MethodRouter<Arc<App>> {
        (self.handler)(self.method)
    }
}

const fn secret(
    method: MethodFilter,
    path: &'static str,
    handler: fn(MethodFilter) -> MethodRouter<Arc<App>>,
) -> Route {
    Route { method, path, access: Access::Secret, handler }
}
