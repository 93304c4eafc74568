//! An offer of ours to a viewer, and what its answer comes to: OpenVidu's mediasoup mode, and forced reconnections.
//!
//! The offer has the formats of the stream and no others, under the payload types of its publisher: those are distinct
//! on one transport already, and RED names one of them.

use super::codec::Selected;
use super::error::SdpError;
use super::feedback::Feedback;
use super::format::{self, Format};
use super::plan::{Accepted, Flow, Layout, Planned};
use super::stream::Simulcast;
use super::{KindIds, Negotiated, Role, Ssrcs, Terms, answer, extension, negotiate};
use millrace_control::{Codec, MediaKind, PutPeer, PutSubscription};

/// What a browser calls secured RTP.
const PROTOCOL: &str = "UDP/TLS/RTP/SAVPF";

/// An offer that waits for its answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Offered {
    /// Text for the browser.
    pub offer: String,
    /// Our end of the transport; the browser's is in its answer.
    pub peer: PutPeer,
    /// What is offered.
    pub subscriptions: Vec<PutSubscription>,
}

/// One payload type in words.
struct Described {
    codec: Codec,
    format: Format,
    encoding: &'static str,
    fmtp: String,
}

/// Offers a stream whose publisher sends these payload types.
///
/// # Errors
/// [`SdpError::NoMedia`] when there is nothing to offer.
pub fn offer_subscribe(audio: &[Codec], video: &[Codec], terms: &Terms<'_>) -> Result<Offered, SdpError> {
    let audio = describe(audio);
    let video = describe(video);
    let kinds = [
        (MediaKind::Audio, &audio, terms.ids.audio, terms.audio_ssrcs),
        (MediaKind::Video, &video, terms.ids.video, terms.video_ssrcs),
    ];
    let mids = ["0", "1"];
    let wanted = kinds.into_iter().filter(|(_, codecs, ..)| !codecs.is_empty());
    let wanted = wanted.filter_map(|(kind, codecs, ids, ssrcs)| Some((kind, codecs, ids?, ssrcs)));
    let sections: Vec<Accepted<'_>> = wanted
        .zip(mids)
        .map(|((kind, codecs, ids, ssrcs), mid)| section(mid, kind, codecs, ids, ssrcs))
        .collect();
    if sections.is_empty() {
        return Err(SdpError::NoMedia);
    }
    let subscriptions = sections.iter().map(|section| negotiate::put_subscription(section, terms)).collect();
    let layout = Layout {
        bundle: Some(sections.iter().map(|section| section.mid).collect()),
        mixed_extensions: true,
        sections: sections.into_iter().map(|section| Planned::Accepted(Box::new(section))).collect(),
        extensions: Vec::new(),
    };
    let peer = PutPeer {
        room: terms.ids.room,
        peer: terms.ids.peer,
        local_ufrag: terms.ice.ufrag.clone(),
        local_pwd: terms.ice.pwd.clone(),
        ..PutPeer::default()
    };
    Ok(Offered { offer: answer::write(&layout, "actpass", terms), peer, subscriptions })
}

/// Reads the answer to what was `offered`, with the terms that it was made with. The text in the outcome has no reader.
///
/// # Errors
/// As for an offer; [`SdpError::NoCodec`] when a section was declined, and [`SdpError::Malformed`] when it answers
/// something else than was offered.
pub fn accept_subscribe(
    answer: &str,
    offered: &[PutSubscription],
    terms: &Terms<'_>,
) -> Result<Negotiated, SdpError> {
    // An answer has the form of an offer to receive, with our names and numbers in it.
    let accepted = negotiate::negotiate(answer, terms, Role::Subscribe)?;
    for offered in offered {
        let found = accepted.subscriptions.iter().find(|it| it.kind == offered.kind);
        let found = found.ok_or(SdpError::NoCodec { kind: offered.kind() })?;
        let is_ours = |codec: &Codec| {
            let same = |ours: &Codec| (ours.format, ours.payload_type) == (codec.format, codec.payload_type);
            offered.codecs.iter().any(same)
        };
        if found.mid != offered.mid || !found.codecs.iter().all(is_ours) {
            return Err(SdpError::Malformed { line: 0, what: "the answer is not to this offer" });
        }
    }
    Ok(accepted)
}

fn describe(codecs: &[Codec]) -> Vec<Described> {
    let described = codecs.iter().filter_map(|codec| {
        let (encoding, fmtp) = format::describe(codec.format)?;
        let format = Format { number: codec.format, kind: codec.kind() };
        Some(Described { codec: *codec, format, encoding, fmtp })
    });
    described.collect()
}

fn section<'a>(
    mid: &'a str,
    kind: MediaKind,
    codecs: &'a [Described],
    ids: KindIds,
    ssrcs: Ssrcs,
) -> Accepted<'a> {
    let number = |number: u32| u8::try_from(number).unwrap_or(u8::MAX);
    let selected = |described: &'a Described| Selected {
        payload_type: number(described.codec.payload_type),
        encoding: described.encoding,
        fmtp: &described.fmtp,
        clock_rate_hz: described.codec.clock_rate_hz,
        format: described.format,
        feedback: Feedback::offered(kind),
        rtx: described.codec.rtx_payload_type.map(number),
    };
    Accepted {
        mid,
        kind,
        protocol: PROTOCOL,
        flow: Flow { sends: true, receives: false },
        codecs: codecs.iter().map(selected).collect(),
        extensions: extension::offered(kind),
        mixed_extensions: false,
        reduced_size_rtcp: true,
        simulcast: Simulcast::default(),
        ids,
        ssrcs,
        signaled: Vec::new(),
    }
}
