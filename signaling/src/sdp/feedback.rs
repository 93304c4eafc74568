//! RTCP feedback messages, as a payload type has them.

use super::Role;
use millrace_control::MediaKind;

/// RTCP feedback messages, offered or accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Feedback {
    /// Generic NACK (RFC 4585 §6.2.1).
    pub(super) nack: bool,
    /// Picture Loss Indication (RFC 4585 §6.3.1).
    pub(super) pli: bool,
    /// Full Intra Request (RFC 5104 §4.3.1).
    pub(super) fir: bool,
    /// Transport-wide congestion control feedback.
    pub(super) transport_cc: bool,
    /// Receiver Estimated Maximum Bitrate.
    pub(super) remb: bool,
}

/// What the relay sends to publishers.
const PUBLISHER: Feedback = Feedback { nack: true, pli: true, fir: true, transport_cc: true, remb: true };
/// What the relay understands from viewers: of the two kinds of bandwidth feedback the one that tells of every packet.
const VIEWER: Feedback = Feedback { nack: true, pli: true, fir: true, transport_cc: true, remb: false };

impl Feedback {
    /// What the relay can do with a client of that role.
    pub(super) const fn supported(role: Role) -> Self {
        match role {
            Role::Publish => PUBLISHER,
            Role::Subscribe => VIEWER,
        }
    }

    /// What a viewer is asked for in an offer of ours.
    pub(super) fn offered(kind: MediaKind) -> Self {
        match kind {
            MediaKind::Audio => Self { transport_cc: true, ..Self::default() },
            MediaKind::Video => VIEWER,
        }
    }

    /// What both have.
    pub(super) const fn and(self, other: Self) -> Self {
        Self {
            nack: self.nack && other.nack,
            pli: self.pli && other.pli,
            fir: self.fir && other.fir,
            transport_cc: self.transport_cc && other.transport_cc,
            remb: self.remb && other.remb,
        }
    }

    /// Adds what one `a=rtcp-fb` names.
    pub(super) fn add(&mut self, value: &str) {
        let mut words = value.split_ascii_whitespace();
        match (words.next(), words.next()) {
            (Some("nack"), None) => self.nack = true,
            (Some("nack"), Some("pli")) => self.pli = true,
            (Some("ccm"), Some("fir")) => self.fir = true,
            (Some("transport-cc"), None) => self.transport_cc = true,
            (Some("goog-remb"), None) => self.remb = true,
            _ => {}
        }
    }

    /// Its messages as they stand in `a=rtcp-fb`.
    pub(super) fn names(self) -> impl Iterator<Item = &'static str> {
        [
            (self.remb, "goog-remb"),
            (self.transport_cc, "transport-cc"),
            (self.fir, "ccm fir"),
            (self.nack, "nack"),
            (self.pli, "nack pli"),
        ]
        .into_iter()
        .filter_map(|(is_set, name)| is_set.then_some(name))
    }
}
