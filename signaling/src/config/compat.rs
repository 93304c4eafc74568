//! What older clients may do.

use clap::Args;

#[derive(Clone, Debug, Args)]
#[allow(missing_docs, reason = "see the group of garbage")]
pub struct Compat {
    /// Lets clients of the first generation make and enter sessions by `?secret=` in the URL, as they did in
    /// development. Whoever reads such a page has the secret.
    #[arg(long, env = "MILLRACE_FIRST_GENERATION_SECRET")]
    pub first_generation_secret: bool,
}
