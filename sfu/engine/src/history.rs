//! What was sent to one peer under which transport-cc number, and what its feedback says became of it.

use crate::address::{Address, Transport};
use crate::clock::Micros;
use crate::rtp;

/// Four seconds of 500 packets/s; a power of two. Word of what was sent before comes too late to be of use.
const KEPT: usize = 2048;
/// No feedback worth reading tells of more: what is not kept is not looked at.
pub const MOST_TOLD: u16 = 2 * KEPT as u16;

/// Bytes of IP and UDP (or TCP) headers in front of a packet: on a phone's link they count as much as any other.
pub fn overhead(to: &Address) -> usize {
    let ip = if to.socket.is_ipv4() { 20 } else { 40 };
    match to.transport {
        Transport::Udp => ip + 8,
        Transport::Tcp => ip + 32 + 2, // with timestamps, and RFC 4571's length
    }
}

/// What became of a packet, as far as its receiver has told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Unknown,
    Lost,
    Received,
}

/// One packet that was sent.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    pub at: Micros,
    /// On the wire, with IP and UDP headers.
    pub bytes: u16,
    /// The probe that it was part of; 0 for none.
    pub probe: u16,
    pub sound: bool,
    /// The same bytes were sent twice, so that nobody knows which of them arrived.
    pub again: bool,
    pub fate: Fate,
}

const NOTHING: Sent = Sent {
    at: 0,
    bytes: 0,
    probe: 0,
    sound: false,
    again: false,
    fate: Fate::Received,
};

/// Packets and bytes, cumulative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Total {
    pub packets: u64,
    pub bytes: u64,
}

impl Total {
    fn add(&mut self, bytes: u16) {
        self.packets += 1;
        self.bytes += u64::from(bytes);
    }
}

/// The newest packets sent to one peer, by their transport-cc number: one counter over slots, RTX and padding.
pub struct History {
    ring: Vec<Sent>,
    /// Extended number of the next packet.
    next: u64,
    /// Behind the newest number that was received.
    told: u64,
    /// Of the packets from `told` on that are kept.
    in_flight: u64,
    pub sent: Total,
    pub acked: Total,
    /// Told to be missing and not received since.
    pub lost: u64,
    pub sound_acked: u64,
    pub sound_lost: u64,
}

impl Default for History {
    fn default() -> Self {
        // The first round of numbers is empty, so that a number before the first one sent has a place in the past.
        let first = 0x1_0001;
        Self {
            ring: Vec::new(),
            next: first,
            told: first,
            in_flight: 0,
            sent: Total::default(),
            acked: Total::default(),
            lost: 0,
            sound_acked: 0,
            sound_lost: 0,
        }
    }
}

impl History {
    /// Bytes allocated.
    pub fn memory(&self) -> usize {
        self.ring.capacity() * std::mem::size_of::<Sent>()
    }

    /// The extended number of the next packet; its low 16 bits go into the transport-cc extension.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Takes note of a packet that went out under the number `next`, `bytes` long on the wire.
    #[inline]
    pub fn record(&mut self, now: Micros, bytes: usize, probe: u16, sound: bool) {
        if self.ring.is_empty() {
            self.ring.resize(KEPT, NOTHING);
        }
        let bytes = bytes as u16; // a datagram is shorter
        let forgotten = &mut self.ring[self.next as usize % KEPT];
        if self.next >= self.told + KEPT as u64 {
            self.in_flight -= u64::from(forgotten.bytes);
        }
        self.in_flight += u64::from(bytes);
        *forgotten = Sent {
            at: now,
            bytes,
            probe,
            sound,
            again: false,
            fate: Fate::Unknown,
        };
        self.next += 1;
        self.sent.add(bytes);
    }

    /// Takes note of a sealed packet that went out once more as it was; `extension` is its transport-cc id. Returns how
    /// many bytes it had on the wire, where that is known.
    pub fn record_again(&mut self, sealed: &[u8], extension: u8) -> usize {
        let header = rtp::parse(sealed).ok();
        let number = header.and_then(|header| match rtp::extension(sealed, &header, extension) {
            Some(&[high, low]) => self.number_of(u16::from_be_bytes([high, low])),
            _ => None,
        });
        let bytes = match number.and_then(|number| self.get_mut(number)) {
            Some(sent) => {
                sent.again = true;
                sent.bytes
            }
            None => return 0,
        };
        self.sent.add(bytes);
        usize::from(bytes)
    }

    /// Takes the receiver's word that `sequence` came; returns the packet where that is news.
    pub fn received(&mut self, sequence: u16) -> Option<(u64, Sent)> {
        let number = self.number_of(sequence)?;
        let sent = self.get_mut(number)?;
        if sent.fate == Fate::Received {
            return None;
        }
        let late = sent.fate == Fate::Lost;
        sent.fate = Fate::Received;
        let sent = *sent;
        self.acked.add(sent.bytes);
        self.sound_acked += u64::from(sent.sound);
        if late {
            // Reordered, or repaired under its own number: it is not lost after all.
            self.lost -= 1;
            self.sound_lost -= u64::from(sent.sound);
        }
        // Each is passed once: what is kept of those up to this one is in flight no more.
        for passed in self.told.max(self.next.saturating_sub(KEPT as u64))..=number {
            self.in_flight -= u64::from(self.ring[passed as usize % KEPT].bytes);
        }
        self.told = self.told.max(number + 1);
        Some((number, sent))
    }

    /// Takes the receiver's word that `sequence` has not come so far.
    pub fn missing(&mut self, sequence: u16) {
        if let Some(sent) = self.number_of(sequence).and_then(|number| self.get_mut(number)) {
            if sent.fate == Fate::Unknown {
                sent.fate = Fate::Lost;
                let sound = sent.sound;
                self.lost += 1;
                self.sound_lost += u64::from(sound);
            }
        }
    }

