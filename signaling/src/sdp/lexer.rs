//! Text to lines to sections. Nothing here knows what an attribute means.
//!
//! Written by hand because this is all the syntax that a negotiation needs: a parser with a type for every attribute
//! refuses a whole description for one line that it does not know, and browsers add lines with every release.

use super::error::SdpError;
use super::limits::{SDP_LEN_MAX, SECTION_LINES_MAX, SECTIONS_MAX};

/// One `a=` line: `a=key:value` or `a=key`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attribute<'a> {
    pub(super) line: usize,
    pub(super) key: &'a str,
    pub(super) value: &'a str,
}

impl Attribute<'_> {
    /// The error that blames this line.
    pub(super) const fn malformed(&self, what: &'static str) -> SdpError {
        SdpError::Malformed { line: self.line, what }
    }
}

/// One m-line with its attributes.
#[derive(Debug)]
pub(super) struct Section<'a> {
    pub(super) line: usize,
    pub(super) media: &'a str,
    pub(super) port: u16,
    pub(super) protocol: &'a str,
    /// Payload types, or what the protocol has in their place. Never empty.
    pub(super) formats: Vec<&'a str>,
    pub(super) attributes: Vec<Attribute<'a>>,
}

impl<'a> Section<'a> {
    /// All attributes of this name, in order.
    pub(super) fn all(&self, key: &'static str) -> impl Iterator<Item = Attribute<'a>> {
        all(&self.attributes, key)
    }

    /// The first attribute of this name.
    pub(super) fn first(&self, key: &'static str) -> Option<Attribute<'a>> {
        self.all(key).next()
    }

    /// Whether there is an attribute of this name.
    pub(super) fn has(&self, key: &'static str) -> bool {
        self.first(key).is_some()
    }
}

/// A whole description.
#[derive(Debug)]
pub(super) struct Description<'a> {
    /// Attributes before the first m-line.
    pub(super) attributes: Vec<Attribute<'a>>,
    pub(super) sections: Vec<Section<'a>>,
}

impl<'a> Description<'a> {
    /// Splits `text` (RFC 8866 §5).
    ///
    /// Lines may end in LF alone (RFC 8866 §5), and empty lines are passed over.
    ///
    /// # Errors
    /// [`SdpError::TooLarge`] and [`SdpError::Malformed`].
    pub(super) fn parse(text: &'a str) -> Result<Self, SdpError> {
        if text.len() > SDP_LEN_MAX {
            return Err(SdpError::TooLarge { what: "over 64 KiB" });
        }
        let mut this = Self { attributes: Vec::new(), sections: Vec::new() };
        let mut lines_in_section = 0;
        let mut started = false;
        for (index, raw) in text.split('\n').enumerate() {
            let line = index + 1;
            let raw = raw.strip_suffix('\r').unwrap_or(raw);
            if raw.is_empty() {
                continue;
            }
            let (kind, value) = split_line(line, raw)?;
            if !started && (kind, value) != ('v', "0") {
                return Err(SdpError::Malformed { line, what: "not v=0" });
            }
            started = true;
            lines_in_section = if kind == 'm' { 1 } else { lines_in_section + 1 };
            if lines_in_section > SECTION_LINES_MAX {
                return Err(SdpError::TooLarge { what: "over 1000 lines in one section" });
            }
            this.push(line, kind, value)?;
        }
        if started { Ok(this) } else { Err(SdpError::Malformed { line: 0, what: "empty" }) }
    }

