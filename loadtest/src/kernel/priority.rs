//! Who has a core first when others want it too.

use std::io;

/// Highest niceness a measurement gives itself: before what others compile, behind nobody.
const NICE: libc::c_int = -15;

/// Has the scheduler prefer the calling thread.
///
/// # Errors
/// EACCES without CAP_SYS_NICE.
pub fn prefer_this_thread() -> io::Result<()> {
    prefer_thread(0)
}

/// Has the scheduler prefer a thread of the machine by its id; 0 is the calling one.
///
/// # Errors
/// EACCES or EPERM without CAP_SYS_NICE, ESRCH when there is no such thread.
pub fn prefer_thread(id: u32) -> io::Result<()> {
    // SAFETY: a plain call that touches no memory.
    match unsafe { libc::setpriority(libc::PRIO_PROCESS, id, NICE) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_does_not_exist_is_an_error() {
        // Above the kernel's largest thread id.
        assert!(prefer_thread(0x7fff_fff0).is_err());
    }
}
