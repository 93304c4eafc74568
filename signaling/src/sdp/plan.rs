//! From an offer to the plan of its answer.

use super::codec::{self, Selected};
use super::error::SdpError;
use super::extension::{self, Extmap};
use super::lexer::{Description, Section, is_token};
use super::limits::MID_LEN_MAX;
use super::stream::{self, Simulcast};
use super::transport::Remote;
use super::{KindIds, Role, Ssrcs, Terms};
use millrace_control::{MediaKind, SignaledSsrc};

/// Secured RTP with feedback, however it spells the transport (RFC 8829 §5.1.2).
const PROTOCOLS: [&str; 3] = ["UDP/TLS/RTP/SAVPF", "TCP/DTLS/RTP/SAVPF", "RTP/SAVPF"];

/// An offer that is understood.
pub(super) struct Plan<'a> {
    pub(super) remote: Remote,
    /// Its answer.
    pub(super) layout: Layout<'a>,
}

/// A description of ours before it is written.
pub(super) struct Layout<'a> {
    /// Accepted mids in the order of the offered group; the first carries the transport (RFC 9143 §7.3). `None` where
    /// the offer has no group, which is possible with a single section.
    pub(super) bundle: Option<Vec<&'a str>>,
    /// Whether the session allows one-byte and two-byte header extensions to be mixed (RFC 8285 §6).
    pub(super) mixed_extensions: bool,
    /// One for each m-line, in order.
    pub(super) sections: Vec<Planned<'a>>,
    /// All header extensions of the transport.
    pub(super) extensions: Vec<Extmap>,
}

/// One m-line of the answer.
pub(super) enum Planned<'a> {
    /// Declined, with port 0.
    Declined(Declined<'a>),
    /// Accepted.
    Accepted(Box<Accepted<'a>>),
}

/// What an m-line repeats when it is declined.
pub(super) struct Declined<'a> {
    pub(super) media: &'a str,
    pub(super) protocol: &'a str,
    pub(super) format: &'a str,
    pub(super) mid: Option<&'a str>,
}

/// An m-line that is accepted.
pub(super) struct Accepted<'a> {
    pub(super) mid: &'a str,
    pub(super) kind: MediaKind,
    pub(super) protocol: &'a str,
    pub(super) flow: Flow,
    pub(super) codecs: Vec<Selected<'a>>,
    pub(super) extensions: Vec<Extmap>,
    /// Whether this section has its own line about mixed header extensions.
    pub(super) mixed_extensions: bool,
    pub(super) reduced_size_rtcp: bool,
    pub(super) simulcast: Simulcast<'a>,
    pub(super) ids: KindIds,
    /// What we send.
    pub(super) ssrcs: Ssrcs,
    /// What the browser says it sends.
    pub(super) signaled: Vec<SignaledSsrc>,
}

/// Which way media goes, from our side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flow {
    pub(super) sends: bool,
    pub(super) receives: bool,
}

impl Flow {
    /// The direction attribute (RFC 8866 §6.7).
    pub(super) const fn name(self) -> &'static str {
        match (self.sends, self.receives) {
            (true, true) => "sendrecv",
            (true, false) => "sendonly",
            (false, true) => "recvonly",
            (false, false) => "inactive",
        }
    }
}

impl Accepted<'_> {
    /// SSRC of the RTX that we send, if any.
    pub(super) fn rtx_ssrc(&self) -> Option<u32> {
        self.codecs.iter().any(|codec| codec.rtx.is_some()).then_some(self.ssrcs.rtx)
    }
}

