//! Waits for any number of descriptors at once (epoll, level-triggered).

use std::fs::File;
use std::io;
use std::os::raw::c_int;
use std::os::unix::io::{AsRawFd, FromRawFd, RawFd};

use crate::clock::Micros;

/// Descriptors told of at a time; the others' turn comes at the next wait.
const READY: usize = 64;

const EPOLL_CLOEXEC: c_int = 0o2_000_000;
const EPOLL_CTL_ADD: c_int = 1;
const EPOLL_CTL_DEL: c_int = 2;
const EPOLL_CTL_MOD: c_int = 3;
const EPOLLIN: u32 = 1;
const EPOLLOUT: u32 = 4;

/// struct epoll_event, which x86-64 packs.
#[cfg_attr(target_arch = "x86_64", repr(C, packed))]
#[cfg_attr(not(target_arch = "x86_64"), repr(C))]
#[derive(Clone, Copy)]
struct Event {
    events: u32,
    token: u64,
}

extern "C" {
    fn epoll_create1(flags: c_int) -> c_int;
    fn epoll_ctl(epoll: c_int, what: c_int, fd: c_int, event: *mut Event) -> c_int;
    fn epoll_wait(epoll: c_int, events: *mut Event, most: c_int, timeout_ms: c_int) -> c_int;
}

/// A descriptor that something can be done with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// What it was registered as.
    pub token: u64,
    /// Something can be read, an error or the end of a connection among it.
    pub readable: bool,
    pub writable: bool,
}

/// A set of descriptors, each under a token of the caller's.
pub struct Poller {
    epoll: File,
    events: [Event; READY],
    ready: usize,
}

impl Poller {
    /// Errors: no descriptors left.
    pub fn new() -> io::Result<Poller> {
        // SAFETY: no pointers.
        let fd = unsafe { epoll_create1(EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Poller {
            // SAFETY: `fd` was just made and is owned by nobody else.
            epoll: unsafe { File::from_raw_fd(fd) },
            events: [Event { events: 0, token: 0 }; READY],
            ready: 0,
        })
    }

    /// Itself a descriptor, readable when something can be done: so one set can wait within another.
    pub fn fd(&self) -> RawFd {
        self.epoll.as_raw_fd()
    }

    /// Waits from now on for `fd` to be readable, and where `writing` to be writable too.
    ///
    /// Errors: it is registered already, or the kernel keeps no more.
    pub fn register(&self, fd: RawFd, token: u64, writing: bool) -> io::Result<()> {
        self.control(EPOLL_CTL_ADD, fd, token, writing)
    }

    /// Changes what a registered descriptor is waited for.
    ///
    /// Errors: it is not registered.
    pub fn change(&self, fd: RawFd, token: u64, writing: bool) -> io::Result<()> {
        self.control(EPOLL_CTL_MOD, fd, token, writing)
    }

    /// Waits for `fd` no more. One that is closed is forgotten without it.
    ///
    /// Errors: it is not registered.
    pub fn deregister(&self, fd: RawFd) -> io::Result<()> {
        self.control(EPOLL_CTL_DEL, fd, 0, false)
    }

    fn control(&self, what: c_int, fd: RawFd, token: u64, writing: bool) -> io::Result<()> {
        let mut event = Event {
            events: if writing { EPOLLIN | EPOLLOUT } else { EPOLLIN },
            token,
        };
        // SAFETY: the pointer is to an event that lives through the call.
        match unsafe { epoll_ctl(self.epoll.as_raw_fd(), what, fd, &mut event) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Waits until something can be done, or `timeout` (rounded up to milliseconds) is over; see `ready`.
    pub fn wait(&mut self, timeout: Micros) {
        // Rounded down, the last millisecond before each deadline would be spent in polling.
        let timeout_ms = c_int::try_from((timeout + 999) / 1000).unwrap_or(c_int::MAX);
        let fd = self.epoll.as_raw_fd();
        // SAFETY: `events` has READY elements and lives through the call.
        let ready = unsafe { epoll_wait(fd, self.events.as_mut_ptr(), READY as c_int, timeout_ms) };
        self.ready = usize::try_from(ready).unwrap_or(0);
    }

    /// With which descriptors something could be done at the last `wait`; none where its time was over.
    pub fn ready(&self) -> impl Iterator<Item = Ready> + '_ {
        self.events[..self.ready].iter().map(|event| {
            let Event { events, token } = *event;
            Ready {
                token,
                readable: events & !EPOLLOUT != 0,
                writable: events & EPOLLOUT != 0,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::Signal;

    fn tokens(poller: &mut Poller, timeout: Micros) -> Vec<u64> {
        poller.wait(timeout);
        let mut tokens: Vec<u64> = poller.ready().filter(|r| r.readable).map(|r| r.token).collect();
        tokens.sort_unstable();
        tokens
    }

    #[test]
    fn what_is_registered_is_told_of_until_it_is_read() {
        let signals: Vec<Signal> = (0..200).map(|_| Signal::new().unwrap()).collect();
        let mut poller = Poller::new().unwrap();
        for (token, signal) in signals.iter().enumerate() {
            poller.register(signal.fd(), token as u64, false).unwrap();
        }
        assert!(poller.register(signals[0].fd(), 0, false).is_err(), "twice");
        assert_eq!(tokens(&mut poller, 0), Vec::<u64>::new());
        signals[3].raise();
        signals[199].raise();
        assert_eq!(tokens(&mut poller, 1_000_000), [3, 199]);
        assert_eq!(tokens(&mut poller, 1_000_000), [3, 199], "still there");
        signals[3].lower();
        poller.deregister(signals[199].fd()).unwrap();
        assert_eq!(tokens(&mut poller, 0), Vec::<u64>::new());
        assert!(poller.change(signals[199].fd(), 0, true).is_err(), "not registered");
    }

    #[test]
    fn being_writable_is_told_of_on_request_only() {
        let signal = Signal::new().unwrap();
        let mut poller = Poller::new().unwrap();
        poller.register(signal.fd(), 7, true).unwrap();
        let writable = Ready {
            token: 7,
            readable: false,
            writable: true,
        };
        poller.wait(1_000_000);
        assert_eq!(poller.ready().collect::<Vec<_>>(), [writable]);
        poller.change(signal.fd(), 7, false).unwrap();
        poller.wait(0);
        assert_eq!(poller.ready().count(), 0);
    }
}
