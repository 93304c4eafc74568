//! Channels of an allocation (RFC 8656 §12).

use std::net::SocketAddr;

use crate::server::policy::Reach;
use crate::server::record::{AddressRecord, AllocationRecord, CHANNELS_MAX, ChannelRecord};
use crate::server::users::{Kind, Users};

/// Whether the number is one that channels have. RFC 8656 §12 reserves those from 0x5000 for what may share a port with
/// TURN one day; clients of RFC 5766, Debian's test client among them, choose from all of these, and nothing else is
/// on this port.
pub(super) const fn is_channel(number: u16) -> bool {
    matches!(number, 0x4000..=0x7fff)
}

impl AllocationRecord {
    /// Where the channel of this number is. Clients count from 0x4000, so the place it would have then is looked at first.
    pub(super) fn channel_at(&self, number: u16) -> Option<usize> {
        debug_assert!(is_channel(number));
        let likely = usize::from(number) % CHANNELS_MAX;
        if self.channel_numbers[likely] == number {
            return Some(likely);
        }
        self.channel_numbers.iter().position(|bound| *bound == number)
    }

    /// The channel of this peer; the one that was asked for last costs one comparison.
    pub(super) fn channel_of(&mut self, peer: &AddressRecord, now_ns: u64) -> Option<u16> {
        let is_it = |channel: &ChannelRecord| channel.expires_at_ns > now_ns && channel.peer == *peer;
        let hint = usize::from(self.channel_hint) % CHANNELS_MAX;
        if is_it(&self.channels[hint]) {
            return Some(self.channel_numbers[hint]);
        }
        let at = self.channels.iter().position(is_it)?;
        // Below CHANNELS_MAX, so it fits.
        self.channel_hint = u8::try_from(at).unwrap_or(0);
        Some(self.channel_numbers[at])
    }

    /// Where a channel of this number and peer is or may come: `Err` when either is bound otherwise, `Ok(None)` when there
    /// is no room.
    pub(super) fn place_for_channel(
        &self,
        number: u16,
        peer: SocketAddr,
    ) -> Result<Option<usize>, BoundOtherwise> {
        let peer = AddressRecord::new(peer);
        let at_number = self.channel_at(number);
        let at_peer = (0..CHANNELS_MAX)
            .find(|&at| self.channels[at].expires_at_ns != 0 && self.channels[at].peer == peer);
        match (at_number, at_peer) {
            (Some(at_number), Some(at_peer)) if at_number == at_peer => Ok(Some(at_number)),
            (None, None) => {
                let likely = usize::from(number) % CHANNELS_MAX;
                let is_free = |at: &usize| self.channel_numbers[*at] == 0;
                Ok(Some(likely).filter(is_free).or_else(|| (0..CHANNELS_MAX).find(is_free)))
            }
            _ => Err(BoundOtherwise),
        }
    }

    pub(super) fn is_bound(&self, at: usize) -> bool {
        self.channel_numbers[at] != 0
    }

    /// Binds or refreshes the channel at a place from [`Self::place_for_channel`]. Whether it is a new one.
    pub(super) fn bind(
        &mut self,
        users: &mut Users,
        at: usize,
        number: u16,
        peer: SocketAddr,
        reach: Reach,
        expires_at_ns: u64,
    ) -> bool {
        let is_new = !self.is_bound(at);
        if is_new {
            users.grow(self.user_at, Kind::Channel);
        }
        self.channel_numbers[at] = number;
        self.channels[at] = ChannelRecord {
            expires_at_ns,
            peer: AddressRecord::new(peer),
            reach: reach as u8,
            reserved: [0; 3],
        };
        is_new
    }
}

/// The number has another peer, or the peer another number (RFC 8656 §12.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BoundOtherwise;
