//! The relay as a process of its own. All it does is in [`millrace::relay`].

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: millrace::io::alloc::CountingAllocator = millrace::io::alloc::CountingAllocator;

fn main() -> ExitCode {
    match millrace_settings::parse::<millrace::config::Config>(std::env::args_os()) {
        Ok((config, _)) => {
            std::thread::sleep(millrace_settings::wait_before_start(&config.server.data_dir, "relay"));
            millrace::relay::main(&config)
        }
        Err(failure) => failure.report("millrace-relay"),
    }
}
