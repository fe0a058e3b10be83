//! What a virtual person receives into: slots with a jitter buffer, NACKs, reports and requests for key frames.

use std::collections::BTreeMap;

use crate::client::OPUS;
use crate::content::Content;
use crate::decoder::{Decoder, Piece};
use crate::network::MS;
use vardrum_codecs::red;
use vardrum_engine::reception::Reception;
use vardrum_engine::rtp::{Header, Unwrapper};
use vardrum_engine::{rtcp, Micros};

/// What browsers wait before they believe that a packet is lost, and how often they ask.
const REORDER_WAIT: Micros = 5 * MS;
const MOST_TRIES: u32 = 10;
const PICTURE_AGE: Micros = 1_000 * MS;
const SOUND_AGE: Micros = 400 * MS;
/// No new picture for so long, though packets come, and a browser asks for a key frame; then as often.
const FREEZE: Micros = 250 * MS;
/// A jump of more is a new beginning.
const JUMP: u64 = 1_000;

struct Missing {
    since: Micros,
    next: Micros,
    tries: u32,
}

pub struct Slot {
    pub picture: bool,
    pub ssrc: u32,
    pub rtx_ssrc: u32,
    unwrapper: Unwrapper,
    reception: Reception,
    newest: Option<u64>,
    missing: BTreeMap<u64, Missing>,
    pub pieces: BTreeMap<u64, Piece>,
    pub sounds: BTreeMap<u64, Content>,
    pub decoder: Decoder,
    last_packet: Micros,
    asked: Micros,
    pub gave_up: u64,
    pub repaired: u64,
}

impl Slot {
    pub fn new(picture: bool, ssrc: u32, rtx_ssrc: u32) -> Slot {
        Slot {
            picture,
            ssrc,
            rtx_ssrc,
            unwrapper: Unwrapper::default(),
            reception: Reception::new(if picture { 90_000 } else { 48_000 }),
            newest: None,
            missing: BTreeMap::new(),
            pieces: BTreeMap::new(),
            sounds: BTreeMap::new(),
            decoder: Decoder::default(),
            last_packet: 0,
            asked: 0,
            gave_up: 0,
            repaired: 0,
        }
    }

    /// Takes a media packet, or with `repaired` what was in an RTX packet.
    pub fn take(&mut self, now: Micros, header: &Header, sequence: u16, payload: &[u8], repaired: bool) {
        let (timestamp, marker, payload_type) = (header.timestamp, header.marker, header.payload_type);
        let index = self.unwrapper.unwrap(sequence);
        self.last_packet = now;
        if !repaired {
            self.reception.on_packet(index, timestamp, now);
        }
        self.repaired += u64::from(self.missing.remove(&index).is_some());
        let from = self.newest.map_or(index, |newest| newest + 1);
        if index >= from && index - from <= JUMP {
            let next = now + REORDER_WAIT;
            for lost in from..index {
                let missing = Missing {
                    since: now,
                    next,
                    tries: 0,
                };
                self.missing.insert(lost, missing);
            }
        }
        self.newest = self.newest.max(Some(index));
        if payload.is_empty() {
            return; // padding
        }
        if self.picture {
            let piece = Piece::read(payload, timestamp, marker);
            let before = self.pieces.insert(index, piece);
            assert!(
                before.map_or(true, |before| before.content == piece.content),
                "one number over two packets"
            );
            self.decoder.run(&self.pieces, now);
        } else {
            let content = *Content::of(payload_type, payload).last().expect("sound of ours");
            let before = self.sounds.insert(index, content);
            assert!(
                before.map_or(true, |before| before == content),
                "one number over two sounds"
            );
        }
    }

    /// Takes what RED brings again with the packet `sequence`, which has been taken.
    pub fn recover(&mut self, sequence: u16, blocks: red::Blocks<'_>) {
        let index = self.unwrapper.unwrap(sequence);
        for (place, block) in blocks.redundant().enumerate() {
            let back = blocks.redundant().count() - place;
            let content = *Content::of(OPUS, block.data).last().expect("sound of ours");
            let before = *self.sounds.entry(index - back as u64).or_insert(content);
            assert_eq!(before, content, "RED says something else than was said");
            self.missing.remove(&(index - back as u64));
        }
    }

    /// Appends what is to be asked for again by now.
    pub fn due(&mut self, now: Micros, round_trip: Micros, out: &mut Vec<u16>) {
        let age = if self.picture { PICTURE_AGE } else { SOUND_AGE };
        let mut gave_up = 0;
        self.missing.retain(|&index, missing| {
            if missing.next > now {
                return true;
            }
            if missing.tries == MOST_TRIES || now > missing.since + age {
                gave_up += 1;
                return false;
            }
            missing.tries += 1;
            missing.next = now + round_trip.max(20 * MS) * 5 / 4;
            out.push(index as u16);
            true
        });
        self.gave_up += gave_up;
    }

    /// Whether a key frame is to be asked for now.
    pub fn key_frame_due(&mut self, now: Micros, round_trip: Micros) -> bool {
        let decoded = self.decoder.decoded_at.unwrap_or(0);
        let due = self.picture
            && now < self.last_packet + FREEZE
            && now > decoded + FREEZE
            && now > self.asked + FREEZE.max(round_trip);
        if due {
            self.asked = now;
        }
        due
    }

    pub fn on_sender_report(&mut self, ntp: u64, now: Micros) {
        self.reception.on_sender_report(rtcp::compact(ntp), now);
    }

    pub fn report(&mut self, now: Micros) -> Option<rtcp::ReportBlock> {
        self.reception.report(self.ssrc, now)
    }
}
