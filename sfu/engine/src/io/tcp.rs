//! ICE-TCP (RFC 6544): the passive side's listener and connections, for networks that let no UDP through.
//!
//! Whoever connects is a stranger until a packet of theirs has made the shard know the address (a check with valid
//! integrity), and has five seconds for it. Everything is bounded: connections in all and from one source, what is
//! held of a packet that hasn't come whole, and what a connection hasn't taken yet.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::mem;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::raw::c_int;
use std::os::unix::io::{AsRawFd, RawFd};

use super::abi::{setsockopt, IPPROTO_TCP, TCP_NOTSENT_LOWAT};
use super::Poller;
use crate::address::Address;
use crate::clock::Micros;
use crate::counters::Count;
use crate::framing::{self, Backlog, HEADER, MAX_PACKET};
use crate::shard::Shard;

/// Few need TCP at all; each is a descriptor of the process, which has 1024 where nobody raised the limit.
const MAX_CONNECTIONS: usize = 384;
/// From one IPv4 address or one IPv6 /64: a clinic behind one address may have many visits, and opens several a visit.
const MAX_FROM_ONE: usize = 96;
/// Until a check with integrity must have come.
const STRANGER: Micros = 5_000_000;
/// Without a packet for so long a connection is closed: consent has expired by then (RFC 7675).
const IDLE: Micros = 30_000_000;
/// Without a packet for so long a connection gives way when there are too many: who uses one is heard each 5 s at most.
const UNUSED: Micros = 10_000_000;
/// Connections accepted at a time: media in the same thread waits meanwhile.
const ACCEPTS: usize = 16;
/// Bytes read at a time; what they are forwarded as has to fit the outbox.
const READ: usize = 8192;
/// At most a second and a half at 700 kbit/s: what is older helps nobody.
const BACKLOG: usize = 128 << 10;
/// No pictures are sent to a connection with more than this waiting, until there is less than that again. Between here
/// and the end is room for the sound of seconds.
const FULL: usize = 96 << 10;
const DRAINED: usize = 16 << 10;
/// What the kernel takes before it is sent: small, so that what waits does so where it can be dropped.
const NOT_SENT: c_int = 32 << 10;
const SWEEP: Micros = 1_000_000;

const LISTENER: u64 = u64::MAX;

struct Connection {
    stream: TcpStream,
    at: SocketAddr,
    source: IpAddr,
    known: bool,
    /// When it is closed, unless a packet comes before.
    ends: Micros,
    /// The beginning of a packet.
    held: Vec<u8>,
    backlog: Backlog,
    full: bool,
    writing: bool,
    touched: bool,
}

/// The listener on the port that UDP has too, and its connections.
pub struct Tcp {
    listener: TcpListener,
    listening: bool,
    poller: Poller,
    connections: Vec<Option<Connection>>,
    by_address: HashMap<SocketAddr, usize>,
    by_source: HashMap<IpAddr, usize>,
    buffer: Vec<u8>,
    touched: Vec<usize>,
    ready: Vec<(u64, bool, bool)>,
    sweep_at: Micros,
}

