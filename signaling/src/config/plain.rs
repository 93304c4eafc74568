//! Plain HTTP on this machine.

use clap::Args;

#[derive(Clone, Debug, Args)]
#[allow(missing_docs, reason = "see the group of garbage")]
pub struct Plain {
    /// Port of plain HTTP, on loopback only, for trials without a certificate warning. 0 takes any free port.
    #[arg(long, default_value_t = 4480, value_name = "N")]
    pub http_port: u16,
}
