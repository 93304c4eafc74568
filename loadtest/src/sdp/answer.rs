//! The facts of an SDP answer, and what a browser would not forgive: wrong order of sections, foreign mids, no
//! rtcp-mux, no fingerprint, anything but `setup:passive` from this server.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use super::numbers::{ABS_SEND_TIME, AUDIO_LEVEL, MID, TRANSPORT_CC};
use super::{IceCredentials, Kind};
use crate::failure::Failure;

/// How to reach and recognise the far transport.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// Its ICE credentials.
    pub ice: IceCredentials,
    /// SHA-256 of its certificate.
    pub fingerprint: [u8; 32],
    /// UDP candidates, best first.
    pub candidates: Vec<SocketAddr>,
    /// Whether it said `a=ice-lite`.
    pub ice_lite: bool,
}

impl Remote {
    /// Leaves only the candidate of `address`, if one is asked for.
    ///
    /// # Errors
    /// [`Failure::Sdp`] when it is not announced.
    pub fn only(mut self, address: Option<IpAddr>) -> Result<Self, Failure> {
        let Some(address) = address else { return Ok(self) };
        let (wanted, others): (Vec<_>, Vec<_>) =
            self.candidates.into_iter().partition(|candidate| candidate.ip() == address);
        if wanted.is_empty() {
            return Err(Failure::Sdp(format!("{address} is not announced, only {others:?}")));
        }
        self.candidates = wanted;
        Ok(self)
    }
}

/// What the answer says about one track.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrackNumbers {
    /// The section's mid.
    pub mid: String,
    /// Payload type of the codec.
    pub payload_type: u8,
    /// Payload type of its retransmissions, where accepted.
    pub rtx_payload_type: Option<u8>,
    /// Media SSRCs the far side announced; empty when it announced none.
    pub ssrcs: BTreeSet<u32>,
    /// SSRCs of retransmissions.
    pub rtx_ssrcs: BTreeSet<u32>,
    /// Id of the mid extension.
    pub mid_extension: Option<u8>,
    /// Id of abs-send-time.
    pub abs_send_time: Option<u8>,
    /// Id of the transport-wide sequence number.
    pub transport_cc: Option<u8>,
    /// Id of the audio level.
    pub audio_level: Option<u8>,
}

/// A parsed answer.
#[derive(Debug)]
pub struct Answer {
    sections: Vec<Section>,
    session: Attributes,
}

#[derive(Debug, Default)]
struct Section {
    kind: String,
    port: u16,
    payloads: Vec<u8>,
    attributes: Attributes,
}

/// `a=` lines in order: name and value.
#[derive(Debug, Default)]
struct Attributes(Vec<(String, String)>);

impl Attributes {
    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn first<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.all(name).next()
    }
}

impl Answer {
    /// Parses the text and holds it against the offer it answers.
    ///
    /// # Errors
    /// [`Failure::Sdp`] says what a browser would refuse.
    pub fn parse(sdp: &str, offered: &[Kind]) -> Result<Self, Failure> {
        let mut answer = Self { sections: Vec::new(), session: Attributes::default() };
        for text in sdp.lines().map(str::trim_end) {
            if let Some(media) = text.strip_prefix("m=") {
                answer.sections.push(parse_media_line(media)?);
            } else if let Some(attribute) = text.strip_prefix("a=") {
                let (name, value) = attribute.split_once(':').unwrap_or((attribute, ""));
                let attributes = match answer.sections.last_mut() {
                    Some(section) => &mut section.attributes,
                    None => &mut answer.session,
                };
                attributes.0.push((name.to_owned(), value.to_owned()));
            }
        }
        answer.check(offered)?;
        Ok(answer)
    }

    fn check(&self, offered: &[Kind]) -> Result<(), Failure> {
        let kinds: Vec<&str> = self.sections.iter().map(|section| section.kind.as_str()).collect();
        if !kinds.iter().copied().eq(offered.iter().map(|kind| kind.as_str())) {
            return Err(Failure::Sdp(format!("m-lines {kinds:?} do not follow the offer's {offered:?}")));
        }
        let bundle: Vec<&str> =
            self.session.first("group").unwrap_or_default().split_ascii_whitespace().skip(1).collect();
        for (index, section) in self.sections.iter().enumerate().filter(|(_, section)| section.port != 0) {
            let mid = section.attributes.first("mid").unwrap_or_default();
            if mid != index.to_string() {
                return Err(Failure::Sdp(format!("m-line {index} has mid `{mid}`")));
            }
            if !bundle.contains(&mid) {
                return Err(Failure::Sdp(format!("mid {mid} is outside of BUNDLE {bundle:?}")));
            }
            if section.attributes.first("rtcp-mux").is_none() {
                return Err(Failure::Sdp(format!("m-line {index} without rtcp-mux")));
            }
        }
        Ok(())
    }

