//! From a plan to the relay's messages.

use super::lexer::Description;
use super::plan::{Accepted, Plan};
use super::{Negotiated, Role, SdpError, Terms, answer};
use millrace_control::{DtlsRole, Extension, ExtensionKind, PutPeer, PutSubscription, PutTrack};

/// Answers `offer`; see [`super::negotiate_publish`] and [`super::negotiate_subscribe`].
pub(super) fn negotiate(offer: &str, terms: &Terms<'_>, role: Role) -> Result<Negotiated, SdpError> {
    let description = Description::parse(offer)?;
    let plan = Plan::new(&description, terms, role)?;
    let setup = match plan.remote.dtls_role {
        DtlsRole::Server => "passive",
        DtlsRole::Client => "active",
    };
    let received = plan.layout.accepted().filter(|section| section.flow.receives);
    let sent = plan.layout.accepted().filter(|section| section.flow.sends);
    Ok(Negotiated {
        answer: answer::write(&plan.layout, setup, terms),
        peer: put_peer(&plan, terms),
        tracks: received.map(|section| put_track(section, terms)).collect(),
        subscriptions: sent.map(|section| put_subscription(section, terms)).collect(),
    })
}

fn put_peer(plan: &Plan<'_>, terms: &Terms<'_>) -> PutPeer {
    let layout = &plan.layout;
    let has_extension = layout.extensions.iter().any(|extmap| extmap.kind == ExtensionKind::TransportCc);
    let received =
        || layout.accepted().filter(|section| section.flow.receives).flat_map(|section| &section.codecs);
    let extension = |kind: ExtensionKind, id| Extension { kind: kind.into(), id };
    let receives = layout.accepted().any(|section| section.flow.receives);
    PutPeer {
        room: terms.ids.room,
        peer: terms.ids.peer,
        local_ufrag: terms.ice.ufrag.clone(),
        local_pwd: terms.ice.pwd.clone(),
        remote_ufrag: plan.remote.ice.ufrag.clone(),
        remote_pwd: plan.remote.ice.pwd.clone(),
        dtls_role: plan.remote.dtls_role.into(),
        remote_fingerprint: plan.remote.fingerprint.to_vec(),
        extensions: layout.extensions.iter().map(|extmap| extension(extmap.kind, extmap.id)).collect(),
        receive_max_bps: if receives { u64::from(terms.receive_max_kbps) * 1000 } else { 0 },
        transport_cc: has_extension && received().any(|codec| codec.feedback.transport_cc),
        remb: received().any(|codec| codec.feedback.remb),
        ..PutPeer::default()
    }
}

fn put_track(section: &Accepted<'_>, terms: &Terms<'_>) -> PutTrack {
    let feedback = || section.codecs.iter().map(|codec| codec.feedback);
    PutTrack {
        track: section.ids.track,
        peer: terms.ids.peer,
        mid: section.mid.to_owned(),
        kind: section.kind.into(),
        codecs: section.codecs.iter().map(super::codec::Selected::codec).collect(),
        ssrcs: section.signaled.clone(),
        nack: feedback().any(|it| it.nack),
        pli: feedback().any(|it| it.pli),
        fir: feedback().any(|it| it.fir),
    }
}

pub(super) fn put_subscription(section: &Accepted<'_>, terms: &Terms<'_>) -> PutSubscription {
    PutSubscription {
        subscription: section.ids.subscription,
        peer: terms.ids.peer,
        track: section.ids.track,
        mid: section.mid.to_owned(),
        ssrc: section.ssrcs.media,
        rtx_ssrc: section.rtx_ssrc(),
        codecs: section.codecs.iter().map(super::codec::Selected::codec).collect(),
        cname: answer::cname(terms),
        kind: section.kind.into(),
        // Without a home: the session adds it, which knows the shards.
        ..PutSubscription::default()
    }
}