impl<'a> Plan<'a> {
    /// Decides about every m-line.
    pub(super) fn new(
        description: &Description<'a>,
        terms: &Terms<'_>,
        role: Role,
    ) -> Result<Self, SdpError> {
        let mids = mids(description)?;
        let mixed_extensions = description.all("extmap-allow-mixed").next().is_some();
        let mut planner = Planner { description, terms, role, mixed_extensions, extensions: Vec::new() };
        let mut sections: Vec<Planned<'a>> = Vec::new();
        for (section, mid) in description.sections.iter().zip(mids) {
            let is_first = |kind| sections.iter().filter_map(Planned::accepted).all(|old| old.kind != kind);
            let planned = match usable_kind(section).filter(|kind| is_first(*kind)) {
                Some(kind) => planner.accept(section, mid, kind)?,
                None => None,
            };
            sections
                .push(planned.map_or_else(|| decline(section, mid), |it| Planned::Accepted(Box::new(it))));
        }
        let extensions = planner.extensions;
        if !sections.iter().filter_map(Planned::accepted).any(|it| it.flow.sends || it.flow.receives) {
            return Err(SdpError::NoMedia);
        }
        distinct_ssrcs(&sections)?;
        let bundle = bundle(description, &sections)?;
        let carrier = carrier(description, &sections, bundle.as_deref()).ok_or(SdpError::NoMedia)?;
        let remote = Remote::read(description, carrier)?;
        Ok(Self { remote, layout: Layout { bundle, mixed_extensions, sections, extensions } })
    }
}

impl<'a> Layout<'a> {
    /// The accepted m-lines.
    pub(super) fn accepted(&self) -> impl Iterator<Item = &Accepted<'a>> {
        self.sections.iter().filter_map(Planned::accepted)
    }
}

impl<'a> Planned<'a> {
    fn accepted(&self) -> Option<&Accepted<'a>> {
        match self {
            Self::Accepted(accepted) => Some(accepted),
            Self::Declined(_) => None,
        }
    }
}

/// What all sections share while they are planned.
struct Planner<'p, 'a> {
    description: &'p Description<'a>,
    terms: &'p Terms<'p>,
    role: Role,
    mixed_extensions: bool,
    extensions: Vec<Extmap>,
}

impl<'a> Planner<'_, 'a> {
    /// Plans a section of audio or video; `None` if the caller wants none of its kind.
    fn accept(
        &mut self,
        section: &Section<'a>,
        mid: Option<&'a str>,
        kind: MediaKind,
    ) -> Result<Option<Accepted<'a>>, SdpError> {
        let (ids, ssrcs) = match kind {
            MediaKind::Audio => (self.terms.ids.audio, self.terms.audio_ssrcs),
            MediaKind::Video => (self.terms.ids.video, self.terms.video_ssrcs),
        };
        let Some(ids) = ids else { return Ok(None) };
        let mid = mid.ok_or(SdpError::NotBundled)?;
        if self.description.nearest(section, "rtcp-mux").is_none() {
            return Err(SdpError::NoRtcpMux);
        }
        let flow = self.flow(section);
        let codecs = codec::select(section, kind, self.terms, self.role)?;
        let with_rtx = codecs.iter().any(|codec| codec.rtx.is_some());
        let mixed_here = section.has("extmap-allow-mixed");
        let two_byte = self.mixed_extensions || mixed_here;
        Ok(Some(Accepted {
            mid,
            kind,
            protocol: section.protocol,
            flow,
            codecs,
            extensions: extension::select(section, self.role, two_byte, &mut self.extensions)?,
            mixed_extensions: mixed_here,
            reduced_size_rtcp: section.has("rtcp-rsize"),
            simulcast: if flow.receives { stream::simulcast(section) } else { Simulcast::default() },
            ids,
            ssrcs,
            signaled: if flow.receives { stream::signaled_ssrcs(section, with_rtx)? } else { Vec::new() },
        }))
    }

    /// The offered direction (sendrecv where none is given, RFC 8866 §6.7) cut down to what the role is for.
    fn flow(&self, section: &Section<'_>) -> Flow {
        let directions = [("sendrecv", true, true), ("sendonly", true, false), ("recvonly", false, true)];
        let inactive = ("inactive", false, false);
        let offered = directions.into_iter().chain([inactive]).find(|(name, ..)| section.has(name));
        let of_session = || {
            let mut all = directions.into_iter().chain([inactive]);
            all.find(|(name, ..)| self.description.all(name).next().is_some())
        };
        let (_, it_sends, it_receives) = offered.or_else(of_session).unwrap_or(directions[0]);
        let we_send = self.role == Role::Subscribe || self.terms.loopback;
        Flow { sends: it_receives && we_send, receives: it_sends && self.role == Role::Publish }
    }
}

