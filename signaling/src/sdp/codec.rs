//! Which payload types of a section are accepted, in which order, with which feedback.

use super::error::SdpError;
use super::feedback::Feedback;
use super::format::{self, Format, OPUS};
use super::lexer::{Attribute, Section};
use super::limits::CODECS_MAX;
use super::{Role, Terms};
use millrace_control::{Codec, CodecKind, MediaKind};

/// The only video codec family of a session, so that every viewer can decode every publisher.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ForcedCodec {
    /// VP8, what OpenVidu's `MEDIA_SERVER_PREFERRED` stands for.
    #[default]
    Vp8,
    /// VP9, all profiles.
    Vp9,
    /// H.264, all profiles and packetization modes 0 and 1.
    H264,
    /// AV1, all profiles.
    Av1,
    /// None: each stream has a family of its own, the one of [`Terms::family`] or else the first of its offer.
    None,
}

impl ForcedCodec {
    const fn family(self) -> Option<CodecKind> {
        match self {
            Self::Vp8 => Some(CodecKind::Vp8),
            Self::Vp9 => Some(CodecKind::Vp9),
            Self::H264 => Some(CodecKind::H264),
            Self::Av1 => Some(CodecKind::Av1),
            Self::None => None,
        }
    }
}

/// Payload types 64 to 95 look like RTCP when both share a port (RFC 5761 §4).
const LIKE_RTCP: std::ops::RangeInclusive<u8> = 64..=95;

/// One accepted payload type.
#[derive(Clone, Copy, Debug)]
pub(super) struct Selected<'a> {
    pub(super) payload_type: u8,
    /// Value of `a=rtpmap`, as offered.
    pub(super) encoding: &'a str,
    /// Value of `a=fmtp`, as offered; empty where there is none.
    pub(super) fmtp: &'a str,
    pub(super) clock_rate_hz: u32,
    pub(super) format: Format,
    pub(super) feedback: Feedback,
    pub(super) rtx: Option<u8>,
}

impl Selected<'_> {
    /// As the relay hears of it.
    pub(super) fn codec(&self) -> Codec {
        Codec {
            format: self.format.number,
            kind: self.format.kind.into(),
            payload_type: self.payload_type.into(),
            clock_rate_hz: self.clock_rate_hz,
            rtx_payload_type: self.rtx.map(u32::from),
        }
    }
}

/// What a section says of one payload type.
#[derive(Clone, Copy, Debug, Default)]
struct Payload<'a> {
    encoding: Option<&'a str>,
    fmtp: &'a str,
    feedback: Feedback,
}

/// Chooses from the payload types of `section`, at most [`CODECS_MAX`]. The browser sends the first one. A stream that
/// exists keeps the formats that it has, for its publisher who comes back as for its viewers; a new one gets those of
/// [`choose_video`], and of audio all, opus first.
///
/// # Errors
/// [`SdpError::Malformed`], or [`SdpError::NoCodec`] when nothing is left.
pub(super) fn select<'a>(
    section: &Section<'a>,
    kind: MediaKind,
    terms: &Terms<'_>,
    role: Role,
) -> Result<Vec<Selected<'a>>, SdpError> {
    let mut selected = usable(section, kind, role)?;
    let stream = match kind {
        MediaKind::Audio => terms.formats.audio,
        MediaKind::Video => terms.formats.video,
    };
    match (stream.first(), kind) {
        (Some(&sent), _) => {
            selected.retain(|codec| stream.contains(&codec.format.number));
            selected.sort_by_key(|codec| codec.format.number != sent);
            if selected.first().is_some_and(|codec| codec.format.number != sent) {
                selected.clear();
            }
        }
        (None, MediaKind::Audio) => selected.sort_by_key(|codec| !codec.format.is_common()),
        (None, MediaKind::Video) => choose_video(&mut selected, terms, role),
    }
    selected.truncate(CODECS_MAX);
    if selected.is_empty() { Err(SdpError::NoCodec { kind }) } else { Ok(selected) }
}

/// Leaves one family of video, and of it to a publisher one format: the one that every browser has, if it was offered.
/// A publisher may send any format of its answer at any time, and viewers have to decode it.
fn choose_video(selected: &mut Vec<Selected<'_>>, terms: &Terms<'_>, role: Role) {
    let is_offered = |wanted: &CodecKind| selected.iter().any(|codec| codec.format.kind == *wanted);
    let forced = terms.forced_video_codec.family();
    let is_free = forced.is_none() || terms.fall_back;
    let free = || terms.family.filter(is_offered).or(Some(selected.first()?.format.kind));
    let family = forced.filter(is_offered).or_else(|| free().filter(|_| is_free));
    selected.retain(|codec| Some(codec.format.kind) == family);
    selected.sort_by_key(|codec| !codec.format.is_common());
    if let (Role::Publish, Some(first)) = (role, selected.first().map(|codec| codec.format)) {
        selected.retain(|codec| codec.format == first);
    }
}