    /// Behind the newest number that was received.
    pub fn told(&self) -> u64 {
        self.told
    }

    /// Bytes sent after the newest packet that was received, as far as kept.
    pub fn in_flight(&self) -> u64 {
        self.in_flight
    }

    /// The newest extended number sent with these low bits, while it is kept.
    fn number_of(&self, sequence: u16) -> Option<u64> {
        let last = self.next - 1;
        let back = u64::from((last as u16).wrapping_sub(sequence));
        if back < KEPT as u64 {
            Some(last - back)
        } else {
            None
        }
    }

    fn get_mut(&mut self, number: u64) -> Option<&mut Sent> {
        if number >= self.next || number + (KEPT as u64) < self.next {
            return None;
        }
        self.ring.get_mut(number as usize % KEPT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::Header;

    /// A history whose next number has these low bits.
    fn history_at(sequence: u16) -> History {
        let mut history = History::default();
        while history.next() as u16 != sequence {
            history.record(0, 0, 0, false);
        }
        let (sent, first) = (Total::default(), history.next());
        History {
            sent,
            told: first,
            ..history
        }
    }

    #[test]
    fn numbers_wrap_and_each_packet_is_acknowledged_once() {
        for first in [0, 1, 65_534, 65_535] {
            let mut history = history_at(first);
            for i in 0..4 {
                history.record(100 + i, 1000, 0, false);
            }
            for i in 0..4u16 {
                let (number, sent) = history.received(first.wrapping_add(i)).unwrap();
                assert_eq!((number as u16, sent.at), (first.wrapping_add(i), 100 + u64::from(i)));
                assert!(
                    history.received(first.wrapping_add(i)).is_none(),
                    "a copy of the feedback"
                );
            }
            assert_eq!((history.acked.packets, history.acked.bytes), (4, 4000));
            assert_eq!((history.lost, history.in_flight()), (0, 0));
        }
    }

    #[test]
    fn what_was_never_sent_or_is_forgotten_changes_nothing() {
        for first in [0, 1, 65_534, 65_535] {
            let mut history = history_at(first);
            assert!(history.received(first).is_none());
            history.record(0, 100, 0, true);
            for ahead in [1, 2, 100, 0x7fff, 0x8000, 0xf000] {
                assert!(history.received(first.wrapping_add(ahead)).is_none(), "{ahead} ahead");
                history.missing(first.wrapping_add(ahead));
            }
            for _ in 0..KEPT {
                history.record(0, 100, 0, true);
            }
            assert!(history.received(first).is_none(), "it has left the ring");
            assert_eq!((history.acked.packets, history.lost), (0, 0));
        }
    }

    #[test]
    fn nothing_can_be_told_of_before_anything_was_sent() {
        let mut history = History::default();
        for sequence in [0, 1, 2, 65_534, 65_535] {
            assert!(history.received(sequence).is_none());
            history.missing(sequence);
        }
        assert_eq!((history.lost, history.in_flight()), (0, 0));
    }

    #[test]
    fn what_was_missing_in_one_feedback_and_came_in_the_next_is_not_lost() {
        let mut history = history_at(65_535);
        for _ in 0..3 {
            history.record(0, 200, 0, true);
        }
        history.missing(0);
        history.missing(0);
        assert_eq!((history.lost, history.sound_lost), (1, 1));
        assert!(history.received(1).is_some());
        assert!(history.received(0).is_some());
        history.missing(0);
        assert_eq!((history.lost, history.sound_lost, history.sound_acked), (0, 0, 2));
    }

    #[test]
    fn in_flight_is_what_was_sent_after_the_newest_that_came() {
        let mut history = history_at(65_534);
        for _ in 0..4 {
            history.record(0, 300, 0, false);
        }
        assert_eq!(history.in_flight(), 1200);
        history.received(65_535);
        assert_eq!(history.in_flight(), 600);
        history.missing(0);
        history.missing(1);
        assert_eq!(history.in_flight(), 600, "lost or late, nobody knows");
        for _ in 0..3 * KEPT {
            history.record(0, 100, 0, false);
        }
        assert_eq!(
            history.in_flight(),
            100 * KEPT as u64,
            "what is not kept is not counted"
        );
        let newest = history.next() - 1;
        history.received((newest - 10) as u16);
        assert_eq!(history.in_flight(), 1000);
        history.received((newest - 20) as u16);
        assert_eq!(history.in_flight(), 1000, "an older one");
        history.received(newest as u16);
        assert_eq!(history.in_flight(), 0);
    }

    #[test]
    fn a_packet_that_went_out_twice_is_marked_and_its_bytes_count_twice() {
        let mut history = history_at(0);
        let header = Header::default();
        let mut sealed = [0; 60];
        let len = rtp::write_header(&mut sealed, &header, &[(3, &[0, 0]), (4, b"1")]);
        history.record(0, 90, 0, true);
        history.record(0, 90, 0, true);
        history.record_again(&sealed[..len], 3);
        history.record_again(&sealed[..len], 4);
        history.record_again(&sealed[..len], 0);
        history.record_again(&[0x80], 3);
        assert_eq!((history.sent.packets, history.sent.bytes), (3, 270));
        assert!(history.received(0).unwrap().1.again);
        assert!(!history.received(1).unwrap().1.again);
    }

    #[test]
    fn headers_below_rtp_are_those_of_the_path() {
        for (address, bytes) in [("192.0.2.1:1", 28), ("[2001:db8::1]:1", 48)] {
            assert_eq!(overhead(&address.parse().unwrap()), bytes);
        }
    }
}
