//! SRTP keys of one side, and the proof that the other side never uses a nonce twice.

use std::collections::{BTreeMap, BTreeSet};

use bytemuck::Zeroable;

use crate::records::keys::KeyRecord;
use crate::records::replay::ReplayWindow;
use crate::srtp::{OpenKeys, SealKeys};
use crate::wire::demux::{Kind, kind};
use crate::wire::rtp::Header;

/// Ciphers of one transport.
pub(crate) struct Keys {
    pub(crate) record: KeyRecord,
    pub(crate) open: OpenKeys,
    pub(crate) seal: SealKeys,
}

impl Keys {
    pub(crate) fn new(record: KeyRecord) -> Self {
        let open = OpenKeys::from_record(&record).unwrap();
        Self { record, open, seal: SealKeys::from_record(&record).unwrap() }
    }
}

impl Clone for Keys {
    fn clone(&self) -> Self {
        Self::new(self.record)
    }
}

/// Looks at everything that the relay sends to one browser, before the network does anything to it: each packet
/// verifies, and no (SSRC, index) protects two.
#[derive(Clone, Default)]
pub(crate) struct Audit {
    /// RTCP, SSRC, index.
    used: BTreeSet<(bool, u32, u64)>,
    windows: BTreeMap<u32, Option<u64>>,
}

impl Audit {
    pub(crate) fn check(&mut self, keys: &Keys, datagram: &[u8]) {
        let mut copy = datagram.to_vec();
        let used = match kind(datagram) {
            Some(Kind::Rtp) => {
                let header = Header::parse(datagram).expect("the relay writes whole headers");
                let newest = self.windows.entry(header.ssrc).or_default();
                let mut window = ReplayWindow::zeroed();
                newest.iter().for_each(|newest| window.accept(*newest));
                let index = window.estimate(header.sequence);
                keys.open
                    .open_rtp(index, header.header_len, &mut copy)
                    .expect("what the relay sends verifies");
                *newest = (*newest).max(Some(index));
                (false, header.ssrc, index)
            }
            Some(Kind::Rtcp) => {
                let (_, index) = keys.open.open_rtcp(&mut copy).expect("what the relay sends verifies");
                (true, 0, u64::from(index))
            }
            _ => return,
        };
        assert!(self.used.insert(used), "a nonce was used twice: (RTCP, SSRC, index) = {used:?}");
    }

    /// New keys, new nonces.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }
}