/// The payload types of `section` that the relay can carry, in the order of the offer.
fn usable<'a>(section: &Section<'a>, kind: MediaKind, role: Role) -> Result<Vec<Selected<'a>>, SdpError> {
    let payloads = read(section)?;
    let supported = Feedback::supported(role);
    let offered = payload_types(section)?;
    let mut selected: Vec<Selected<'a>> = Vec::new();
    for payload_type in offered.iter().copied() {
        let payload = &payloads[usize::from(payload_type)];
        let Some((clock_rate_hz, format)) = identify(kind, payload_type, payload) else { continue };
        selected.push(Selected {
            payload_type,
            encoding: payload.encoding.unwrap_or_default(),
            fmtp: payload.fmtp,
            clock_rate_hz,
            format,
            feedback: payload.feedback.and(supported),
            rtx: rtx_of(payload_type, &offered, &payloads),
        });
    }
    drop_orphaned_red(&mut selected);
    Ok(selected)
}

/// RED goes only with the codec inside it.
fn drop_orphaned_red(selected: &mut Vec<Selected<'_>>) {
    let opus: Vec<u8> =
        selected.iter().filter(|codec| codec.format.number == OPUS).map(|codec| codec.payload_type).collect();
    selected.retain(|codec| {
        !is_named(codec.encoding, "red")
            || format::red_primary(codec.fmtp).is_some_and(|primary| opus.contains(&primary))
    });
}

fn is_named(encoding: &str, name: &str) -> bool {
    encoding.split('/').next().is_some_and(|own| own.eq_ignore_ascii_case(name))
}

/// The usable numbers on the m-line, each once.
fn payload_types(section: &Section<'_>) -> Result<Vec<u8>, SdpError> {
    let mut seen = [false; 128];
    let mut payload_types = Vec::new();
    for text in &section.formats {
        let number = text.parse::<u8>().ok().filter(|number| *number <= 127);
        let malformed = SdpError::Malformed { line: section.line, what: "a payload type is not 0 to 127" };
        let number = number.ok_or(malformed)?;
        if !std::mem::replace(&mut seen[usize::from(number)], true) && !LIKE_RTCP.contains(&number) {
            payload_types.push(number);
        }
    }
    Ok(payload_types)
}

/// Everything a section says, by payload type.
fn read<'a>(section: &Section<'a>) -> Result<[Payload<'a>; 128], SdpError> {
    let mut payloads = [Payload::default(); 128];
    let split = |attribute: &Attribute<'a>| -> Result<(usize, &'a str), SdpError> {
        let (number, rest) = attribute.value.split_once(' ').unwrap_or((attribute.value, ""));
        let number = number.parse().ok().filter(|number| *number <= 127);
        Ok((number.ok_or_else(|| attribute.malformed("a payload type is not 0 to 127"))?, rest.trim()))
    };
    for attribute in &section.attributes {
        match attribute.key {
            "rtpmap" | "fmtp" if !attribute.value.is_ascii() => return Err(attribute.malformed("not ASCII")),
            "rtpmap" => {
                let (number, value) = split(attribute)?;
                payloads[number].encoding.get_or_insert(value);
            }
            "fmtp" => {
                let (number, value) = split(attribute)?;
                payloads[number].fmtp = value;
            }
            "rtcp-fb" if attribute.value.starts_with("* ") => {
                payloads.iter_mut().for_each(|payload| payload.feedback.add(&attribute.value[2..]));
            }
            "rtcp-fb" => {
                let (number, value) = split(attribute)?;
                payloads[number].feedback.add(value);
            }
            _ => {}
        }
    }
    Ok(payloads)
}

/// Clock and format of a payload type; static ones need no `a=rtpmap` (RFC 3551 §6).
fn identify(kind: MediaKind, payload_type: u8, payload: &Payload<'_>) -> Option<(u32, Format)> {
    let encoding = payload.encoding.or(match payload_type {
        0 => Some("PCMU/8000"),
        8 => Some("PCMA/8000"),
        9 => Some("G722/8000"),
        13 => Some("CN/8000"),
        _ => None,
    })?;
    let mut parts = encoding.split('/');
    let name = parts.next()?;
    let clock_rate_hz = parts.next()?.parse().ok()?;
    let channels = parts.next().map_or(Some(1), |channels| channels.parse().ok())?;
    Some((clock_rate_hz, format::format(kind, name, clock_rate_hz, channels, payload.fmtp)?))
}

