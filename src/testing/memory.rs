//! The records' memory, as the kernel would map it for a shard.

use crate::records::{MAPPING_BYTES, Records};

const LINE_BYTES: usize = 64;

/// Zeroed memory of a mapping's size. Pages nobody touches cost nothing here either.
pub(crate) struct Memory(Vec<u64>);

impl Memory {
    pub(crate) fn new() -> Self {
        Self(vec![0; (MAPPING_BYTES + LINE_BYTES) / 8])
    }

    /// The records in it: what the last shard left.
    pub(crate) fn records(&mut self) -> Records<'_> {
        Records::attach(self.bytes()).unwrap()
    }

    fn bytes(&mut self) -> &mut [u8] {
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut self.0);
        let skip = bytes.as_ptr().align_offset(LINE_BYTES);
        &mut bytes[skip..skip + MAPPING_BYTES]
    }

    /// The same bytes at another place.
    pub(crate) fn copy(&mut self) -> Self {
        let mut copy = Self::new();
        copy.bytes().copy_from_slice(self.bytes());
        copy
    }
}
