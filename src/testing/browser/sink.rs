//! One stream that a simulated browser receives.

use std::collections::BTreeMap;

use bytemuck::Zeroable;

use crate::records::replay::ReplayWindow;
use crate::time::Timestamp;

/// One packet that was received, decrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) at: Timestamp,
    pub(crate) rtp: u32,
    pub(crate) marker: bool,
    pub(crate) payload_type: u8,
    /// Only padding.
    pub(crate) padding: bool,
    /// It came as RTX.
    pub(crate) repaired: bool,
    pub(crate) payload: Vec<u8>,
    /// Ids and values.
    pub(crate) extensions: Vec<(u8, Vec<u8>)>,
}

#[derive(Clone)]
pub(crate) struct Sink {
    pub(crate) window: ReplayWindow,
    /// By index: roll-over counter and sequence number in one.
    pub(crate) packets: BTreeMap<u64, Received>,
    /// Copies of a number that arrived before, sent again by RTX or doubled by the network.
    pub(crate) repeats: u64,
}

impl Default for Sink {
    fn default() -> Self {
        Self { window: ReplayWindow::zeroed(), packets: BTreeMap::new(), repeats: 0 }
    }
}

impl Sink {
    pub(crate) fn first(&self) -> Option<u64> {
        self.packets.first_key_value().map(|(index, _)| *index)
    }

    pub(crate) fn last(&self) -> Option<u64> {
        self.packets.last_key_value().map(|(index, _)| *index)
    }

    /// Numbers between the first and the last that did not arrive.
    pub(crate) fn missing(&self) -> Vec<u64> {
        let (Some(first), Some(last)) = (self.first(), self.last()) else { return Vec::new() };
        (first..=last).filter(|index| !self.packets.contains_key(index)).collect()
    }

    /// Sequence numbers of at most `count` that are missing among the last few hundred.
    pub(crate) fn missing_lately(&self, count: usize) -> Vec<u16> {
        let (Some(first), Some(last)) = (self.first(), self.last()) else { return Vec::new() };
        let from = first.max(last.saturating_sub(400));
        let missing = (from..last).filter(|index| !self.packets.contains_key(index));
        missing.map(|index| index as u16).take(count).collect()
    }

    pub(crate) fn payloads(&self) -> Vec<&[u8]> {
        self.packets.values().filter(|packet| !packet.padding).map(|packet| &packet.payload[..]).collect()
    }
}
