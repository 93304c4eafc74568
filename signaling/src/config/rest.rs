//! What of the REST API is served.

use clap::Args;

#[derive(Clone, Debug, Args)]
#[allow(missing_docs, reason = "see the group of garbage")]
pub struct Rest {
    /// Serves the paths of older releases too: /api for /openvidu/api, /config, /info, /accept-certificate, and those
    /// of files.
    #[arg(long, env = "SUPPORT_DEPRECATED_API")]
    pub support_deprecated_api: bool,
}
