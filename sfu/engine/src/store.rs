//! What a source sent of late, kept once for all its listeners so that losses can be repaired (RFC 4588).

use crate::clock::Instant;
use crate::packet::{Codec, Packet};
use crate::picture::Picture;

/// About 3 s of a 1.5 Mbit/s picture; a power of two.
const KEPT: usize = 512;

#[derive(Default)]
struct Kept {
    sequence: Option<u64>,
    timestamp: u32,
    marker: bool,
    codec: u8,
    picture: Picture,
    capture: Instant,
    payload: Vec<u8>,
}

#[derive(Default)]
pub struct Store {
    ring: Vec<Kept>,
    newest: u64,
}

impl Store {
    /// Takes a packet once; `false` for one that is there already or older than everything kept.
    pub fn put(&mut self, packet: &Packet<'_>) -> bool {
        if self.ring.is_empty() {
            self.ring.resize_with(KEPT, Kept::default);
        }
        if packet.sequence + KEPT as u64 <= self.newest {
            return false;
        }
        self.newest = self.newest.max(packet.sequence);
        let kept = &mut self.ring[packet.sequence as usize % KEPT];
        if kept.sequence >= Some(packet.sequence) {
            return false;
        }
        kept.sequence = Some(packet.sequence);
        kept.timestamp = packet.timestamp;
        kept.marker = packet.marker;
        kept.codec = packet.codec.0;
        kept.picture = packet.picture;
        kept.capture = packet.capture;
        kept.payload.clear();
        kept.payload.extend_from_slice(packet.payload);
        true
    }

    pub fn get(&self, sequence: u64) -> Option<Packet<'_>> {
        let kept = self.ring.get(sequence as usize % KEPT)?;
        if kept.sequence != Some(sequence) {
            return None;
        }
        Some(Packet {
            sequence,
            timestamp: kept.timestamp,
            marker: kept.marker,
            codec: Codec(kept.codec),
            payload: &kept.payload,
            level: None,
            picture: kept.picture,
            capture: kept.capture,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(sequence: u64) -> Packet<'static> {
        Packet {
            sequence,
            timestamp: 0,
            marker: false,
            codec: Codec::VP8,
            payload: b"picture",
            level: None,
            picture: Picture::default(),
            capture: 0,
        }
    }

    #[test]
    fn a_packet_is_taken_once_and_forgotten_in_time() {
        let mut store = Store::default();
        assert!(store.put(&packet(65_535)));
        assert!(!store.put(&packet(65_535)), "a copy");
        assert!(store.put(&packet(65_536 + KEPT as u64)));
        assert!(store.get(65_535).is_some(), "in a place of its own");
        assert!(!store.put(&packet(65_536)), "older than all that is kept");
        assert!(store.put(&packet(65_535 + KEPT as u64)));
        assert!(store.get(65_535).is_none(), "overwritten");
    }
}
