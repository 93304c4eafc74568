//! Publishing, and ending what is published.

use serde_json::json;

use super::super::errors::RpcError;
use super::options::media_options;
use super::{Call, Caller, Outcome, sdp_param};
use crate::app::{Member, PublishRequest};

impl Caller {
    pub(super) async fn publish_video(&self, who: &Member, call: &Call) -> Result<Outcome, RpcError> {
        let offer = sdp_param(&call.params, "sdpOffer")?;
        let options = media_options(&call.params, offer, self.generation)?;
        let loopback = call.params.optional_bool("doLoopback")?.unwrap_or(false);
        let request = PublishRequest { offer, options, loopback, deadline: call.deadline };
        self.app
            .publish(who, request, |published| {
                let (answer, id) = (&published.answer, &published.stream);
                let result = json!({"sdpAnswer": answer, "id": id, "createdAt": published.created_at_ms});
                self.answer(&call.id, &result)
            })
            .await?;
        Ok(Outcome::Submitted)
    }

    pub(super) fn unpublish_video(&self, who: &Member, call: &Call) -> Result<Outcome, RpcError> {
        self.app.unpublish(who, self.nothing(&call.id))?;
        Ok(Outcome::Submitted)
    }
}