/// The payload type whose `apt` is `primary` (RFC 4588 §8.1).
fn rtx_of(primary: u8, offered: &[u8], payloads: &[Payload<'_>; 128]) -> Option<u8> {
    offered.iter().copied().find(|number| {
        let payload = &payloads[usize::from(*number)];
        let apt = format::parameter(payload.fmtp, "apt").and_then(|apt| apt.parse::<u8>().ok());
        payload.encoding.is_some_and(|encoding| is_named(encoding, "rtx")) && apt == Some(primary)
    })
}

#[cfg(test)]
mod tests {
    use super::super::lexer::Description;
    use super::super::{Formats, IceCredentials, Ids, Ssrcs};
    use super::*;

    /// What decides about codecs, with nothing else in it.
    fn terms(forced: ForcedCodec) -> Terms<'static> {
        Terms {
            ids: &Ids { room: 0, peer: 0, audio: None, video: None },
            ice: IceCredentials { ufrag: String::new(), pwd: String::new() },
            fingerprint: [0; 32],
            candidates: &[],
            ice_tcp: false,
            forced_video_codec: forced,
            fall_back: false,
            family: None,
            formats: Formats { audio: &[], video: &[] },
            receive_max_kbps: 0,
            receive_min_kbps: 0,
            loopback: false,
            stream_id: "",
            cname: "",
            audio_ssrcs: Ssrcs { media: 0, rtx: 0 },
            video_ssrcs: Ssrcs { media: 0, rtx: 0 },
        }
    }

    fn select_from(text: &str, forced: ForcedCodec, role: Role) -> Result<Vec<(u8, Option<u8>)>, SdpError> {
        select_with(text, &terms(forced), role)
    }

    fn select_with(text: &str, terms: &Terms<'_>, role: Role) -> Result<Vec<(u8, Option<u8>)>, SdpError> {
        let description = Description::parse(text)?;
        let section = &description.sections[0];
        let kind = if section.media == "audio" { MediaKind::Audio } else { MediaKind::Video };
        let selected = select(section, kind, terms, role)?;
        Ok(selected.iter().map(|codec| (codec.payload_type, codec.rtx)).collect())
    }

    #[test]
    fn audio_puts_opus_first_and_keeps_red_of_opus_only() {
        let text = "v=0\nm=audio 9 X 0 63 62 8 111 13\na=rtpmap:111 opus/48000/2\na=rtpmap:63 red/48000/2\n\
                    a=fmtp:63 111/111\na=rtpmap:62 red/48000/2\na=fmtp:62 0/0\n";
        let selected = select_from(text, ForcedCodec::Vp8, Role::Publish).unwrap();
        assert_eq!(selected.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [111, 0, 63, 8, 13]);
    }

    #[test]
    fn payload_types_that_look_like_rtcp_are_left_out() {
        let text = "v=0\nm=video 9 X 72 73 96 95\na=rtpmap:72 VP8/90000\na=rtpmap:73 rtx/90000\na=fmtp:73 apt=96\n\
                    a=rtpmap:96 VP8/90000\na=rtpmap:95 VP8/90000\n";
        assert_eq!(select_from(text, ForcedCodec::Vp8, Role::Publish).unwrap(), [(96, None)]);
    }

    #[test]
    fn h264_is_constrained_baseline_where_that_was_offered() {
        let text = "v=0\nm=video 9 X 102 108 109\na=rtpmap:102 H264/90000\na=rtpmap:108 H264/90000\n\
                    a=fmtp:102 packetization-mode=1;profile-level-id=42001f\na=rtpmap:109 rtx/90000\n\
                    a=fmtp:108 packetization-mode=1;profile-level-id=42e01f\na=fmtp:109 apt=108\n";
        let forced = select_from(text, ForcedCodec::H264, Role::Publish).unwrap();
        assert_eq!(forced, [(108, Some(109))]);
        let without = text.replace("42e01f", "4d001f");
        assert_eq!(select_from(&without, ForcedCodec::H264, Role::Publish).unwrap(), [(102, None)]);
        let viewer = select_from(text, ForcedCodec::H264, Role::Subscribe).unwrap();
        assert_eq!(viewer, [(108, Some(109)), (102, None)]);
    }

    const THREE: &str = "v=0\nm=video 9 X 98 96 102\na=rtpmap:96 VP8/90000\na=rtpmap:98 VP9/90000\n\
                         a=rtpmap:102 H264/90000\na=fmtp:102 profile-level-id=42001f\n";

    #[test]
    fn without_a_forced_codec_a_stream_has_the_family_of_the_session_or_its_own_first() {
        let publish = |family| {
            let terms = Terms { family, ..terms(ForcedCodec::None) };
            select_with(THREE, &terms, Role::Publish).unwrap()[0].0
        };
        assert_eq!(publish(None), 98);
        assert_eq!(publish(Some(CodecKind::H264)), 102);
        assert_eq!(publish(Some(CodecKind::Av1)), 98, "which it does not have");
    }

    #[test]
    fn a_forced_codec_that_was_not_offered_is_refused_unless_others_may_be_used() {
        let strict = terms(ForcedCodec::Av1);
        assert!(select_with(THREE, &strict, Role::Publish).is_err());
        let lenient = Terms { fall_back: true, ..strict };
        assert_eq!(select_with(THREE, &lenient, Role::Publish).unwrap(), [(98, None)]);
        let h264 = Terms { forced_video_codec: ForcedCodec::H264, ..lenient };
        assert_eq!(select_with(THREE, &h264, Role::Publish).unwrap(), [(102, None)], "it was offered");
    }

    #[test]
    fn a_viewer_gets_what_the_publisher_sends_whatever_the_session_forces() {
        let view = |video: &'static [u32]| {
            let formats = Formats { audio: &[], video };
            select_with(THREE, &Terms { formats, ..terms(ForcedCodec::Vp8) }, Role::Subscribe)
        };
        assert_eq!(view(&[10]).unwrap(), [(98, None)]);
        assert_eq!(view(&[22, 1]).unwrap(), [(102, None), (96, None)], "what is sent comes first");
        let refused = SdpError::NoCodec { kind: MediaKind::Video };
        assert_eq!(view(&[28]), Err(refused), "another profile");
        assert_eq!(view(&[28, 1]), Err(refused), "what it has is not what is sent");
        assert_eq!(refused.code(), 800);
        assert_eq!(SdpError::NoCodec { kind: MediaKind::Audio }.code(), 302);
    }

    #[test]
    fn feedback_is_what_both_have() {
        let text = "v=0\nm=video 9 X 96\na=rtpmap:96 VP8/90000\na=rtcp-fb:* nack\na=rtcp-fb:96 nack pli\n\
                    a=rtcp-fb:96 transport-cc\na=rtcp-fb:96 goog-remb\na=rtcp-fb:96 ccm tmmbr\na=rtcp-fb:96 nack rpsi\n";
        let description = Description::parse(text).unwrap();
        let names = |role| -> Vec<&str> {
            let terms = terms(ForcedCodec::Vp8);
            let codecs = select(&description.sections[0], MediaKind::Video, &terms, role).unwrap();
            codecs[0].feedback.names().collect()
        };
        assert_eq!(names(Role::Publish), ["goog-remb", "transport-cc", "nack", "nack pli"]);
        assert_eq!(names(Role::Subscribe), ["transport-cc", "nack", "nack pli"]);
    }

    #[test]
    fn nothing_in_common_and_nonsense_are_told_apart() {
        let h264 = "v=0\nm=video 9 X 96\na=rtpmap:96 H264/90000\n";
        let refused = select_from(h264, ForcedCodec::Vp8, Role::Publish);
        assert_eq!(refused, Err(SdpError::NoCodec { kind: MediaKind::Video }));
        for nonsense in
            ["m=video 9 X 200", "m=video 9 X 96\na=rtpmap:200 VP8/90000", "m=video 9 X 96\na=fmtp:x y"]
        {
            let refused = select_from(&format!("v=0\n{nonsense}\n"), ForcedCodec::Vp8, Role::Publish);
            assert!(matches!(refused, Err(SdpError::Malformed { .. })), "{nonsense}");
        }
    }

    #[test]
    fn at_most_sixteen_payload_types() {
        let numbers: Vec<u8> = (96..=127).collect();
        let line: Vec<String> = numbers.iter().map(u8::to_string).collect();
        let maps: String = numbers.iter().map(|number| format!("a=rtpmap:{number} VP8/90000\n")).collect();
        let text = format!("v=0\nm=video 9 X {}\n{maps}", line.join(" "));
        assert_eq!(select_from(&text, ForcedCodec::Vp8, Role::Publish).unwrap().len(), CODECS_MAX);
    }
}
