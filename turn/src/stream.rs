//! Where messages end in a stream: TURN over TCP and TLS, and the framing of ICE over TCP.
//!
//! ```text
//!   TURN (RFC 8656 §12.5):   | STUN message | 40 00 00 05  h e l l o  0 0 0 | STUN message | ...     each a multiple of 4
//!   ICE-TCP (RFC 4571 §2):   | length | datagram | length | datagram | ...
//! ```
//!
//! Both ask the same way: what has come so far, and how long is the message that it begins with. `None` means that more
//! bytes are needed to tell. Whoever reads keeps a buffer and a deadline, and closes the stream that is not framed: there
//! is no way to find its next message.
//!
//! ```
//! use millrace_turn::stream::message_len;
//!
//! let stream = b"\x40\x00\x00\x05hello\0\0\0\x40\x00";
//! let len = message_len(stream)?.expect("four bytes tell the length of ChannelData");
//! assert_eq!(&stream[..len], b"\x40\x00\x00\x05hello\0\0\0");
//! assert_eq!(message_len(&stream[len..]), Ok(None));
//! # Ok::<(), millrace_turn::stream::NotFraming>(())
//! ```

use crate::message::{HEADER_BYTES, MAGIC_COOKIE};

/// Bytes of the longest message that [`message_len`] tells: a STUN message; ChannelData is shorter.
pub const MESSAGE_BYTES_MAX: usize = HEADER_BYTES + 65_532;

/// Bytes before each datagram in RFC 4571's framing.
pub const FRAME_HEADER_BYTES: usize = 2;

/// The bytes are neither STUN nor ChannelData: the stream is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotFraming;

impl std::fmt::Display for NotFraming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("neither a STUN message nor ChannelData")
    }
}

impl std::error::Error for NotFraming {}

/// Length of the message that the bytes begin with, padding included; `None` when more bytes are needed to tell. The
/// message may be longer than the bytes.
///
/// # Errors
/// [`NotFraming`] as soon as the bytes cannot begin a message.
pub fn message_len(prefix: &[u8]) -> Result<Option<usize>, NotFraming> {
    match prefix.first() {
        None => Ok(None),
        Some(0x00..=0x3f) => stun_len(prefix),
        Some(0x40..=0x7f) => {
            let Some(&[_, _, len_high, len_low]) = prefix.first_chunk() else { return Ok(None) };
            let data_len = usize::from(u16::from_be_bytes([len_high, len_low]));
            Ok(Some(4 + data_len.next_multiple_of(4)))
        }
        Some(_) => Err(NotFraming),
    }
}

/// Whether a stream begins with STUN, as TURN does: no channel is bound before. `None` when more bytes are needed to
/// tell, eight at most. Tells TURN from HTTP, whose methods may begin with the bytes of a channel number.
pub fn begins_with_stun(prefix: &[u8]) -> Option<bool> {
    match (prefix.first(), stun_len(prefix)) {
        (None, _) => None,
        (Some(0x40..), _) | (_, Err(NotFraming)) => Some(false),
        (_, Ok(_)) => (prefix.len() >= 8).then_some(true),
    }
}

/// The length is believed only with the cookie; what is there of the cookie must be right.
fn stun_len(prefix: &[u8]) -> Result<Option<usize>, NotFraming> {
    let cookie = prefix.get(4..).unwrap_or_default();
    let cookie = &cookie[..cookie.len().min(MAGIC_COOKIE.len())];
    if !MAGIC_COOKIE.starts_with(cookie) {
        return Err(NotFraming);
    }
    let Some(&[_, _, len_high, len_low]) = prefix.first_chunk() else { return Ok(None) };
    let len = usize::from(u16::from_be_bytes([len_high, len_low]));
    if len % 4 != 0 {
        return Err(NotFraming);
    }
    Ok((cookie.len() == MAGIC_COOKIE.len()).then_some(HEADER_BYTES + len))
}

/// Length of the frame that the bytes begin with, its own header included (RFC 4571 §2); `None` when more bytes are needed
/// to tell. A frame may be empty. Every sequence of bytes is framed in this way.
pub fn frame_len(prefix: &[u8]) -> Option<usize> {
    let len = prefix.first_chunk().map(|len| usize::from(u16::from_be_bytes(*len)))?;
    Some(FRAME_HEADER_BYTES + len)
}

