//! Clocks of a measurement, in nanoseconds, and sleeping by them.

use std::io;

/// The monotonic clock, the same for every process of the machine.
#[must_use]
pub fn monotonic_ns() -> u64 {
    read(libc::CLOCK_MONOTONIC)
}

/// CPU time the calling thread has used, in the kernel and out of it.
#[must_use]
pub fn thread_cpu_ns() -> u64 {
    read(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// Sleeps until [`monotonic_ns`] reaches `deadline_ns`; not at all if it has.
pub fn sleep_until(deadline_ns: u64) {
    let time = libc::timespec {
        tv_sec: libc::time_t::try_from(deadline_ns / 1_000_000_000).unwrap_or(libc::time_t::MAX),
        tv_nsec: (deadline_ns % 1_000_000_000) as libc::c_long,
    };
    loop {
        // SAFETY: `time` is a valid time; what remains is not asked for.
        let result = unsafe {
            libc::clock_nanosleep(
                libc::CLOCK_MONOTONIC,
                libc::TIMER_ABSTIME,
                &raw const time,
                std::ptr::null_mut(),
            )
        };
        if result != libc::EINTR {
            return;
        }
    }
}

/// Lets the calling thread's sleeps end on time: the kernel may put them off by 50 us otherwise.
///
/// # Errors
/// None that Linux is known to give.
pub fn use_exact_timers() -> io::Result<()> {
    const SLACK_NS: libc::c_ulong = 1;
    // SAFETY: a plain call that touches no memory.
    match unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, SLACK_NS, 0, 0, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn read(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec to write to.
    let result = unsafe { libc::clock_gettime(clock, &raw mut time) };
    debug_assert_eq!(result, 0, "both clocks exist on every Linux");
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleep_takes_time_and_no_cpu() {
        use_exact_timers().unwrap();
        let (start, cpu) = (monotonic_ns(), thread_cpu_ns());
        sleep_until(start + 20_000_000);
        let (slept, used) = (monotonic_ns() - start, thread_cpu_ns() - cpu);
        assert!(slept >= 20_000_000 && used < slept, "{slept} {used}");
        sleep_until(0);
    }

    #[test]
    fn work_takes_cpu() {
        let cpu = thread_cpu_ns();
        // Ends when the clock moves; hangs if it never does.
        while thread_cpu_ns() == cpu {
            std::hint::spin_loop();
        }
    }
}
