//! What a bot receives on one of the server's streams: what is missing, what came twice, which pictures are whole.

use vardrum_codecs::vp8;
use vardrum_engine::nack::Gaps;
use vardrum_engine::reception::Reception;
use vardrum_engine::replay::Window;
use vardrum_engine::rtp::{Header, Unwrapper};
use vardrum_engine::Micros;

use crate::figures::Figures;
use crate::stream::STAMP;

/// A packet may come in another order for so long before it is asked for; asked for again for a second.
const REORDER: Micros = 10_000;
const ASKED_FOR: Micros = 1_000_000;
/// Without a key frame, one is asked for after this time, and again.
const KEY_WAIT: Micros = 500_000;
const FREEZE: Micros = 500_000;
/// The SSRCs of a bot differ in so many bits, those of two bots in others too.
const LAYERS: u32 = 4;

/// When the kernel had a packet: on the process's clock, and on the wall's.
#[derive(Clone, Copy)]
pub struct Arrival {
    pub at: Micros,
    pub wall: u64,
}

pub struct Ear {
    pub ssrc: u32,
    pub rtx: Option<u32>,
    pub sound: bool,
    pub gaps: Gaps,
    pub reception: Reception,
    unwrapper: Unwrapper,
    arrived: Window,
    range: Option<(u64, u64)>, // first and newest
    unique: u64,
    /// Newest packet's source and its number there.
    pub source: u32,
    pub counter: u32,
    /// Packets of one source that were left out, lost or not forwarded.
    pub skipped: u64,
    pub switches: u64,
    pub pictures: u64,
    pub first_picture: Option<Micros>,
    /// Intervals of more than half a second without a new picture of the same sender, and their milliseconds.
    pub freezes: u64,
    pub frozen_ms: u64,
    picture: Picture,
    key_asked: Micros,
}

/// The picture that is coming in.
#[derive(Default)]
struct Picture {
    timestamp: u32,
    begun: Option<u64>,
    ended: Option<u64>,
    parts: u64,
    key: bool,
    seen_key: bool,
    shown: Micros,
    shown_of: u32, // sender
}

impl Ear {
    pub fn new(ssrc: u32, rtx: Option<u32>, sound: bool) -> Ear {
        Ear {
            ssrc,
            rtx,
            sound,
            gaps: Gaps::new(REORDER, ASKED_FOR),
            reception: Reception::new(if sound { 48_000 } else { 90_000 }),
            unwrapper: Unwrapper::default(),
            arrived: Window::default(),
            range: None,
            unique: 0,
            source: 0,
            counter: 0,
            skipped: 0,
            switches: 0,
            pictures: 0,
            first_picture: None,
            freezes: 0,
            frozen_ms: 0,
            picture: Picture::default(),
            key_asked: 0,
        }
    }

    /// Packets that have not come, between the first and the newest.
    pub fn lost(&self) -> u64 {
        self.range
            .map_or(0, |(first, newest)| (newest - first + 1).saturating_sub(self.unique))
    }

    pub fn received(&self) -> u64 {
        self.unique
    }

    /// Takes an opened packet. `sequence` is the header's, or of a repetition the one that it repeats.
    ///
    /// Returns `true` with the stream's first whole picture, or its first sound.
    pub fn take(
        &mut self,
        arrival: Arrival,
        header: &Header,
        sequence: u16,
        payload: &[u8],
        repeated: bool,
        figures: &mut Figures,
    ) -> bool {
        let seq = self.unwrapper.unwrap(sequence);
        self.gaps.on_packet(seq, arrival.at);
        if !repeated {
            self.reception.on_packet(seq, header.timestamp, arrival.at);
        }
        if !self.arrived.take(seq) {
            figures.duplicates += 1;
            return false;
        }
        self.unique += 1;
        figures.received += 1;
        figures.repaired += u64::from(repeated);
        let (first, newest) = self.range.unwrap_or((seq, seq));
        self.range = Some((first.min(seq), newest.max(seq)));
        if payload.len() < STAMP {
            return false;
        }
        let stamp = &payload[payload.len() - STAMP..];
        let word = |at: usize| u32::from_be_bytes([stamp[at], stamp[at + 1], stamp[at + 2], stamp[at + 3]]);
        let sent = u64::from(word(0)) << 32 | u64::from(word(4));
        if !repeated {
            let delay = arrival.wall.saturating_sub(sent);
            if self.sound {
                figures.sound_delay.add(delay);
            } else {
                figures.picture_delay.add(delay);
            }
        }
        self.follow(word(8), word(12));
        if self.sound {
            self.unique == 1
        } else {
            self.look(arrival.at, header, seq, payload, figures)
        }
    }

