//! A shard's thread: waits, moves batches, ticks, and hands events and figures over.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{panicking, sleep, Builder, JoinHandle};
use std::time::Duration;

use crate::address::Address;
use crate::clock::Micros;
use crate::command::Command;
use crate::counters::Count;
use crate::crypto;
use crate::due::TICK;
use crate::gather::Gather;
use crate::io::{thread_cpu, Clock, Outlet, Poller, Signal, Socket, Tcp, BATCH};
use crate::shard::{Shard, HALF_FULL};
use crate::tables::Tables;

/// How often figures are made for Python.
const FIGURES: Micros = 100_000;
/// How often memory is added up: it asks every peer's every part.
const MEMORY: Micros = 1_000_000;
/// Batches read before commands and time get their turn.
const ROUNDS: usize = 8;
/// Encoded events that Python has not fetched; it fetches at each wake-up of its loop.
const MAX_EVENTS: usize = 16_384;

/// What pictures' packets are padded to where datagrams of one size go out together: 3.5 bytes of 1100 on average, and
/// seven of eight pictures whose packets differ by a byte become packets of one size.
const GRAIN: usize = 8;

/// What the thread waits for, by the poller's tokens.
const UDP: u64 = 0;
const WAKE: u64 = 1;
const TCP: u64 = 2;
/// UDP ports tried where any will do and TCP is to have the same one.
const PORTS: usize = 16;

/// What the shard's thread and Python share; locked for moments, never per packet.
pub struct Shared {
    commands: Mutex<Vec<Command>>,
    events: Mutex<VecDeque<Vec<u8>>>,
    counters: Mutex<Vec<u64>>,
    /// Outlives the shard where Python still looks at them.
    pub tables: Arc<Tables>,
    cpu: AtomicU64,
    memory: AtomicUsize,
    stop: AtomicBool,
    /// The thread has ended though nobody stopped it: it panicked.
    dead: AtomicBool,
    wake: Signal,
    /// Raised when there are events.
    pub told: Signal,
}

/// Says of a thread that panics that it is dead, while it unwinds.
struct Watch<'a>(&'a AtomicBool);

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.0.fetch_or(panicking(), Ordering::Release);
    }
}

/// A lock that a panic on the other side does not take away.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// How a shard's thread works; the default is what suits almost everybody.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Send datagrams of one size for one destination as one (UDP GSO), where kernel and device can.
    pub gso: bool,
    /// Take TCP connections on the same port too (RFC 6544).
    pub tcp: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options { gso: true, tcp: false }
    }
}

pub struct Runner {
    pub shared: Arc<Shared>,
    pub port: u16,
    thread: Option<JoinHandle<()>>,
}

impl Runner {
    /// Binds `address` (port 0: any) and starts the thread.
    ///
    /// Errors: the address can't be bound, or there is no thread or descriptor left.
    pub fn start(address: SocketAddr, options: Options) -> io::Result<Runner> {
        let (mut socket, tcp) = bind(address, options.tcp)?;
        socket.join(options.gso);
        let port = socket.local_address()?.port();
        let shared = Arc::new(Shared {
            commands: Mutex::default(),
            events: Mutex::default(),
            counters: Mutex::default(),
            tables: Arc::default(),
            cpu: AtomicU64::new(0),
            memory: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            dead: AtomicBool::new(false),
            wake: Signal::new()?,
            told: Signal::new()?,
        });
        let poller = Poller::new()?;
        poller.register(socket.fd(), UDP, false)?;
        poller.register(shared.wake.fd(), WAKE, false)?;
        if let Some(tcp) = &tcp {
            poller.register(tcp.fd(), TCP, false)?;
        }
        let mut seed = [0; 16];
        crypto::random(&mut seed);
        let theirs = Arc::clone(&shared);
        let thread = Builder::new().name(format!("shard-{port}")).spawn(move || {
            let _watch = Watch(&theirs.dead);
            run(socket, tcp, poller, seed, &theirs);
        })?;
        Ok(Runner {
            shared,
            port,
            thread: Some(thread),
        })
    }

