//! The store under the whole process: crashes, a full disk, a disk that hangs, a damaged file.

#[path = "../support/mod.rs"]
mod support;

mod child;
mod crash;
mod full_disk;
mod server;
