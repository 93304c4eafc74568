//! From a layout to its text: an answer (RFC 8829 §5.3) or an offer (§5.2).

use super::Terms;
use super::codec::Selected;
use super::lexer::is_token_byte;
use super::limits::{CNAME_LEN_MAX, MSID_LEN_MAX};
use super::plan::{Accepted, Declined, Layout, Planned};
use super::transport::{host_candidate, tcp_candidate};
use millrace_control::MediaKind;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Stands for "no address": discard port (RFC 8829 §5.2.1).
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 9);

/// Rate at which a publisher's video begins unless its cap is lower, in kbit/s. By itself a browser begins at 300,
/// shrinks a busy 720p picture to 320x180 for it, and then has no reason to ask for more: its estimate was seen to settle
/// at 1.3 to 1.4 Mbit/s. With this its first probes go to three and six times as much.
const START_KBPS: u32 = 1_000;

/// Appends one line.
macro_rules! line {
    ($text:expr, $($part:tt)+) => {
        write!($text, "{}\r\n", format_args!($($part)+)).expect("a String takes all")
    };
}

/// The CNAME as it stands in the answer.
pub(super) fn cname(terms: &Terms<'_>) -> String {
    token(terms.cname, CNAME_LEN_MAX)
}

/// Writes it; `setup` is our DTLS role (RFC 8842 §5.1).
pub(super) fn write(layout: &Layout<'_>, setup: &str, terms: &Terms<'_>) -> String {
    let mut text = String::with_capacity(4096);
    write_session(&mut text, layout, terms);
    let carrier = layout.bundle.as_ref().and_then(|members| members.first().copied());
    for section in &layout.sections {
        match section {
            Planned::Declined(section) => write_declined(&mut text, section),
            Planned::Accepted(section) => {
                let carries = carrier.is_none_or(|mid| mid == section.mid);
                write_accepted(&mut text, section, terms, setup, carries);
            }
        }
    }
    text
}

fn write_session(text: &mut String, layout: &Layout<'_>, terms: &Terms<'_>) {
    // The id only has to differ between sessions and fit 63 bits (RFC 8829 §5.2.1).
    let session = terms.ids.peer & (u64::MAX >> 1);
    line!(text, "v=0");
    line!(text, "o=- {session} 1 IN IP4 127.0.0.1");
    line!(text, "s=-");
    line!(text, "t=0 0");
    if let Some(members) = &layout.bundle {
        line!(text, "a=group:BUNDLE {}", members.join(" "));
    }
    line!(text, "a=ice-lite");
    if layout.mixed_extensions {
        line!(text, "a=extmap-allow-mixed");
    }
    if layout.accepted().any(|section| section.flow.sends) {
        line!(text, "a=msid-semantic: WMS {}", token(terms.stream_id, MSID_LEN_MAX));
    }
}

fn write_declined(text: &mut String, section: &Declined<'_>) {
    line!(text, "m={} 0 {} {}", section.media, section.protocol, section.format);
    line!(text, "c=IN IP4 0.0.0.0");
    if let Some(mid) = section.mid {
        line!(text, "a=mid:{mid}");
    }
}

fn write_accepted(text: &mut String, section: &Accepted<'_>, terms: &Terms<'_>, setup: &str, carries: bool) {
    write_media_line(text, section, terms);
    write_transport(text, terms, setup, carries);
    line!(text, "a=mid:{}", section.mid);
    if section.mixed_extensions {
        line!(text, "a=extmap-allow-mixed");
    }
    for extmap in &section.extensions {
        match extmap.direction {
            Some(direction) => line!(text, "a=extmap:{}/{direction} {}", extmap.id, extmap.name()),
            None => line!(text, "a=extmap:{} {}", extmap.id, extmap.name()),
        }
    }
    line!(text, "a={}", section.flow.name());
    line!(text, "a=rtcp-mux");
    if section.reduced_size_rtcp {
        line!(text, "a=rtcp-rsize");
    }
    for codec in &section.codecs {
        write_codec(text, codec, start_kbps(section, terms));
    }
    write_simulcast(text, section);
    if section.flow.sends {
        write_sources(text, section, terms);
    }
}

fn write_media_line(text: &mut String, section: &Accepted<'_>, terms: &Terms<'_>) {
    let address = terms.candidates.first().copied().unwrap_or(NOWHERE);
    let payload_types =
        section.codecs.iter().flat_map(|codec| [Some(codec.payload_type), codec.rtx]).flatten();
    let payload_types: Vec<String> = payload_types.map(|number| number.to_string()).collect();
    let (media, protocol) = (media_name(section.kind), section.protocol);
    line!(text, "m={media} {} {protocol} {}", address.port(), payload_types.join(" "));
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => line!(text, "c=IN IP4 {ip}"),
        IpAddr::V6(ip) => line!(text, "c=IN IP6 {ip}"),
    }
    // RFC 8866 §5.8 and RFC 3890 §6.2. The cap of OpenVidu is for video.
    if section.flow.receives && section.kind == MediaKind::Video && terms.receive_max_kbps != 0 {
        line!(text, "b=AS:{}", terms.receive_max_kbps);
        line!(text, "b=TIAS:{}", u64::from(terms.receive_max_kbps) * 1000);
    }
}

