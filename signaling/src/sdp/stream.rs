//! What identifies the incoming packets of a section: SSRCs, or rids of simulcast layers.

use super::error::SdpError;
use super::lexer::{Attribute, Section};
use super::limits::{RID_LEN_MAX, RIDS_MAX, SSRCS_MAX};
use millrace_control::SignaledSsrc;

/// Media SSRCs of `a=ssrc`, in order, each with its RTX by `a=ssrc-group:FID` (RFC 5576 §4.2). SSRCs of FEC, which is
/// declined, are left out. Empty when the offer signals none; the relay then latches them by MID and RID.
///
/// # Errors
/// [`SdpError::Malformed`].
pub(super) fn signaled_ssrcs(section: &Section<'_>, with_rtx: bool) -> Result<Vec<SignaledSsrc>, SdpError> {
    let mut rtx: Vec<(u32, u32)> = Vec::new();
    let mut repair: Vec<u32> = Vec::new();
    for group in section.all("ssrc-group") {
        let mut words = group.value.split_ascii_whitespace();
        let semantics = words.next();
        if let (Some(semantics @ ("FID" | "FEC-FR" | "FEC")), Some(media), Some(other)) =
            (semantics, words.next(), words.next())
        {
            let (media, other) = (number(&group, media)?, number(&group, other)?);
            repair.push(other);
            if semantics == "FID" {
                rtx.push((media, other));
            }
        }
    }
    let mut ssrcs: Vec<SignaledSsrc> = Vec::new();
    for line in section.all("ssrc") {
        let ssrc = number(&line, line.value.split(' ').next().unwrap_or_default())?;
        let is_new = ssrcs.iter().all(|old| old.ssrc != ssrc) && !repair.contains(&ssrc);
        if is_new && ssrcs.len() < SSRCS_MAX {
            let rtx_ssrc = rtx.iter().find(|(media, _)| *media == ssrc).map(|(_, rtx)| *rtx);
            ssrcs.push(SignaledSsrc { ssrc, rtx_ssrc: rtx_ssrc.filter(|_| with_rtx) });
        }
    }
    Ok(ssrcs)
}

fn number(line: &Attribute<'_>, text: &str) -> Result<u32, SdpError> {
    text.parse().map_err(|_| line.malformed("an SSRC is no 32-bit number"))
}

/// The simulcast layers of a section that sends them (RFC 8853).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Simulcast<'a> {
    /// The accepted id with its restrictions, as offered and without `pt=`.
    pub(super) rids: Vec<(&'a str, String)>,
    /// The list of `a=simulcast:recv`; empty where the offer has none.
    pub(super) list: String,
}

/// Reads `a=rid:… send` and `a=simulcast:send …`. Lines that make no sense are not answered, which declines them
/// (RFC 8853 §5.3.2).
pub(super) fn simulcast<'a>(section: &Section<'a>) -> Simulcast<'a> {
    let mut this = Simulcast::default();
    for line in section.all("rid") {
        let mut words = line.value.splitn(3, ' ');
        let (Some(rid), Some("send")) = (words.next(), words.next()) else { continue };
        let is_new = this.rids.iter().all(|(old, _)| *old != rid);
        if is_new && is_rid(rid) && this.rids.len() < RIDS_MAX {
            this.rids.push((rid, restrictions(words.next().unwrap_or_default())));
        }
    }
    // OpenVidu's clients list their layers from the smallest to the largest, as browsers do.
    let line = section.first("simulcast").map_or("", |line| line.value);
    let mut words = line.split_ascii_whitespace().skip_while(|word| *word != "send");
    let offered = words.nth(1).unwrap_or_default();
    let last = this.last_of(offered).map(str::to_owned);
    this.rids.retain(|(rid, _)| last.as_deref() == Some(*rid));
    this.list = last.unwrap_or_default();
    this
}

impl Simulcast<'_> {
    /// The last layer of `offered` that has an id we know: the relay forwards one layer, so only one is taken, and the
    /// browser does not encode the others (RFC 8853 §5.3.2).
    fn last_of<'o>(&self, offered: &'o str) -> Option<&'o str> {
        let is_known = |rid: &&str| self.rids.iter().any(|(known, _)| known == rid);
        let first_known = |layer: &'o str| {
            let mut alternatives = layer.split(',').map(|rid| rid.trim_start_matches('~'));
            alternatives.find(is_known)
        };
        offered.split(';').rev().find_map(first_known)
    }
}

/// rid-id of RFC 8851 §10, as long as the relay's record holds.
fn is_rid(text: &str) -> bool {
    let is_rid_byte = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=RID_LEN_MAX).contains(&text.len()) && text.bytes().all(is_rid_byte)
}

/// An answer may keep restrictions or tighten them (RFC 8851 §6.3); `pt=` would name payload types that are declined.
fn restrictions(text: &str) -> String {
    let kept: Vec<&str> =
        text.split(';').map(str::trim).filter(|part| !part.is_empty() && !part.starts_with("pt=")).collect();
    if text.is_ascii() { kept.join(";") } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::super::lexer::Description;
    use super::*;

    fn with_section<T>(lines: &str, check: impl FnOnce(&Section<'_>) -> T) -> T {
        let text = format!("v=0\nm=video 9 X 96\n{lines}");
        check(&Description::parse(&text).unwrap().sections[0])
    }

    #[test]
    fn rtx_belongs_to_its_media_and_fec_to_nobody() {
        let lines = "a=ssrc-group:FID 1 2\na=ssrc-group:FEC-FR 1 3\na=ssrc:1 cname:x\na=ssrc:1 msid:a b\n\
                     a=ssrc:2 cname:x\na=ssrc:3 cname:x\na=ssrc:4 cname:x\n";
        let ssrcs = with_section(lines, |section| signaled_ssrcs(section, true)).unwrap();
        let expected = [(1, Some(2)), (4, None)].map(|(ssrc, rtx_ssrc)| SignaledSsrc { ssrc, rtx_ssrc });
        assert_eq!(ssrcs, expected);
        let without = with_section(lines, |section| signaled_ssrcs(section, false)).unwrap();
        assert!(without.iter().all(|ssrc| ssrc.rtx_ssrc.is_none()));
        for bad in ["a=ssrc:x cname:y\n", "a=ssrc:4294967296 cname:y\n", "a=ssrc-group:FID 1 -2\n"] {
            assert!(with_section(bad, |section| signaled_ssrcs(section, true)).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_last_layer_alone_is_answered() {
        let lines = "a=rid:hi send pt=96;max-width=1280\na=rid:lo send\na=rid:in recv\n\
                     a=simulcast:send lo;~gone,hi;gone recv in\n";
        let simulcast = with_section(lines, |section| {
            let simulcast = simulcast(section);
            (
                simulcast.rids.iter().map(|(rid, rest)| format!("{rid} {rest}")).collect::<Vec<_>>(),
                simulcast.list,
            )
        });
        assert_eq!(simulcast, (vec!["hi max-width=1280".to_owned()], "hi".to_owned()));
        let none = with_section("a=rid:hi send\n", simulcast_is_empty);
        assert!(none);
    }

    fn simulcast_is_empty(section: &Section<'_>) -> bool {
        simulcast(section) == Simulcast::default()
    }
}
