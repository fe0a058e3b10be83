//! The edge: hundreds of UDP sockets, each with its own port, read and written in batches, and the clocks.
//!
//! The kernel says when a datagram came (SO_TIMESTAMPNS), so that a bot that reads late does not count its own
//! lateness as the server's, and how many it had to throw away because the bot did not read (SO_RXQ_OVFL).
#![allow(unsafe_code)]

use std::io;
use std::mem;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::raw::{c_int, c_uint, c_void};
use std::os::unix::io::{AsRawFd, RawFd};
use std::time::Duration;

use crate::lossy::Lossy;

/// Datagrams per system call, in and out.
pub const BATCH: usize = 32;
const DATAGRAM: usize = 2048;
const CONTROL: usize = 128;
/// Half a second of three people's pictures, should this process be held up.
const SOCKET_BUFFER: c_int = 1 << 20;

const SOL_SOCKET: c_int = 1;
const SO_RCVBUF: c_int = 8;
const SO_RCVBUFFORCE: c_int = 33;
const SO_TIMESTAMPNS: c_int = 35;
const SO_RXQ_OVFL: c_int = 40;
const MSG_DONTWAIT: c_int = 0x40;
const EPOLL_CLOEXEC: c_int = 0o2_000_000;
const EPOLL_CTL_ADD: c_int = 1;
const EPOLLIN: u32 = 1;
const CLOCK_REALTIME: c_int = 0;
const CLOCK_PROCESS_CPUTIME_ID: c_int = 2;

// Layouts of <sys/socket.h> and <sys/epoll.h> on 64-bit Linux.
#[repr(C)]
#[derive(Clone, Copy)]
struct Iovec {
    base: *mut c_void,
    len: usize,
}

#[repr(C)]
#[derive(Clone, Copy)]
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
#[derive(Clone, Copy)]
struct Mmsghdr {
    header: Msghdr,
    len: c_uint,
}

#[cfg_attr(target_arch = "x86_64", repr(C, packed))]
#[cfg_attr(not(target_arch = "x86_64"), repr(C))]
#[derive(Clone, Copy)]
struct EpollEvent {
    events: u32,
    data: u64,
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
    fn epoll_create1(flags: c_int) -> c_int;
    fn epoll_ctl(poll: c_int, what: c_int, fd: c_int, event: *mut EpollEvent) -> c_int;
    fn epoll_wait(poll: c_int, events: *mut EpollEvent, n: c_int, timeout_ms: c_int) -> c_int;
    fn clock_gettime(clock: c_int, out: *mut Timespec) -> c_int;
    fn close(fd: c_int) -> c_int;
}

/// Microseconds since 1970: the clock that the kernel's timestamps are of, and one for all bots of a machine.
pub fn wall() -> u64 {
    clock(CLOCK_REALTIME) / 1000
}

/// CPU time of this process in nanoseconds.
pub fn cpu() -> u64 {
    clock(CLOCK_PROCESS_CPUTIME_ID)
}

fn clock(which: c_int) -> u64 {
    let mut time = Timespec {
        seconds: 0,
        nanoseconds: 0,
    };
    // SAFETY: the pointer is to a timespec that lives through the call.
    unsafe { clock_gettime(which, &mut time) };
    time.seconds as u64 * 1_000_000_000 + time.nanoseconds as u64
}

/// A bot's own socket, connected to the server.
pub struct Socket(UdpSocket);

