//! Framing: a four-byte big-endian length, then one protobuf message.
//!
//! ```text
//!  0               4
//!  +---------------+------------------------+
//!  | length (u32)  | message, length bytes  |
//!  +---------------+------------------------+
//! ```

use prost::Message;

/// Longest message, in bytes. A page of a snapshot has less than 2 MiB. The receiver ends the connection over a longer
/// message, so the sender does not send one.
pub const LEN_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Bytes of the length prefix.
pub const PREFIX_BYTES: usize = 4;

/// Why bytes are not a frame, or a message does not become one.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The message has, or the prefix announces, more than [`LEN_BYTES_MAX`] bytes.
    #[error("a control frame of {0} bytes is longer than the {LEN_BYTES_MAX} allowed")]
    TooLong(usize),
    /// The bytes are not the message that was expected.
    #[error("a control frame does not decode: {0}")]
    Malformed(#[from] prost::DecodeError),
}

/// Appends `message` with its prefix to `out`.
///
/// # Errors
/// [`FrameError::TooLong`], and then `out` is as it was.
pub fn encode(message: &impl Message, out: &mut Vec<u8>) -> Result<(), FrameError> {
    let len = message.encoded_len();
    let prefix = u32::try_from(len).ok().filter(|_| len <= LEN_BYTES_MAX).ok_or(FrameError::TooLong(len))?;
    out.reserve(PREFIX_BYTES + len);
    out.extend_from_slice(&prefix.to_be_bytes());
    message.encode_raw(out);
    Ok(())
}

/// Takes one message off the front of `buffer`, which may hold half a frame or several.
///
/// Gives the message and how many bytes it took, or `None` when more bytes are needed.
///
/// # Errors
/// When the prefix is too long or the message does not decode. The connection cannot go on after either.
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
    use crate::{
        ClientHello, Command, FromRelay, MEMO_BYTES_MAX, PAGE_ENTRIES_MAX, PeerInfo, Reply, Snapshot, ToRelay,
    };

    fn hello() -> ToRelay {
        let hello = ClientHello { version: 1, ..ClientHello::default() };
        ToRelay { request: 7, command: Some(Command::Hello(hello)), ..ToRelay::default() }
    }

    #[test]
    fn a_message_too_long_is_refused_and_leaves_nothing_behind() {
        let peer = PeerInfo { memo: vec![0; LEN_BYTES_MAX], ..PeerInfo::default() };
        let mut bytes = vec![1];
        assert!(matches!(encode(&peer, &mut bytes), Err(FrameError::TooLong(_))));
        assert_eq!(bytes, [1]);
    }

    #[test]
    fn the_longest_page_of_a_snapshot_is_far_below_the_limit() {
        let peer = PeerInfo {
            shard: u32::MAX,
            room: u64::MAX,
            peer: u64::MAX,
            remote: "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff%4294967295]:65535".into(),
            memo: vec![0; MEMO_BYTES_MAX],
            ..PeerInfo::default()
        };
        let page = Snapshot { peers: vec![peer; PAGE_ENTRIES_MAX], ..Snapshot::default() };
        let frame = FromRelay { request: u64::MAX, reply: Some(Reply::Snapshot(page)) };
        assert!(frame.encoded_len() < LEN_BYTES_MAX / 8);
    }

    #[test]
    fn a_frame_split_at_every_byte_is_read_once_it_is_whole() {
        let mut bytes = Vec::new();
        encode(&hello(), &mut bytes).unwrap();
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
        encode(&hello(), &mut bytes).unwrap();
        // Field 100, varint 1: unknown to this release.
        bytes.extend_from_slice(&[0xA0, 0x06, 0x01]);
        let len = u32::try_from(bytes.len() - PREFIX_BYTES).unwrap();
        bytes[..PREFIX_BYTES].copy_from_slice(&len.to_be_bytes());
        let (message, _) = decode::<ToRelay>(&bytes).unwrap().unwrap();
        assert_eq!(message, hello());
    }
}
