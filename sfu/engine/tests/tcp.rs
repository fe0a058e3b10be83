//! ICE-TCP over real connections on loopback, with a clock of the test's own (RFC 6544, RFC 4571).

mod client;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use client::*;
use vardrum_engine::address::Address;
use vardrum_engine::counters::Count;
use vardrum_engine::io::{Poller, Tcp};
use vardrum_engine::shard::Shard;
use vardrum_engine::stun;

const SECOND: u64 = 1_000_000;
/// How long the kernel may take to move bytes on loopback.
const PATIENCE: u64 = 5 * SECOND;

struct House {
    tcp: Tcp,
    poller: Poller,
    shard: Shard,
    now: u64,
}

impl House {
    /// On any port of `address`; `None` where this machine has no such address (IPv6).
    fn at(address: &str) -> Option<House> {
        let tcp = Tcp::bind(SocketAddr::new(address.parse().unwrap(), 0)).ok()?;
        let poller = Poller::new().unwrap();
        poller.register(tcp.fd(), 0, false).unwrap();
        Some(House {
            tcp,
            poller,
            shard: Shard::new([5; 16], 1 << 40),
            now: 0,
        })
    }

    fn new() -> House {
        House::at("127.0.0.1").expect("IPv4 loopback is always there")
    }

    fn address(&self) -> SocketAddr {
        self.tcp.local_address().unwrap()
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        stream
    }

    /// Serves until the condition holds; the kernel decides when that is.
    fn serve_until(&mut self, what: &str, mut done: impl FnMut(&Shard) -> bool) {
        while !done(&self.shard) {
            self.poller.wait(PATIENCE);
            assert!(self.poller.ready().count() > 0, "nothing to do any more before {what}");
            self.serve();
        }
    }

    /// Serves what can be served now.
    fn serve(&mut self) {
        for n in 0..self.tcp.wait() {
            self.tcp.serve(n, self.now, &mut self.shard);
            self.tcp.send(self.now, &mut self.shard);
        }
    }

    fn count(&self, count: Count) -> u64 {
        self.shard.counters.get(count)
    }

    /// A client that has checked over a new connection.
    fn join(&mut self, id: u32) -> (Client, TcpStream) {
        let mut client = Client::join(&mut self.shard, id, self.now);
        let mut stream = self.connect();
        client.address = Address::tcp(stream.local_addr().unwrap());
        stream.write_all(&framed(&client.request(true))).unwrap();
        let at = client.address;
        self.serve_until("the check", |shard| shard.knows(at));
        client.set_keys(&mut self.shard, self.now);
        (client, stream)
    }
}

fn framed(packet: &[u8]) -> Vec<u8> {
    [&(packet.len() as u16).to_be_bytes(), packet].concat()
}

fn next(stream: &mut TcpStream) -> Vec<u8> {
    let mut len = [0; 2];
    stream.read_exact(&mut len).unwrap();
    let mut packet = vec![0; usize::from(u16::from_be_bytes(len))];
    stream.read_exact(&mut packet).unwrap();
    packet
}

