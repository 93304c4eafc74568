//! The words that the clients of one protocol read.

use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::session::Notice;

/// One text frame, shared by all who are sent the same.
pub type Text = Utf8Bytes;

/// How notices become texts for the clients of one protocol.
///
/// There is one value for each kind of client, in a `static`. A participant keeps its [`name`](Self::name) in the store, so
/// that a restarted process finds the same dialect again.
#[derive(Debug)]
pub struct Dialect {
    /// Its name in the store.
    pub name: &'static str,
    /// The text of a notice. `None` when clients of this kind get no such notice.
    pub encode: fn(&Notice) -> Option<Text>,
    /// Whether its clients answer an offer that comes without a request of theirs
    /// ([`Notice::Recalled`](crate::session::Notice::Recalled)).
    pub takes_offers: bool,
}

impl PartialEq for Dialect {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}
