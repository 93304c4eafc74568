//! The release lines of OpenVidu's clients.

use std::fmt;

use super::events;
use crate::delivery::Dialect;

/// Release line of a client. It decides what a client is sent, and not what a client may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    /// openvidu-browser 1.x.
    First,
    /// openvidu-browser 2.x.
    Second,
}

/// What openvidu-browser 1.x reads.
static FIRST: Dialect = Dialect {
    name: "FIRST",
    encode: |notice| Some(events::notification(notice, Generation::First).into()),
    // These clients do not know `forciblyReconnectSubscriber`.
    takes_offers: false,
};

/// What openvidu-browser 2.x reads.
static SECOND: Dialect = Dialect {
    name: "SECOND",
    encode: |notice| Some(events::notification(notice, Generation::Second).into()),
    takes_offers: true,
};

/// Every dialect of OpenVidu's clients. Participants that an older release stored without a dialect speak the first.
pub static DIALECTS: [&Dialect; 2] = [&SECOND, &FIRST];

impl Generation {
    /// What its clients read.
    pub const fn dialect(self) -> &'static Dialect {
        match self {
            Self::First => &FIRST,
            Self::Second => &SECOND,
        }
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.dialect().name)
    }
}
