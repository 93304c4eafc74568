//! The ring itself: made, filled, entered, reaped. The one file that talks to the io_uring crate's queues.
//!
//! DEFER_TASKRUN makes this thread do all the ring's work inside its own `io_uring_enter`, and SINGLE_ISSUER lets no
//! other thread enter. No worker thread ever runs for it, for sockets and the eventfd can all be polled. So the kernel
//! touches memory that an entry names only between the two ends of [`Ring::enter`]. Every SAFETY note in this folder
//! stands on that.

use super::refused::UringRefused;
use crate::io::socket::{Family, Sockets};
use io_uring::{EnterFlags, IoUring, cqueue, squeue, types};
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;
use std::{fmt, io};

/// Submission entries: the sends of one flush, both receives, the wake.
pub(super) const ENTRIES: u32 = 512;
/// Completions of one enter: a full buffer ring, all sends, and then some.
const COMPLETIONS: u32 = 2048;
/// How often an enter that made no progress is repeated. The kernel is out of memory then.
const STALLS_MAX: u32 = 16;

/// Place of each descriptor in the registered table.
pub(super) const fn socket_file(family: Family) -> types::Fixed {
    types::Fixed(family as u32)
}
pub(super) const EVENT_FILE: types::Fixed = types::Fixed(2);

/// One io_uring, tied to the thread that made it.
pub(super) struct Ring {
    ring: IoUring,
    /// The ring accepts entries of this thread alone.
    _not_send: PhantomData<*mut ()>,
}

impl Ring {
    /// Makes a ring and tries what the relay needs: the flags, a table of files, an enter.
    ///
    /// # Errors
    /// The cause, in words for the operator.
    pub(super) fn open(sockets: &Sockets) -> Result<Self, UringRefused> {
        let mut builder = IoUring::builder();
        builder.setup_cqsize(COMPLETIONS).setup_submit_all();
        builder.setup_single_issuer().setup_defer_taskrun().setup_coop_taskrun();
        let ring = builder.build(ENTRIES).map_err(|error| UringRefused::of("io_uring_setup", &error))?;
        let params = ring.params();
        // All older than DEFER_TASKRUN; asked for, since soundness stands on the first.
        if !(params.is_feature_submit_stable() && params.is_feature_ext_arg() && params.is_feature_nodrop()) {
            return Err(UringRefused::KernelTooOld { step: "SUBMIT_STABLE" });
        }
        let files = [Family::Ipv4, Family::Ipv6].map(|family| sockets.get(family).unwrap_or(-1));
        ring.submitter()
            .register_files(&[files[0], files[1], -1])
            .map_err(|error| UringRefused::of("io_uring_register", &error))?;
        let mut ring = Self { ring, _not_send: PhantomData };
        ring.enter(0, Some(Duration::ZERO)).map_err(|error| UringRefused::of("io_uring_enter", &error))?;
        Ok(ring)
    }

    /// Puts the waker's eventfd into the table.
    pub(super) fn register_event(&self, event: BorrowedFd<'_>) -> io::Result<()> {
        self.ring.submitter().register_files_update(EVENT_FILE.0, &[event.as_raw_fd()]).map(drop)
    }

    /// Registers a ring of `entries` provided buffers as group `group`.
    ///
    /// # Safety
    /// `address` is page-aligned memory of `entries` buffer entries that outlives this ring.
    pub(super) unsafe fn register_buffers(
        &self,
        address: *mut u8,
        entries: u16,
        group: u16,
    ) -> io::Result<()> {
        // SAFETY: the caller's promise.
        unsafe {
            self.ring.submitter().register_buf_ring_with_flags(
                address.expose_provenance() as u64,
                entries,
                group,
                0,
            )
        }
    }

    /// Room for one more entry.
    pub(super) fn has_room(&mut self) -> bool {
        !self.ring.submission().is_full()
    }

    /// Queues an entry for the next enter. There must be room.
    ///
    /// # Safety
    /// Memory the entry names stays valid until the entry has completed; what the kernel reads while it takes the entry
    /// in (SUBMIT_STABLE), at least until the next enter has returned.
    pub(super) unsafe fn push(&mut self, entry: &squeue::Entry) {
        // SAFETY: the caller's promise.
        unsafe { self.ring.submission().push(entry) }.expect("the caller has seen that there is room");
    }

    /// Submits everything queued, runs the ring's work, and waits until `want` completions are there or `timeout` is
    /// over (`None`: does not wait at all).
    ///
    /// # Errors
    /// Not for a timeout or a signal. What remains is a kernel out of memory, which a later enter may overcome.
    pub(super) fn enter(&mut self, want: usize, timeout: Option<Duration>) -> io::Result<()> {
        let spec = types::Timespec::from(timeout.unwrap_or_default());
        let args = types::SubmitArgs::new().timespec(&spec);
        let want = if timeout.is_some() { want as u32 } else { 0 };
        // GETEVENTS also when nothing is wanted: deferred work runs in an enter that carries it.
        let flags = (EnterFlags::EXT_ARG | EnterFlags::GETEVENTS).bits();
        let mut stalls = 0;
        loop {
            let queued = self.ring.submission().len() as u32;
            // SAFETY: `args` is the argument EXT_ARG calls for, and lives across the call with the time it points to.
            match unsafe { self.ring.submitter().enter(queued, want, flags, Some(&args)) } {
                // A kernel short of memory takes in fewer; the rest stays in the queue.
                Ok(taken) if (taken as u32) < queued => stalls += 1,
                Ok(_) => return Ok(()),
                Err(error) => match error.raw_os_error() {
                    // Only an enter that submitted nothing reports these, and then there was nothing to submit.
                    Some(libc::ETIME | libc::EINTR) if self.ring.submission().is_empty() => return Ok(()),
                    Some(libc::ETIME | libc::EINTR | libc::EAGAIN | libc::EBUSY) => stalls += 1,
                    _ => return Err(error),
                },
            }
            if stalls > STALLS_MAX {
                return Err(io::Error::from_raw_os_error(libc::EAGAIN));
            }
        }
    }

    /// The completions that are there.
    pub(super) fn completions(&mut self) -> cqueue::CompletionQueue<'_> {
        self.ring.completion()
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring").finish_non_exhaustive()
    }
}