    /// The transport all sections share.
    ///
    /// # Errors
    /// [`Failure::Sdp`] names the missing or unusable part.
    pub fn remote(&self) -> Result<Remote, Failure> {
        let section = self
            .sections
            .iter()
            .find(|section| section.port != 0)
            .ok_or_else(|| Failure::Sdp("every m-line is rejected".to_owned()))?;
        let attribute = |name: &'static str| {
            section
                .attributes
                .first(name)
                .or_else(|| self.session.first(name))
                .ok_or_else(|| Failure::Sdp(format!("no a={name}")))
        };
        let setup = attribute("setup")?;
        if setup != "passive" {
            return Err(Failure::Sdp(format!("setup:{setup}, expected passive")));
        }
        let ice = IceCredentials {
            ufrag: attribute("ice-ufrag")?.to_owned(),
            pwd: attribute("ice-pwd")?.to_owned(),
        };
        let candidates = candidates(section.attributes.all("candidate").chain(self.session.all("candidate")));
        if candidates.is_empty() {
            return Err(Failure::Sdp("no UDP candidate".to_owned()));
        }
        let fingerprint = parse_fingerprint(attribute("fingerprint")?)?;
        Ok(Remote { ice, fingerprint, candidates, ice_lite: self.session.first("ice-lite").is_some() })
    }

    /// The numbers of the track of this kind.
    ///
    /// # Errors
    /// [`Failure::Sdp`] when the section is rejected, has the wrong direction or lacks our codec.
    pub fn track(&self, kind: Kind, direction: &str) -> Result<TrackNumbers, Failure> {
        let section = self
            .sections
            .iter()
            .find(|section| section.kind == kind.as_str() && section.port != 0)
            .ok_or_else(|| Failure::Sdp(format!("{} is rejected", kind.as_str())))?;
        let attributes = &section.attributes;
        if attributes.first(direction).is_none() {
            return Err(Failure::Sdp(format!("{} is not {direction}", kind.as_str())));
        }
        let payload_type = section.payload_of(kind.codec())?;
        let apt = format!("apt={payload_type}");
        let rtx_payload_type = attributes.all("fmtp").find_map(|fmtp| {
            let (payload, parameters) = fmtp.split_once(' ')?;
            parameters.split(';').any(|parameter| parameter.trim() == apt).then(|| payload.parse().ok())?
        });
        let extension = |uri: &str| {
            attributes.all("extmap").find_map(|extmap| {
                let (id, rest) = extmap.split_once(' ')?;
                (rest.split(' ').next() == Some(uri)).then(|| id.split('/').next()?.parse().ok())?
            })
        };
        let (ssrcs, rtx_ssrcs) = section.ssrcs();
        Ok(TrackNumbers {
            mid: attributes.first("mid").unwrap_or_default().to_owned(),
            payload_type,
            rtx_payload_type,
            ssrcs,
            rtx_ssrcs,
            mid_extension: extension(MID),
            abs_send_time: extension(ABS_SEND_TIME),
            transport_cc: extension(TRANSPORT_CC),
            audio_level: extension(AUDIO_LEVEL),
        })
    }
}

impl Section {
    /// Payload type of the codec, which must be in the m-line too.
    fn payload_of(&self, codec: &str) -> Result<u8, Failure> {
        let rtpmaps: BTreeMap<u8, &str> = self
            .attributes
            .all("rtpmap")
            .filter_map(|rtpmap| rtpmap.split_once(' '))
            .filter_map(|(payload, codec)| Some((payload.parse().ok()?, codec)))
            .collect();
        self.payloads
            .iter()
            .copied()
            .find(|payload| rtpmaps.get(payload).is_some_and(|name| name.eq_ignore_ascii_case(codec)))
            .ok_or_else(|| Failure::Sdp(format!("no {codec} in m={} {:?}", self.kind, self.payloads)))
    }

    /// Announced SSRCs: media, retransmission.
    fn ssrcs(&self) -> (BTreeSet<u32>, BTreeSet<u32>) {
        let first_number = |value: &str| value.split(' ').next().and_then(|ssrc| ssrc.parse().ok());
        let mut media: BTreeSet<u32> = self.attributes.all("ssrc").filter_map(first_number).collect();
        let rtx: BTreeSet<u32> = self
            .attributes
            .all("ssrc-group")
            .filter_map(|group| group.strip_prefix("FID "))
            .filter_map(|pair| pair.split(' ').nth(1)?.parse().ok())
            .collect();
        media.retain(|ssrc| !rtx.contains(ssrc));
        (media, rtx)
    }
}

fn parse_media_line(media: &str) -> Result<Section, Failure> {
    let mut words = media.split_ascii_whitespace();
    let kind = words.next().unwrap_or_default().to_owned();
    let port = words.next().and_then(|port| port.parse().ok());
    let port = port.ok_or_else(|| Failure::Sdp(format!("bad m-line `{media}`")))?;
    let payloads = words.skip(1).filter_map(|payload| payload.parse().ok()).collect();
    Ok(Section { kind, port, payloads, attributes: Attributes::default() })
}

