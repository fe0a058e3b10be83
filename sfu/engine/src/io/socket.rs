//! A non-blocking UDP socket that moves batches.

use std::io;
use std::mem;
use std::net::{SocketAddr, UdpSocket};
use std::os::raw::c_int;
use std::os::unix::io::{AsRawFd, RawFd};

use super::abi::{
    getsockopt, setsockopt, SOL_SOCKET, SO_MEMINFO, SO_RCVBUF, SO_RCVBUFFORCE, SO_SNDBUF, SO_SNDBUFFORCE,
};
use super::inbox::Inbox;
use super::outlet::{Outlet, Sent};
use crate::outbox::Outbox;

/// A second of a hundred 2 Mbit/s publishers; the kernel may grant less (net.core.rmem_max).
const SOCKET_BUFFER: c_int = 8 << 20;
/// Of SO_MEMINFO's numbers (linux/sock_diag.h): how many there are, and which counts drops.
const MEMINFO: usize = 9;
const DROPS: usize = 8;

pub struct Socket {
    inbox: Inbox,
    outlet: Outlet,
    socket: UdpSocket,
}

impl Socket {
    /// Errors: what `bind` says, an address in use among it.
    pub fn bind(address: SocketAddr) -> io::Result<Socket> {
        let socket = UdpSocket::bind(address)?;
        socket.set_nonblocking(true)?;
        // The second pair is refused without CAP_NET_ADMIN, and goes beyond net.core.rmem_max with it.
        for option in [SO_RCVBUF, SO_SNDBUF, SO_RCVBUFFORCE, SO_SNDBUFFORCE] {
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
        let fd = socket.as_raw_fd();
        Ok(Socket {
            inbox: Inbox::new(fd),
            outlet: Outlet::new(fd, address.is_ipv6()),
            socket,
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

    /// Both halves, so that what comes of a batch can be sent before all of it is read.
    pub fn halves(&mut self) -> (&mut Inbox, &mut Outlet) {
        (&mut self.inbox, &mut self.outlet)
    }

    /// See `Outlet::join`.
    pub fn join(&mut self, on: bool) -> bool {
        self.outlet.join(on)
    }

    /// Whether datagrams are joined.
    pub fn joins(&self) -> bool {
        self.outlet.joins()
    }

    /// See `Inbox::receive`.
    pub fn receive(&mut self, take: impl FnMut(SocketAddr, &mut [u8])) -> usize {
        self.inbox.receive(take)
    }

    /// See `Outlet::send`.
    pub fn send(&mut self, outbox: &mut Outbox) -> Sent {
        self.outlet.send(outbox)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::Poller;
    use crate::rng::Rng;

    const LOOPBACKS: [&str; 2] = ["127.0.0.1:0", "[::1]:0"];

    /// `N` sockets on a loopback address; `None` where the machine has no IPv6.
    fn sockets<const N: usize>(any: &str) -> Option<[Socket; N]> {
        let bound: Result<Vec<Socket>, _> = (0..N).map(|_| Socket::bind(any.parse().unwrap())).collect();
        assert!(bound.is_ok() || any.starts_with('['), "IPv4 loopback is always there");
        bound.ok()?.try_into().ok()
    }

    /// Receives `n` datagrams, all from `from`.
    fn receive(socket: &mut Socket, n: usize, from: SocketAddr) -> Vec<Vec<u8>> {
        let mut poller = Poller::new().unwrap();
        poller.register(socket.fd(), 0, false).unwrap();
        let mut seen = Vec::new();
        while seen.len() < n {
            poller.wait(1_000_000);
            assert!(poller.ready().count() > 0, "only {} came", seen.len());
            socket.receive(|address, bytes| {
                assert_eq!(address, from);
                seen.push(bytes.to_vec());
            });
        }
        seen
    }

    #[test]
    fn a_batch_crosses_loopback_with_its_addresses() {
        for any in LOOPBACKS {
            let [mut a, mut b] = match sockets(any) {
                Some(sockets) => sockets,
                None => continue,
            };
            let mut outbox = Outbox::default();
            for i in 0..100u8 {
                assert!(outbox.push(b.local_address().unwrap(), &[i; 3]));
            }
            assert_eq!(a.send(&mut outbox), Sent::default());
            assert!(outbox.is_empty());
            let from = a.local_address().unwrap();
            let expected: Vec<Vec<u8>> = (0..100u8).map(|i| vec![i; 3]).collect();
            assert_eq!(receive(&mut b, 100, from), expected);
        }
    }

    #[test]
    fn joined_datagrams_arrive_as_they_were_put_in() {
        for any in LOOPBACKS {
            let [mut a, mut b, mut c] = match sockets(any) {
                Some(sockets) => sockets,
                None => continue,
            };
            assert!(a.join(true), "this kernel has GSO");
            let (from, mut rng) = (a.local_address().unwrap(), Rng::new([1; 16]));
            for sizes in [1, 2, 400] {
                let mut outbox = Outbox::default();
                let mut expected = [Vec::new(), Vec::new()];
                for i in 0..100u8 {
                    let mut datagram = vec![i; 1_000 + rng.u32() as usize % sizes];
                    rng.fill(&mut datagram[1..]);
                    let which = rng.u32() as usize % 2;
                    let to = [&b, &c][which].local_address().unwrap();
                    assert!(outbox.push(to, &datagram));
                    expected[which].push(datagram);
                }
                let sent = a.send(&mut outbox);
                assert_eq!((sent.refused, sent.parted), (0, 0));
                assert!(outbox.is_empty());
                match sizes {
                    1 => assert_eq!(sent.joined, 100),
                    _ => assert!(sent.joined > 10, "only {} were joined", sent.joined),
                }
                let [of_b, of_c] = expected;
                assert_eq!(receive(&mut b, of_b.len(), from), of_b);
                assert_eq!(receive(&mut c, of_c.len(), from), of_c);
            }
        }
    }

    #[test]
    fn a_run_that_the_kernel_refuses_goes_one_by_one() {
        let [mut a, mut b] = sockets(LOOPBACKS[0]).unwrap();
        assert!(a.join(true));
        // With checksums off the kernel takes no segments (EINVAL), but datagrams.
        let (so_no_check, on): (c_int, c_int) = (11, 1);
        let value: *const c_int = &on;
        // SAFETY: the pointer is to a c_int that lives through the call.
        let off = unsafe { setsockopt(a.fd(), SOL_SOCKET, so_no_check, value.cast(), 4) };
        assert_eq!(off, 0);
        let mut outbox = Outbox::default();
        let to = b.local_address().unwrap();
        for i in 0..10u8 {
            // Four runs: a shorter one ends each.
            assert!(outbox.push(to, &vec![i; if i % 3 == 2 { 50 } else { 100 }]));
        }
        let sent = a.send(&mut outbox);
        let expected: Vec<Vec<u8>> = (0..10).map(|i| vec![i; if i % 3 == 2 { 50 } else { 100 }]).collect();
        assert_eq!((sent.refused, sent.joined, sent.parted), (0, 0, 3));
        assert_eq!(receive(&mut b, 10, a.local_address().unwrap()), expected);
    }

    #[test]
    fn what_cannot_be_sent_is_counted_and_holds_up_nothing() {
        let [mut a, mut b] = sockets(LOOPBACKS[0]).unwrap();
        for gso in [false, true] {
            assert_eq!(a.join(gso), gso);
            let mut outbox = Outbox::default();
            // A socket of IPv4 can't send to IPv6.
            let nowhere: SocketAddr = "[2001:db8::1]:5000".parse().unwrap();
            for i in 0..6u8 {
                assert!(outbox.push(b.local_address().unwrap(), &[i; 20]));
                assert!(outbox.push(nowhere, &[i; 20]));
            }
            let sent = a.send(&mut outbox);
            assert_eq!((sent.refused, sent.parted), (6, u64::from(gso)));
            let expected: Vec<Vec<u8>> = (0..6u8).map(|i| vec![i; 20]).collect();
            assert_eq!(receive(&mut b, 6, a.local_address().unwrap()), expected);
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
