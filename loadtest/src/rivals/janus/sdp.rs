//! The SDP that Janus and a simulated peer exchange: one video section each way.

use std::net::{IpAddr, SocketAddr};

use crate::failure::Failure;
use crate::load::join::Far;
use crate::load::source::ExtensionIds;
use crate::sdp::IceCredentials;

/// What a description of Janus' says.
#[derive(Clone, Debug)]
pub struct Description {
    /// How to reach and recognise it.
    pub far: Far,
    /// Value of `a=mid`.
    pub mid: String,
    /// Payload types, in the order of preference.
    pub payload_types: Vec<u8>,
    /// SSRC of the first stream it sends, if it sends.
    pub ssrc: Option<u32>,
    /// Local id of the MID extension.
    pub mid_extension: Option<u8>,
}

impl Description {
    /// Reads one.
    ///
    /// # Errors
    /// [`Failure::Sdp`] names what is missing.
    pub fn parse(sdp: &str) -> Result<Self, Failure> {
        let values = |name: &'static str| sdp.lines().filter_map(move |line| line.strip_prefix(name));
        let first = |name: &'static str| {
            let missing = || Failure::Sdp(format!("no line `{name}` in\n{sdp}"));
            values(name).next().map(|value| value.trim().to_owned()).ok_or_else(missing)
        };
        let candidates = values("a=candidate:").filter_map(parse_candidate);
        let address = candidates.into_iter().find(SocketAddr::is_ipv4);
        let far = Far {
            address: address.ok_or_else(|| Failure::Sdp(format!("no IPv4 candidate in\n{sdp}")))?,
            ice: IceCredentials { ufrag: first("a=ice-ufrag:")?, pwd: first("a=ice-pwd:")? },
            fingerprint: parse_fingerprint(&first("a=fingerprint:sha-256 ")?)?,
        };
        let media = first("m=video ")?;
        let extension = |uri: &str| values("a=extmap:").find_map(|value| parse_extension(value, uri));
        Ok(Self {
            far,
            mid: first("a=mid:")?,
            payload_types: media.split(' ').skip(2).filter_map(|word| word.parse().ok()).collect(),
            ssrc: values("a=ssrc:").find_map(|value| value.split(' ').next()?.parse().ok()),
            mid_extension: extension(MID),
        })
    }
}

const MID: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
const ABS_SEND_TIME: &str = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time";
const TRANSPORT_CC: &str = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";

/// One side's own part of a description.
#[derive(Clone, Copy, Debug)]
pub struct Own<'a> {
    /// ICE credentials.
    pub ice: &'a IceCredentials,
    /// SHA-256 of the certificate, as SDP writes it.
    pub fingerprint: &'a str,
    /// Where we are. A full agent does not begin without knowing it.
    pub candidate: SocketAddr,
}

/// A publisher's offer of VP8 under these numbers. It asks for the client's part in DTLS.
#[must_use]
pub fn offer(own: Own<'_>, ssrc: u32, payload_type: u8, ids: ExtensionIds) -> String {
    let mut lines = head(own, &payload_type.to_string(), "0");
    for (id, uri) in [(ids.mid, MID), (ids.abs_send_time, ABS_SEND_TIME), (ids.transport_cc, TRANSPORT_CC)] {
        lines.extend(id.map(|id| format!("a=extmap:{id} {uri}")));
    }
    lines.push("a=sendonly".to_owned());
    lines.extend(codec(payload_type));
    lines.push(format!("a=rtcp-fb:{payload_type} transport-cc"));
    lines.push(format!("a=ssrc:{ssrc} cname:loadtest"));
    text(&lines)
}

/// A viewer's answer to an offer of Janus': its first codec, and of header extensions the MID alone, as towards our
/// own relay.
#[must_use]
pub fn answer(own: Own<'_>, offer: &Description) -> String {
    let payload_type = offer.payload_types.first().copied().unwrap_or(96);
    let mut lines = head(own, &payload_type.to_string(), &offer.mid);
    lines.extend(offer.mid_extension.map(|id| format!("a=extmap:{id} {MID}")));
    lines.push("a=recvonly".to_owned());
    lines.extend(codec(payload_type));
    text(&lines)
}

fn head(own: Own<'_>, payload_types: &str, mid: &str) -> Vec<String> {
    let session: u64 = rand::random::<u64>() >> 1;
    vec![
        "v=0".to_owned(),
        format!("o=- {session} 1 IN IP4 127.0.0.1"),
        "s=-".to_owned(),
        "t=0 0".to_owned(),
        format!("a=group:BUNDLE {mid}"),
        format!("m=video 9 UDP/TLS/RTP/SAVPF {payload_types}"),
        "c=IN IP4 0.0.0.0".to_owned(),
        format!("a=ice-ufrag:{}", own.ice.ufrag),
        format!("a=ice-pwd:{}", own.ice.pwd),
        format!("a=fingerprint:sha-256 {}", own.fingerprint),
        "a=setup:active".to_owned(),
        format!("a=mid:{mid}"),
        "a=rtcp-mux".to_owned(),
        format!("a=candidate:1 1 udp 2130706431 {} {} typ host", own.candidate.ip(), own.candidate.port()),
        "a=end-of-candidates".to_owned(),
    ]
}

