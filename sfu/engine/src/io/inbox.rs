//! Receives batches into buffers that are made once.

use std::alloc::{alloc_zeroed, handle_alloc_error, Layout};
use std::net::SocketAddr;
use std::os::raw::{c_int, c_uint};
use std::os::unix::io::RawFd;
use std::ptr::{addr_of_mut, null_mut, NonNull};
use std::slice;

use super::abi::{recvmmsg, Iovec, Mmsghdr, Name, MSG_DONTWAIT};
use super::BATCH;

/// What is longer is cut, and then is not authentic.
const DATAGRAM: usize = 2048;
const NAME: u32 = std::mem::size_of::<Name>() as u32;

/// The kernel's view of a batch: every header points to its name, its vector and through it to its buffer, for good.
#[repr(C)]
struct Batch {
    headers: [Mmsghdr; BATCH],
    vectors: [Iovec; BATCH],
    names: [Name; BATCH],
    buffers: [[u8; DATAGRAM]; BATCH],
}

pub struct Inbox {
    fd: RawFd,
    batch: NonNull<Batch>,
}

// SAFETY: the batch is owned by this value alone, and points only into itself.
unsafe impl Send for Inbox {}

impl Inbox {
    /// Of a non-blocking UDP socket, which must outlive it.
    pub(super) fn new(fd: RawFd) -> Inbox {
        let layout = Layout::new::<Batch>();
        // SAFETY: the layout has a size; all zeroes are valid for each field (null pointers, numbers, bytes).
        let batch = match NonNull::new(unsafe { alloc_zeroed(layout) }.cast::<Batch>()) {
            Some(batch) => batch,
            None => handle_alloc_error(layout),
        };
        let all = batch.as_ptr();
        for i in 0..BATCH {
            // SAFETY: `i` is within the arrays of the batch, which nobody else knows yet.
            unsafe {
                (*all).vectors[i] = Iovec {
                    base: addr_of_mut!((*all).buffers[i]).cast(),
                    len: DATAGRAM,
                };
                let header = &mut (*all).headers[i].header;
                header.name = addr_of_mut!((*all).names[i]).cast();
                header.name_len = NAME;
                header.iov = addr_of_mut!((*all).vectors[i]);
                header.iov_len = 1;
            }
        }
        Inbox { fd, batch }
    }

    /// Receives what is there, at most a batch, and hands each datagram to `take`. Returns how many came.
    pub fn receive(&mut self, mut take: impl FnMut(SocketAddr, &mut [u8])) -> usize {
        let all = self.batch.as_ptr();
        // SAFETY: the headers are as `new` made them; what they point to is part of the batch.
        let received = unsafe {
            let headers: *mut Mmsghdr = addr_of_mut!((*all).headers).cast();
            recvmmsg(self.fd, headers, BATCH as c_uint, MSG_DONTWAIT as c_int, null_mut())
        };
        let received = usize::try_from(received).unwrap_or(0);
        for i in 0..received {
            // SAFETY: `i` is below BATCH, and the kernel has left the batch alone since it returned.
            let (from, bytes) = unsafe {
                let message = &mut (*all).headers[i];
                // The kernel has written over it; all else is left as it was.
                message.header.name_len = NAME;
                let len = (message.len as usize).min(DATAGRAM);
                let buffer: *mut u8 = addr_of_mut!((*all).buffers[i]).cast();
                ((*all).names[i].address(), slice::from_raw_parts_mut(buffer, len))
            };
            if let Some(from) = from {
                take(from, bytes);
            }
        }
        received
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        // SAFETY: allocated by the global allocator with this type's layout, and freed once.
        drop(unsafe { Box::from_raw(self.batch.as_ptr()) });
    }
}
