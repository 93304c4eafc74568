//! `millrace`: one command that runs both processes. All it does is in [`millrace::front`].

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: millrace::io::alloc::CountingAllocator = millrace::io::alloc::CountingAllocator;

fn main() -> ExitCode {
    millrace::front::main()
}
