//! Short text as a record: as long as a `mid` or a CNAME may be here.

use bytemuck::{Pod, Zeroable};

use crate::limits::CNAME_BYTES_MAX;

/// Up to 31 bytes of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Text {
    len_bytes: u8,
    bytes: [u8; CNAME_BYTES_MAX],
}

impl Text {
    /// `text`, or `None` when it is too long.
    pub fn new(text: &str) -> Option<Self> {
        let mut record = Self::zeroed();
        record.bytes.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        record.len_bytes = u8::try_from(text.len()).ok()?;
        Some(record)
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len_bytes).min(self.bytes.len())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_does_not_fit_is_refused() {
        assert_eq!(Text::new(&"x".repeat(31)).unwrap().as_bytes(), "x".repeat(31).as_bytes());
        assert!(Text::new(&"x".repeat(32)).is_none());
    }
}