fn codec(payload_type: u8) -> Vec<String> {
    let feedback = ["nack", "nack pli", "ccm fir"];
    let mut lines = vec![format!("a=rtpmap:{payload_type} VP8/90000")];
    lines.extend(feedback.map(|kind| format!("a=rtcp-fb:{payload_type} {kind}")));
    lines
}

fn text(lines: &[String]) -> String {
    lines.iter().fold(String::new(), |text, line| text + line + "\r\n")
}

/// `foundation component transport priority address port typ ...` (RFC 8839 §5.1).
fn parse_candidate(value: &str) -> Option<SocketAddr> {
    let mut words = value.split_ascii_whitespace();
    let is_udp = words.nth(2)?.eq_ignore_ascii_case("udp");
    let address: IpAddr = words.nth(1)?.parse().ok()?;
    let port = words.next()?.parse().ok()?;
    is_udp.then(|| SocketAddr::new(address, port))
}

fn parse_fingerprint(hex: &str) -> Result<[u8; 32], Failure> {
    let bytes: Option<Vec<u8>> = hex.split(':').map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
    let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| Failure::Sdp(format!("`{hex}` is no SHA-256")))
}

/// `ID[/direction] URI`.
fn parse_extension(value: &str, uri: &str) -> Option<u8> {
    let (id, rest) = value.split_once(' ')?;
    (rest.trim() == uri).then(|| id.split('/').next()?.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    const JANUS: &str = "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 97 98\r\na=mid:v1\r\na=extmap:3/sendonly \
        urn:ietf:params:rtp-hdrext:sdes:mid\r\na=ice-ufrag:u/1\r\na=ice-pwd:p w\r\na=fingerprint:sha-256 \
        00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:10:11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E:fF\r\n\
        a=candidate:1 1 tcp 1 198.18.0.2 9 typ host\r\na=candidate:1 1 udp 2015363327 fe80::1 5 typ host\r\n\
        a=candidate:1 1 udp 2015363327 198.18.0.2 50123 typ host\r\na=ssrc:77 cname:janus\r\n";

    #[test]
    fn an_offer_of_janus_is_read() {
        let said = Description::parse(JANUS).unwrap();
        assert_eq!(said.far.address, SocketAddr::from(([198, 18, 0, 2], 50123)));
        assert_eq!((said.far.ice.ufrag.as_str(), said.far.ice.pwd.as_str()), ("u/1", "p w"));
        assert_eq!((said.far.fingerprint[1], said.far.fingerprint[31]), (1, 0xff));
        assert_eq!((said.mid.as_str(), said.ssrc, said.mid_extension), ("v1", Some(77), Some(3)));
        assert_eq!(said.payload_types, [97, 98]);
    }

    #[test]
    fn what_is_missing_is_named() {
        for gone in ["a=ice-ufrag", "a=fingerprint", "m=video", "a=mid"] {
            let rest: String = JANUS
                .lines()
                .filter(|line| !line.starts_with(gone))
                .fold(String::new(), |all, line| all + line + "\n");
            let why = Description::parse(&rest).unwrap_err().to_string();
            assert!(why.contains(gone), "{why}");
        }
        assert!(
            Description::parse(&JANUS.replace("198.18.0.2", "x"))
                .unwrap_err()
                .to_string()
                .contains("candidate")
        );
    }

    #[test]
    fn ours_say_who_begins_and_what_is_sent() {
        let ice = IceCredentials::generate();
        let own = Own { ice: &ice, fingerprint: "AA", candidate: ([198, 18, 0, 1], 9).into() };
        let ids = ExtensionIds { mid: Some(4), transport_cc: Some(3), ..ExtensionIds::default() };
        let offer = offer(own, 7, 96, ids);
        for line in [
            "m=video 9 UDP/TLS/RTP/SAVPF 96",
            "a=setup:active",
            "a=sendonly",
            "a=ssrc:7 cname:loadtest",
            "a=candidate:1 1 udp 2130706431 198.18.0.1 9 typ host",
        ] {
            assert!(offer.contains(&format!("{line}\r\n")), "{line}");
        }
        assert!(offer.contains(&format!("a=extmap:3 {TRANSPORT_CC}\r\n")) && !offer.contains(ABS_SEND_TIME));
        let answer = answer(own, &Description::parse(JANUS).unwrap());
        for line in ["m=video 9 UDP/TLS/RTP/SAVPF 97", "a=mid:v1", "a=recvonly", "a=rtpmap:97 VP8/90000"] {
            assert!(answer.contains(&format!("{line}\r\n")), "{line}");
        }
    }
}
