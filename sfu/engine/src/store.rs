//! What a source sent of late, kept once for all its listeners so that losses can be repaired (RFC 4588).
//!
//! A table by sequence number says where in one ring of bytes a payload lies. Both begin small and double while they
//! keep less than `AGE`, up to a bound; in the steady state nothing is allocated.

use crate::clock::{Instant, Micros};
use crate::packet::{Codec, Packet};
use crate::picture::Picture;

/// What is older repairs nothing (`layer.rs`), nor does a pacer hold it back.
const AGE: Micros = 1_000_000;
// All are powers of two. A source of 30 packets a second keeps two seconds in the fewest; the most are a second of 4
// Mbit/s in full packets.
const FEWEST_PACKETS: usize = 64;
pub const MOST_PACKETS: usize = 1024;
const FEWEST_BYTES: usize = 16 << 10;
const MOST_BYTES: usize = 512 << 10;

#[derive(Clone, Default)]
struct Kept {
    sequence: Option<u64>,
    arrived: Micros,
    /// The payload's place among all bytes ever kept.
    at: u64,
    len: usize,
    /// Bytes of dependency descriptor behind it.
    dependency: usize,
    timestamp: u32,
    marker: bool,
    codec: u8,
    picture: Picture,
    capture: Instant,
}

#[derive(Default)]
pub struct Store {
    packets: Vec<Kept>,
    newest: u64,
    bytes: Bytes,
}

impl Store {
    /// Takes a packet once; `false` for one that is there already or older than everything kept.
    pub fn put(&mut self, packet: &Packet<'_>, now: Micros) -> bool {
        if self.packets.is_empty() {
            self.packets.resize(FEWEST_PACKETS, Kept::default());
        }
        if packet.sequence + self.packets.len() as u64 <= self.newest {
            return false;
        }
        let former = &self.packets[self.place(packet.sequence)];
        if former.sequence >= Some(packet.sequence) {
            return false;
        }
        if former.sequence.is_some() && now < former.arrived + AGE && self.packets.len() < MOST_PACKETS {
            self.grow();
        }
        self.newest = self.newest.max(packet.sequence);
        let place = self.place(packet.sequence);
        self.packets[place] = Kept {
            sequence: Some(packet.sequence),
            arrived: now,
            at: self.bytes.push([packet.payload, packet.dependency], now),
            len: packet.payload.len(),
            dependency: packet.dependency.len(),
            timestamp: packet.timestamp,
            marker: packet.marker,
            codec: packet.codec.0,
            picture: packet.picture,
            capture: packet.capture,
        };
        true
    }

    /// The newest sequence number taken; 0 before one.
    pub fn newest(&self) -> u64 {
        self.newest
    }

    /// Keeps what `read` makes of those packets behind `sequence` of which it makes anything.
    pub fn read_again(&mut self, sequence: u64, read: impl Fn(&Packet<'_>) -> Option<Picture>) {
        for later in sequence + 1..=self.newest {
            let picture = self.get(later).and_then(|packet| read(&packet));
            if let Some(picture) = picture {
                let place = self.place(later);
                self.packets[place].picture = picture;
            }
        }
    }

    pub fn get(&self, sequence: u64) -> Option<Packet<'_>> {
        if self.packets.is_empty() {
            return None;
        }
        let kept = &self.packets[self.place(sequence)];
        if kept.sequence != Some(sequence) {
            return None;
        }
        let bytes = self.bytes.get(kept.at, kept.len + kept.dependency)?;
        let (payload, dependency) = bytes.split_at(kept.len);
        Some(Packet {
            sequence,
            timestamp: kept.timestamp,
            marker: kept.marker,
            codec: Codec(kept.codec),
            payload,
            dependency,
            level: None,
            picture: kept.picture,
            capture: kept.capture,
        })
    }

    /// Gives all memory back, of a source that has fallen silent; what it sent counts as older than all that follows.
    pub fn forget(&mut self) {
        let newest = self.newest;
        *self = Store {
            newest,
            ..Store::default()
        };
    }

    /// Bytes allocated.
    pub fn memory(&self) -> usize {
        self.packets.capacity() * std::mem::size_of::<Kept>() + self.bytes.ring.capacity()
    }

    fn place(&self, sequence: u64) -> usize {
        sequence as usize & (self.packets.len() - 1)
    }

    fn grow(&mut self) {
        let twice = vec![Kept::default(); 2 * self.packets.len()];
        for kept in std::mem::replace(&mut self.packets, twice) {
            if let Some(sequence) = kept.sequence {
                let place = self.place(sequence);
                self.packets[place] = kept;
            }
        }
    }
}

/// The newest bytes of all that were ever pushed. A place is counted from the first one; the ring's length is a power
/// of two, and no piece lies across its end.
#[derive(Default)]
struct Bytes {
    ring: Vec<u8>,
    next: u64,
    /// What lies before was not taken along when the ring last grew.
    first: u64,
    /// When the byte in front of the ring was written.
    lap: Micros,
}

