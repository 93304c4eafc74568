//! Where sessions survive a restart: one value each, behind a trait.

mod embedded;
mod writer;

pub use embedded::Embedded;
pub use writer::{Snapshots, Writer};

/// Why the store did not do it.
#[derive(Debug, thiserror::Error)]
#[error("the store failed: {0}")]
pub struct StoreError(pub String);

/// One change: the new value of a session, or that it is gone.
pub type Change = (String, Option<Vec<u8>>);

/// A place that keeps one value per session.
pub trait Store: Send {
    /// Every session and its value.
    ///
    /// # Errors
    /// When it cannot be read.
    fn load(&mut self) -> Result<Vec<(String, Vec<u8>)>, StoreError>;

    /// Carries out all `changes` or none, durably.
    ///
    /// # Errors
    /// When it cannot be written. The caller tries again with the next commit.
    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError>;
}
