//! ICE, DTLS and candidates: what makes the one transport of a bundle.

use super::error::SdpError;
use super::lexer::{Description, Section, is_token};
use super::limits::CANDIDATE_LEN_MAX;
use millrace_control::DtlsRole;
use std::net::SocketAddr;

/// Bounds of a user fragment (RFC 8839 §5.4).
const UFRAG_LENS: std::ops::RangeInclusive<usize> = 4..=256;
/// Bounds of a password (RFC 8839 §5.4).
const PWD_LENS: std::ops::RangeInclusive<usize> = 22..=256;
/// ice-char of RFC 8839 §5.4.
const ICE_CHARS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/// Type preference of host candidates (RFC 8445 §5.1.2.2).
const HOST_PREFERENCE: u32 = 126;
/// The same for TCP, below all that UDP has (RFC 6544 §4.2); and the preference of waiting for the browser to connect.
const TCP_HOST_PREFERENCE: u32 = 90;
const PASSIVE_PREFERENCE: u32 = 4;
/// Length of a SHA-256.
const SHA256_LEN: usize = 32;

/// One side's ICE user fragment and password.
#[derive(Clone, PartialEq, Eq)]
pub struct IceCredentials {
    /// User fragment, 4 to 32 ice-chars for the relay.
    pub ufrag: String,
    /// Password, 22 to 64 ice-chars for the relay.
    pub pwd: String,
}

/// Without the password: logs are not the place for it.
impl std::fmt::Debug for IceCredentials {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("IceCredentials").field("ufrag", &self.ufrag).finish_non_exhaustive()
    }
}

/// What the offer says of the browser's end of the transport.
#[derive(Clone, Debug)]
pub(super) struct Remote {
    pub(super) ice: IceCredentials,
    pub(super) fingerprint: [u8; SHA256_LEN],
    /// Our role, the opposite of the browser's.
    pub(super) dtls_role: DtlsRole,
}

impl Remote {
    /// Reads it from the section that carries the bundle (RFC 9143 §7), else from the session.
    ///
    /// # Errors
    /// Those that name a missing attribute, and [`SdpError::Malformed`].
    pub(super) fn read(description: &Description<'_>, section: &Section<'_>) -> Result<Self, SdpError> {
        Ok(Self {
            ice: ice_credentials(description, section)?,
            fingerprint: fingerprint(description, section)?,
            dtls_role: dtls_role(description, section)?,
        })
    }
}

fn ice_credentials(description: &Description<'_>, section: &Section<'_>) -> Result<IceCredentials, SdpError> {
    let ufrag = description.nearest(section, "ice-ufrag").ok_or(SdpError::NoIceCredentials)?;
    let pwd = description.nearest(section, "ice-pwd").ok_or(SdpError::NoIceCredentials)?;
    let is_ice = |text: &str| text.bytes().all(|byte| ICE_CHARS.contains(&byte));
    if !UFRAG_LENS.contains(&ufrag.value.len()) || !is_ice(ufrag.value) {
        return Err(ufrag.malformed("a=ice-ufrag is not 4 to 256 ice-chars"));
    }
    if !PWD_LENS.contains(&pwd.value.len()) || !is_ice(pwd.value) {
        return Err(pwd.malformed("a=ice-pwd is not 22 to 256 ice-chars"));
    }
    Ok(IceCredentials { ufrag: ufrag.value.to_owned(), pwd: pwd.value.to_owned() })
}

/// The first SHA-256 among the fingerprints (RFC 8122 §5). Several hash functions over one certificate are usual;
/// the relay compares this one.
fn fingerprint(description: &Description<'_>, section: &Section<'_>) -> Result<[u8; SHA256_LEN], SdpError> {
    let mut own = section.all("fingerprint").peekable();
    let lines: Vec<_> =
        if own.peek().is_some() { own.collect() } else { description.all("fingerprint").collect() };
    if lines.is_empty() {
        return Err(SdpError::NoFingerprint);
    }
    for line in lines {
        let mut words = line.value.split_ascii_whitespace();
        let (Some(hash), Some(value)) = (words.next(), words.next()) else {
            return Err(line.malformed("a=fingerprint is too short"));
        };
        if hash.eq_ignore_ascii_case("sha-256") {
            return parse_sha256(value).ok_or_else(|| line.malformed("a=fingerprint is not 32 bytes in hex"));
        }
    }
    Err(SdpError::UnsupportedFingerprint)
}

