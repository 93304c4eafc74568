//! How many descriptors this process may have.

use std::io;

/// Raises the limit as far as the system allows it, and says what it is then. Shells give 1 024, which a few hundred TCP
/// clients use up.
///
/// # Errors
/// None on a system with limits.
pub fn raise_limit() -> io::Result<usize> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is writable and of the type that is written.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let raised = libc::rlimit { rlim_cur: limit.rlim_max, ..limit };
    // SAFETY: `raised` is readable and of the type that is read.
    let result = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised) };
    let allowed = if result == 0 { raised.rlim_cur } else { limit.rlim_cur };
    Ok(usize::try_from(allowed).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_limit_is_as_high_as_it_may_be() {
        let limit = super::raise_limit().unwrap();
        assert!(limit >= 256);
        assert_eq!(super::raise_limit().unwrap(), limit);
    }
}
