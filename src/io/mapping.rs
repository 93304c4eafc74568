//! Memory straight from the kernel: the records of a shard, and the buffers packets lie in.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::slice;

/// Zeroed, page-aligned memory that core dumps leave out, for it holds keys and media.
#[derive(Debug)]
pub struct Mapping {
    address: NonNull<u8>,
    len_bytes: usize,
    file: Option<OwnedFd>,
}

// SAFETY: the mapping owns its memory alone, as a Box does; nothing in it belongs to a thread.
unsafe impl Send for Mapping {}

impl Mapping {
    /// Memory of this process alone, gone with it. Every page is there from the start: the packet path takes no page
    /// fault, and a machine with too little memory says so when the relay starts.
    /// `len_bytes` is above 0 and is rounded up to whole pages.
    ///
    /// # Errors
    /// ENOMEM when the machine or the memory limit has too little; EINVAL for a length of 0.
    pub fn anonymous(len_bytes: usize) -> io::Result<Self> {
        Self::map(len_bytes, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE, None)
    }

    /// As [`Mapping::anonymous`], but a page comes with its first use: for room that is rarely needed.
    ///
    /// # Errors
    /// As [`Mapping::anonymous`].
    pub fn lazy(len_bytes: usize) -> io::Result<Self> {
        Self::map(len_bytes, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, None)
    }

    /// Memory behind a descriptor, which another process can be given. A page comes with its first use: most records
    /// of a shard are never used. `name` shows in `/proc/PID/maps`.
    ///
    /// The file is sealed against shrinking, so that nobody who holds the descriptor can take pages away under us.
    ///
    /// # Errors
    /// As [`Mapping::anonymous`]; EMFILE when no descriptor is free.
    pub fn memfd(name: &CStr, len_bytes: usize) -> io::Result<Self> {
        // SAFETY: `name` is a terminated string.
        let file = unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING) };
        if file < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just made, and nobody else owns it.
        let file = unsafe { OwnedFd::from_raw_fd(file) };
        let len = libc::off_t::try_from(len_bytes).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
        // SAFETY: a plain call on a descriptor of ours.
        if unsafe { libc::ftruncate(file.as_raw_fd(), len) } != 0 {
            return Err(io::Error::last_os_error());
        }
        let seals = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;
        // SAFETY: a plain call on a descriptor of ours.
        if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Self::map(len_bytes, libc::MAP_SHARED, Some(file))
    }

    fn map(len_bytes: usize, kind: i32, file: Option<OwnedFd>) -> io::Result<Self> {
        let fd = file.as_ref().map_or(-1, AsRawFd::as_raw_fd);
        let rights = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing.
        let address = unsafe { libc::mmap(ptr::null_mut(), len_bytes, rights, kind, fd, 0) };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let address = NonNull::new(address.cast()).expect("mmap without MAP_FIXED never returns null");
        let mapping = Self { address, len_bytes, file };
        // SAFETY: the range is the mapping just made.
        if unsafe { libc::madvise(mapping.address.as_ptr().cast(), len_bytes, libc::MADV_DONTDUMP) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(mapping)
    }

    /// The memory to read.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: mapped, readable, initialized (zeroed by the kernel) for `len_bytes`, and borrowed through `self`.
        unsafe { slice::from_raw_parts(self.address.as_ptr(), self.len_bytes) }
    }

    /// The memory to write.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, and `&mut self` makes the borrow the only one.
        unsafe { slice::from_raw_parts_mut(self.address.as_ptr(), self.len_bytes) }
    }

    /// The descriptor behind the memory, if it was made with [`Mapping::memfd`].
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.file.as_ref().map(AsFd::as_fd)
    }

    /// Where it begins, for `io/`, which hands parts of it to the kernel.
    pub(super) const fn address(&self) -> *mut u8 {
        self.address.as_ptr()
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range is ours, and every borrow of it has ended with `self`.
        unsafe { libc::munmap(self.address.as_ptr().cast(), self.len_bytes) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    #[test]
    fn memory_starts_zeroed_page_aligned_and_of_the_length_asked_for() {
        let made = [Mapping::anonymous(10_000), Mapping::lazy(10_000), Mapping::memfd(c"test", 10_000)];
        for mut mapping in made.map(Result::unwrap) {
            assert_eq!(mapping.bytes().len(), 10_000);
            assert!(mapping.bytes().iter().all(|&byte| byte == 0));
            assert_eq!(mapping.address().addr() % 4096, 0);
            mapping.bytes_mut()[9_999] = 7;
            assert_eq!(mapping.bytes()[9_999], 7);
        }
    }

    #[test]
    fn a_memfd_is_seen_through_its_descriptor_and_cannot_be_shrunk() {
        let mut mapping = Mapping::memfd(c"test", 8192).unwrap();
        mapping.bytes_mut()[5000] = 42;
        let file = File::from(mapping.descriptor().unwrap().try_clone_to_owned().unwrap());
        let mut byte = [0];
        file.read_at(&mut byte, 5000).unwrap();
        assert_eq!(byte, [42]);
        assert!(file.set_len(0).is_err());
        assert!(Mapping::anonymous(1).unwrap().descriptor().is_none());
    }

    #[test]
    fn an_empty_mapping_is_refused() {
        assert!(Mapping::anonymous(0).is_err());
    }
}