impl Bytes {
    /// Keeps a piece of two parts, at most `FEWEST_BYTES` long, and says where it is.
    fn push(&mut self, parts: [&[u8]; 2], now: Micros) -> u64 {
        let len = parts[0].len() + parts[1].len();
        if self.ring.is_empty() {
            self.ring.resize(FEWEST_BYTES, 0);
            self.lap = now;
        }
        let mut start = self.offset(self.next);
        if start + len > self.ring.len() || (start == 0 && self.next > 0) {
            self.next += (self.ring.len() - start) as u64 & (self.ring.len() - 1) as u64;
            if now < self.lap + AGE && self.ring.len() < MOST_BYTES {
                self.grow();
            }
            start = self.offset(self.next);
            if start == 0 {
                self.lap = now;
            }
        }
        let (first, second) = self.ring[start..start + len].split_at_mut(parts[0].len());
        first.copy_from_slice(parts[0]);
        second.copy_from_slice(parts[1]);
        let at = self.next;
        self.next += len as u64;
        at
    }

    fn get(&self, at: u64, len: usize) -> Option<&[u8]> {
        if at < self.first || self.next > at + self.ring.len() as u64 {
            return None;
        }
        let start = self.offset(at);
        self.ring.get(start..start + len)
    }

    fn offset(&self, at: u64) -> usize {
        at as usize & (self.ring.len() - 1)
    }

    /// Doubles the ring, at its end; every place stays what it is.
    fn grow(&mut self) {
        let len = self.ring.len();
        let next_half = self.next as usize & len;
        let mut twice = vec![0; 2 * len];
        let last_half = next_half ^ len;
        twice[last_half..last_half + len].copy_from_slice(&self.ring);
        self.ring = twice;
        self.first = self.next - len as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(sequence: u64, payload: &[u8]) -> Packet<'_> {
        Packet {
            sequence,
            timestamp: 0,
            marker: false,
            codec: Codec::VP8,
            payload,
            dependency: &payload[..payload.len().min(3)],
            level: None,
            picture: Picture::default(),
            capture: 0,
        }
    }

    #[test]
    fn a_packet_is_taken_once_and_forgotten_in_time() {
        const KEPT: u64 = FEWEST_PACKETS as u64;
        let mut store = Store::default();
        let mut put = |sequence, now| store.put(&packet(sequence, b"picture"), now);
        assert!(put(65_535, 0));
        assert!(!put(65_535, 0), "a copy");
        assert!(put(65_536 + KEPT, AGE));
        assert!(!put(65_536, AGE), "older than all that is kept");
        assert!(put(65_535 + KEPT, AGE));
        assert!(store.get(65_535).is_none(), "overwritten");
        assert!(store.get(65_535 + KEPT).is_some());
        store.forget();
        assert_eq!((store.memory(), store.get(65_535 + KEPT).is_none()), (0, true));
        assert!(!store.put(&packet(65_536, b"picture"), AGE), "still older");
    }

    /// How many packets of these numbers can be repaired; each must be as it was sent.
    fn kept(store: &Store, numbers: std::ops::Range<u64>, size: usize) -> u64 {
        let found = numbers.filter_map(|sequence| store.get(sequence));
        let checked = found.inspect(|found| {
            assert_eq!(found.payload, payload(found.sequence, size));
            assert_eq!(found.dependency, &found.payload[..size.min(3)]);
        });
        checked.count() as u64
    }

    fn payload(sequence: u64, size: usize) -> Vec<u8> {
        (0..size).map(|i| (sequence as usize * 31 + i) as u8).collect()
    }

    /// A source of `rate` packets a second of `size` bytes, some a little late; returns how many are kept at the end.
    fn stream(store: &mut Store, from: u64, rate: u64, size: usize, seconds: u64) -> u64 {
        let end = from + rate * seconds;
        for number in from..end {
            let sequence = number ^ u64::from((number / 2) % 7 == 0);
            assert!(store.put(
                &packet(sequence, &payload(sequence, size)),
                (number - from) * 1_000_000 / rate
            ));
            if number % 997 == 0 {
                kept(
                    store,
                    number.saturating_sub(2 * MOST_PACKETS as u64).max(from)..number,
                    size,
                );
            }
        }
        kept(store, from..end, size)
    }

    #[test]
    fn a_second_is_kept_whatever_the_rate_and_the_memory_follows_it() {
        // Packets a second, bytes each, at most so much memory.
        let cases = [
            (14, 900, 30_000),
            (30, 1100, 80_000),
            (125, 1100, 320_000),
            (400, 1200, 600_000),
        ];
        for (rate, size, memory) in cases {
            let mut store = Store::default();
            let count = stream(&mut store, 0, rate, size, 10);
            assert!(count >= rate, "{rate} packets a second: {count} kept");
            println!(
                "{:4} kbit/s: {count} packets in {} bytes",
                rate * size as u64 / 125,
                store.memory()
            );
            assert!(
                store.memory() <= memory,
                "{rate} packets a second: {} bytes",
                store.memory()
            );
        }
    }

    #[test]
    fn memory_is_bounded_however_much_comes_and_the_newest_is_kept() {
        let mut store = Store::default();
        stream(&mut store, 0, 10, 10, 2);
        let count = stream(&mut store, 70, 20_000, 1200, 1);
        assert!(count >= 400, "{count}");
        assert!(store.memory() <= MOST_BYTES + MOST_PACKETS * std::mem::size_of::<Kept>());
        println!("at most {} bytes a layer", store.memory());
    }
}
