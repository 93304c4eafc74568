//! Framing: a four-byte big-endian length, then one protobuf message.
//!
//! ```text
//!  0               4
//!  +---------------+------------------------+
//!  | length (u32)  | message, length bytes  |
//!  +---------------+------------------------+
//! ```

use prost::Message;

/// Longest message accepted, in bytes. A snapshot of a full shard stays below it; anything longer is a bug or an
/// attack, and the connection ends.
pub const LEN_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Bytes of the length prefix.
pub const PREFIX_BYTES: usize = 4;

/// Why bytes are not a frame. The connection cannot go on after either.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The prefix announces more than [`LEN_BYTES_MAX`].
    #[error("a control frame of {0} bytes is longer than the {LEN_BYTES_MAX} allowed")]
    TooLong(usize),
    /// The bytes are not the message that was expected.
    #[error("a control frame does not decode: {0}")]
    Malformed(#[from] prost::DecodeError),
}

/// Appends `message` with its prefix to `out`.
pub fn encode(message: &impl Message, out: &mut Vec<u8>) {
    let len = message.encoded_len();
    debug_assert!(len <= LEN_BYTES_MAX);
    out.reserve(PREFIX_BYTES + len);
    out.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
    message.encode_raw(out);
}

/// Takes one message off the front of `buffer`, which may hold half a frame or several.
///
/// Gives the message and how many bytes it took, or `None` when more bytes are needed.
///
/// # Errors
/// When the prefix is too long or the message does not decode.
pub fn decode<M: Message + Default>(buffer: &[u8]) -> Result<Option<(M, usize)>, FrameError> {
    let Some((prefix, rest)) = buffer.split_first_chunk::<PREFIX_BYTES>() else { return Ok(None) };
    let len = u32::from_be_bytes(*prefix) as usize;
    if len > LEN_BYTES_MAX {
        return Err(FrameError::TooLong(len));
    }
    let Some(bytes) = rest.get(..len) else { return Ok(None) };
    Ok(Some((M::decode(bytes)?, PREFIX_BYTES + len)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ClientHello, Command, ToRelay};

    fn hello() -> ToRelay {
        ToRelay { request: 7, shard: 0, command: Some(Command::Hello(ClientHello { version: 1 })) }
    }

    #[test]
    fn a_frame_split_at_every_byte_is_read_once_it_is_whole() {
        let mut bytes = Vec::new();
        encode(&hello(), &mut bytes);
        for cut in 0..bytes.len() {
            assert!(decode::<ToRelay>(&bytes[..cut]).unwrap().is_none());
        }
        let (message, taken) = decode::<ToRelay>(&bytes).unwrap().unwrap();
        assert_eq!((message, taken), (hello(), bytes.len()));
    }

    #[test]
    fn an_announced_length_beyond_the_limit_is_refused_before_it_is_awaited() {
        let bytes = u32::MAX.to_be_bytes();
        assert!(matches!(decode::<ToRelay>(&bytes), Err(FrameError::TooLong(_))));
    }

    #[test]
    fn a_field_of_a_later_release_is_skipped() {
        let mut bytes = Vec::new();
        encode(&hello(), &mut bytes);
        // Field 15, varint 1: unknown to this release.
        bytes.extend_from_slice(&[0x78, 0x01]);
        let len = u32::try_from(bytes.len() - PREFIX_BYTES).unwrap();
        bytes[..PREFIX_BYTES].copy_from_slice(&len.to_be_bytes());
        let (message, _) = decode::<ToRelay>(&bytes).unwrap().unwrap();
        assert_eq!(message, hello());
    }
}
