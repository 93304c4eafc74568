//! Who is at the other end of a Unix socket.

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

/// User id of the process that connected, as the kernel noted it then (`SO_PEERCRED`, unix(7)).
///
/// # Errors
/// When the kernel does not say.
pub fn peer_user(stream: &UnixStream) -> io::Result<u32> {
    let mut credentials = libc::ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };
    let mut len = libc::socklen_t::try_from(size_of::<libc::ucred>()).expect("a ucred is small");
    // SAFETY: the kernel writes at most `len` bytes, which is the size of the structure it is given.
    let status = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut credentials).cast(),
            &raw mut len,
        )
    };
    if status == 0 { Ok(credentials.uid) } else { Err(io::Error::last_os_error()) }
}

/// User id that this process acts under.
pub fn own_user() -> u32 {
    // SAFETY: no arguments, never fails.
    unsafe { libc::geteuid() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_end_of_our_own_pair_is_us() {
        let (near, far) = UnixStream::pair().unwrap();
        assert_eq!(peer_user(&near).unwrap(), own_user());
        assert_eq!(peer_user(&far).unwrap(), own_user());
    }
}
