//! Which RTP header extensions (RFC 8285) are taken from an offer.

use super::Role;
use super::error::SdpError;
use super::lexer::Section;
use millrace_control::{ExtensionKind, MediaKind};

/// The extensions that the relay knows, under their names.
const NAMES: [(ExtensionKind, &str); 15] = [
    (ExtensionKind::Mid, "urn:ietf:params:rtp-hdrext:sdes:mid"),
    (ExtensionKind::Rid, "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"),
    (ExtensionKind::RepairedRid, "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id"),
    (ExtensionKind::AbsSendTime, "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"),
    (ExtensionKind::TransportCc, "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"),
    (ExtensionKind::AudioLevel, "urn:ietf:params:rtp-hdrext:ssrc-audio-level"),
    (ExtensionKind::VideoOrientation, "urn:3gpp:video-orientation"),
    (ExtensionKind::TransmissionOffset, "urn:ietf:params:rtp-hdrext:toffset"),
    (ExtensionKind::PlayoutDelay, "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"),
    (
        ExtensionKind::DependencyDescriptor,
        "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension",
    ),
    (ExtensionKind::VideoContentType, "http://www.webrtc.org/experiments/rtp-hdrext/video-content-type"),
    (ExtensionKind::VideoTiming, "http://www.webrtc.org/experiments/rtp-hdrext/video-timing"),
    (ExtensionKind::ColorSpace, "http://www.webrtc.org/experiments/rtp-hdrext/color-space"),
    (ExtensionKind::AbsCaptureTime, "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time"),
    (
        ExtensionKind::VideoLayersAllocation,
        "http://www.webrtc.org/experiments/rtp-hdrext/video-layers-allocation00",
    ),
];

/// What a viewer gets: facts about a packet or its frame, which forwarding does not change, and MID, which the relay writes
/// from the subscription. Everything else tells of one hop or of one publisher's encodings.
const FORWARDED: [ExtensionKind; 9] = [
    ExtensionKind::Mid,
    ExtensionKind::AudioLevel,
    ExtensionKind::VideoOrientation,
    ExtensionKind::PlayoutDelay,
    ExtensionKind::DependencyDescriptor,
    ExtensionKind::VideoContentType,
    ExtensionKind::VideoTiming,
    ExtensionKind::ColorSpace,
    ExtensionKind::AbsCaptureTime,
];

/// What a viewer gets besides: the extensions that the relay stamps itself on the way out.
const STAMPED: [ExtensionKind; 2] = [ExtensionKind::AbsSendTime, ExtensionKind::TransportCc];

/// Largest id of the one-byte form (RFC 8285 §4.2).
const ONE_BYTE_ID_MAX: u32 = 14;
/// Has no meaning in the one-byte form (RFC 8285 §4.2), and the contract leaves it out of both.
const RESERVED_ID: u32 = 15;
/// Largest id of the two-byte form (RFC 8285 §4.3).
const TWO_BYTE_ID_MAX: u32 = 255;

/// One accepted `a=extmap` line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extmap {
    pub(super) id: u32,
    pub(super) kind: ExtensionKind,
    /// Direction from our side, where the offer names one.
    pub(super) direction: Option<&'static str>,
}

impl Extmap {
    /// The name that goes into SDP.
    pub(super) fn name(&self) -> &'static str {
        NAMES.iter().find(|(kind, _)| *kind == self.kind).map_or("", |(_, name)| name)
    }
}

/// What a viewer is offered, under its id: one meaning for each, whatever the kind of the section.
const OFFERED: [(u32, ExtensionKind); 11] = [
    (1, ExtensionKind::Mid),
    (2, ExtensionKind::AbsSendTime),
    (3, ExtensionKind::TransportCc),
    (4, ExtensionKind::AudioLevel),
    (5, ExtensionKind::VideoOrientation),
    (6, ExtensionKind::PlayoutDelay),
    (7, ExtensionKind::DependencyDescriptor),
    (8, ExtensionKind::VideoContentType),
    (9, ExtensionKind::VideoTiming),
    (10, ExtensionKind::ColorSpace),
    (11, ExtensionKind::AbsCaptureTime),
];

/// The extensions of a section that we offer to a viewer.
pub(super) fn offered(media: MediaKind) -> Vec<Extmap> {
    let of_both =
        |kind| STAMPED.contains(&kind) || matches!(kind, ExtensionKind::Mid | ExtensionKind::AbsCaptureTime);
    let fits = |kind| of_both(kind) || (kind == ExtensionKind::AudioLevel) == (media == MediaKind::Audio);
    let extmaps = OFFERED.into_iter().filter(|(_, kind)| fits(*kind));
    extmaps.map(|(id, kind)| Extmap { id, kind, direction: None }).collect()
}