/// Every section repeats the credentials, as browsers do in their own answers; candidates stand only where the bundle
/// has its transport.
fn write_transport(text: &mut String, terms: &Terms<'_>, setup: &str, carries: bool) {
    line!(text, "a=ice-ufrag:{}", terms.ice.ufrag);
    line!(text, "a=ice-pwd:{}", terms.ice.pwd);
    let digest: Vec<String> = terms.fingerprint.iter().map(|byte| format!("{byte:02X}")).collect();
    line!(text, "a=fingerprint:sha-256 {}", digest.join(":"));
    line!(text, "a=setup:{setup}");
    if carries {
        for (index, address) in terms.candidates.iter().enumerate() {
            line!(text, "a=candidate:{}", host_candidate(index, *address));
        }
        let by_tcp = if terms.ice_tcp { terms.candidates } else { &[] };
        for (index, address) in by_tcp.iter().enumerate() {
            line!(text, "a=candidate:{}", tcp_candidate(terms.candidates.len(), index, *address));
        }
        line!(text, "a=end-of-candidates");
    }
}

/// Where a browser's estimate for its video shall begin, in kbit/s.
fn start_kbps(section: &Accepted<'_>, terms: &Terms<'_>) -> Option<u32> {
    let cap_kbps = if terms.receive_max_kbps == 0 { u32::MAX } else { terms.receive_max_kbps };
    (section.flow.receives && section.kind == MediaKind::Video).then(|| START_KBPS.min(cap_kbps))
}

fn write_codec(text: &mut String, codec: &Selected<'_>, start_kbps: Option<u32>) {
    let number = codec.payload_type;
    if !codec.encoding.is_empty() {
        line!(text, "a=rtpmap:{number} {}", codec.encoding);
    }
    for feedback in codec.feedback.names() {
        line!(text, "a=rtcp-fb:{number} {feedback}");
    }
    let start = start_kbps.map(|kbps| format!("x-google-start-bitrate={kbps}"));
    let offered = Some(codec.fmtp).filter(|fmtp| !fmtp.is_empty());
    let parameters: Vec<&str> = offered.into_iter().chain(start.as_deref()).collect();
    if !parameters.is_empty() {
        line!(text, "a=fmtp:{number} {}", parameters.join(";"));
    }
    if let Some(rtx) = codec.rtx {
        line!(text, "a=rtpmap:{rtx} rtx/{}", codec.clock_rate_hz);
        line!(text, "a=fmtp:{rtx} apt={number}");
    }
}

fn write_simulcast(text: &mut String, section: &Accepted<'_>) {
    for (rid, restrictions) in &section.simulcast.rids {
        let space = if restrictions.is_empty() { "" } else { " " };
        line!(text, "a=rid:{rid} recv{space}{restrictions}");
    }
    if !section.simulcast.list.is_empty() {
        line!(text, "a=simulcast:recv {}", section.simulcast.list);
    }
}

/// `a=msid` makes the browser's MediaStream; `a=ssrc` lines say the same to clients from before it.
fn write_sources(text: &mut String, section: &Accepted<'_>, terms: &Terms<'_>) {
    let stream = token(terms.stream_id, MSID_LEN_MAX);
    let track = format!("{}-{:x}", media_name(section.kind), section.ids.subscription);
    let cname = cname(terms);
    line!(text, "a=msid:{stream} {track}");
    if let Some(rtx) = section.rtx_ssrc() {
        line!(text, "a=ssrc-group:FID {} {rtx}", section.ssrcs.media);
    }
    for ssrc in [Some(section.ssrcs.media), section.rtx_ssrc()].into_iter().flatten() {
        line!(text, "a=ssrc:{ssrc} cname:{cname}");
        line!(text, "a=ssrc:{ssrc} msid:{stream} {track}");
    }
}

const fn media_name(kind: MediaKind) -> &'static str {
    match kind {
        MediaKind::Audio => "audio",
        MediaKind::Video => "video",
    }
}

/// `text` as a token of at most `len_max` bytes. Names that a user chose must not make lines of their own.
fn token(text: &str, len_max: usize) -> String {
    let bytes = text.bytes().take(len_max);
    let token: String = bytes.map(|byte| if is_token_byte(byte) { char::from(byte) } else { '_' }).collect();
    if token.is_empty() { "-".to_owned() } else { token }
}

#[cfg(test)]
mod tests {
    use super::token;

    #[test]
    fn names_cannot_make_lines() {
        assert_eq!(token("str_CAM_Xa1b_con_A", 64), "str_CAM_Xa1b_con_A");
        assert_eq!(token("a\r\na=x y", 64), "a__a_x_y");
        assert_eq!(token("é", 64), "__");
        assert_eq!(token("", 64), "-");
        assert_eq!(token(&"x".repeat(99), 32).len(), 32);
    }
}
