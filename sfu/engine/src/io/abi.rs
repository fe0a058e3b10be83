//! Layouts and calls of <sys/socket.h>, <netinet/in.h> and <sys/epoll.h> on 64-bit Linux.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::raw::{c_int, c_uint, c_void};

pub const SOL_SOCKET: c_int = 1;
pub const SO_SNDBUF: c_int = 7;
pub const SO_RCVBUF: c_int = 8;
pub const SO_SNDBUFFORCE: c_int = 32;
pub const SO_RCVBUFFORCE: c_int = 33;
pub const SO_MEMINFO: c_int = 55;
pub const MSG_DONTWAIT: c_int = 0x40;
pub const SOL_UDP: c_int = 17;
pub const UDP_SEGMENT: c_int = 103;
pub const IPPROTO_TCP: c_int = 6;
pub const TCP_NOTSENT_LOWAT: c_int = 25;

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

#[repr(C)]
pub struct Iovec {
    pub base: *mut c_void,
    pub len: usize,
}

#[repr(C)]
pub struct Msghdr {
    pub name: *mut c_void,
    pub name_len: u32,
    pub iov: *mut Iovec,
    pub iov_len: usize,
    pub control: *mut c_void,
    pub control_len: usize,
    pub flags: c_int,
}

#[repr(C)]
pub struct Mmsghdr {
    pub header: Msghdr,
    pub len: c_uint,
}

extern "C" {
    pub fn recvmmsg(fd: c_int, messages: *mut Mmsghdr, n: c_uint, flags: c_int, timeout: *mut c_void) -> c_int;
    pub fn sendmmsg(fd: c_int, messages: *mut Mmsghdr, n: c_uint, flags: c_int) -> c_int;
    pub fn setsockopt(fd: c_int, level: c_int, name: c_int, value: *const c_void, len: u32) -> c_int;
    pub fn getsockopt(fd: c_int, level: c_int, name: c_int, value: *mut c_void, len: *mut u32) -> c_int;
}

/// struct sockaddr_in6; a sockaddr_in is the same up to the address.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Name {
    family: u16,
    port: [u8; 2],
    /// IPv4: the address. IPv6: flow information.
    four: [u8; 4],
    sixteen: [u8; 16],
    scope: u32,
}

impl Name {
    /// The name of an address, and how many bytes of it count; for a socket of IPv6, IPv4 as mapped into it.
    pub fn from(address: SocketAddr, six: bool) -> (Name, u32) {
        let port = address.port().to_be_bytes();
        match address {
            SocketAddr::V4(a) if six => (
                Name {
                    family: AF_INET6,
                    port,
                    sixteen: a.ip().to_ipv6_mapped().octets(),
                    ..Name::default()
                },
                28,
            ),
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

    pub fn address(&self) -> Option<SocketAddr> {
        let port = u16::from_be_bytes(self.port);
        match self.family {
            AF_INET => Some(SocketAddrV4::new(Ipv4Addr::from(self.four), port).into()),
            AF_INET6 => Some(SocketAddrV6::new(Ipv6Addr::from(self.sixteen), port, 0, self.scope).into()),
            _ => None,
        }
    }
}
