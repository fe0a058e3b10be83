//! Where a packet came from and where one goes: an IP address, a port, and over which protocol.
//!
//! The same address and port over UDP and over TCP are two ways to a peer (RFC 6544): each is checked by itself.

use std::net::{AddrParseError, IpAddr, SocketAddr};
use std::str::FromStr;

/// The transport of a candidate (RFC 8839, section 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    Udp,
    /// A connection that the peer opened, with a length before each packet (RFC 4571).
    Tcp,
}

/// A transport address (RFC 8445, section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    pub socket: SocketAddr,
    pub transport: Transport,
}

impl Address {
    pub fn udp(socket: SocketAddr) -> Address {
        Address {
            socket: plain(socket),
            transport: Transport::Udp,
        }
    }

    pub fn tcp(socket: SocketAddr) -> Address {
        Address {
            socket: plain(socket),
            transport: Transport::Tcp,
        }
    }

    pub fn ip(&self) -> IpAddr {
        self.socket.ip()
    }

    pub fn port(&self) -> u16 {
        self.socket.port()
    }
}

/// A socket for both IPv4 and IPv6 shows IPv4 as `::ffff:a.b.c.d`; the peer knows itself as a.b.c.d, and is one.
fn plain(socket: SocketAddr) -> SocketAddr {
    match socket.ip() {
        IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
            Some(four) => SocketAddr::new(IpAddr::V4(four), socket.port()),
            None => socket,
        },
        IpAddr::V4(_) => socket,
    }
}

/// UDP, as almost always.
impl From<SocketAddr> for Address {
    fn from(socket: SocketAddr) -> Address {
        Address::udp(socket)
    }
}

/// `192.0.2.1:40000` or `[2001:db8::1]:40000`, over UDP.
impl FromStr for Address {
    type Err = AddrParseError;

    fn from_str(text: &str) -> Result<Address, AddrParseError> {
        text.parse().map(Address::udp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_port_over_udp_and_tcp_is_two_ways_and_mapped_ipv4_is_ipv4() {
        let socket: SocketAddr = "192.0.2.1:5000".parse().unwrap();
        assert_ne!(Address::udp(socket), Address::tcp(socket));
        assert_eq!(
            Address::udp("[::ffff:192.0.2.1]:5000".parse().unwrap()),
            Address::udp(socket)
        );
        assert_eq!(
            Address::tcp("[::ffff:192.0.2.1]:5000".parse().unwrap()),
            Address::tcp(socket)
        );
        let six: Address = "[2001:db8::1]:5000".parse().unwrap();
        assert_eq!((six.ip().to_string(), six.port()), ("2001:db8::1".to_string(), 5000));
    }
}
