//! Every limit of this module. A text within them costs at most a few milliseconds; one beyond them is refused.

/// Longest session description, in bytes. Chromium's largest offer has 7 KiB.
pub const SDP_LEN_MAX: usize = 64 * 1024;
/// Most m-lines of one description.
pub const SECTIONS_MAX: usize = 64;
/// Most lines of one section, and of the part before the first m-line.
pub const SECTION_LINES_MAX: usize = 1000;
/// Longest trickled candidate, in bytes.
pub const CANDIDATE_LEN_MAX: usize = 1024;
/// Longest `a=mid`, in bytes: the relay's record and the one-byte header extension hold as much (RFC 8285 §4.2).
pub const MID_LEN_MAX: usize = 16;
/// Longest RTP stream id, for the same reason.
pub const RID_LEN_MAX: usize = 16;
/// Most simulcast layers that are answered.
pub const RIDS_MAX: usize = 4;
/// Most media SSRCs that one section may signal; further ones are latched by the relay.
pub const SSRCS_MAX: usize = 4;
/// Most payload types of one track or subscription, not counting RTX (a limit of the contract).
pub const CODECS_MAX: usize = 16;
/// Longest CNAME, in bytes (a limit of the contract).
pub const CNAME_LEN_MAX: usize = 32;
/// Longest part of an `a=msid` (RFC 8830 §2).
pub const MSID_LEN_MAX: usize = 64;