/// Every section's mid, checked: short enough for the relay, and none twice (RFC 5888 §4).
fn mids<'a>(description: &Description<'a>) -> Result<Vec<Option<&'a str>>, SdpError> {
    let mut mids: Vec<Option<&'a str>> = Vec::new();
    for section in &description.sections {
        let Some(mid) = section.first("mid") else {
            mids.push(None);
            continue;
        };
        if !is_token(mid.value, MID_LEN_MAX) {
            return Err(mid.malformed("a=mid is not a token of 1 to 16 bytes"));
        }
        if mids.contains(&Some(mid.value)) {
            return Err(mid.malformed("a=mid is there twice"));
        }
        mids.push(Some(mid.value));
    }
    Ok(mids)
}

/// The kind of a section that can be accepted. Port 0 means that the offerer itself has given the section up, unless it
/// is waiting for its bundle (RFC 9143 §6).
fn usable_kind(section: &Section<'_>) -> Option<MediaKind> {
    let is_alive = section.port != 0 || section.has("bundle-only");
    match section.media {
        _ if !is_alive || !PROTOCOLS.contains(&section.protocol) => None,
        "audio" => Some(MediaKind::Audio),
        "video" => Some(MediaKind::Video),
        _ => None,
    }
}

fn decline<'a>(section: &Section<'a>, mid: Option<&'a str>) -> Planned<'a> {
    let format = section.formats.first().copied().unwrap_or("0");
    Planned::Declined(Declined { media: section.media, protocol: section.protocol, format, mid })
}

/// The accepted part of the offered BUNDLE group that all accepted sections are in.
fn bundle<'a>(
    description: &Description<'a>,
    sections: &[Planned<'a>],
) -> Result<Option<Vec<&'a str>>, SdpError> {
    let accepted: Vec<&str> = sections.iter().filter_map(Planned::accepted).map(|it| it.mid).collect();
    for group in description.all("group") {
        let mut words = group.value.split_ascii_whitespace();
        if words.next() == Some("BUNDLE") {
            let mut members: Vec<&str> = Vec::new();
            for mid in words {
                if accepted.contains(&mid) && !members.contains(&mid) {
                    members.push(mid);
                }
            }
            if members.len() == accepted.len() {
                return Ok(Some(members));
            }
        }
    }
    if accepted.len() == 1 { Ok(None) } else { Err(SdpError::NotBundled) }
}

/// The section whose transport attributes count for all.
fn carrier<'p, 'a>(
    description: &'p Description<'a>,
    sections: &[Planned<'a>],
    bundle: Option<&[&'a str]>,
) -> Option<&'p Section<'a>> {
    let only = || sections.iter().find_map(Planned::accepted).map(|it| it.mid);
    let mid = bundle.and_then(|members| members.first().copied()).or_else(only)?;
    description.sections.iter().find(|section| section.first("mid").is_some_and(|own| own.value == mid))
}

/// One SSRC is one stream on a transport (RFC 3550 §8).
fn distinct_ssrcs(sections: &[Planned<'_>]) -> Result<(), SdpError> {
    let signaled = sections.iter().filter_map(Planned::accepted).flat_map(|it| &it.signaled);
    let mut all: Vec<u32> = signaled.flat_map(|it| [Some(it.ssrc), it.rtx_ssrc]).flatten().collect();
    let count = all.len();
    all.sort_unstable();
    all.dedup();
    if all.len() == count {
        Ok(())
    } else {
        Err(SdpError::Malformed { line: 0, what: "an SSRC is there twice" })
    }
}
