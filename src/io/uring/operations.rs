//! The sends in the kernel's hands: what each entry points to, and which run it carries.

use crate::io::address::Name;
use crate::io::cmsg::SendControl;
use crate::io::mapping::Mapping;
use crate::io::send_queue::{Run, SendQueue};
use std::{fmt, io};

/// Sends in the kernel's hands at most. A flush of more submits in between.
pub(super) const OPERATIONS: usize = 256;

/// Number of an operation.
pub(super) type OperationId = u32;

/// One send.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operation {
    pub(super) run: Run,
    /// The kernel waits with it for room in the socket.
    pub(super) waits: bool,
    /// What the kernel said when it refused.
    pub(super) errno: Option<i32>,
}

/// What the kernel reads. Its parts lie in `Operations::parts`.
#[repr(C)]
struct Message {
    header: libc::msghdr,
    name: Name,
    control: SendControl,
}

/// A fixed number of operations.
pub(super) struct Operations {
    /// Messages, by operation. Touched through pointers only, for the kernel has pointers to them too.
    memory: Mapping,
    free: Vec<OperationId>,
    slots: Vec<Option<Operation>>,
    /// Parts of the messages not submitted yet. The kernel copies them while it takes an entry in.
    parts: Vec<libc::iovec>,
}

impl Operations {
    /// `parts` is the number of slots: each lies in one message at most.
    pub(super) fn new(parts: usize) -> io::Result<Self> {
        Ok(Self {
            memory: Mapping::anonymous(OPERATIONS * size_of::<Message>())?,
            free: (0..OPERATIONS as OperationId).rev().collect(),
            slots: vec![None; OPERATIONS],
            parts: Vec::with_capacity(parts),
        })
    }

    /// True when `run` can be begun.
    pub(super) fn has_room(&self, run: &Run) -> bool {
        !self.free.is_empty() && self.has_parts(run)
    }

    /// True when there is room for the parts of `run`.
    pub(super) fn has_parts(&self, run: &Run) -> bool {
        self.parts.len() + usize::from(run.count) <= self.parts.capacity()
    }

    /// Takes a run over. There must be room.
    pub(super) fn begin(&mut self, run: Run) -> OperationId {
        let id = self.free.pop().expect("the caller has seen that there is room");
        self.slots[id as usize] = Some(Operation { run, waits: false, errno: None });
        id
    }

    /// Writes the message of an operation, valid until [`Operations::end`]; its parts, until [`Operations::submitted`].
    pub(super) fn write(&mut self, id: OperationId, queue: &SendQueue) -> *const libc::msghdr {
        let run = self.slots[id as usize].as_ref().expect("the operation has begun").run;
        assert!(self.has_parts(&run), "the caller has seen that there is room");
        let start = self.parts.len();
        self.parts.extend(queue.segments(&run));
        // SAFETY: `start` is at most the vector's length, and the vector never grows beyond its capacity.
        let parts = unsafe { self.parts.as_mut_ptr().add(start) };
        // SAFETY: `id` is below OPERATIONS, for `slots` has an element there, and a mapping is aligned for any message.
        let message = unsafe { self.memory.address().cast::<Message>().add(id as usize) };
        // SAFETY: all bits of a message in a zeroed mapping are valid; the kernel does not have it now (see `ring`), so
        // this reference is the only one while it lives.
        let Message { header, name, control } = unsafe { &mut *message };
        header.msg_namelen = name.write(&run.path.remote);
        header.msg_name = name.as_mut_ptr();
        control.write(&run.path.local, (run.count > 1).then_some(run.segment_len));
        header.msg_controllen = control.len();
        header.msg_control = control.as_mut_ptr();
        header.msg_iov = parts;
        header.msg_iovlen = usize::from(run.count);
        // SAFETY: in bounds, as above. Only the address is taken.
        unsafe { &raw const (*message).header }
    }

    pub(super) fn get_mut(&mut self, id: OperationId) -> &mut Operation {
        self.slots[id as usize].as_mut().expect("the kernel completes what has begun")
    }

    /// The kernel is done with the operation; the run is the caller's again.
    pub(super) fn end(&mut self, id: OperationId) -> Operation {
        let operation = self.slots[id as usize].take().expect("an operation ends once");
        self.free.push(id);
        operation
    }

    /// The kernel has taken every entry in.
    pub(super) fn submitted(&mut self) {
        self.parts.clear();
    }
}

impl fmt::Debug for Operations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operations").field("free", &self.free.len()).finish_non_exhaustive()
    }
}
