//! What signaling wants to find again with a peer.

use bytemuck::{Pod, Zeroable};

use crate::limits::MEMO_BYTES_MAX;

/// The memo of the peer in the same place of the peers' table. A free place has an empty one.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct MemoRecord {
    len: u32,
    bytes: [u8; MEMO_BYTES_MAX],
}

impl MemoRecord {
    /// Keeps `memo` in place of what was there. Gives whether it fits.
    pub fn set(&mut self, memo: &[u8]) -> bool {
        let Some(place) = self.bytes.get_mut(..memo.len()) else { return false };
        place.copy_from_slice(memo);
        // It fits, so its length does too.
        self.len = memo.len() as u32;
        true
    }

    /// The memo.
    pub fn get(&self) -> &[u8] {
        self.bytes.get(..self.len as usize).unwrap_or_default()
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memo_is_kept_whole_or_not_at_all() {
        let mut memo = MemoRecord::zeroed();
        assert!(memo.set(&[7; MEMO_BYTES_MAX]) && memo.get() == [7; MEMO_BYTES_MAX]);
        assert!(!memo.set(&[8; MEMO_BYTES_MAX + 1]) && memo.get() == [7; MEMO_BYTES_MAX]);
        assert!(memo.set(b"short") && memo.get() == b"short");
        assert!(memo.set(b"") && memo.is_empty());
    }
}
