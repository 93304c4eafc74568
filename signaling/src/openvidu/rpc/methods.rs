//! The methods of the RPC: one line each.

use super::super::errors::{self, RpcError};
use super::{Call, Caller, Outcome, instant};
use crate::app::Member;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

/// A method and how it is carried out.
pub struct Method {
    /// Its name on the wire.
    pub name: &'static str,
    pub(super) handler: Handler,
}

/// Who carries a method out, and where.
pub(super) enum Handler {
    /// The socket itself, at any time.
    Ping,
    /// The socket itself, in place of a join.
    Connect,
    /// The worker; the first there is.
    Join,
    /// The socket's own task, without waiting for what came before. Before the join it waits behind that.
    Instant(instant::Answer),
    /// The worker, without waiting for anybody.
    Model(fn(&Caller, &Member, &Call) -> Result<Outcome, RpcError>),
    /// The worker, with the relay. Another socket of the same participant may be negotiating: one at a time.
    Negotiation(for<'a> fn(&'a Caller, &'a Member, &'a Call) -> BoxFuture<'a, Result<Outcome, RpcError>>),
    /// No handler: the answer is always this error.
    Refused(i32, &'static str),
}

/// Every method clients know.
pub static METHODS: [Method; 24] = [
    method("ping", Handler::Ping),
    method("connect", Handler::Connect),
    method("joinRoom", Handler::Join),
    method("leaveRoom", Handler::Model(Caller::leave_room)),
    method("publishVideo", Handler::Negotiation(|caller, who, call| caller.publish_video(who, call).boxed())),
    method("unpublishVideo", Handler::Model(Caller::unpublish_video)),
    method(
        "receiveVideoFrom",
        Handler::Negotiation(|caller, who, call| caller.receive_video_from(who, call).boxed()),
    ),
    method(
        "prepareReceiveVideoFrom",
        Handler::Negotiation(|caller, who, call| caller.prepare_receive_video_from(who, call).boxed()),
    ),
    method("unsubscribeFromVideo", Handler::Model(Caller::unsubscribe_from_video)),
    method(
        "reconnectStream",
        Handler::Negotiation(|caller, who, call| caller.reconnect_stream(who, call).boxed()),
    ),
    // The client gives up without its echo after 3 s, and a negotiation may take longer.
    method("echo", Handler::Instant(instant::echo)),
    method("videoData", Handler::Instant(instant::video_data)),
    method("onIceCandidate", Handler::Instant(instant::on_ice_candidate)),
    method("sendMessage", Handler::Model(Caller::send_message)),
    method("streamPropertyChanged", Handler::Model(Caller::stream_property_changed)),
    method("forceDisconnect", Handler::Model(Caller::force_disconnect)),
    method("forceUnpublish", Handler::Model(Caller::force_unpublish)),
    method("applyFilter", NO_FILTERS),
    method("removeFilter", NO_FILTERS),
    method("execFilterMethod", NO_FILTERS),
    method("addFilterEventListener", NO_FILTERS),
    method("removeFilterEventListener", NO_FILTERS),
    method("subscribeToSpeechToText", NO_SPEECH),
    method("unsubscribeFromSpeechToText", NO_SPEECH),
];

/// Any other name.
static UNKNOWN: Method = method("", Handler::Refused(errors::METHOD, "no such method"));

const NO_FILTERS: Handler = Handler::Refused(errors::NOT_ENABLED, "this server has no filters");
const NO_SPEECH: Handler = Handler::Refused(errors::EDITION, "this server has no speech to text");

impl Method {
    /// The method of that name, or the one that is refused as unknown.
    pub(super) fn named(name: &str) -> &'static Self {
        METHODS.iter().find(|method| method.name == name).unwrap_or(&UNKNOWN)
    }

    /// Whether it is refused with 803 before joinRoom.
    pub const fn needs_join(&self) -> bool {
        !matches!(self.handler, Handler::Ping | Handler::Connect | Handler::Join)
    }
}

const fn method(name: &'static str, handler: Handler) -> Method {
    Method { name, handler }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_name_is_there_once_and_found() {
        let names: BTreeSet<&str> = METHODS.iter().map(|method| method.name).collect();
        assert_eq!(names.len(), METHODS.len());
        assert!(METHODS.iter().all(|method| Method::named(method.name).name == method.name));
        assert_eq!(Method::named("joinroom").name, "");
    }

    #[test]
    fn what_keeps_a_socket_alive_or_opens_the_door_needs_no_join() {
        let free: Vec<&str> =
            METHODS.iter().filter(|method| !method.needs_join()).map(|method| method.name).collect();
        assert_eq!(free, ["ping", "connect", "joinRoom"]);
        assert!(UNKNOWN.needs_join(), "803 comes before everything else");
    }
}
