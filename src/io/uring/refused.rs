//! Why the kernel refuses io_uring, in words for the operator.

use std::{fs, io};

/// The cause, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UringRefused {
    /// No such system call.
    #[error("io_uring is missing: the kernel was built without it (CONFIG_IO_URING), or a sandbox hides it")]
    Missing,
    /// The call exists, an ability the relay needs does not.
    #[error("io_uring is too old here ({step} is refused): it needs Linux 6.1 or newer")]
    KernelTooOld {
        /// What was asked.
        step: &'static str,
    },
    /// The administrator turned it off.
    #[error("io_uring is turned off: kernel.io_uring_disabled = {value}; set it to 0 with sysctl")]
    Disabled {
        /// 1: for processes without CAP_SYS_ADMIN outside of kernel.io_uring_group; 2: for all.
        value: u8,
    },
    /// Forbidden although the sysctl allows it.
    #[error(
        "io_uring is forbidden ({step}): a seccomp filter of the container or service blocks it; allow \
         io_uring_setup, io_uring_enter and io_uring_register there"
    )]
    Seccomp {
        /// What was asked.
        step: &'static str,
    },
    /// Memory it pins exceeds the limit.
    #[error(
        "io_uring got too little locked memory ({step}): raise the memlock limit (LimitMEMLOCK=, ulimit -l)"
    )]
    Memlock {
        /// What was asked.
        step: &'static str,
    },
    /// Something else.
    #[error("io_uring failed ({step}, errno {errno})")]
    Other {
        /// What was asked.
        step: &'static str,
        /// What the kernel said, as in errno(3).
        errno: i32,
    },
}

impl UringRefused {
    /// From the error of one step of the opening.
    pub(super) fn of(step: &'static str, error: &io::Error) -> Self {
        Self::explain(step, error.raw_os_error().unwrap_or(0), sysctl())
    }

    fn explain(step: &'static str, errno: i32, disabled: Option<u8>) -> Self {
        match (errno, disabled) {
            (libc::ENOSYS, _) => Self::Missing,
            (libc::EPERM | libc::EACCES, Some(value @ 1..)) => Self::Disabled { value },
            (libc::EPERM | libc::EACCES, _) => Self::Seccomp { step },
            (libc::ENOMEM, _) => Self::Memlock { step },
            // An unknown flag or opcode.
            (libc::EINVAL, _) => Self::KernelTooOld { step },
            (errno, _) => Self::Other { step, errno },
        }
    }
}

/// kernel.io_uring_disabled; `None` on kernels before 6.6, which have no such setting.
fn sysctl() -> Option<u8> {
    fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_is_told_apart_and_names_its_remedy() {
        let text = |errno, disabled| UringRefused::explain("io_uring_setup", errno, disabled).to_string();
        assert!(text(libc::ENOSYS, None).contains("without it"));
        assert!(text(libc::EPERM, Some(2)).contains("kernel.io_uring_disabled = 2"));
        assert!(text(libc::EPERM, Some(0)).contains("seccomp"));
        assert!(text(libc::EPERM, None).contains("seccomp"));
        assert!(text(libc::ENOMEM, Some(0)).contains("memlock"));
        assert!(text(libc::EINVAL, Some(0)).contains("6.1"));
        assert!(text(libc::EMFILE, Some(0)).contains(&libc::EMFILE.to_string()));
    }
}
