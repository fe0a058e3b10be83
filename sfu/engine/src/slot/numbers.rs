//! Numbers of a slot's own, for sound that goes out in other packets than it came in: joined, or without its pauses.

use crate::counters::Count;
use crate::packet::{Feed, Packet};

use super::{Slot, GIVEN_BACK, LEAP};

impl Slot {
    /// As `accept`, but only the timestamp is decided; `number` follows for what goes out.
    ///
    /// Errors: why it does not go out; what is late has no place any more.
    pub fn accept_unnumbered(&mut self, feed: Feed, life: u32, packet: &Packet<'_>) -> Result<u32, Count> {
        if !self.continue_at(feed, life, packet.sequence) {
            return Err(Count::DropSoundLate);
        }
        self.choose(feed, life, packet)?;
        let segment = self.segments.back().ok_or(Count::DropBeforeSwitch)?;
        Ok(packet.timestamp.wrapping_add(segment.timestamp_shift))
    }

    /// Lets the source's packet `sequence` have the slot's next number, whatever numbers went out for those before it.
    /// `false` if a later packet has been through here.
    pub fn continue_at(&mut self, feed: Feed, life: u32, sequence: u64) -> bool {
        if self.showing != Some((feed, life)) {
            return true;
        }
        let next = self.next;
        match self.segments.back_mut() {
            Some(segment) if sequence > self.newest.sequence => {
                segment.source_first = sequence;
                segment.out_first = next;
                true
            }
            Some(_) => false,
            None => true,
        }
    }

    /// The next index, for a packet that goes out under `timestamp`; never one that was given before.
    pub fn number(&mut self, timestamp: u32, octets: usize) -> u64 {
        let index = self.next;
        let fresh = self.spent.take(index);
        debug_assert!(fresh, "an index is given twice");
        self.leap = (self.leap + GIVEN_BACK).min(LEAP);
        self.next += 1;
        self.last_timestamp = Some(timestamp);
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(octets as u32);
        index
    }
}