    pub fn stop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.wake.raise();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    pub fn command(&self, command: Command) {
        lock(&self.commands).push(command);
        self.wake.raise();
    }

    /// Copies whole events into `out`; returns the bytes written.
    pub fn events(&self, out: &mut [u8]) -> usize {
        let mut events = lock(&self.events);
        let mut at = 0;
        while let Some(event) = events.front() {
            let end = at + event.len();
            if end > out.len() {
                break;
            }
            out[at..end].copy_from_slice(event);
            at = end;
            events.pop_front();
        }
        if events.is_empty() {
            self.told.lower();
        }
        at
    }

    pub fn counters(&self, out: &mut [u64]) -> usize {
        copy(&lock(&self.counters), out)
    }

    /// Bytes that the shard holds for its participants, at most a second old.
    pub fn memory(&self) -> usize {
        self.memory.load(Ordering::Relaxed)
    }

    /// Whether the shard's thread has not panicked.
    pub fn alive(&self) -> bool {
        !self.dead.load(Ordering::Acquire)
    }

    /// CPU time of the shard's thread in nanoseconds, at most `FIGURES` old.
    pub fn cpu(&self) -> u64 {
        self.cpu.load(Ordering::Relaxed)
    }
}

fn copy<T: Copy>(from: &[T], to: &mut [T]) -> usize {
    let n = from.len().min(to.len());
    to[..n].copy_from_slice(&from[..n]);
    n
}

fn bind(address: SocketAddr, tcp: bool) -> io::Result<(Socket, Option<Tcp>)> {
    let mut tried = 1;
    loop {
        let socket = Socket::bind(address)?;
        if !tcp {
            return Ok((socket, None));
        }
        match Tcp::bind(SocketAddr::new(address.ip(), socket.local_address()?.port())) {
            Ok(tcp) => return Ok((socket, Some(tcp))),
            Err(_) if address.port() == 0 && tried < PORTS => tried += 1,
            Err(error) => return Err(error),
        }
    }
}

fn run(mut socket: Socket, mut tcp: Option<Tcp>, mut poller: Poller, seed: [u8; 16], shared: &Shared) {
    let clock = Clock::start();
    let mut shard = Shard::new(seed, clock.ntp_at_start);
    if socket.joins() {
        shard.round_sizes(GRAIN);
    }
    let (mut ticked, mut figures_at): (Micros, Micros) = (0, 0);
    let (mut uplinks, mut downlinks) = (shared.tables.uplinks.first(), shared.tables.downlinks.first());
    let (mut overflowed, mut weighed_at) = (0, 0);
    let (mut gather, mut rest) = (Gather::default(), 0);
    while !shared.stop.load(Ordering::Acquire) {
        if rest > 0 {
            sleep(Duration::from_micros(rest));
        }
        let tick_at = shard.next_deadline().max(ticked + TICK).min(figures_at);
        poller.wait(tick_at.saturating_sub(clock.now()));
        let (mut readable, mut connections, mut commanded) = (false, false, false);
        for ready in poller.ready() {
            match ready.token {
                UDP => readable = true,
                TCP => connections = true,
                WAKE => commanded = true,
                _ => {}
            }
        }
        if commanded {
            shared.wake.lower();
            let commands = std::mem::take(&mut *lock(&shared.commands));
            for command in commands {
                shard.command(clock.now(), command);
                if shard.outbox.waiting() >= HALF_FULL {
                    flush(clock.now(), socket.halves().1, &mut tcp, &mut shard);
                }
            }
        }
        rest = 0;
        if readable {
            for _ in 0..ROUNDS {
                // One reading of the clock a batch: what waits in one batch has arrived together.
                let now = clock.now();
                let (inbox, outlet) = socket.halves();
                let received = inbox.receive(|from, bytes| {
                    shard.datagram(now, Address::udp(from), bytes);
                    if shard.outbox.waiting() >= HALF_FULL {
                        flush(now, outlet, &mut tcp, &mut shard);
                    }
                });
                flush(now, outlet, &mut tcp, &mut shard);
                gather.took(now, received);
                if received < BATCH {
                    rest = gather.rest();
                    break;
                }
            }
        }
        let served = tcp.as_mut().filter(|_| connections).map_or(0, Tcp::wait);
        for n in 0..served {
            let now = clock.now();
            if let Some(tcp) = &mut tcp {
                tcp.serve(n, now, &mut shard);
            }
            flush(now, socket.halves().1, &mut tcp, &mut shard);
        }
        let now = clock.now();
        if now >= shard.next_deadline().max(ticked + TICK) {
            ticked = now;
            shard.tick(now);
        }
        flush(now, socket.halves().1, &mut tcp, &mut shard);
        tell(&mut shard, shared);
        if now >= figures_at {
            figures_at = now + FIGURES;
            if let Some(tcp) = &mut tcp {
                tcp.sweep(now, &mut shard);
            }
            let lost = socket.overflowed();
            let more = lost.wrapping_sub(std::mem::replace(&mut overflowed, lost));
            shard.counters.add(Count::DropSocketReceive, more.into());
            shard.uplinks(&mut uplinks);
            shared.tables.uplinks.publish(&mut uplinks);
            shard.downlinks(now, &mut downlinks);
            shared.tables.downlinks.publish(&mut downlinks);
            let mut counters = lock(&shared.counters);
            counters.clear();
            counters.extend_from_slice(shard.counters.values());
            shared.cpu.store(thread_cpu(), Ordering::Relaxed);
            if now >= weighed_at {
                weighed_at = now + MEMORY;
                let connections = tcp.as_ref().map_or(0, Tcp::memory);
                shared.memory.store(shard.memory() + connections, Ordering::Relaxed);
            }
        }
    }
}