    /// Since when no new picture has come, in milliseconds; 0 where none ever came.
    pub fn still_ms(&self, now: Micros) -> u64 {
        match self.picture.shown {
            0 => 0,
            shown => now.saturating_sub(shown) / 1000,
        }
    }

    fn follow(&mut self, source: u32, counter: u32) {
        if self.source != source {
            self.switches += u64::from(self.source != 0);
            self.source = source;
            self.counter = counter;
            return;
        }
        let ahead = counter.wrapping_sub(self.counter) as i32;
        if ahead > 0 {
            self.skipped += ahead as u64 - 1;
            self.counter = counter;
        } else {
            // It was late, and is no longer missing.
            self.skipped = self.skipped.saturating_sub(1);
        }
    }

    fn look(&mut self, now: Micros, header: &Header, seq: u64, payload: &[u8], figures: &mut Figures) -> bool {
        let picture = &mut self.picture;
        if header.timestamp != picture.timestamp {
            // An older picture's straggler is not counted: its picture was not shown.
            if picture.parts > 0 && header.timestamp.wrapping_sub(picture.timestamp) > u32::MAX / 2 {
                return false;
            }
            picture.timestamp = header.timestamp;
            picture.begun = None;
            picture.ended = None;
            picture.parts = 0;
        }
        picture.parts += 1;
        if vp8::Descriptor::parse(payload).map_or(false, |descriptor| descriptor.starts_frame()) {
            picture.begun = Some(seq);
            picture.key = vp8::starts_key_frame(payload);
        }
        if header.marker {
            picture.ended = Some(seq);
        }
        let whole = match (picture.begun, picture.ended) {
            (Some(begun), Some(ended)) => ended >= begun && picture.parts == ended - begun + 1,
            _ => false,
        };
        if !whole {
            return false;
        }
        picture.seen_key |= picture.key;
        if !picture.seen_key {
            return false;
        }
        let gap = now.saturating_sub(picture.shown);
        // Whom a slot shows first has not been standing still before.
        let sender = self.source >> LAYERS;
        if picture.shown > 0 && picture.shown_of == sender && gap > FREEZE {
            figures.freezes += 1;
            figures.frozen_ms += gap / 1000;
            self.freezes += 1;
            self.frozen_ms += gap / 1000;
        }
        picture.shown = now;
        picture.shown_of = sender;
        self.pictures += 1;
        figures.pictures += 1;
        let first = self.first_picture.is_none();
        self.first_picture.get_or_insert(now);
        first
    }

