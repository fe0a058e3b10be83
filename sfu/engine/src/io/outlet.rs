//! Sends batches; with UDP GSO, datagrams of one size for one destination as one message.

use std::io;
use std::os::raw::{c_int, c_uint, c_void};
use std::os::unix::io::RawFd;
use std::ptr::null_mut;

use super::abi::{sendmmsg, setsockopt, Iovec, Mmsghdr, Msghdr, Name, MSG_DONTWAIT, SOL_UDP, UDP_SEGMENT};
use super::BATCH;
use crate::crypto;
use crate::hash::Keyed;
use crate::outbox::{Outbox, MAX_DATAGRAMS};
use crate::runs::{Run, Runs};

const EIO: i32 = 5;

/// A control message that says how long each segment is: struct cmsghdr, the number, and what pads it to 8 bytes.
#[repr(C)]
#[derive(Clone, Copy)]
struct Segment {
    len: usize,
    level: c_int,
    kind: c_int,
    size: u16,
    padding: [u16; 3],
}

/// What became of an outbox's datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Datagrams that the kernel refused.
    pub refused: u64,
    /// Datagrams that went out in one message with others.
    pub joined: u64,
    /// Messages of several datagrams that the kernel refused; their datagrams went one by one.
    pub parted: u64,
}

pub struct Outlet {
    fd: RawFd,
    six: bool,
    gso: bool,
    runs: Runs,
    names: Vec<Name>,
    vectors: Vec<Iovec>,
    segments: Vec<Segment>,
    headers: Vec<Mmsghdr>,
}

// SAFETY: the pointers in `vectors` and `headers` are made anew in each call and point into the same `Outlet` or into
// the outbox that is borrowed meanwhile.
unsafe impl Send for Outlet {}

impl Outlet {
    /// Of a non-blocking UDP socket, which must outlive it; `six`: one of IPv6, to which IPv4 is mapped.
    pub(super) fn new(fd: RawFd, six: bool) -> Outlet {
        Outlet {
            fd,
            six,
            gso: false,
            runs: Runs::new(Keyed::new(crypto::random)),
            names: Vec::with_capacity(MAX_DATAGRAMS),
            vectors: Vec::with_capacity(MAX_DATAGRAMS),
            segments: Vec::with_capacity(MAX_DATAGRAMS),
            headers: Vec::with_capacity(MAX_DATAGRAMS),
        }
    }

    /// Joins datagrams from now on (UDP GSO), or no more. Returns whether it does: Linux before 4.18 can't, and would
    /// send all that is joined as one datagram.
    pub fn join(&mut self, on: bool) -> bool {
        let none: c_int = 0;
        let value: *const c_int = &none;
        let len = std::mem::size_of::<c_int>() as u32;
        // SAFETY: the pointer is to a c_int that lives through the call. 0 is what is set anyway: this only asks.
        let known = unsafe { setsockopt(self.fd, SOL_UDP, UDP_SEGMENT, value.cast(), len) == 0 };
        self.gso = on && known;
        self.gso
    }

    /// Whether datagrams are joined: not where it wasn't asked for, can't be, or was refused by the device.
    pub fn joins(&self) -> bool {
        self.gso
    }

    /// Sends everything in the outbox and clears it. To each destination in the order in which it was put there.
    pub fn send(&mut self, outbox: &mut Outbox) -> Sent {
        let mut sent = Sent::default();
        if self.gso {
            self.runs.joined(outbox);
        } else {
            self.runs.one_by_one(outbox);
        }
        self.write(outbox);
        let mut next = 0;
        while next < self.headers.len() {
            let batch = (self.headers.len() - next).min(BATCH);
            let taken = self.give(next, batch);
            for run in &self.runs.runs[next..next + taken] {
                sent.joined += if run.len > 1 { run.len as u64 } else { 0 };
            }
            next += taken;
            if taken == 0 {
                // The first was refused (an unreachable address, a full buffer): go on after it.
                self.part(next, &mut sent);
                next += 1;
            }
        }
        outbox.clear();
        sent
    }

    /// Writes the messages of all runs.
    fn write(&mut self, outbox: &Outbox) {
        self.names.clear();
        self.vectors.clear();
        self.segments.clear();
        self.headers.clear();
        for &i in &self.runs.order {
            let bytes = outbox.get(usize::from(i)).1;
            self.vectors.push(Iovec {
                base: bytes.as_ptr() as *mut c_void,
                len: bytes.len(),
            });
        }
        for run in &self.runs.runs {
            let (name, name_len) = Name::from(outbox.get(usize::from(self.runs.order[run.start])).0.socket, self.six);
            self.names.push(name);
            self.segments.push(Segment {
                len: SEGMENT_LEN,
                level: SOL_UDP,
                kind: UDP_SEGMENT,
                size: run.size as u16,
                padding: [0; 3],
            });
            self.headers.push(header(name_len, run));
        }
        // Only now, when nothing moves any more.
        let (names, vectors) = (self.names.as_mut_ptr(), self.vectors.as_mut_ptr());
        let segments = self.segments.as_mut_ptr();
        for (i, run) in self.runs.runs.iter().enumerate() {
            let header = &mut self.headers[i].header;
            // SAFETY: there are as many names and segments as runs, and as many vectors as datagrams in all runs.
            unsafe {
                header.name = names.add(i).cast();
                header.iov = vectors.add(run.start);
                if run.len > 1 {
                    header.control = segments.add(i).cast();
                }
            }
        }
    }

    /// Hands `n` messages from `first` on to the kernel; returns how many it took.
    fn give(&mut self, first: usize, n: usize) -> usize {
        let messages = &mut self.headers[first..first + n];
        // SAFETY: every header points to a name, vectors, bytes and, where its length is not 0, a control message, all
        // of which live through the call; the kernel only reads them.
        let taken = unsafe { sendmmsg(self.fd, messages.as_mut_ptr(), n as c_uint, MSG_DONTWAIT) };
        usize::try_from(taken).unwrap_or(0)
    }

    /// Sends the datagrams of a refused message one by one.
    fn part(&mut self, message: usize, sent: &mut Sent) {
        let run = self.runs.runs[message];
        if run.len == 1 {
            sent.refused += 1;
            return;
        }
        // Other errors are of one destination (a path that carries less) or of the moment; this one is of the device.
        if io::Error::last_os_error().raw_os_error() == Some(EIO) {
            self.gso = false;
        }
        sent.parted += 1;
        for i in 0..run.len {
            let header = &mut self.headers[message].header;
            // SAFETY: the run's vectors are those from its first on.
            header.iov = unsafe { self.vectors.as_mut_ptr().add(run.start + i) };
            header.iov_len = 1;
            header.control = null_mut();
            header.control_len = 0;
            sent.refused += 1 - self.give(message, 1) as u64;
        }
    }
}

/// CMSG_LEN of a 16-bit number.
const SEGMENT_LEN: usize = 18;

/// A message of a run; the caller fills in the pointers.
fn header(name_len: u32, run: &Run) -> Mmsghdr {
    let joined = run.len > 1;
    Mmsghdr {
        header: Msghdr {
            name: null_mut(),
            name_len,
            iov: null_mut(),
            iov_len: run.len,
            control: null_mut(),
            control_len: if joined { std::mem::size_of::<Segment>() } else { 0 },
            flags: 0,
        },
        len: 0,
    }
}