impl Tcp {
    /// Errors: what `bind` says, an address in use among it.
    pub fn bind(address: SocketAddr) -> io::Result<Tcp> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let poller = Poller::new()?;
        poller.register(listener.as_raw_fd(), LISTENER, false)?;
        Ok(Tcp {
            listener,
            listening: true,
            poller,
            connections: Vec::new(),
            by_address: HashMap::new(),
            by_source: HashMap::new(),
            buffer: vec![0; HEADER + MAX_PACKET + READ],
            touched: Vec::new(),
            ready: Vec::new(),
            sweep_at: 0,
        })
    }

    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Readable when `wait` would find something.
    pub fn fd(&self) -> RawFd {
        self.poller.fd()
    }

    /// How many connections can be served now, without waiting.
    pub fn wait(&mut self) -> usize {
        self.poller.wait(0);
        self.ready.clear();
        self.ready
            .extend(self.poller.ready().map(|r| (r.token, r.readable, r.writable)));
        self.ready.len()
    }

    /// Serves the `n`th of those that `wait` found; what that puts into the outbox is to be sent before the next one.
    pub fn serve(&mut self, n: usize, now: Micros, shard: &mut Shard) {
        let (token, readable, writable) = self.ready[n];
        if token == LISTENER {
            return self.accept(now, shard);
        }
        let index = token as usize;
        if readable && self.read(index, now, shard).is_err() {
            return self.close(index, now, shard);
        }
        if writable {
            self.write(index, now, shard);
        }
    }

    /// Sends what the outbox has for connections.
    pub fn send(&mut self, now: Micros, shard: &mut Shard) {
        for (to, packet) in shard.outbox.streams() {
            let connection = self.by_address.get(&to).and_then(|index| {
                let connection = self.connections[*index].as_mut()?;
                Some((*index, connection))
            });
            let (index, connection) = match connection {
                Some(found) => found,
                None => {
                    shard.counters.one(Count::DropTcpClosed);
                    continue;
                }
            };
            if !connection.backlog.push(packet) {
                shard.counters.one(Count::DropTcpBacklog);
                continue;
            }
            shard.counters.one(Count::PacketsOut);
            shard.counters.add(Count::BytesOut, packet.len() as u64);
            if !connection.touched {
                connection.touched = true;
                self.touched.push(index);
            }
        }
        shard.outbox.clear_streams();
        while let Some(index) = self.touched.pop() {
            if let Some(connection) = &mut self.connections[index] {
                connection.touched = false;
                self.write(index, now, shard);
            }
        }
    }

    /// Bytes allocated for connections.
    pub fn memory(&self) -> usize {
        let of = |connection: &Connection| connection.held.capacity() + connection.backlog.memory();
        self.connections.iter().flatten().map(of).sum::<usize>()
            + self.connections.capacity() * mem::size_of::<Option<Connection>>()
    }

    /// Closes, each second, connections that have said nothing for too long.
    pub fn sweep(&mut self, now: Micros, shard: &mut Shard) {
        if now < self.sweep_at {
            return;
        }
        self.sweep_at = now + SWEEP;
        for index in 0..self.connections.len() {
            if matches!(&self.connections[index], Some(connection) if now >= connection.ends) {
                self.close(index, now, shard);
            }
        }
        if !self.listening {
            self.listening = self.poller.register(self.listener.as_raw_fd(), LISTENER, false).is_ok();
        }
    }

    fn accept(&mut self, now: Micros, shard: &mut Shard) {
        for _ in 0..ACCEPTS {
            match self.listener.accept() {
                Ok((stream, at)) => {
                    if !self.open(stream, Address::tcp(at).socket, now, shard) {
                        shard.counters.one(Count::DropTcpRefused);
                    }
                }
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => {}
                Err(error) => {
                    // Without a descriptor left it would be told of again and again: listen on when time has passed.
                    if error.kind() != ErrorKind::WouldBlock {
                        self.listening = self.poller.deregister(self.listener.as_raw_fd()).is_err();
                    }
                    return;
                }
            }
        }
    }

    /// `false`: there are too many already, and this one was closed.
    fn open(&mut self, stream: TcpStream, at: SocketAddr, now: Micros, shard: &mut Shard) -> bool {
        let source = source(at.ip());
        let many = self.by_source.get(&source).map_or(false, |&n| n >= MAX_FROM_ONE);
        if many || self.by_address.len() >= MAX_CONNECTIONS {
            match self.spare(now, Some(source).filter(|_| many)) {
                Some(index) => self.close(index, now, shard),
                None => return false,
            }
        }
        if stream.set_nonblocking(true).is_err() || stream.set_nodelay(true).is_err() {
            return false;
        }
        let value: *const c_int = &NOT_SENT;
        // SAFETY: the pointer is to a c_int that lives through the call. A refusal leaves the kernel's own limit.
        unsafe {
            setsockopt(
                stream.as_raw_fd(),
                IPPROTO_TCP,
                TCP_NOTSENT_LOWAT,
                value.cast(),
                mem::size_of::<c_int>() as u32,
            )
        };
        let index = match self.connections.iter().position(Option::is_none) {
            Some(index) => index,
            None => {
                self.connections.push(None);
                self.connections.len() - 1
            }
        };
        if self.poller.register(stream.as_raw_fd(), index as u64, false).is_err() {
            return false;
        }
        self.by_address.insert(at, index);
        *self.by_source.entry(source).or_insert(0) += 1;
        self.connections[index] = Some(Connection {
            stream,
            at,
            source,
            known: false,
            ends: now + STRANGER,
            held: Vec::new(),
            backlog: Backlog::new(BACKLOG),
            full: false,
            writing: false,
            touched: false,
        });
        shard.counters.one(Count::TcpOpened);
        true
    }

    /// Which connection gives way to a new one: a stranger, so that a flood of them keeps nobody out, or one on which
    /// nothing comes though it is open, as of browsers that have found UDP to work. `from`: only one from there will do.
    fn spare(&self, now: Micros, from: Option<IpAddr>) -> Option<usize> {
        let open = self.connections.iter().enumerate();
        open.filter_map(|(index, connection)| Some((index, connection.as_ref()?)))
            .filter(|(_, connection)| from.map_or(true, |from| connection.source == from))
            .filter(|(_, connection)| !connection.known || connection.ends + UNUSED <= now + IDLE)
            .min_by_key(|(_, connection)| connection.ends)
            .map(|(index, _)| index)
    }

    /// Errors: the connection is to be closed.
    fn read(&mut self, index: usize, now: Micros, shard: &mut Shard) -> Result<(), ()> {
        let connection = match &mut self.connections[index] {
            Some(connection) => connection,
            None => return Ok(()), // closed since `wait`
        };
        let held = connection.held.len();
        self.buffer[..held].copy_from_slice(&connection.held);
        let len = match connection.stream.read(&mut self.buffer[held..held + READ]) {
            Ok(0) => return Err(()),
            Ok(len) => held + len,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return Ok(()),
            Err(_) => return Err(()),
        };
        let from = Address::tcp(connection.at);
        let used = framing::split(&mut self.buffer[..len], |packet| shard.datagram(now, from, packet));
        let used = used.map_err(|_| shard.counters.one(Count::DropTcpFraming))?;
        connection.held.clear();
        connection.held.extend_from_slice(&self.buffer[used..len]);
        if used > 0 && shard.knows(from) {
            connection.known = true;
            connection.ends = now + IDLE;
        }
        Ok(())
    }

    fn write(&mut self, index: usize, now: Micros, shard: &mut Shard) {
        let connection = match &mut self.connections[index] {
            Some(connection) => connection,
            None => return,
        };
        while !connection.backlog.is_empty() {
            match connection.stream.write(connection.backlog.waiting()) {
                Ok(n) if n > 0 => connection.backlog.took(n),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                _ => return self.close(index, now, shard),
            }
        }
        let (len, at) = (connection.backlog.len(), Address::tcp(connection.at));
        let full = len > FULL || connection.full && len > DRAINED;
        let writing = len > 0;
        let changed = mem::replace(&mut connection.full, full) != full;
        if mem::replace(&mut connection.writing, writing) != writing {
            let fd = connection.stream.as_raw_fd();
            if self.poller.change(fd, index as u64, writing).is_err() {
                return self.close(index, now, shard);
            }
        }
        if changed {
            shard.backlogged(now, at, full);
        }
    }

    fn close(&mut self, index: usize, now: Micros, shard: &mut Shard) {
        let connection = match self.connections[index].take() {
            Some(connection) => connection,
            None => return,
        };
        if self.by_address.get(&connection.at) == Some(&index) {
            self.by_address.remove(&connection.at);
        }
        if let Some(n) = self.by_source.get_mut(&connection.source) {
            *n -= 1;
            if *n == 0 {
                self.by_source.remove(&connection.source);
            }
        }
        shard.counters.one(Count::TcpClosed);
        shard.closed(now, Address::tcp(connection.at));
    }
}

/// What one subscriber has: an IPv4 address, or the 2^64 addresses of an IPv6 network.
fn source(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(six) => {
            let mut octets = six.octets();
            octets[8..].fill(0);
            IpAddr::V6(Ipv6Addr::from(octets))
        }
    }
}
