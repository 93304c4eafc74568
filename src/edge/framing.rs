//! Where one message ends and the next begins in a stream, in both directions.
//!
//! TURN's messages contain their own length (RFC 8656 §3.8 and §12.5): a STUN message has a header of 20 bytes, ChannelData
//! one of 4 bytes and padding to a multiple of 4. ICE-TCP puts a length of two bytes before each packet (RFC 4571 §2). After
//! an error no further message can be found in a stream.

use std::collections::VecDeque;
use std::ops::Range;

use millrace_turn::stream;

/// Longest message in bytes: what one UDP datagram carries.
pub(super) const MESSAGE_LEN_MAX: usize = 65_507;

/// How messages lie in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// STUN and ChannelData, by their own lengths.
    Turn,
    /// Any packet behind its length (RFC 4571), as ICE-TCP has it (RFC 6544 §3).
    Prefixed,
}

/// One whole message at the beginning of what was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// Where the message lies.
    pub(super) message: Range<usize>,
    /// Bytes of the stream that it takes, padding included.
    pub(super) taken: usize,
}

/// The bytes cannot be a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Broken;

impl Framing {
    /// The first message of `bytes`. `None` is one that is not whole yet.
    pub(super) fn next(self, bytes: &[u8]) -> Result<Option<Frame>, Broken> {
        let whole = match self {
            Self::Turn => stream::message_len(bytes).map_err(|_| Broken)?,
            Self::Prefixed => stream::frame_len(bytes),
        };
        let Some(taken) = whole else { return Ok(None) };
        let message = match self {
            Self::Turn => 0..taken,
            Self::Prefixed => stream::FRAME_HEADER_BYTES..taken,
        };
        if message.len() > MESSAGE_LEN_MAX {
            return Err(Broken);
        }
        Ok((bytes.len() >= taken).then_some(Frame { message, taken }))
    }

    /// Appends a datagram for the client.
    pub(super) fn wrap(self, datagram: &[u8], to: &mut VecDeque<u8>) {
        match self {
            Self::Turn => {
                to.extend(datagram);
                let padding = datagram.len().next_multiple_of(4) - datagram.len();
                to.extend(&[0; 3][..padding]);
            }
            Self::Prefixed => {
                let header = stream::frame_header(datagram.len());
                to.extend(header.expect("a UDP datagram is shorter than 65536 bytes"));
                to.extend(datagram);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STUN_HEADER_LEN: usize = 20;
    const CHANNEL_HEADER_LEN: usize = 4;
    const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];

    fn stun(body_len: u16) -> Vec<u8> {
        let mut message = vec![0, 1];
        message.extend(body_len.to_be_bytes());
        message.extend(MAGIC_COOKIE);
        message.resize(STUN_HEADER_LEN + usize::from(body_len), 7);
        message
    }

    fn channel_data(len: u16) -> Vec<u8> {
        let mut message = vec![0x40, 1];
        message.extend(len.to_be_bytes());
        message.resize(CHANNEL_HEADER_LEN + usize::from(len), 9);
        message
    }

    /// All messages of a stream that is read in pieces of `step` bytes.
    fn read(framing: Framing, stream: &[u8], step: usize) -> Result<Vec<Vec<u8>>, Broken> {
        let (mut buffer, mut messages) = (Vec::new(), Vec::new());
        for piece in stream.chunks(step) {
            buffer.extend_from_slice(piece);
            while let Some(frame) = framing.next(&buffer)? {
                messages.push(buffer[frame.message].to_vec());
                buffer.drain(..frame.taken);
            }
        }
        assert!(buffer.is_empty(), "nothing is left over");
        Ok(messages)
    }

    #[test]
    fn messages_come_whole_however_the_stream_was_cut() {
        let messages = [
            stun(0),
            channel_data(5),
            channel_data(0),
            stun(8),
            channel_data(8),
            channel_data(1),
            stun(1200),
        ];
        for framing in [Framing::Turn, Framing::Prefixed] {
            let mut stream = VecDeque::new();
            messages.iter().for_each(|message| framing.wrap(message, &mut stream));
            let stream: Vec<u8> = stream.into();
            // Padding stays with the message, because a reader of ChannelData uses the length field.
            let padded = |message: &Vec<u8>| {
                let mut message = message.clone();
                message.resize(message.len().next_multiple_of(4), 0);
                message
            };
            let expected = match framing {
                Framing::Turn => messages.each_ref().map(padded),
                Framing::Prefixed => messages.clone(),
            };
            for step in (1..40).chain([stream.len()]) {
                assert_eq!(read(framing, &stream, step).unwrap(), expected, "{framing:?} by {step}");
            }
        }
    }

    #[test]
    fn channel_data_is_padded_with_zeros() {
        for (len, whole) in [(1, 8), (2, 8), (3, 8), (4, 8), (5, 12)] {
            let mut stream = VecDeque::new();
            Framing::Turn.wrap(&channel_data(len), &mut stream);
            let stream: Vec<u8> = stream.into();
            assert_eq!(stream.len(), whole);
            assert!(stream[usize::from(len) + 4..].iter().all(|byte| *byte == 0));
            assert_eq!(Framing::Turn.next(&stream[..whole - 1]), Ok(None));
        }
    }

    #[test]
    fn what_cannot_be_a_message_is_told_at_once() {
        for first in 0..=255u8 {
            let known = first < 0x80;
            assert_eq!(Framing::Turn.next(&[first]), if known { Ok(None) } else { Err(Broken) }, "{first}");
        }
        assert_eq!(Framing::Turn.next(&[0, 1, 0, 1]), Err(Broken), "a length that is no multiple of 4");
        assert_eq!(Framing::Turn.next(&[0, 1, 0, 0, 0x21, 0x12]), Ok(None));
        assert_eq!(Framing::Turn.next(&[0, 1, 0, 0, 0x21, 0x13]), Err(Broken), "no magic cookie");
        assert_eq!(Framing::Turn.next(b"\x16\x03\x01\x02\x00"), Err(Broken));
    }

    #[test]
    fn what_no_datagram_carries_is_no_message() {
        assert_eq!(Framing::Turn.next(&[0x40, 0, 0xff, 0xff]), Err(Broken));
        assert_eq!(Framing::Prefixed.next(&[0xff, 0xff]), Err(Broken));
        let longest = u16::try_from(MESSAGE_LEN_MAX).unwrap().to_be_bytes();
        assert_eq!(Framing::Prefixed.next(&longest), Ok(None));
    }

    #[test]
    fn an_empty_frame_is_an_empty_message() {
        assert_eq!(Framing::Prefixed.next(&[0, 0, 0, 1]), Ok(Some(Frame { message: 2..2, taken: 2 })));
    }
}
