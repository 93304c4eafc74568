//! How many descriptors this process may have open.

use std::io;

/// Raises the soft limit to the hard limit and returns it. A child inherits it.
///
/// # Errors
/// None on a system that has limits.
pub fn raise_limit() -> io::Result<usize> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is writable and of the type that is written.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let raised = libc::rlimit { rlim_cur: limit.rlim_max, ..limit };
    // SAFETY: `raised` is readable and of the type that is read.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(usize::try_from(raised.rlim_cur).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_limit_is_as_high_as_the_system_allows() {
        let limit = super::raise_limit().unwrap();
        assert!(limit >= 256);
        assert_eq!(super::raise_limit().unwrap(), limit);
    }
}
