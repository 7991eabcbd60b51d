//! Arguments in, exit code out; and how the process gets its memory.

use std::process::ExitCode;

/// A request is some twenty small allocations in the framework.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    merlink::cli::run()
}