/// Takes from one section what `role` wants. `taken` holds what earlier sections of the bundle took: there is one id
/// space and one meaning for each id on a transport (RFC 9143 §12), so a line that contradicts it is left out.
///
/// # Errors
/// [`SdpError::Malformed`] for an id that is no number.
pub(super) fn select(
    section: &Section<'_>,
    role: Role,
    two_byte: bool,
    taken: &mut Vec<Extmap>,
) -> Result<Vec<Extmap>, SdpError> {
    let mut selected: Vec<Extmap> = Vec::new();
    for attribute in section.all("extmap") {
        let mut words = attribute.value.split_ascii_whitespace();
        let (Some(id), Some(name)) = (words.next(), words.next()) else {
            return Err(attribute.malformed("a=extmap is too short"));
        };
        let (id, direction) = id.split_once('/').map_or((id, None), |(id, direction)| (id, Some(direction)));
        let id: u32 = id.parse().map_err(|_| attribute.malformed("the id of a=extmap is no number"))?;
        let Some(direction) = mirrored(direction) else { continue };
        let Some((kind, _)) = NAMES.iter().find(|(_, known)| *known == name) else { continue };
        let extmap = Extmap { id, kind: *kind, direction };
        if is_wanted(*kind, role) && is_usable(id, two_byte) && fits(&extmap, &selected, taken) {
            selected.push(extmap);
            if !taken.iter().any(|old| old.id == id) {
                taken.push(extmap);
            }
        }
    }
    Ok(selected)
}

fn is_wanted(kind: ExtensionKind, role: Role) -> bool {
    match role {
        Role::Publish => true,
        Role::Subscribe => FORWARDED.contains(&kind) || STAMPED.contains(&kind),
    }
}

fn is_usable(id: u32, two_byte: bool) -> bool {
    let id_max = if two_byte { TWO_BYTE_ID_MAX } else { ONE_BYTE_ID_MAX };
    (1..=id_max).contains(&id) && id != RESERVED_ID
}

fn fits(new: &Extmap, selected: &[Extmap], taken: &[Extmap]) -> bool {
    selected.iter().all(|old| old.kind != new.kind)
        && taken.iter().all(|old| (old.id == new.id) == (old.kind == new.kind))
}

/// Our side of `a=extmap:<id>/<direction>`; `None` for one that is not to be answered.
fn mirrored(direction: Option<&str>) -> Option<Option<&'static str>> {
    match direction {
        None => Some(None),
        Some("sendrecv") => Some(Some("sendrecv")),
        Some("sendonly") => Some(Some("recvonly")),
        Some("recvonly") => Some(Some("sendonly")),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::lexer::Description;
    use super::*;

    fn select_from(
        lines: &[&str],
        role: Role,
        two_byte: bool,
        taken: &mut Vec<Extmap>,
    ) -> Vec<(u32, ExtensionKind)> {
        let text = format!("v=0\nm=audio 9 X 0\n{}", lines.join("\n"));
        let description = Description::parse(&text).unwrap();
        let selected = select(&description.sections[0], role, two_byte, taken).unwrap();
        selected.iter().map(|extmap| (extmap.id, extmap.kind)).collect()
    }

    const MID: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
    const RID: &str = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id";
    const CC: &str = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";

    #[test]
    fn a_viewer_gets_the_stamps_of_its_own_hop_and_no_names_of_the_publisher() {
        let lines =
            [&*format!("a=extmap:1 {MID}"), &format!("a=extmap:2 {RID}"), &format!("a=extmap:3 {CC}")];
        let viewer = select_from(&lines, Role::Subscribe, false, &mut Vec::new());
        assert_eq!(viewer, [(1, ExtensionKind::Mid), (3, ExtensionKind::TransportCc)]);
        let publisher = select_from(&lines, Role::Publish, false, &mut Vec::new());
        assert_eq!(publisher.len(), 3);
    }

    #[test]
    fn ids_keep_their_form_and_their_meaning() {
        let mid = |id: u32| format!("a=extmap:{id} {MID}");
        for (id, one_byte, two_byte) in
            [(0, 0, 0), (1, 1, 1), (14, 1, 1), (15, 0, 0), (16, 0, 1), (255, 0, 1), (256, 0, 0)]
        {
            assert_eq!(
                select_from(&[&mid(id)], Role::Publish, false, &mut Vec::new()).len(),
                one_byte,
                "{id}"
            );
            assert_eq!(
                select_from(&[&mid(id)], Role::Publish, true, &mut Vec::new()).len(),
                two_byte,
                "{id}"
            );
        }
        let mut taken = Vec::new();
        let first = [&*mid(4), &format!("a=extmap:4 {CC}"), &mid(5)];
        assert_eq!(select_from(&first, Role::Publish, false, &mut taken), [(4, ExtensionKind::Mid)]);
        assert!(select_from(&[&format!("a=extmap:4 {RID}")], Role::Publish, false, &mut taken).is_empty());
        assert_eq!(select_from(&[&mid(4)], Role::Publish, false, &mut taken), [(4, ExtensionKind::Mid)]);
    }

    #[test]
    fn a_viewer_is_offered_all_it_could_get() {
        let kinds = |media| offered(media).into_iter().map(|extmap| extmap.kind).collect::<Vec<_>>();
        let (audio, video) = (kinds(MediaKind::Audio), kinds(MediaKind::Video));
        for kind in FORWARDED.into_iter().chain(STAMPED) {
            assert!(audio.contains(&kind) || video.contains(&kind), "{kind:?}");
        }
        assert_eq!((audio.len(), video.len()), (5, 10));
        assert!(OFFERED.iter().all(|(id, _)| *id <= ONE_BYTE_ID_MAX));
    }

    #[test]
    fn directions_are_mirrored() {
        let text = format!("v=0\nm=audio 9 X 0\na=extmap:1/sendonly {MID}\na=extmap:2/inactive {CC}\n");
        let description = Description::parse(&text).unwrap();
        let selected = select(&description.sections[0], Role::Publish, false, &mut Vec::new()).unwrap();
        assert_eq!(selected.len(), 1);
        assert_eq!(selected[0].direction, Some("recvonly"));
    }
}
