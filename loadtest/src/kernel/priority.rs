//! Who has a core first when others want it too.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

/// Niceness a measurement gives itself: before what others compile, behind nobody.
const NICE: libc::c_int = -15;
/// Lowest of the real-time priorities.
const REALTIME: libc::c_int = 1;

static STRICT: AtomicBool = AtomicBool::new(false);

/// From now on preferring a thread means that nobody else has its core while it can run (SCHED_FIFO), instead of more
/// rarely. The kernel still keeps a twentieth of each second for the others (sched_rt_runtime_us).
pub fn prefer_strictly() {
    STRICT.store(true, Ordering::Relaxed);
}

/// Has the scheduler prefer the calling thread, and every thread it starts from now on.
///
/// # Errors
/// EACCES or EPERM without CAP_SYS_NICE.
pub fn prefer_this_thread() -> io::Result<()> {
    prefer_thread(0)
}

/// Has the scheduler prefer a thread of the machine by its id; 0 is the calling one.
///
/// # Errors
/// EACCES or EPERM without CAP_SYS_NICE, ESRCH when there is no such thread.
pub fn prefer_thread(id: u32) -> io::Result<()> {
    if STRICT.load(Ordering::Relaxed) {
        let parameters = libc::sched_param { sched_priority: REALTIME };
        // SAFETY: `parameters` is readable for the call.
        let result =
            unsafe { libc::sched_setscheduler(id.cast_signed(), libc::SCHED_FIFO, &raw const parameters) };
        return if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
    }
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
