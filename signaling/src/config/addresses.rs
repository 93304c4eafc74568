//! Addresses that the operator names. The relay has to know them too.

use clap::Args;

use crate::net::Net;

#[derive(Clone, Debug, Default, Args)]
#[allow(missing_docs, reason = "see the group of garbage")]
pub struct Addresses {
    /// Addresses and ranges, such as 198.51.100.0/24, that may use the REST API, call detail records and statistics.
    /// Other addresses get 403. Empty, or `all`, allows every address. This machine is always allowed. A part of the port's
    /// connections is kept for these addresses. Repeatable.
    #[arg(long, value_name = "NET", value_delimiter = ',', value_parser = Net::parse)]
    pub rest_allow: Vec<Net>,

    /// Addresses and ranges of proxies in front of this server. From them the client's address is read: from a PROXY header
    /// (version 1 or 2) of a TCP proxy, from Forwarded or X-Forwarded-For of an HTTP proxy. A proxy that sends none of
    /// these must not be listed, since its clients could then claim any address. Repeatable.
    #[arg(
        long,
        value_name = "NET",
        value_delimiter = ',',
        value_parser = Net::parse
    )]
    pub trusted_proxies: Vec<Net>,
}
