//! What of the REST API is served.

use clap::Args;

use crate::net::Net;

#[derive(Clone, Debug, Args)]
#[allow(missing_docs, reason = "see the group of garbage")]
pub struct Rest {
    /// Serves the paths of older releases too: /api for /openvidu/api, /config, /info, /accept-certificate, and those
    /// of files.
    #[arg(long, env = "SUPPORT_DEPRECATED_API")]
    pub support_deprecated_api: bool,

    /// Addresses and ranges of them, such as 198.51.100.0/24, from which the REST API, call detail records and figures may be asked
    /// for; others get 403. Without it, or with all, from everywhere. This machine always may. Repeatable.
    #[arg(long, env = "MILLRACE_REST_ALLOW", value_name = "NET", value_delimiter = ',', value_parser = Net::parse)]
    pub rest_allow: Vec<Net>,

    /// The same for what operators look at: the page about the REST API with its OpenAPI file, and /openvidu/info. The call page is
    /// open to everybody.
    #[arg(long, env = "MILLRACE_DASHBOARD_ALLOW", value_name = "NET", value_delimiter = ',', value_parser = Net::parse)]
    pub dashboard_allow: Vec<Net>,
}