fn is_closed(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0; 64]) {
        Ok(n) => n == 0,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

#[test]
fn a_check_is_answered_over_the_connection_with_the_address_it_came_from() {
    for ip in ["127.0.0.1", "::1"] {
        let mut house = match House::at(ip) {
            Some(house) => house,
            None => continue,
        };
        let (client, mut stream) = house.join(1);
        let answer = next(&mut stream);
        let message = stun::Message::parse(&answer).unwrap();
        assert_eq!(message.xor_mapped_address(), Some(client.address.socket));
    }
}

#[test]
fn ipv4_at_a_socket_for_both_is_ipv4() {
    let mut house = match House::at("::") {
        Some(house) => house,
        None => return,
    };
    let mut client = Client::join(&mut house.shard, 1, 0);
    let mut stream = TcpStream::connect(("127.0.0.1", house.address().port())).unwrap();
    client.address = Address::tcp(stream.local_addr().unwrap());
    assert!(client.address.ip().is_ipv4());
    stream.write_all(&framed(&client.request(true))).unwrap();
    let at = client.address;
    house.serve_until("the check", |shard| shard.knows(at));
}

#[test]
fn a_packet_that_comes_byte_by_byte_is_one() {
    let mut house = House::new();
    let (mut client, mut stream) = house.join(1);
    let before = house.count(Count::StunIn);
    stream.set_nodelay(true).unwrap();
    for byte in framed(&client.request(false)) {
        stream.write_all(&[byte]).unwrap();
        house.serve();
    }
    house.serve_until("the second check", |shard| shard.counters.get(Count::StunIn) > before);
    assert_eq!(house.count(Count::StunIn), before + 1);
}

#[test]
fn a_stranger_is_shown_out_after_5_s_and_a_silent_peer_after_30() {
    let mut house = House::new();
    let (client, mut peer) = house.join(1);
    let mut stranger = house.connect();
    let before = house.count(Count::StunIn);
    // A check of nobody: well formed, and no proof of anything.
    let mut check = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
    check.resize(20, 1);
    stranger.write_all(&framed(&check)).unwrap();
    house.serve_until("the stranger", |shard| shard.counters.get(Count::StunIn) > before);
    next(&mut peer);

    house.tcp.sweep(4 * SECOND, &mut house.shard);
    assert_eq!(house.count(Count::TcpClosed), 0);
    house.tcp.sweep(6 * SECOND, &mut house.shard);
    assert_eq!(house.count(Count::TcpClosed), 1);
    assert!(is_closed(&mut stranger));
    assert!(house.shard.knows(client.address));
    house.tcp.sweep(31 * SECOND, &mut house.shard);
    assert!(is_closed(&mut peer));
    assert!(!house.shard.knows(client.address));
}

#[test]
fn whoever_speaks_something_else_is_closed_at_once() {
    let mut house = House::new();
    let mut browser = house.connect();
    browser.write_all(b"GET / HTTP/1.1\r\nHost: vardrum\r\n\r\n").unwrap();
    house.serve_until("its end", |shard| shard.counters.get(Count::TcpClosed) == 1);
    assert_eq!(house.count(Count::DropTcpFraming), 1);
    assert!(is_closed(&mut browser));
}

#[test]
fn a_flood_from_one_address_keeps_nobody_out() {
    let mut house = match House::at("::") {
        Some(house) => house,
        None => return,
    };
    let port = house.address().port();
    let flood: Vec<TcpStream> = (0..100)
        .map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap())
        .collect();
    house.serve_until("the flood", |shard| {
        shard.counters.get(Count::TcpOpened) + shard.counters.get(Count::DropTcpRefused) == flood.len() as u64
    });
    assert_eq!(house.count(Count::TcpOpened) - house.count(Count::TcpClosed), 96);
    let mut streams = vec![];
    // Somebody else, and somebody behind the same NAT.
    for (id, ip) in [(1, "::1"), (2, "127.0.0.1")] {
        let mut client = Client::join(&mut house.shard, id, 0);
        let mut stream = TcpStream::connect((ip, port)).unwrap();
        client.address = Address::tcp(stream.local_addr().unwrap());
        stream.write_all(&framed(&client.request(true))).unwrap();
        let at = client.address;
        house.serve_until("a check", |shard| shard.knows(at));
        streams.push(stream);
    }
    assert_eq!(house.count(Count::TcpOpened) - house.count(Count::TcpClosed), 97);
    drop(flood);
    house.serve_until("the flood's end", |shard| {
        shard.counters.get(Count::TcpOpened) - shard.counters.get(Count::TcpClosed) == 2
    });
}

#[test]
fn a_connection_that_is_not_read_from_holds_so_much_and_loses_no_order_when_it_is() {
    let mut house = House::new();
    let (client, mut stream) = house.join(1);
    next(&mut stream);
    let mut sent = 0u32;
    while house.count(Count::DropTcpBacklog) == 0 {
        assert!(sent < 100_000, "more than any kernel's buffer");
        for _ in 0..64 {
            let mut packet = vec![0x80; 1000];
            packet[..4].copy_from_slice(&sent.to_be_bytes());
            house.shard.outbox.push(client.address, &packet);
            sent += 1;
        }
        house.tcp.send(house.now, &mut house.shard);
    }
    let dropped = house.count(Count::DropTcpBacklog) as u32;
    let mut reader = stream.try_clone().unwrap();
    let kept = sent - dropped;
    let read = std::thread::spawn(move || {
        (0..kept)
            .map(|_| next(&mut reader))
            .map(|p| u32::from_be_bytes([p[0], p[1], p[2], p[3]]))
            .collect::<Vec<u32>>()
    });
    while !read.is_finished() {
        house.poller.wait(1_000);
        house.serve();
    }
    assert_eq!(
        read.join().unwrap(),
        (0..kept).collect::<Vec<u32>>(),
        "the newest were dropped"
    );
    drop(stream);
    house.serve_until("its end", |shard| shard.counters.get(Count::TcpClosed) == 1);
}

#[test]
fn what_is_for_a_connection_that_is_gone_is_dropped_by_name() {
    let mut house = House::new();
    house
        .shard
        .outbox
        .push(Address::tcp("192.0.2.1:5".parse().unwrap()), &[1, 2, 3]);
    house.tcp.send(0, &mut house.shard);
    assert_eq!(house.count(Count::DropTcpClosed), 1);
    assert_eq!(house.shard.outbox.streams().count(), 0);
}
