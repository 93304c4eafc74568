//! What comes in: datagrams as `io/` hands them to a shard, a batch at a time.

use arrayvec::ArrayVec;

use crate::egress::Path;

/// Trains handed over together. A batch stays in the first-level cache, and what is in hand when a shard panics is lost.
pub const TRAINS_MAX: usize = 16;

/// Datagrams of one path that came in one piece: each of `segment_len` bytes but the last, which may be shorter.
///
/// The kernel gathers them where it can (GRO, udp(7)); most trains have one datagram.
#[derive(Debug)]
pub struct Train<'b> {
    /// Where they came from, and to which address of ours.
    pub path: Path,
    /// The datagrams, one behind the other. They may be changed in place.
    pub bytes: &'b mut [u8],
    /// Length of each but the last; above 0.
    pub segment_len: usize,
}

/// A batch of trains, in the order they came.
pub type Trains<'b> = ArrayVec<Train<'b>, TRAINS_MAX>;

impl<'b> Train<'b> {
    /// A train of one datagram.
    pub const fn single(path: Path, bytes: &'b mut [u8]) -> Self {
        let len = bytes.len();
        Self { path, segment_len: if len == 0 { 1 } else { len }, bytes }
    }

    /// How many datagrams it has.
    pub const fn len(&self) -> usize {
        self.bytes.len().div_ceil(self.segment_len)
    }

    /// Whether it has none.
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Its datagrams, in order.
    pub fn into_datagrams(self) -> impl Iterator<Item = &'b mut [u8]> {
        self.bytes.chunks_mut(self.segment_len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_train_falls_into_equal_datagrams_and_a_shorter_last_one() {
        let mut bytes = [0; 25];
        let train = Train { path: Path::NONE, bytes: &mut bytes, segment_len: 10 };
        assert_eq!(train.len(), 3);
        assert_eq!(train.into_datagrams().map(|datagram| datagram.len()).collect::<Vec<_>>(), [10, 10, 5]);
        let mut bytes = [0; 7];
        assert_eq!(Train::single(Path::NONE, &mut bytes).len(), 1);
    }
}
