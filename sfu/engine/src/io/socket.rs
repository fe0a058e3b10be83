//! A non-blocking UDP socket that moves batches.

use std::io;
use std::mem;
use std::net::{SocketAddr, UdpSocket};
use std::os::raw::{c_int, c_uint, c_void};
use std::os::unix::io::{AsRawFd, RawFd};

use super::abi::{
    getsockopt, recvmmsg, sendmmsg, setsockopt, Iovec, Mmsghdr, Msghdr, Name, MSG_DONTWAIT, SOL_SOCKET, SO_MEMINFO,
    SO_RCVBUF, SO_SNDBUF,
};
use crate::outbox::Outbox;

/// Datagrams per system call, in and out.
pub const BATCH: usize = 64;
const DATAGRAM: usize = 2048;
/// A second of a hundred 2 Mbit/s publishers; the kernel may grant less (net.core.rmem_max).
const SOCKET_BUFFER: c_int = 8 << 20;
/// Of SO_MEMINFO's numbers (linux/sock_diag.h): how many there are, and which counts drops.
const MEMINFO: usize = 9;
const DROPS: usize = 8;

pub struct Socket {
    socket: UdpSocket,
    buffers: Vec<u8>,
    names: Vec<Name>,
    vectors: Vec<Iovec>,
    headers: Vec<Mmsghdr>,
}

// SAFETY: the pointers in `vectors` and `headers` are made anew in each call and point into the same `Socket`.
unsafe impl Send for Socket {}

impl Socket {
    /// Errors: what `bind` says, an address in use among it.
    pub fn bind(address: SocketAddr) -> io::Result<Socket> {
        let socket = UdpSocket::bind(address)?;
        socket.set_nonblocking(true)?;
        for option in [SO_RCVBUF, SO_SNDBUF] {
            let value: *const c_int = &SOCKET_BUFFER;
            // SAFETY: the pointer is to a c_int that lives through the call. A refusal leaves the default size.
            unsafe {
                setsockopt(
                    socket.as_raw_fd(),
                    SOL_SOCKET,
                    option,
                    value.cast(),
                    mem::size_of::<c_int>() as u32,
                )
            };
        }
        Ok(Socket {
            socket,
            buffers: vec![0; BATCH * DATAGRAM],
            names: vec![Name::default(); BATCH],
            vectors: Vec::with_capacity(BATCH),
            headers: Vec::with_capacity(BATCH),
        })
    }

    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    pub fn fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    /// How many datagrams the kernel has thrown away because they came faster than `receive`; wraps. 0 where the
    /// kernel doesn't say.
    pub fn overflowed(&self) -> u32 {
        let mut info = [0u32; MEMINFO];
        let mut len = mem::size_of_val(&info) as u32;
        let (value, len): (*mut u32, *mut u32) = (info.as_mut_ptr(), &mut len);
        // SAFETY: `value` points to as many bytes as `len` says, and both live through the call.
        unsafe { getsockopt(self.fd(), SOL_SOCKET, SO_MEMINFO, value.cast(), len) };
        info[DROPS]
    }

