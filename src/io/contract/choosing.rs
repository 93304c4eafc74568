//! Which backend is chosen, and what is said when io_uring is refused.

use super::*;

#[test]
fn without_a_wish_the_backend_is_io_uring_or_says_why_not() {
    let opened = open(None, Sockets::bind(0).unwrap(), QueueSize { slots: 16, keys: 16 }).unwrap();
    assert_eq!(opened.kind() == BackendKind::Mmsg, opened.refused.is_some());
    assert_eq!(opened.refused.map(|refused| refused.to_string()), refused());
}

/// Makes one system call of this thread fail with `errno`, as a container's seccomp filter does.
fn forbid(call: libc::c_long, errno: i32) {
    let code = |code: u32, jump_false: u8, value: u32| libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf: jump_false,
        k: value,
    };
    let mut program = [
        // The number of the call is the first field of struct seccomp_data.
        code(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0),
        code(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 1, call as u32),
        code(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ERRNO | errno as u32),
        code(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: plain calls on a program that is valid while they run; they bind this thread alone.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let mode = libc::SECCOMP_MODE_FILTER;
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const filter, 0, 0), 0);
    }
}

#[test]
fn a_refused_io_uring_names_its_cause_and_falls_back() {
    if let Some(why) = refused() {
        return skip(&why);
    }
    let (setup, enter, register) =
        (libc::SYS_io_uring_setup, libc::SYS_io_uring_enter, libc::SYS_io_uring_register);
    let cases = [
        (setup, libc::ENOSYS, "built without it"),
        (setup, libc::EPERM, "seccomp"),
        (setup, libc::ENOMEM, "memlock"),
        (setup, libc::EINVAL, "Linux 6.1"),
        (register, libc::EPERM, "io_uring_register"),
        (enter, libc::EPERM, "io_uring_enter"),
    ];
    for (call, errno, words) in cases {
        let test = move || {
            forbid(call, errno);
            let size = QueueSize { slots: 16, keys: 16 };
            let opened = open(None, Sockets::bind(0).unwrap(), size).unwrap();
            assert_eq!(opened.kind(), BackendKind::Mmsg);
            let why = opened.refused.unwrap().to_string();
            assert!(why.contains(words), "{why}");
            let error = open(Some(BackendKind::Uring), Sockets::bind(0).unwrap(), size).unwrap_err();
            assert!(error.to_string().contains(words) && error.to_string().contains("--backend mmsg"));
        };
        thread::spawn(test).join().unwrap();
    }
}
