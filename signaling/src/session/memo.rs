//! A text that an adapter keeps with a connection.

use std::sync::OnceLock;

use serde_json::value::RawValue;

/// How the clients of one dialect are shown a connection, as JSON. It is kept until the connection changes: a newcomer
/// in a room of thousands is shown all of them, and writing each one anew takes milliseconds under the lock of the session.
#[derive(Debug, Default)]
pub struct Memo(OnceLock<(&'static str, Box<RawValue>)>);

/// A copy of a connection starts without it.
impl Clone for Memo {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Memo {
    /// The text for `dialect`, made by `write` if there is none yet. `None` when the place is taken by another dialect: most
    /// rooms have clients of one kind.
    pub fn text(&self, dialect: &'static str, write: impl FnOnce() -> Box<RawValue>) -> Option<&RawValue> {
        let (owner, text) = self.0.get_or_init(|| (dialect, write()));
        (*owner == dialect).then_some(text)
    }
}
