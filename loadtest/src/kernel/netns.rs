//! Network namespaces (network_namespaces(7)).

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

/// Moves the calling thread into the namespace that is mounted at `path`, such as `/run/netns/NAME`. Sockets it has
/// stay where they were made; threads it starts from now on are in there too.
///
/// # Errors
/// When there is no namespace, or this process is not root.
pub fn enter(path: &Path) -> io::Result<()> {
    let namespace = File::open(path)?;
    // SAFETY: a plain call on a descriptor of ours; it changes nothing but which network the thread is on.
    match unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_namespace_is_refused() {
        assert!(enter(Path::new("/proc/self/status")).is_err());
        assert!(enter(Path::new("/nonexistent")).is_err());
    }
}