/// What goes before a datagram of this length (RFC 4571 §2); `None` for one that is too long.
pub fn frame_header(datagram_len: usize) -> Option<[u8; FRAME_HEADER_BYTES]> {
    u16::try_from(datagram_len).ok().map(u16::to_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::Framing;
    use crate::{Method, TransactionId, Writer};

    fn request(software: &[u8]) -> Vec<u8> {
        let mut slot = vec![0; 256];
        let mut writer = Writer::request(&mut slot, Method::ALLOCATE, TransactionId([3; 12]));
        writer.software(software);
        let len = writer.finish().unwrap();
        slot.truncate(len);
        slot
    }

    fn channel_data(data: &[u8]) -> Vec<u8> {
        let mut slot = [&[0; 4], data, &[0; 3]].concat();
        let framing = Framing::Channel { number: 0x4fff, padded: true };
        let len = framing.finish(&mut slot, data.len()).unwrap();
        slot.truncate(len);
        slot
    }

    /// What a reader takes out of a stream that comes in two pieces.
    fn read(pieces: [&[u8]; 2]) -> Vec<Vec<u8>> {
        let (mut buffer, mut messages) = (Vec::new(), Vec::new());
        for piece in pieces {
            buffer.extend_from_slice(piece);
            while let Some(len) = message_len(&buffer).unwrap().filter(|len| *len <= buffer.len()) {
                messages.push(buffer.drain(..len).collect());
            }
        }
        assert!(buffer.is_empty());
        messages
    }

    #[test]
    fn a_stream_split_anywhere_gives_the_same_messages() {
        let messages = vec![
            request(b"one"),
            channel_data(b""),
            channel_data(b"h"),
            channel_data(b"hello"),
            request(b""),
            channel_data(&[7; 300]),
            channel_data(b"four"),
        ];
        let stream = messages.concat();
        for at in 0..=stream.len() {
            let (first, second) = stream.split_at(at);
            assert_eq!(read([first, second]), messages, "split at {at}");
        }
    }

    #[test]
    fn every_prefix_tells_the_same_or_nothing() {
        for whole in [request(b"a client"), channel_data(b"hello")] {
            for len in 0..=whole.len() {
                let told = message_len(&whole[..len]);
                assert!(told == Ok(None) || told == Ok(Some(whole.len())), "{len}: {told:?}");
                assert!(told != Ok(None) || len < 8);
            }
        }
    }

    #[test]
    fn what_cannot_begin_a_message_is_refused_at_once() {
        for first in 0x80..=0xff {
            assert_eq!(message_len(&[first]), Err(NotFraming), "{first:#x}");
        }
        assert_eq!(message_len(b"\0\x03\0\x05"), Err(NotFraming), "not a multiple of four");
        assert_eq!(message_len(b"\0\x03\0\x08\x21\x12\xa5"), Err(NotFraming), "the cookie");
        assert_eq!(message_len(b"\0\x03\0\x08\x21\x12\xa4"), Ok(None));
    }

    #[test]
    fn lengths_are_never_beyond_what_is_promised() {
        for first in 0..=u8::MAX {
            for len in [0, 1, 2, 3, 4, 0xfffc, 0xffff_u16] {
                let [high, low] = len.to_be_bytes();
                let bytes = [first, 0, high, low, 0x21, 0x12, 0xa4, 0x42, 0];
                for end in 0..=bytes.len() {
                    if let Ok(Some(len)) = message_len(&bytes[..end]) {
                        assert!((4..=MESSAGE_BYTES_MAX).contains(&len) && len % 4 == 0);
                    }
                    let _ = begins_with_stun(&bytes[..end]);
                }
            }
        }
    }

    #[test]
    fn http_is_not_turn() {
        for line in
            ["GET / HTTP/1.1", "HEAD /", "OPTIONS *", "CONNECT x", "DELETE /", "POST /", "PRI * HTTP/2.0"]
        {
            assert_eq!(begins_with_stun(line.as_bytes()), Some(false), "{line}");
            assert_eq!(begins_with_stun(&line.as_bytes()[..1]), Some(false), "{line}");
        }
        let request = request(b"x");
        for len in 0..request.len() {
            assert_eq!(begins_with_stun(&request[..len]), (len >= 8).then_some(true), "{len}");
        }
        assert_eq!(begins_with_stun(b"\x16\x03\x01\x02\x00\x01\x00\x01"), Some(false), "TLS");
    }

    #[test]
    fn ice_frames_carry_datagrams() {
        assert_eq!(frame_len(b""), None);
        assert_eq!(frame_len(b"\0"), None);
        assert_eq!(frame_len(b"\0\0"), Some(2));
        assert_eq!(frame_len(b"\xff\xff"), Some(65_537));
        assert_eq!(frame_header(5), Some([0, 5]));
        assert_eq!(frame_header(65_535), Some([255, 255]));
        assert_eq!(frame_header(65_536), None);
    }
}