impl Socket {
    /// Errors: no such address here, or no ports left.
    pub fn connect(from: IpAddr, to: SocketAddr) -> io::Result<Socket> {
        let socket = UdpSocket::bind((from, 0))?;
        socket.connect(to)?;
        socket.set_nonblocking(true)?;
        // Who may not go over the system's limit gets as much as there is.
        for (option, value) in [
            (SO_RCVBUF, SOCKET_BUFFER),
            (SO_RCVBUFFORCE, SOCKET_BUFFER),
            (SO_TIMESTAMPNS, 1),
            (SO_RXQ_OVFL, 1),
        ] {
            let value: *const c_int = &value;
            // SAFETY: the pointer is to a c_int that lives through the call.
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
        Ok(Socket(socket))
    }
}

/// Tells which sockets have something to read.
pub struct Poll {
    fd: RawFd,
    events: Vec<EpollEvent>,
}

impl Poll {
    pub fn new() -> io::Result<Poll> {
        // SAFETY: no pointers.
        let fd = unsafe { epoll_create1(EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Poll {
            fd,
            events: vec![EpollEvent { events: 0, data: 0 }; 1024],
        })
    }

    /// A socket leaves by being closed.
    pub fn add(&self, socket: &Socket, token: u64) -> io::Result<()> {
        let mut event = EpollEvent {
            events: EPOLLIN,
            data: token,
        };
        // SAFETY: the pointer is to an event that lives through the call.
        match unsafe { epoll_ctl(self.fd, EPOLL_CTL_ADD, socket.0.as_raw_fd(), &mut event) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// The tokens of those that can be read now, at most 1024, in front of `out`.
    pub fn ready(&mut self, out: &mut Vec<u64>) {
        out.clear();
        // SAFETY: the vector has as many elements as are said.
        let count = unsafe { epoll_wait(self.fd, self.events.as_mut_ptr(), self.events.len() as c_int, 0) };
        let count = usize::try_from(count).unwrap_or(0);
        out.extend(self.events[..count].iter().map(|event| event.data));
    }
}

impl Drop for Poll {
    fn drop(&mut self) {
        // SAFETY: the descriptor is ours alone.
        unsafe { close(self.fd) };
    }
}

/// Where datagrams are received into, for all sockets in turn.
pub struct Inbox {
    buffers: Vec<u8>,
    controls: Vec<u64>, // of 8 bytes, for their alignment
    vectors: Vec<Iovec>,
    headers: Vec<Mmsghdr>,
}

/// A control message's data (of which at most 16 bytes are wanted) by type.
fn control_data(control: &[u8], wanted: c_int) -> Option<&[u8]> {
    const HEADER: usize = 16;
    let mut at = 0;
    while let Some(header) = control.get(at..at + HEADER) {
        let mut word = [0; 8];
        word.copy_from_slice(&header[..8]);
        let len = usize::from_ne_bytes(word);
        if len < HEADER {
            return None;
        }
        if header[8..12] == SOL_SOCKET.to_ne_bytes() && header[12..] == wanted.to_ne_bytes() {
            return control.get(at + HEADER..at + len);
        }
        at += (len + 7) / 8 * 8;
    }
    None
}

impl Default for Inbox {
    fn default() -> Self {
        Inbox {
            buffers: vec![0; BATCH * DATAGRAM],
            controls: vec![0; BATCH * CONTROL / 8],
            vectors: Vec::with_capacity(BATCH),
            headers: Vec::with_capacity(BATCH),
        }
    }
}

impl Inbox {
    /// Receives at most a batch; hands each datagram to `take`, with the time on [`wall`]'s clock at which it came, and how
    /// many the kernel has thrown away of this socket so far. Returns how many came.
    pub fn receive(&mut self, socket: &Socket, mut take: impl FnMut(u64, u32, &mut [u8])) -> usize {
        self.vectors.clear();
        self.headers.clear();
        for i in 0..BATCH {
            self.vectors.push(Iovec {
                base: self.buffers[i * DATAGRAM..].as_mut_ptr().cast(),
                len: DATAGRAM,
            });
        }
        for i in 0..BATCH {
            let header = Msghdr {
                name: std::ptr::null_mut(),
                name_len: 0,
                iov: &mut self.vectors[i],
                iov_len: 1,
                control: self.controls[i * CONTROL / 8..].as_mut_ptr().cast(),
                control_len: CONTROL,
                flags: 0,
            };
            self.headers.push(Mmsghdr { header, len: 0 });
        }
        // SAFETY: every header points to a vector, a buffer and a control buffer that live in `self` through the call.
        let received = unsafe {
            recvmmsg(
                socket.0.as_raw_fd(),
                self.headers.as_mut_ptr(),
                BATCH as c_uint,
                MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        let received = usize::try_from(received).unwrap_or(0);
        for i in 0..received {
            let len = (self.headers[i].len as usize).min(DATAGRAM);
            let control_len = self.headers[i].header.control_len.min(CONTROL);
            let control: *const u64 = &self.controls[i * CONTROL / 8];
            // SAFETY: the kernel has filled `control_len` bytes of this socket's CONTROL bytes; u64s are bytes as well.
            let control = unsafe { std::slice::from_raw_parts(control.cast::<u8>(), control_len) };
            let (arrived, thrown_away) = (arrival(control), overflow(control));
            take(
                arrived.unwrap_or_else(wall),
                thrown_away,
                &mut self.buffers[i * DATAGRAM..i * DATAGRAM + len],
            );
        }
        received
    }
}

fn arrival(control: &[u8]) -> Option<u64> {
    let data = control_data(control, SO_TIMESTAMPNS)?;
    let word = |at: usize| Some(i64::from_ne_bytes(<[u8; 8]>::try_from(data.get(at..at + 8)?).ok()?));
    Some(word(0)? as u64 * 1_000_000 + word(8)? as u64 / 1000)
}

fn overflow(control: &[u8]) -> u32 {
    control_data(control, SO_RXQ_OVFL)
        .and_then(|data| <[u8; 4]>::try_from(data.get(..4)?).ok())
        .map_or(0, u32::from_ne_bytes)
}

/// Datagrams of one bot on their way out.
pub struct Outbox {
    bytes: Vec<u8>,
    lengths: Vec<usize>,
    vectors: Vec<Iovec>,
    headers: Vec<Mmsghdr>,
}

impl Default for Outbox {
    fn default() -> Self {
        Outbox {
            bytes: vec![0; BATCH * DATAGRAM],
            lengths: Vec::with_capacity(BATCH),
            vectors: Vec::with_capacity(BATCH),
            headers: Vec::with_capacity(BATCH),
        }
    }
}

impl Outbox {
    /// Room for one datagram, kept by `commit`; `None` where a batch is full.
    pub fn room(&mut self) -> Option<&mut [u8]> {
        let start = self.lengths.len() * DATAGRAM;
        self.bytes.get_mut(start..start + DATAGRAM)
    }

    /// Keeps the first `len` bytes of what `room` gave.
    pub fn commit(&mut self, len: usize) {
        self.lengths.push(len);
    }

    /// Copies a datagram in; without room it is lost, as on a network.
    pub fn push(&mut self, datagram: &[u8]) {
        if let Some(room) = self.room() {
            let len = datagram.len().min(room.len());
            room[..len].copy_from_slice(&datagram[..len]);
            self.commit(len);
        }
    }

    /// Sends everything that the network doesn't lose; returns how many datagrams the kernel refused.
    pub fn send(&mut self, socket: &Socket, lossy: &mut Lossy) -> u64 {
        let (mut refused, mut next) = (0, 0);
        self.vectors.clear();
        self.headers.clear();
        for (i, &len) in self.lengths.iter().enumerate() {
            if lossy.takes() {
                continue;
            }
            self.vectors.push(Iovec {
                base: self.bytes[i * DATAGRAM..].as_mut_ptr().cast(),
                len,
            });
        }
        for vector in &mut self.vectors {
            let header = Msghdr {
                name: std::ptr::null_mut(),
                name_len: 0,
                iov: vector,
                iov_len: 1,
                control: std::ptr::null_mut(),
                control_len: 0,
                flags: 0,
            };
            self.headers.push(Mmsghdr { header, len: 0 });
        }
        while next < self.headers.len() {
            let rest = &mut self.headers[next..];
            // SAFETY: every header points to a vector and bytes that live in `self` through the call.
            let sent = unsafe {
                sendmmsg(
                    socket.0.as_raw_fd(),
                    rest.as_mut_ptr(),
                    rest.len() as c_uint,
                    MSG_DONTWAIT,
                )
            };
            match usize::try_from(sent) {
                Ok(sent) if sent > 0 => next += sent,
                // The server is away, or the buffer is full: go on after it.
                _ => {
                    refused += 1;
                    next += 1;
                }
            }
        }
        self.lengths.clear();
        refused
    }
}

/// Sleeps until `until` on [`wall`]'s clock; at once where that is over.
pub fn sleep_until(until: u64) {
    let now = wall();
    if until > now {
        std::thread::sleep(Duration::from_micros(until - now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_carry_the_time_at_which_they_came() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let from = IpAddr::from([127, 0, 0, 1]);
        let socket = Socket::connect(from, server.local_addr().unwrap()).unwrap();
        let mut poll = Poll::new().unwrap();
        poll.add(&socket, 7).unwrap();
        let mut outbox = Outbox::default();
        outbox.push(b"hello");
        outbox.push(b"again");
        assert_eq!(outbox.send(&socket, &mut Lossy::default()), 0);
        let mut buffer = [0; 16];
        for expected in [b"hello", b"again"] {
            let (len, from) = server.recv_from(&mut buffer).unwrap();
            assert_eq!(&buffer[..len], expected);
            let before = wall();
            server.send_to(b"answer", from).unwrap();
            let mut ready = Vec::new();
            while ready.is_empty() {
                poll.ready(&mut ready);
            }
            assert_eq!(ready, [7]);
            let mut inbox = Inbox::default();
            let mut came = Vec::new();
            inbox.receive(&socket, |at, lost, bytes| came.push((at, lost, bytes.to_vec())));
            assert_eq!((came.len(), came[0].1, &came[0].2[..]), (1, 0, &b"answer"[..]));
            assert!(came[0].0 >= before && came[0].0 <= wall());
        }
    }
}