/// UDP candidates of component 1, best priority first, each address once.
fn candidates<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<SocketAddr> {
    let mut found: Vec<(u32, SocketAddr)> = lines
        .filter_map(|text| {
            let words: Vec<&str> = text.split_ascii_whitespace().collect();
            let [_, "1", transport, priority, ip, port, "typ", ..] = words[..] else { return None };
            let address: IpAddr = ip.parse().ok()?;
            let socket = SocketAddr::new(address, port.parse().ok()?);
            transport.eq_ignore_ascii_case("udp").then_some((priority.parse().ok()?, socket))
        })
        .collect();
    found.sort_by_key(|(priority, _)| std::cmp::Reverse(*priority));
    let mut seen = BTreeSet::new();
    found.into_iter().map(|(_, address)| address).filter(|address| seen.insert(*address)).collect()
}

fn parse_fingerprint(value: &str) -> Result<[u8; 32], Failure> {
    let bad = || Failure::Sdp(format!("unusable fingerprint `{value}`"));
    let (hash, hex) = value.split_once(' ').ok_or_else(bad)?;
    let bytes: Option<Vec<u8>> =
        hex.trim().split(':').map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
    let bytes = bytes.filter(|_| hash.eq_ignore_ascii_case("sha-256")).ok_or_else(bad)?;
    bytes.try_into().map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FINGERPRINT: &str =
        "00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:10:11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E:1F";

    fn viewer_answer() -> String {
        format!(
            "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=ice-lite\r\na=group:BUNDLE 0 1\r\n\
             a=fingerprint:sha-256 {FINGERPRINT}\r\na=setup:passive\r\na=ice-ufrag:uf\r\na=ice-pwd:pw\r\n\
             m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=sendonly\r\na=rtcp-mux\r\na=rtpmap:111 OPUS/48000/2\r\n\
             a=ssrc:5 cname:x\r\na=candidate:2 1 udp 5 10.0.0.2 40000 typ host\r\n\
             a=candidate:1 1 UDP 9 10.0.0.1 40000 typ host\r\na=candidate:1 1 tcp 99 10.0.0.9 40000 typ host\r\n\
             m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\na=mid:1\r\na=sendonly\r\na=rtcp-mux\r\na=rtpmap:96 VP8/90000\r\n\
             a=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\na=extmap:3/sendonly {TRANSPORT_CC}\r\n\
             a=ssrc-group:FID 7 8\r\na=ssrc:7 cname:x\r\na=ssrc:8 cname:x\r\n"
        )
    }

    const BOTH: [Kind; 2] = [Kind::Audio, Kind::Video];

    #[test]
    fn the_facts_of_an_answer() {
        let answer = Answer::parse(&viewer_answer(), &BOTH).unwrap();
        let remote = answer.remote().unwrap();
        assert!(remote.ice_lite);
        assert_eq!(remote.fingerprint[31], 0x1f);
        let best_first: [SocketAddr; 2] = [([10, 0, 0, 1], 40_000).into(), ([10, 0, 0, 2], 40_000).into()];
        assert_eq!(remote.candidates, best_first);
        let only = |address: [u8; 4]| remote.clone().only(Some(address.into()));
        assert_eq!(only([10, 0, 0, 2]).unwrap().candidates, best_first[1..]);
        assert!(only([10, 0, 0, 9]).is_err(), "TCP only");
        let video = answer.track(Kind::Video, "sendonly").unwrap();
        assert_eq!((video.payload_type, video.rtx_payload_type, video.transport_cc), (96, Some(97), Some(3)));
        assert_eq!((video.ssrcs, video.rtx_ssrcs), (BTreeSet::from([7]), BTreeSet::from([8])));
        assert_eq!(answer.track(Kind::Audio, "sendonly").unwrap().payload_type, 111);
        assert!(answer.track(Kind::Audio, "recvonly").is_err());
    }

    #[test]
    fn what_a_browser_refuses_is_refused() {
        let refuse = |from: &str, to: &str| {
            let sdp = viewer_answer().replace(from, to);
            let parsed = Answer::parse(&sdp, &BOTH).and_then(|answer| {
                answer.remote()?;
                answer.track(Kind::Video, "sendonly")
            });
            assert!(parsed.is_err(), "{from:?} -> {to:?} was accepted");
        };
        refuse("setup:passive", "setup:active");
        refuse("BUNDLE 0 1", "BUNDLE 0");
        refuse("a=mid:1", "a=mid:video");
        refuse("a=rtcp-mux", "a=x");
        refuse("sha-256 00:", "sha-256 ");
        refuse("a=ice-pwd:pw", "a=x");
        refuse("m=video 9", "m=video 0");
        refuse("VP8", "VP9");
        refuse("typ host", "kind host");
        assert!(Answer::parse(&viewer_answer(), &[Kind::Video, Kind::Audio]).is_err());
    }
}