    fn push(&mut self, line: usize, kind: char, value: &'a str) -> Result<(), SdpError> {
        match kind {
            'm' if self.sections.len() == SECTIONS_MAX => Err(SdpError::TooLarge { what: "over 64 m-lines" }),
            'm' => {
                self.sections.push(section(line, value)?);
                Ok(())
            }
            'a' => {
                let (key, value) = value.split_once(':').unwrap_or((value, ""));
                let attributes = match self.sections.last_mut() {
                    Some(section) => &mut section.attributes,
                    None => &mut self.attributes,
                };
                attributes.push(Attribute { line, key, value });
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// All session-level attributes of this name, in order.
    pub(super) fn all(&self, key: &'static str) -> impl Iterator<Item = Attribute<'a>> {
        all(&self.attributes, key)
    }

    /// The first attribute of this name, of `section` if it has one and else of the session.
    pub(super) fn nearest(&self, section: &Section<'a>, key: &'static str) -> Option<Attribute<'a>> {
        section.first(key).or_else(|| self.all(key).next())
    }
}

fn all<'a>(attributes: &[Attribute<'a>], key: &'static str) -> impl Iterator<Item = Attribute<'a>> {
    attributes.iter().filter(move |attribute| attribute.key == key).copied()
}

fn split_line(line: usize, raw: &str) -> Result<(char, &str), SdpError> {
    if raw.bytes().any(|byte| byte.is_ascii_control()) {
        return Err(SdpError::Malformed { line, what: "a control character" });
    }
    let mut rest = raw.chars();
    match (rest.next(), rest.next()) {
        (Some(kind), Some('=')) if kind.is_ascii_lowercase() => Ok((kind, rest.as_str())),
        _ => Err(SdpError::Malformed { line, what: "not of the form x=value" }),
    }
}

/// `m=<media> <port>[/<count>] <protocol> <format> …` (RFC 8866 §5.14).
fn section(line: usize, value: &str) -> Result<Section<'_>, SdpError> {
    let malformed = |what| SdpError::Malformed { line, what };
    if !value.is_ascii() {
        return Err(malformed("the m-line is not ASCII"));
    }
    let mut words = value.split_ascii_whitespace();
    let (Some(media), Some(port), Some(protocol)) = (words.next(), words.next(), words.next()) else {
        return Err(malformed("the m-line is too short"));
    };
    let port = port.split('/').next().and_then(|port| port.parse().ok());
    let port = port.ok_or_else(|| malformed("the m-line has no port"))?;
    let formats: Vec<&str> = words.collect();
    if formats.is_empty() {
        return Err(malformed("the m-line has no format"));
    }
    Ok(Section { line, media, port, protocol, formats, attributes: Vec::new() })
}

/// Whether `text` is a token of RFC 8866 §9, 1 to `len_max` bytes.
pub(super) fn is_token(text: &str, len_max: usize) -> bool {
    (1..=len_max).contains(&text.len()) && text.bytes().all(is_token_byte)
}

/// token-char of RFC 8866 §9.
pub(super) const fn is_token_byte(byte: u8) -> bool {
    matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'0'..=b'9' | b'A'..=b'Z' | b'^'..=b'~')
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n";

    #[test]
    fn sections_and_attributes_are_told_apart() {
        let text = format!(
            "{HEAD}a=ice-lite\r\nm=audio 9/2 X 0 8\r\na=mid:0\r\n\nm=video 0 Y z\na=mid:1\na=x:a:b\n"
        );
        let description = Description::parse(&text).unwrap();
        assert_eq!(description.attributes.len(), 1);
        let [audio, video] = &description.sections[..] else { panic!("two sections") };
        assert_eq!((audio.media, audio.port, audio.protocol), ("audio", 9, "X"));
        assert_eq!(audio.formats, ["0", "8"]);
        assert_eq!(video.first("mid").unwrap().value, "1");
        assert_eq!(video.first("x").unwrap().value, "a:b");
        assert!(description.nearest(video, "ice-lite").is_some());
    }

    #[test]
    fn limits_hold_exactly() {
        let lines = |count: usize| format!("{HEAD}m=audio 9 X 0\r\n{}", "a=x\r\n".repeat(count));
        assert!(Description::parse(&lines(999)).is_ok());
        assert!(matches!(Description::parse(&lines(1000)), Err(SdpError::TooLarge { .. })));
        let sections = |count: usize| format!("{HEAD}{}", "m=audio 9 X 0\r\n".repeat(count));
        assert!(Description::parse(&sections(64)).is_ok());
        assert!(matches!(Description::parse(&sections(65)), Err(SdpError::TooLarge { .. })));
        let padded = |len: usize| format!("{HEAD}a={}", "x".repeat(len - HEAD.len() - 2));
        assert!(Description::parse(&padded(SDP_LEN_MAX)).is_ok());
        assert!(matches!(Description::parse(&padded(SDP_LEN_MAX + 1)), Err(SdpError::TooLarge { .. })));
    }

    #[test]
    fn no_description_is_an_error() {
        let bad =
            ["", "\r\n", "v=1\r\n", "x", "=", "v=0\r\n=", "v=0\r\nA=x", "v=0\r\na=\0", "v=0\r\ns=é\r\né=1"];
        let bad_media =
            ["v=0\nm=", "v=0\nm=audio", "v=0\nm=audio 70000 X 0", "v=0\nm=audio 9 X", "v=0\nm=é 9 X 0"];
        for text in bad.into_iter().chain(bad_media).chain(["v=0\na=x\ry\n"]) {
            assert!(matches!(Description::parse(text), Err(SdpError::Malformed { .. })), "{text:?}");
        }
    }
}
