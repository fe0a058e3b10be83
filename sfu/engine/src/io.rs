//! The edge: one thread, one UDP socket, many datagrams a system call. The only file with syscalls and a clock.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::mem;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::raw::{c_int, c_uint, c_void};
use std::os::unix::io::{AsRawFd, FromRawFd, RawFd};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::clock::Micros;
use crate::outbox::Outbox;

/// Datagrams per system call, in and out.
pub const BATCH: usize = 64;
const DATAGRAM: usize = 2048;
/// A second of a hundred 2 Mbit/s publishers; the kernel may grant less (net.core.rmem_max).
const SOCKET_BUFFER: c_int = 8 << 20;
/// Seconds from 1900 to 1970 (RFC 3550, section 4).
const NTP_TO_UNIX: u64 = 2_208_988_800;

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
const SOL_SOCKET: c_int = 1;
const SO_SNDBUF: c_int = 7;
const SO_RCVBUF: c_int = 8;
const MSG_DONTWAIT: c_int = 0x40;
const POLLIN: i16 = 1;
const EFD_FLAGS: c_int = 0o2_000_000 | 0o4_000; // EFD_CLOEXEC | EFD_NONBLOCK
const CLOCK_THREAD_CPUTIME_ID: c_int = 3;

// Layouts of <sys/socket.h>, <netinet/in.h> and <poll.h> on 64-bit Linux.
#[repr(C)]
struct Iovec {
    base: *mut c_void,
    len: usize,
}

#[repr(C)]
struct Msghdr {
    name: *mut c_void,
    name_len: u32,
    iov: *mut Iovec,
    iov_len: usize,
    control: *mut c_void,
    control_len: usize,
    flags: c_int,
}

#[repr(C)]
struct Mmsghdr {
    header: Msghdr,
    len: c_uint,
}

/// struct sockaddr_in6; a sockaddr_in is the same up to the address.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Name {
    family: u16,
    port: [u8; 2],
    /// IPv4: the address. IPv6: flow information.
    four: [u8; 4],
    sixteen: [u8; 16],
    scope: u32,
}

#[repr(C)]
struct Pollfd {
    fd: c_int,
    events: i16,
    revents: i16,
}

#[repr(C)]
struct Timespec {
    seconds: i64,
    nanoseconds: i64,
}

extern "C" {
    fn recvmmsg(fd: c_int, messages: *mut Mmsghdr, n: c_uint, flags: c_int, timeout: *mut c_void) -> c_int;
    fn sendmmsg(fd: c_int, messages: *mut Mmsghdr, n: c_uint, flags: c_int) -> c_int;
    fn setsockopt(fd: c_int, level: c_int, name: c_int, value: *const c_void, len: u32) -> c_int;
    fn poll(fds: *mut Pollfd, n: usize, timeout_ms: c_int) -> c_int;
    fn eventfd(initial: c_uint, flags: c_int) -> c_int;
    fn clock_gettime(clock: c_int, out: *mut Timespec) -> c_int;
}

impl Name {
    fn from(address: SocketAddr) -> (Name, u32) {
        let port = address.port().to_be_bytes();
        match address {
            SocketAddr::V4(a) => (
                Name {
                    family: AF_INET,
                    port,
                    four: a.ip().octets(),
                    ..Name::default()
                },
                16,
            ),
            SocketAddr::V6(a) => (
                Name {
                    family: AF_INET6,
                    port,
                    sixteen: a.ip().octets(),
                    scope: a.scope_id(),
                    ..Name::default()
                },
                28,
            ),
        }
    }

    fn address(&self) -> Option<SocketAddr> {
        let port = u16::from_be_bytes(self.port);
        match self.family {
            AF_INET => Some(SocketAddrV4::new(Ipv4Addr::from(self.four), port).into()),
            AF_INET6 => Some(SocketAddrV6::new(Ipv6Addr::from(self.sixteen), port, 0, self.scope).into()),
            _ => None,
        }
    }
}

/// A non-blocking UDP socket that moves batches.
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

/// A descriptor that one thread raises and another waits for.
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

/// Waits until one of two descriptors can be read, or the time is over; says which can.
pub fn wait(a: RawFd, b: RawFd, timeout_ms: i32) -> (bool, bool) {
    let mut fds = [
        Pollfd {
            fd: a,
            events: POLLIN,
            revents: 0,
        },
        Pollfd {
            fd: b,
            events: POLLIN,
            revents: 0,
        },
    ];
    // SAFETY: two initialised elements that live through the call.
    let ready = unsafe { poll(fds.as_mut_ptr(), fds.len(), timeout_ms) };
    (ready > 0 && fds[0].revents != 0, ready > 0 && fds[1].revents != 0)
}

/// CPU time of the calling thread in nanoseconds.
pub fn thread_cpu() -> u64 {
    let mut time = Timespec {
        seconds: 0,
        nanoseconds: 0,
    };
    // SAFETY: the pointer is to a timespec that lives through the call.
    unsafe { clock_gettime(CLOCK_THREAD_CPUTIME_ID, &mut time) };
    time.seconds as u64 * 1_000_000_000 + time.nanoseconds as u64
}

/// The shard's axis of time.
pub struct Clock {
    start: Instant,
    pub ntp_at_start: u64,
}

impl Clock {
    pub fn start() -> Clock {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let seconds = wall.as_secs() + NTP_TO_UNIX;
        let fraction = (u64::from(wall.subsec_nanos()) << 32) / 1_000_000_000;
        Clock {
            start: Instant::now(),
            ntp_at_start: seconds << 32 | fraction,
        }
    }

    pub fn now(&self) -> Micros {
        self.start.elapsed().as_micros() as Micros
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let mut seen = Vec::new();
            while seen.len() < 100 {
                assert!(wait(b.fd(), b.fd(), 1000).0, "only {} came", seen.len());
                b.receive(|address, bytes| {
                    assert_eq!((address, bytes.len()), (from, 3));
                    seen.push(bytes[0]);
                });
            }
            assert_eq!(seen, (0..100).collect::<Vec<u8>>());
        }
    }
}
