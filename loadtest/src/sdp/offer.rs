//! The offer of a publisher or viewer, in the shape openvidu-browser's RTCPeerConnection gives it: audio before video,
//! BUNDLE, trickle, `setup:actpass`, rtcp-mux, SSRC lines for what it sends.

use std::fmt::Write;

use super::numbers::Numbers;
use super::{IceCredentials, Kind};

/// SSRCs of one sent track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SentSsrcs {
    /// The media's own.
    pub media: u32,
    /// Of its retransmissions.
    pub rtx: Option<u32>,
}

/// One m-section to be.
#[derive(Clone, Copy, Debug)]
pub struct OfferedMedia {
    /// Audio or video.
    pub kind: Kind,
    /// Set on a publisher's section (sendonly), absent on a viewer's (recvonly).
    pub sends: Option<SentSsrcs>,
}

/// Everything an offer says.
#[derive(Debug)]
pub struct Offer<'a> {
    /// The sections in their order; mids are their positions.
    pub media: &'a [OfferedMedia],
    /// Our ICE credentials.
    pub ice: &'a IceCredentials,
    /// SHA-256 of our certificate as colon-separated hex.
    pub fingerprint: &'a str,
    /// Payload types and extension ids.
    pub numbers: &'a Numbers,
    /// CNAME and stream name.
    pub cname: &'a str,
}

impl Offer<'_> {
    /// The SDP text, CRLF lines.
    #[must_use]
    pub fn write(&self) -> String {
        let mut sdp = String::with_capacity(4096);
        let session: u64 = rand::random::<u64>() >> 1;
        let mids: Vec<String> = (0..self.media.len()).map(|mid| mid.to_string()).collect();
        line(&mut sdp, "v=0");
        line(&mut sdp, &format!("o=- {session} 2 IN IP4 127.0.0.1"));
        line(&mut sdp, "s=-");
        line(&mut sdp, "t=0 0");
        line(&mut sdp, &format!("a=group:BUNDLE {}", mids.join(" ")));
        line(&mut sdp, "a=extmap-allow-mixed");
        line(&mut sdp, &format!("a=msid-semantic: WMS {}", self.cname));
        for (media, mid) in self.media.iter().zip(&mids) {
            self.section(&mut sdp, media, mid);
        }
        sdp
    }

    fn section(&self, sdp: &mut String, media: &OfferedMedia, mid: &str) {
        let codecs = self.codecs(media.kind);
        let payloads: Vec<String> = codecs.iter().map(|(payload, ..)| payload.to_string()).collect();
        line(sdp, &format!("m={} 9 UDP/TLS/RTP/SAVPF {}", media.kind.as_str(), payloads.join(" ")));
        line(sdp, "c=IN IP4 0.0.0.0");
        line(sdp, "a=rtcp:9 IN IP4 0.0.0.0");
        line(sdp, &format!("a=ice-ufrag:{}", self.ice.ufrag));
        line(sdp, &format!("a=ice-pwd:{}", self.ice.pwd));
        line(sdp, "a=ice-options:trickle");
        line(sdp, &format!("a=fingerprint:sha-256 {}", self.fingerprint));
        line(sdp, "a=setup:actpass");
        line(sdp, &format!("a=mid:{mid}"));
        let extensions = match media.kind {
            Kind::Audio => self.numbers.audio_extensions,
            Kind::Video => self.numbers.video_extensions,
        };
        for (id, uri) in extensions {
            line(sdp, &format!("a=extmap:{id} {uri}"));
        }
        line(sdp, if media.sends.is_some() { "a=sendonly" } else { "a=recvonly" });
        if media.sends.is_some() {
            line(sdp, &format!("a=msid:{} {}-{mid}", self.cname, self.cname));
        }
        line(sdp, "a=rtcp-mux");
        line(sdp, "a=rtcp-rsize");
        for (payload, rtpmap, fmtp) in &codecs {
            codec_lines(sdp, media.kind, *payload, rtpmap, fmtp);
        }
        if let Some(ssrcs) = media.sends {
            self.ssrc_lines(sdp, ssrcs, mid);
        }
    }

    fn codecs(&self, kind: Kind) -> Vec<(u8, String, String)> {
        let numbers = self.numbers;
        let own = |payload, rtpmap: &str, fmtp: &str| (payload, rtpmap.to_owned(), fmtp.to_owned());
        let (mut codecs, more) = match kind {
            Kind::Audio => {
                let opus = own(numbers.opus, Kind::Audio.codec(), "minptime=10;useinbandfec=1");
                (vec![opus], numbers.audio_more)
            }
            Kind::Video => {
                let vp8 = own(numbers.vp8, Kind::Video.codec(), "");
                let rtx = own(numbers.vp8_rtx, "rtx/90000", &format!("apt={}", numbers.vp8));
                (vec![vp8, rtx], numbers.video_more)
            }
        };
        codecs.extend(more.iter().map(|(payload, rtpmap, fmtp)| own(*payload, rtpmap, fmtp)));
        codecs
    }

    fn ssrc_lines(&self, sdp: &mut String, ssrcs: SentSsrcs, mid: &str) {
        if let Some(rtx) = ssrcs.rtx {
            line(sdp, &format!("a=ssrc-group:FID {} {rtx}", ssrcs.media));
        }
        for ssrc in [Some(ssrcs.media), ssrcs.rtx].into_iter().flatten() {
            line(sdp, &format!("a=ssrc:{ssrc} cname:{}", self.cname));
            line(sdp, &format!("a=ssrc:{ssrc} msid:{} {}-{mid}", self.cname, self.cname));
        }
    }
}

