//! ChannelData from the client (RFC 8656 §12.6), the short way: client, channel, peer.

use crate::server::Server;
use crate::server::channels::is_channel;
use crate::server::framing::CHANNEL_HEADER_BYTES;
use crate::server::policy::Reach;
use crate::server::types::{Client, Now, Outcome, Reason, ToPeer};

impl Server<'_> {
    pub(in crate::server) fn channel_data(&mut self, now: Now, client: &Client, message: &[u8]) -> Outcome {
        self.try_channel_data(now, client, message).map_or_else(Outcome::Silence, Outcome::ToPeer)
    }

    fn try_channel_data(&mut self, now: Now, client: &Client, message: &[u8]) -> Result<ToPeer, Reason> {
        let (number, data_len) = split_header(message)?;
        let allocation = self.table.find(&client.key()).ok_or(Reason::NoAllocation)?;
        let (record, users) = self.table.split(allocation).ok_or(Reason::NoAllocation)?;
        if record.expires_at_ns <= now.monotonic_ns {
            return Err(Reason::NoAllocation);
        }
        let channel = record.channel_at(number).map(|at| record.channels[at]).ok_or(Reason::NoChannel)?;
        if channel.expires_at_ns <= now.monotonic_ns {
            return Err(Reason::NoChannel);
        }
        let peer = channel.peer.get().ok_or(Reason::NoChannel)?;
        let relayed = record.relayed_towards(peer).ok_or(Reason::Family)?;
        // The policy's word on address and port, as the channel remembers it.
        let reach = Reach::from_number(channel.reach).ok_or(Reason::Forbidden)?;
        if reach == Reach::Outside && !record.is_open(peer) {
            return Err(Reason::NoSocket);
        }
        if !users.admit(record.user_at, now.monotonic_ns, data_len) {
            return Err(Reason::OverBandwidth);
        }
        record.count_to_peer(data_len);
        self.record.counters.to_peer_packets += 1;
        self.record.counters.to_peer_bytes += data_len as u64;
        let data = CHANNEL_HEADER_BYTES..CHANNEL_HEADER_BYTES + data_len;
        Ok(ToPeer { allocation, relayed, peer, reach, data, dont_fragment: false })
    }
}

/// Number of the channel, and length of the data: neither 0 nor longer than what came. Padding there may be, over UDP too
/// (RFC 8656 §12.5), but no more than that.
fn split_header(message: &[u8]) -> Result<(u16, usize), Reason> {
    let (&[number_high, number_low, len_high, len_low], rest) =
        message.split_first_chunk().ok_or(Reason::Framing)?;
    let number = u16::from_be_bytes([number_high, number_low]);
    let len = usize::from(u16::from_be_bytes([len_high, len_low]));
    if !is_channel(number) {
        return Err(Reason::NoChannel);
    }
    match rest.len().checked_sub(len) {
        Some(0..=3) if len != 0 => Ok((number, len)),
        Some(0..=3) => Err(Reason::Empty),
        _ => Err(Reason::Framing),
    }
}
