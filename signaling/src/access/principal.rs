//! Who a request comes from.

/// Who a request comes from. Use-cases take one of these, never a socket or a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// The application's own server, by the secret. It may do everything.
    Application,
    /// A dashboard or a scraper, by the monitor secret. It may read, and what it reads holds no credentials.
    Monitor,
    /// A participant, by its token. It acts in its own session only, as far as its role allows.
    Client {
        /// The session it is in.
        session: String,
        /// Its connection there.
        connection: String,
    },
}

impl Principal {
    /// Whether it may change sessions that it is not in.
    pub const fn may_manage(&self) -> bool {
        matches!(self, Self::Application)
    }

    /// Whether it may see tokens, passwords, session descriptions and the content of call detail records.
    pub const fn may_see_credentials(&self) -> bool {
        matches!(self, Self::Application)
    }

    /// Whether it may list sessions, connections, statistics and the configuration.
    pub const fn may_observe(&self) -> bool {
        matches!(self, Self::Application | Self::Monitor)
    }
}
