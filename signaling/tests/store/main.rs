//! The store under the whole process: crashes, a full disk, a disk that hangs, a damaged file.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests, and a child that speaks to its test")]

#[path = "../support/mod.rs"]
mod support;

mod child;
mod crash;
mod full_disk;
mod server;
