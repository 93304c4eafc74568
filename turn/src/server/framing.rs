//! How data from a peer goes to the client: as ChannelData or as a Data indication.
//!
//! ```text
//!   +------------------ slot ------------------+
//!   | header_len() bytes | data | 0 to 3 zeros |      the data is there already, `finish` writes the rest around it
//!   +--------------------+------+--------------+
//! ```

use std::net::SocketAddr;

use crate::address;
use crate::attribute::AttributeType;
use crate::message::{Class, HEADER_BYTES, MAGIC_COOKIE, Method, TransactionId, join_type};
use crate::writer::SlotTooSmall;

/// Bytes before the data in ChannelData (RFC 8656 §12.4).
pub const CHANNEL_HEADER_BYTES: usize = 4;

/// Most bytes before the data: a Data indication from an IPv6 peer.
pub const FRAMING_HEADER_BYTES_MAX: usize = HEADER_BYTES + 4 + 20 + 4;

/// Most bytes after the data.
pub const FRAMING_PADDING_BYTES_MAX: usize = 3;

/// What goes around data on its way to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// ChannelData on this channel.
    Channel {
        /// 0x4000 to 0x7fff.
        number: u16,
        /// Whether it is padded to four bytes: over streams (RFC 8656 §12.5).
        padded: bool,
    },
    /// A Data indication.
    Indication {
        /// Whose data.
        peer: SocketAddr,
        /// Number of the indication.
        transaction: TransactionId,
    },
}

impl Framing {
    /// Bytes before the data: 4, 36 or 48.
    pub const fn header_len(&self) -> usize {
        match self {
            Self::Channel { .. } => CHANNEL_HEADER_BYTES,
            Self::Indication { peer, .. } if peer.ip().to_canonical().is_ipv4() => HEADER_BYTES + 4 + 8 + 4,
            Self::Indication { .. } => FRAMING_HEADER_BYTES_MAX,
        }
    }

    /// Bytes of the whole message around so many bytes of data.
    pub const fn total_len(&self, data_len: usize) -> usize {
        match self {
            Self::Channel { padded: false, .. } => self.header_len() + data_len,
            _ => self.header_len() + data_len.next_multiple_of(4),
        }
    }

    /// Writes header and padding around the data at `slot[header_len()..][..data_len]`; gives the length of the message.
    ///
    /// # Errors
    /// [`SlotTooSmall`] when the slot does not hold [`Self::total_len`] bytes, or a length field does not; the slot is
    /// as it was.
    pub fn finish(&self, slot: &mut [u8], data_len: usize) -> Result<usize, SlotTooSmall> {
        let total = self.total_len(data_len);
        let slot = slot.get_mut(..total).ok_or(SlotTooSmall)?;
        let data_len_field = u16::try_from(data_len).map_err(|_| SlotTooSmall)?.to_be_bytes();
        let header_len = self.header_len();
        match self {
            Self::Channel { number, .. } => {
                slot[..2].copy_from_slice(&number.to_be_bytes());
                slot[2..4].copy_from_slice(&data_len_field);
            }
            Self::Indication { peer, transaction } => {
                let len = u16::try_from(total - HEADER_BYTES).map_err(|_| SlotTooSmall)?;
                slot[..2].copy_from_slice(&join_type(Class::Indication, Method::DATA).to_be_bytes());
                slot[2..4].copy_from_slice(&len.to_be_bytes());
                slot[4..8].copy_from_slice(&MAGIC_COOKIE);
                slot[8..20].copy_from_slice(&transaction.0);
                let (value, value_len) = address::encode_xor(*peer, transaction);
                slot[20..22].copy_from_slice(&AttributeType::XOR_PEER_ADDRESS.0.to_be_bytes());
                // 8 or 20.
                slot[22..24].copy_from_slice(&u16::try_from(value_len).unwrap_or(0).to_be_bytes());
                slot[24..24 + value_len].copy_from_slice(&value[..value_len]);
                slot[header_len - 4..header_len - 2].copy_from_slice(&AttributeType::DATA.0.to_be_bytes());
                slot[header_len - 2..header_len].copy_from_slice(&data_len_field);
            }
        }
        slot[header_len + data_len..].fill(0);
        Ok(total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Message;

    const TRANSACTION: TransactionId = TransactionId([5; 12]);

    /// The message around `data` in a slot of 0xee, and what lies behind it.
    fn framed(framing: Framing, data: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let mut slot = vec![0xee; 256];
        slot[framing.header_len()..][..data.len()].copy_from_slice(data);
        let total = framing.finish(&mut slot, data.len()).unwrap();
        assert_eq!(total, framing.total_len(data.len()));
        let behind = slot.split_off(total);
        (slot, behind)
    }

    #[test]
    fn channel_data_is_padded_over_streams_only() {
        let plain = Framing::Channel { number: 0x4001, padded: false };
        let padded = Framing::Channel { number: 0x4001, padded: true };
        assert_eq!(framed(plain, b"hello").0, b"\x40\x01\0\x05hello");
        assert_eq!(framed(padded, b"hello").0, b"\x40\x01\0\x05hello\0\0\0");
        assert_eq!(framed(padded, b"good").0, b"\x40\x01\0\x04good");
    }

    #[test]
    fn an_indication_is_read_back_for_every_length_and_family() {
        for (peer, header_len) in [("192.0.2.150:32102", 36), ("[2001:db8::7]:9", 48)] {
            let framing = Framing::Indication { peer: peer.parse().unwrap(), transaction: TRANSACTION };
            assert_eq!(framing.header_len(), header_len);
            for len in 0..64 {
                let data = vec![0xda; len];
                let (bytes, behind) = framed(framing, &data);
                let message = Message::parse(&bytes).unwrap();
                assert_eq!((message.class(), message.method()), (Class::Indication, Method::DATA));
                assert_eq!(message.transaction(), TRANSACTION);
                assert_eq!(message.xor_peer_address(), peer.parse().ok());
                assert_eq!(message.find(AttributeType::DATA), Some(&data[..]));
                assert!(bytes[header_len + len..].iter().all(|byte| *byte == 0), "padding shows no memory");
                assert!(behind.iter().all(|byte| *byte == 0xee));
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_untouched() {
        let framings = [
            Framing::Channel { number: 0x4000, padded: true },
            Framing::Indication { peer: "192.0.2.1:1".parse().unwrap(), transaction: TRANSACTION },
        ];
        for framing in framings {
            let total = framing.total_len(5);
            for len in 0..total {
                let mut slot = vec![0xee; len];
                assert_eq!(framing.finish(&mut slot, 5), Err(SlotTooSmall));
                assert!(slot.iter().all(|byte| *byte == 0xee));
            }
            let mut huge = vec![0xee; 70_000];
            assert_eq!(framing.finish(&mut huge, 65_536), Err(SlotTooSmall));
        }
        let mut huge = vec![0xee; 70_000];
        assert_eq!(framings[1].finish(&mut huge, 65_535), Err(SlotTooSmall));
        assert!(huge.iter().all(|byte| *byte == 0xee));
    }
}
