//! The relay as a process of its own. All it does is in [`millrace::relay`].

use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: millrace::io::alloc::CountingAllocator = millrace::io::alloc::CountingAllocator;

fn main() -> ExitCode {
    millrace::relay::main(&millrace::config::Config::parse())
}