    /// Receives what is there, at most a batch, and hands each datagram to `take`. Returns how many came.
    pub fn receive(&mut self, mut take: impl FnMut(SocketAddr, &mut [u8])) -> usize {
        self.vectors.clear();
        self.headers.clear();
        for (i, buffer) in self.buffers.chunks_exact_mut(DATAGRAM).enumerate() {
            self.vectors.push(Iovec {
                base: buffer.as_mut_ptr().cast(),
                len: DATAGRAM,
            });
            self.headers
                .push(header(&mut self.names[i], mem::size_of::<Name>() as u32));
        }
        let vectors = self.vectors.as_mut_ptr();
        for (i, header) in self.headers.iter_mut().enumerate() {
            // SAFETY: `vectors` has BATCH elements, as many as there are headers.
            header.header.iov = unsafe { vectors.add(i) };
        }
        // SAFETY: every header points to a name, a vector and a buffer that live in `self` through the call.
        let received = unsafe {
            recvmmsg(
                self.fd(),
                self.headers.as_mut_ptr(),
                BATCH as c_uint,
                MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        let received = usize::try_from(received).unwrap_or(0);
        for i in 0..received {
            let len = (self.headers[i].len as usize).min(DATAGRAM);
            if let Some(from) = self.names[i].address() {
                take(from, &mut self.buffers[i * DATAGRAM..i * DATAGRAM + len]);
            }
        }
        received
    }

    /// Sends everything in the outbox and clears it. Returns how many datagrams the kernel refused.
    pub fn send(&mut self, outbox: &mut Outbox) -> u64 {
        let mut refused = 0;
        let mut next = 0;
        while next < outbox.len() {
            let batch = (outbox.len() - next).min(BATCH);
            self.vectors.clear();
            self.headers.clear();
            for i in 0..batch {
                let (to, bytes) = outbox.get(next + i);
                let (name, name_len) = Name::from(to.socket);
                self.names[i] = name;
                self.vectors.push(Iovec {
                    base: bytes.as_ptr() as *mut c_void,
                    len: bytes.len(),
                });
                self.headers.push(header(&mut self.names[i], name_len));
            }
            let vectors = self.vectors.as_mut_ptr();
            for (i, header) in self.headers.iter_mut().enumerate() {
                // SAFETY: `vectors` has `batch` elements, as many as there are headers.
                header.header.iov = unsafe { vectors.add(i) };
            }
            // SAFETY: every header points to a name and bytes that live through the call; the kernel only reads.
            let sent = unsafe { sendmmsg(self.fd(), self.headers.as_mut_ptr(), batch as c_uint, MSG_DONTWAIT) };
            match usize::try_from(sent) {
                Ok(sent) if sent > 0 => next += sent,
                // The first of the batch was refused (an unreachable address, a full buffer): go on after it.
                _ => {
                    refused += 1;
                    next += 1;
                }
            }
        }
        outbox.clear();
        refused
    }
}

fn header(name: &mut Name, name_len: u32) -> Mmsghdr {
    let name: *mut Name = name;
    Mmsghdr {
        header: Msghdr {
            name: name.cast(),
            name_len,
            iov: std::ptr::null_mut(),
            iov_len: 1,
            control: std::ptr::null_mut(),
            control_len: 0,
            flags: 0,
        },
        len: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::Poller;

    #[test]
    fn a_batch_crosses_loopback_with_its_addresses() {
        for any in ["127.0.0.1:0", "[::1]:0"] {
            let (mut a, mut b) = match (Socket::bind(any.parse().unwrap()), Socket::bind(any.parse().unwrap())) {
                (Ok(a), Ok(b)) => (a, b),
                _ => {
                    assert!(any.starts_with('['), "IPv4 loopback is always there");
                    continue;
                }
            };
            let mut outbox = Outbox::default();
            for i in 0..100u8 {
                assert!(outbox.push(b.local_address().unwrap(), &[i; 3]));
            }
            assert_eq!(a.send(&mut outbox), 0);
            assert!(outbox.is_empty());
            let from = a.local_address().unwrap();
            let mut poller = Poller::new().unwrap();
            poller.register(b.fd(), 0, false).unwrap();
            let mut seen = Vec::new();
            while seen.len() < 100 {
                poller.wait(1_000_000);
                assert!(poller.ready().count() > 0, "only {} came", seen.len());
                b.receive(|address, bytes| {
                    assert_eq!((address, bytes.len()), (from, 3));
                    seen.push(bytes[0]);
                });
            }
            assert_eq!(seen, (0..100).collect::<Vec<u8>>());
        }
    }

    #[test]
    fn what_the_kernel_throws_away_is_known() {
        let socket = Socket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let to = socket.local_address().unwrap();
        let from = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert_eq!(socket.overflowed(), 0);
        // Over loopback a datagram has come when it is sent; the kernel counts each with all that it occupies.
        let sent = (0..1 << 16).take_while(|_| from.send_to(&[0; 1200], to).is_ok() && socket.overflowed() == 0);
        assert!(sent.count() < 1 << 16, "nothing was thrown away");
    }
}