fn parse_sha256(text: &str) -> Option<[u8; SHA256_LEN]> {
    let mut digest = [0; SHA256_LEN];
    let mut pairs = text.split(':');
    for byte in &mut digest {
        let pair =
            pairs.next().filter(|pair| pair.len() == 2 && pair.bytes().all(|b| b.is_ascii_hexdigit()))?;
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    pairs.next().is_none().then_some(digest)
}

/// We wait for the handshake unless the browser insists on waiting (RFC 8842 §5.3).
fn dtls_role(description: &Description<'_>, section: &Section<'_>) -> Result<DtlsRole, SdpError> {
    let setup = description.nearest(section, "setup").ok_or(SdpError::NoSetup)?;
    match setup.value {
        "actpass" | "active" => Ok(DtlsRole::Server),
        "passive" => Ok(DtlsRole::Client),
        "holdconn" => Err(SdpError::NoSetup),
        _ => Err(setup.malformed("a=setup has an unknown role")),
    }
}

/// Value of our `a=candidate` for the address at `index` of a list that is best first (RFC 8839 §5.1).
pub(super) fn host_candidate(index: usize, address: SocketAddr) -> String {
    let local_preference = 65_535 - u32::try_from(index).unwrap_or(u32::MAX).min(65_535);
    // RFC 8445 §5.1.2.1 with component 1.
    let priority = (HOST_PREFERENCE << 24) + (local_preference << 8) + 255;
    let (ip, port) = (address.ip().to_canonical(), address.port());
    format!("{} 1 udp {priority} {ip} {port} typ host", index + 1)
}

/// The same for TCP, where the browser connects (RFC 6544 §4.5). There are `before` others before these.
pub(super) fn tcp_candidate(before: usize, index: usize, address: SocketAddr) -> String {
    let other_preference = 8_191 - u32::try_from(index).unwrap_or(u32::MAX).min(8_191);
    let local_preference = (PASSIVE_PREFERENCE << 13) + other_preference;
    let priority = (TCP_HOST_PREFERENCE << 24) + (local_preference << 8) + 255;
    let (ip, port) = (address.ip().to_canonical(), address.port());
    format!("{} 1 tcp {priority} {ip} {port} typ host tcptype passive", before + index + 1)
}

/// Checks a trickled candidate of the browser, `candidate:…` or `a=candidate:…`; an empty one says that there are no
/// more. Nothing else is done with it: the relay is an ICE-lite agent, and learns paths from the checks it receives.
///
/// # Errors
/// [`SdpError::BadCandidate`] if it breaks the grammar of RFC 8839 §5.1 or is over [`CANDIDATE_LEN_MAX`] long.
pub fn add_candidate(candidate: &str) -> Result<(), SdpError> {
    let bad = |what| Err(SdpError::BadCandidate { what });
    if candidate.len() > CANDIDATE_LEN_MAX {
        return bad("over 1 KiB");
    }
    if candidate.chars().any(char::is_control) || !candidate.is_ascii() {
        return bad("not printable ASCII");
    }
    let text = candidate.trim();
    let text = text.strip_prefix("a=").unwrap_or(text);
    if text.is_empty() || text == "end-of-candidates" {
        return Ok(());
    }
    let Some(text) = text.strip_prefix("candidate:") else { return bad("does not begin with candidate:") };
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let [foundation, component, protocol, priority, address, port, "typ", kind, rest @ ..] = &words[..]
    else {
        return bad("too short");
    };
    let is_ice =
        |text: &str, len_max| text.len() <= len_max && text.bytes().all(|byte| ICE_CHARS.contains(&byte));
    if !is_ice(foundation, 32) {
        return bad("the foundation is not 1 to 32 ice-chars");
    }
    if !component.parse::<u16>().is_ok_and(|component| (1..=256).contains(&component)) {
        return bad("the component is not 1 to 256");
    }
    if !is_token(protocol, 16) || !is_token(kind, 16) {
        return bad("protocol or type is no token");
    }
    if priority.parse::<u32>().is_err() {
        return bad("the priority is no 32-bit number");
    }
    if !is_connection_address(address) || port.parse::<u16>().is_err() {
        return bad("the address is none");
    }
    if rest.len() % 2 != 0 {
        return bad("an attribute has no value");
    }
    Ok(())
}

/// An IP address or a host name; browsers hide theirs behind names of mDNS.
fn is_connection_address(text: &str) -> bool {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    text.parse::<std::net::IpAddr>().is_ok() || (text.len() <= 255 && text.bytes().all(is_name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECTION: &str = "a=ice-ufrag:abcd\na=ice-pwd:0123456789012345678901\na=setup:actpass\n";

    fn read(session: &str, section: &str) -> Result<Remote, SdpError> {
        let text = format!("v=0\n{session}m=audio 9 X 0\n{section}");
        let description = Description::parse(&text)?;
        Remote::read(&description, &description.sections[0])
    }

    fn digest(byte: &str) -> String {
        vec![byte; 32].join(":")
    }

    #[test]
    fn a_password_is_not_for_logs() {
        let credentials = IceCredentials { ufrag: "abcd".into(), pwd: "0123456789012345678901".into() };
        assert!(!format!("{credentials:?}").contains(&credentials.pwd));
    }

    #[test]
    fn the_section_goes_before_the_session() {
        let session = format!("a=fingerprint:sha-256 {}\na=setup:passive\n", digest("AA"));
        let remote = read(&session, SECTION).unwrap();
        assert_eq!((remote.fingerprint, remote.dtls_role), ([0xaa; 32], DtlsRole::Server));
        let section = SECTION.replace("a=setup:actpass\n", "");
        assert_eq!(read(&session, &section).unwrap().dtls_role, DtlsRole::Client);
    }

    #[test]
    fn of_several_fingerprints_sha_256_is_taken() {
        let section = format!("{SECTION}a=fingerprint:sha-1 00:01\na=fingerprint:SHA-256 {}\n", digest("0f"));
        assert_eq!(read("", &section).unwrap().fingerprint, [0x0f; 32]);
        let sha1 = format!("{SECTION}a=fingerprint:sha-1 00:01\n");
        assert_eq!(read("", &sha1).unwrap_err(), SdpError::UnsupportedFingerprint);
        assert_eq!(read("", SECTION).unwrap_err(), SdpError::NoFingerprint);
        for bad in ["00", &digest("0g"), &digest("+1"), &format!("{}:00", digest("00"))] {
            let section = format!("{SECTION}a=fingerprint:sha-256 {bad}\n");
            assert!(matches!(read("", &section), Err(SdpError::Malformed { .. })), "{bad}");
        }
    }

    #[test]
    fn each_missing_part_has_its_error() {
        let full = format!("{SECTION}a=fingerprint:sha-256 {}\n", digest("00"));
        for (key, error) in [
            ("a=ice-ufrag", SdpError::NoIceCredentials),
            ("a=ice-pwd", SdpError::NoIceCredentials),
            ("a=setup", SdpError::NoSetup),
            ("a=fingerprint", SdpError::NoFingerprint),
        ] {
            let without: String = full.split_inclusive('\n').filter(|line| !line.starts_with(key)).collect();
            assert_eq!(read("", &without).unwrap_err(), error, "{key}");
        }
        let holding = full.replace("actpass", "holdconn");
        assert_eq!(read("", &holding).unwrap_err(), SdpError::NoSetup);
        for (old, new) in [("abcd", "abc"), ("abcd", "ab d"), ("actpass", "x"), ("a=ice-pwd:0", "a=ice-pwd:")]
        {
            let bad = full.replace(old, new);
            assert!(matches!(read("", &bad), Err(SdpError::Malformed { .. })), "{new}");
        }
    }

    #[test]
    fn candidates_are_written_best_first() {
        let first = host_candidate(0, "203.0.113.5:5000".parse().unwrap());
        assert_eq!(first, "1 1 udp 2130706431 203.0.113.5 5000 typ host");
        let second = host_candidate(1, "[2001:db8::1]:5001".parse().unwrap());
        assert_eq!(second, "2 1 udp 2130706175 2001:db8::1 5001 typ host");
    }

    #[test]
    fn tcp_comes_after_all_of_udp() {
        let address = "203.0.113.5:5000".parse().unwrap();
        let first = tcp_candidate(2, 0, address);
        assert_eq!(first, "3 1 tcp 1520435199 203.0.113.5 5000 typ host tcptype passive");
        let priority = |line: &str| line.split(' ').nth(3).and_then(|word| word.parse::<u32>().ok());
        let order = [host_candidate(70_000, address), first, tcp_candidate(2, 1, address)];
        assert!(order.map(|line| priority(&line).unwrap()).is_sorted_by(|one, other| one > other));
        assert_eq!(add_candidate(&format!("candidate:{}", tcp_candidate(2, 9_000, address))), Ok(()));
    }

    #[test]
    fn trickled_candidates_are_checked() {
        for good in [
            "",
            "a=end-of-candidates",
            "candidate:842163049 1 udp 1677729535 198.51.100.7 46154 typ srflx raddr 0.0.0.0 rport 0 generation 0 \
             ufrag bPZM network-cost 999",
            "candidate:1 1 udp 2113937151 5a8ac5d2-52de-4a9f-a6d6-5f1f2e7f1c5d.local 54321 typ host",
            "candidate:1 1 tcp 1518280447 2001:db8::2 9 typ host tcptype active",
        ] {
            assert_eq!(add_candidate(good), Ok(()), "{good}");
        }
        for bad in [
            "x",
            "candidate:",
            "candidate:1 1 udp 1 192.0.2.1 9 typ",
            "candidate:1 0 udp 1 192.0.2.1 9 typ host",
            "candidate:1 1 udp 4294967296 192.0.2.1 9 typ host",
            "candidate:1 1 udp 1 192.0.2.1 65536 typ host",
            "candidate:1 1 udp 1 192.0.2/1 9 typ host",
            "candidate:1 1 udp 1 192.0.2.1 9 typ host generation",
            "candidate:1 1 udp 1 192.0.2.1 9 typ host\0 x",
            "candidate:1 1 udp 1 é 9 typ host",
        ] {
            assert!(matches!(add_candidate(bad), Err(SdpError::BadCandidate { .. })), "{bad}");
        }
        assert!(add_candidate(&format!("candidate:{}", "1 ".repeat(600))).is_err());
    }
}
