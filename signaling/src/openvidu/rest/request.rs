//! What a handler reads of a request. Whatever cannot be read is refused in the API's own words, not in the
//! framework's.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Failure, hidden};
use crate::access::Principal;
use crate::registry::{Peers, SessionState};

/// The names in a path.
pub(super) struct Named<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Named<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let named = Path::<T>::from_request_parts(parts, state).await;
        named.map(|Path(names)| Self(names)).map_err(|_| Failure::bad("the path cannot be read"))
    }
}

/// What a list is to show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Shown {
    pending: Option<bool>,
    /// Whether each publisher and subscriber comes with what is known of its PeerConnection.
    web_rtc_stats: bool,
    /// Whether the caller may see tokens, passwords and session descriptions.
    credentials: bool,
}

impl Shown {
    /// Name of the parameter about connections whose token was not used yet.
    pub(super) const PENDING: &'static str = "pendingConnections";
    /// Name of the parameter about PeerConnections.
    pub(super) const STATS: &'static str = "webRtcStats";

    /// As the application asks that names nothing in particular.
    #[cfg(test)]
    pub(super) fn everything() -> Self {
        Self { credentials: true, ..Self::default() }
    }

    /// What is known of PeerConnections, if that is to be shown.
    pub(super) fn peers(self, state: &SessionState) -> Option<&Peers> {
        self.web_rtc_stats.then_some(&state.peers)
    }

    /// The answer, without what the caller may not see.
    pub(super) fn answer(self, answer: Value) -> Json<Value> {
        Json(self.visible(answer))
    }

    /// Whether the caller may see all that there is.
    pub(super) const fn shows_all(self) -> bool {
        self.credentials
    }

    /// What the caller may see of that.
    pub(super) fn visible(self, mut answer: Value) -> Value {
        if !self.credentials {
            hidden::hide(&mut answer);
        }
        answer
    }

    /// Whether pending connections are shown.
    pub(super) fn pending(self, default: bool) -> bool {
        self.pending.unwrap_or(default)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Shown {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let pairs = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri);
        let Query(pairs) = pairs.map_err(|_| Failure::bad("the query cannot be read"))?;
        let principal = parts.extensions.get::<Principal>();
        let credentials = principal.is_some_and(Principal::may_see_credentials);
        let mut shown = Self { credentials, ..Self::default() };
        for (name, value) in pairs {
            match name.as_str() {
                Self::PENDING => shown.pending = flag(&name, &value)?,
                Self::STATS => shown.web_rtc_stats = flag(&name, &value)?.unwrap_or(false),
                // Parameters of other editions are accepted and without effect.
                _ => {}
            }
        }
        Ok(shown)
    }
}

/// A parameter without a value is not there.
fn flag(name: &str, value: &str) -> Result<Option<bool>, Failure> {
    match value {
        "" => Ok(None),
        "true" => Ok(Some(true)),
        "false" => Ok(Some(false)),
        _ => Err(Failure::bad(format!("{name} must be true or false"))),
    }
}

/// The bytes of a body, of which there may be none.
pub(super) struct Raw(pub(super) Bytes);

impl<S: Send + Sync> FromRequest<S> for Raw {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let refused = |rejection: BytesRejection| Failure::new(rejection.status(), rejection.body_text());
        Bytes::from_request(request, state).await.map(Self).map_err(refused)
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::StatusCode;

    use super::*;

    async fn shown(query: &str) -> Result<Shown, Failure> {
        let request = Request::builder().uri(format!("/sessions{query}")).body(Body::empty()).unwrap();
        Shown::from_request_parts(&mut request.into_parts().0, &()).await
    }

    #[tokio::test]
    async fn a_query_is_read_or_refused() {
        assert_eq!(shown("").await, Ok(Shown::default()));
        let both = shown("?pendingConnections=true&webRtcStats=true&other=7").await.unwrap();
        assert!(both.pending(false) && both.web_rtc_stats);
        assert!(shown("?pendingConnections=").await.unwrap().pending(true));
        for bad in ["?pendingConnections=x", "?webRtcStats=1"] {
            assert_eq!(shown(bad).await.unwrap_err().status, StatusCode::BAD_REQUEST, "{bad}");
        }
    }
}