fn codec_lines(sdp: &mut String, kind: Kind, payload: u8, rtpmap: &str, fmtp: &str) {
    line(sdp, &format!("a=rtpmap:{payload} {rtpmap}"));
    let real_video = ["VP8", "VP9", "H264", "AV1"].iter().any(|name| rtpmap.starts_with(name));
    if kind == Kind::Video && real_video {
        for feedback in ["goog-remb", "transport-cc", "ccm fir", "nack", "nack pli"] {
            line(sdp, &format!("a=rtcp-fb:{payload} {feedback}"));
        }
    }
    if rtpmap.starts_with("opus") {
        line(sdp, &format!("a=rtcp-fb:{payload} transport-cc"));
    }
    if !fmtp.is_empty() {
        line(sdp, &format!("a=fmtp:{payload} {fmtp}"));
    }
}

fn line(sdp: &mut String, text: &str) {
    write!(sdp, "{text}\r\n").expect("writing to a String does not fail");
}

#[cfg(test)]
mod tests {
    use super::super::numbers::{CHROMIUM, OTHER};
    use super::*;

    fn offer(numbers: &Numbers, sends: bool) -> String {
        let ssrcs = |media, rtx| sends.then_some(SentSsrcs { media, rtx });
        let media = [
            OfferedMedia { kind: Kind::Audio, sends: ssrcs(11, None) },
            OfferedMedia { kind: Kind::Video, sends: ssrcs(22, Some(33)) },
        ];
        let ice = IceCredentials { ufrag: "abcd".into(), pwd: "p".repeat(24) };
        Offer { media: &media, ice: &ice, fingerprint: "AA:BB", numbers, cname: "c" }.write()
    }

    #[test]
    fn a_publisher_offers_what_chromium_offers() {
        let sdp = offer(&CHROMIUM, true);
        assert!(sdp.starts_with("v=0\r\no=- "));
        for wanted in [
            "a=group:BUNDLE 0 1\r\n",
            "m=audio 9 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126\r\n",
            "m=video 9 UDP/TLS/RTP/SAVPF 96 97 103 104 98 99 45 46 114 115 116\r\n",
            "a=setup:actpass\r\n",
            "a=ice-options:trickle\r\n",
            "a=fingerprint:sha-256 AA:BB\r\n",
            "a=sendonly\r\n",
            "a=fmtp:97 apt=96\r\n",
            "a=rtcp-fb:96 nack pli\r\n",
            "a=rtcp-fb:111 transport-cc\r\n",
            "a=ssrc-group:FID 22 33\r\n",
            "a=ssrc:33 cname:c\r\n",
            "a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\n",
        ] {
            assert!(sdp.contains(wanted), "missing {wanted:?} in\n{sdp}");
        }
        assert!(sdp.find("m=audio") < sdp.find("m=video"));
        assert_eq!(sdp.matches('\n').count(), sdp.matches("\r\n").count());
    }

    #[test]
    fn a_viewer_only_receives_and_names_no_ssrc() {
        let sdp = offer(&OTHER, false);
        assert_eq!(sdp.matches("a=recvonly\r\n").count(), 2);
        assert!(!sdp.contains("a=ssrc") && !sdp.contains("a=msid:"));
        assert!(sdp.contains("a=rtpmap:120 VP8/90000\r\n") && sdp.contains("a=fmtp:124 apt=120\r\n"));
    }
}
