//! Choosing a backend when a shard's thread starts.

use super::send_queue::QueueSize;
use super::socket::Sockets;
use super::uring::{Prepared, Uring, UringRefused};
use super::{Backend, Mmsg};
use std::{fmt, io};

/// The two ways to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendKind {
    /// io_uring.
    Uring,
    /// recvmmsg and sendmmsg.
    Mmsg,
}

impl BackendKind {
    /// As the flag `--backend` spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Uring => "uring",
            Self::Mmsg => "mmsg",
        }
    }
}

impl fmt::Display for BackendKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Either backend. A thread matches on it once and stays with what it finds, so calls are static.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "one a thread, moved once")]
pub enum AnyBackend {
    /// io_uring.
    Uring(Uring),
    /// recvmmsg and sendmmsg.
    Mmsg(Mmsg),
}

/// An open backend.
#[derive(Debug)]
pub struct Opened {
    /// The backend.
    pub backend: AnyBackend,
    /// Why it is not io_uring, when nobody asked for the other.
    pub refused: Option<UringRefused>,
}

impl Opened {
    /// Which one it is.
    pub fn kind(&self) -> BackendKind {
        match &self.backend {
            AnyBackend::Uring(backend) => backend.kind(),
            AnyBackend::Mmsg(backend) => backend.kind(),
        }
    }
}

/// Why a thread has no backend.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// io_uring was asked for by name, and the kernel refused.
    #[error("{0}; or start with --backend mmsg")]
    Refused(#[from] UringRefused),
    /// No memory for the buffers, or no descriptor for the waker.
    #[error("cannot allocate the packet buffers of a shard: {0}")]
    Memory(#[from] io::Error),
}

/// Opens the backend `requested`, or io_uring with the other as a fallback, on the thread that is going to run it.
///
/// # Errors
/// When memory is missing, or io_uring was requested by name and is refused.
pub fn open(requested: Option<BackendKind>, sockets: Sockets, size: QueueSize) -> Result<Opened, OpenError> {
    let mmsg = |sockets| Mmsg::new(sockets, size).map(AnyBackend::Mmsg);
    if requested == Some(BackendKind::Mmsg) {
        return Ok(Opened { backend: mmsg(sockets)?, refused: None });
    }
    match Prepared::open(&sockets) {
        Ok(prepared) => {
            let backend = AnyBackend::Uring(Uring::new(prepared, sockets, size)?);
            Ok(Opened { backend, refused: None })
        }
        Err(refused) if requested.is_none() => Ok(Opened { backend: mmsg(sockets)?, refused: Some(refused) }),
        Err(refused) => Err(refused.into()),
    }
}
