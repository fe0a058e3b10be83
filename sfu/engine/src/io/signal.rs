//! A descriptor that one thread raises and another waits for.

use std::fs::File;
use std::io;
use std::os::raw::{c_int, c_uint};
use std::os::unix::io::{AsRawFd, FromRawFd, RawFd};

const EFD_FLAGS: c_int = 0o2_000_000 | 0o4_000; // EFD_CLOEXEC | EFD_NONBLOCK

extern "C" {
    fn eventfd(initial: c_uint, flags: c_int) -> c_int;
}

pub struct Signal(File);

impl Signal {
    /// Errors: no descriptors left.
    pub fn new() -> io::Result<Signal> {
        // SAFETY: no pointers; a valid descriptor is owned by the File from here on.
        let fd = unsafe { eventfd(0, EFD_FLAGS) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `fd` was just made and is owned by nobody else.
        Ok(Signal(unsafe { File::from_raw_fd(fd) }))
    }

    pub fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    pub fn raise(&self) {
        use std::io::Write;
        // Full means that it is raised already.
        let _ = (&self.0).write(&1u64.to_ne_bytes());
    }

    pub fn lower(&self) {
        use std::io::Read;
        let _ = (&self.0).read(&mut [0; 8]);
    }
}