    /// Whether it is time to ask for a key frame.
    pub fn wants_key_frame(&mut self, now: Micros) -> bool {
        let wants = !self.sound && self.unique > 0 && !self.picture.seen_key && now > self.key_asked + KEY_WAIT;
        if wants {
            // The first one gets its time from when packets began to come.
            let first = self.key_asked == 0;
            self.key_asked = now;
            return !first;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(counter: u32, first: bool, key: bool) -> Vec<u8> {
        let mut payload = vec![
            0x80 | u8::from(first) << 4,
            0xe0,
            0x80,
            1,
            0,
            0x20,
            u8::from(!key),
            2,
            0,
        ];
        payload.extend_from_slice(&[0; 24]);
        payload.extend_from_slice(&100u64.to_be_bytes());
        payload.extend_from_slice(&7u32.to_be_bytes());
        payload.extend_from_slice(&counter.to_be_bytes());
        payload
    }

    fn hear(ear: &mut Ear, figures: &mut Figures, sequence: u16, parts: u16, repeated: bool) -> bool {
        let header = Header {
            timestamp: u32::from(sequence / parts) * 4500,
            marker: sequence % parts == parts - 1,
            ..Header::default()
        };
        let payload = packet(u32::from(sequence), sequence % parts == 0, sequence < parts);
        ear.take(
            Arrival { at: 1, wall: 150 },
            &header,
            sequence,
            &payload,
            repeated,
            figures,
        )
    }

    #[test]
    fn what_is_repaired_is_not_lost_and_what_came_twice_counts_once() {
        let (mut ear, mut figures) = (Ear::new(1, Some(2), false), Figures::default());
        for sequence in [0, 1, 3, 4, 5, 4] {
            hear(&mut ear, &mut figures, sequence, 3, false);
        }
        assert_eq!((ear.lost(), figures.duplicates, ear.pictures), (1, 1, 0));
        assert_eq!(ear.skipped, 1);
        hear(&mut ear, &mut figures, 2, 3, true);
        assert_eq!((ear.lost(), figures.repaired, ear.skipped), (0, 1, 0));
        for sequence in 6..9 {
            hear(&mut ear, &mut figures, sequence, 3, false);
        }
        assert_eq!(ear.lost(), 0);
    }

    #[test]
    fn a_picture_that_stands_still_counts_for_its_sender_alone() {
        let (mut ear, mut figures) = (Ear::new(1, Some(2), false), Figures::default());
        let mut see = |ear: &mut Ear, at: Micros, sequence: u16, source: u32| {
            let header = Header {
                timestamp: u32::from(sequence) * 4500,
                marker: true,
                ..Header::default()
            };
            let mut payload = packet(u32::from(sequence), true, sequence == 0);
            let end = payload.len();
            payload[end - 8..end - 4].copy_from_slice(&source.to_be_bytes());
            ear.take(
                Arrival { at, wall: at },
                &header,
                sequence,
                &payload,
                false,
                &mut figures,
            )
        };
        assert!(see(&mut ear, 1_000_000, 0, 0x70));
        see(&mut ear, 1_400_000, 1, 0x70);
        see(&mut ear, 2_000_000, 2, 0x71);
        assert_eq!((ear.freezes, ear.frozen_ms, ear.still_ms(2_250_000)), (1, 600, 250));
        see(&mut ear, 9_000_000, 3, 0x90);
        assert_eq!((ear.freezes, ear.frozen_ms, figures.freezes), (1, 600, 1));
    }

    #[test]
    fn the_first_sound_is_told() {
        let (mut ear, mut figures) = (Ear::new(1, None, true), Figures::default());
        assert!(hear(&mut ear, &mut figures, 0, 1, false));
        assert!(!hear(&mut ear, &mut figures, 1, 1, false));
    }

    #[test]
    fn a_picture_counts_when_it_is_whole_and_a_key_frame_came() {
        let (mut ear, mut figures) = (Ear::new(1, Some(2), false), Figures::default());
        assert!(!hear(&mut ear, &mut figures, 0, 2, false));
        assert!(hear(&mut ear, &mut figures, 1, 2, false));
        assert!(!hear(&mut ear, &mut figures, 2, 2, false));
        assert!(!hear(&mut ear, &mut figures, 3, 2, false));
        assert_eq!(ear.pictures, 2);
        hear(&mut ear, &mut figures, 4, 2, false);
        hear(&mut ear, &mut figures, 7, 2, false);
        assert_eq!((ear.pictures, ear.lost()), (2, 2));
    }
}