fn flush(now: Micros, outlet: &mut Outlet, tcp: &mut Option<Tcp>, shard: &mut Shard) {
    if let Some(tcp) = tcp {
        tcp.send(now, shard);
    }
    let n = shard.outbox.len() as u64;
    if n == 0 {
        return;
    }
    let bytes: usize = (0..shard.outbox.len()).map(|i| shard.outbox.get(i).1.len()).sum();
    let sent = outlet.send(&mut shard.outbox);
    shard.counters.add(Count::PacketsOut, n - sent.refused);
    shard.counters.add(Count::BytesOut, bytes as u64);
    shard.counters.add(Count::GsoOut, sent.joined);
    shard.counters.add(Count::GsoRefused, sent.parted);
    shard.counters.add(Count::DropSocketSend, sent.refused);
}

fn tell(shard: &mut Shard, shared: &Shared) {
    if shard.events.is_empty() {
        return;
    }
    let mut events = lock(&shared.events);
    while let Some(event) = shard.events.pop() {
        // Hostile handshakes must not push out who has come and gone.
        let most = if event.is_datagram() {
            MAX_EVENTS / 4
        } else {
            MAX_EVENTS
        };
        if events.len() >= most {
            shard.counters.one(Count::DropEventQueueFull);
            continue;
        }
        let mut bytes = Vec::new();
        event.write(&mut bytes);
        events.push_back(bytes);
    }
    drop(events);
    shared.told.raise();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_panics_is_dead_and_one_that_ends_is_not() {
        let dead = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let ends = scope.spawn(|| drop(Watch(&dead)));
            assert!(ends.join().is_ok());
            assert!(!dead.load(Ordering::Acquire));
            let panics = scope.spawn(|| {
                let _watch = Watch(&dead);
                std::panic::resume_unwind(Box::new("as a panic does, but says nothing"));
            });
            assert!(panics.join().is_err());
        });
        assert!(dead.load(Ordering::Acquire));
    }

    #[test]
    fn a_shard_is_alive_until_it_is_stopped_and_after() {
        let mut runner = Runner::start("127.0.0.1:0".parse().unwrap(), Options::default()).unwrap();
        assert!(runner.shared.alive());
        runner.stop();
        assert!(runner.shared.alive());
    }
}
