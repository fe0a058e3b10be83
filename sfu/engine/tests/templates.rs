//! AV1 whose key frames' first packets, which bring the templates of dependency descriptors, are late, in virtual time.

mod client;

use client::*;
use vardrum_engine::command::Command;
use vardrum_engine::counters::Count;
use vardrum_engine::rtcp::Packet;
use vardrum_engine::shard::Shard;

const MS: u64 = 1_000;
const PARTS: u16 = 3;

/// A packet on its way: its number and sealed bytes; and what it is made of, to be sent again.
struct Part {
    sequence: u16,
    sealed: Vec<u8>,
    timestamp: u32,
    payload: Vec<u8>,
    descriptor: Vec<u8>,
}

struct House {
    shard: Shard,
    now: u64,
    anna: Client,
    bo: Client,
    /// The number of the next picture, and its place behind its key frame.
    number: u16,
    place: u16,
    /// Where the present templates begin.
    offset: u8,
    sequence: u16,
    got: Vec<Got>,
}

impl House {
    fn new(temporal: u8) -> House {
        let mut shard = Shard::new([7; 16], 1 << 40);
        let anna = Client::connect(&mut shard, 1, 0);
        let bo = Client::connect(&mut shard, 2, 0);
        let command = Command::Show {
            viewer: 2,
            slot: PICTURE_SLOT,
            publisher: 1,
            track: CAMERA,
            layer: 0,
            temporal,
            asks: true,
        };
        shard.command(1_000 * MS, command);
        House {
            shard,
            now: 1_000 * MS,
            anna,
            bo,
            number: 65_534,
            place: 0,
            offset: 60,
            sequence: 1,
            got: vec![],
        }
    }

    /// The packets of the next picture of L1T2; a key frame has templates of its own, none of them known before.
    fn picture(&mut self, key: bool) -> Vec<Part> {
        if key {
            self.place = 0;
            self.offset = (self.offset + 3) & 0x3f;
        }
        let template = match (self.place, self.place % 2) {
            (0, _) => self.offset,
            (_, layer) => (self.offset + 1 + layer as u8) & 0x3f,
        };
        let timestamp = u32::from(self.number) * 4_500;
        let parts = (0..PARTS)
            .map(|part| self.part(key, part, template, timestamp))
            .collect();
        self.number = self.number.wrapping_add(1);
        self.place += 1;
        parts
    }

    fn part(&mut self, key: bool, part: u16, template: u8, timestamp: u32) -> Part {
        let (start, end) = (part == 0, part + 1 == PARTS);
        let [high, low] = self.number.to_be_bytes();
        let mut descriptor = vec![u8::from(start) << 7 | u8::from(end) << 6 | template, high, low];
        if key && start {
            let places = [0x80 | self.offset >> 3, (self.offset & 7) << 5 | 1];
            descriptor.extend(places.iter().chain(&[0x1e, 0xa8, 0x51, 0x40, 0]));
        }
        // A sequence header, else a part of a frame that goes on.
        let head: &[u8] = if key && start { &[0x18, 0x08] } else { &[0x10, 0x30] };
        let payload = [head, &[high, low, part as u8]].concat();
        self.anna.descriptor = descriptor.clone();
        let sealed = self.anna.packet_of(CAMERA, 0, AV1, timestamp, end, &payload);
        self.sequence += 1;
        Part {
            sequence: self.sequence - 1,
            sealed,
            timestamp,
            payload,
            descriptor,
        }
    }

    fn send(&mut self, parts: &[Part]) {
        for part in parts {
            let mut sealed = part.sealed.clone();
            self.shard.datagram(self.now, self.anna.address, &mut sealed);
        }
        self.pass(20 * MS);
    }

    fn send_again(&mut self, part: &Part) {
        self.anna.descriptor = part.descriptor.clone();
        let payload = [&part.sequence.to_be_bytes()[..], &part.payload].concat();
        let mut sealed = self.anna.packet_of(CAMERA, 0, AV1_RTX, part.timestamp, true, &payload);
        self.shard.datagram(self.now, self.anna.address, &mut sealed);
        self.pass(20 * MS);
    }

    fn pass(&mut self, time: u64) {
        let end = self.now + time;
        while self.now < end {
            self.now += 5 * MS;
            self.shard.tick(self.now);
            deliver(&mut self.shard, &mut [&mut self.anna, &mut self.bo]);
        }
        self.got.extend(self.bo.got(PICTURE_SLOT));
    }

    fn sends(&mut self, pictures: u16) {
        for _ in 0..pictures {
            let parts = self.picture(false);
            self.send(&parts);
        }
    }

    /// What came, by picture: its number at the publisher, how many packets, and its number at the viewer.
    fn shown(&self) -> Vec<(u16, u16, u16)> {
        let mut shown: Vec<(u16, u16, u16)> = Vec::new();
        for (before, got) in std::iter::once(None).chain(self.got.iter().map(Some)).zip(&self.got) {
            assert!(!got.descriptor.is_empty(), "each packet has its descriptor");
            if let Some(before) = before {
                assert_eq!(got.sequence, before.sequence.wrapping_add(1), "no number is missing");
            }
            let original = u16::from_be_bytes([got.payload[2], got.payload[3]]);
            let number = u16::from_be_bytes([got.descriptor[1], got.descriptor[2]]);
            match shown.last_mut() {
                Some(last) if last.0 == original => {
                    assert_eq!((last.2, u16::from(got.payload[4])), (number, last.1));
                    last.1 += 1;
                }
                _ => shown.push((original, 1, number)),
            }
        }
        shown
    }

    fn numbers(&self) -> Vec<u16> {
        let shown = self.shown();
        assert!(
            shown.iter().all(|(_, parts, _)| *parts == PARTS),
            "whole pictures: {shown:?}"
        );
        // Differences of numbers say which pictures are references: all are moved by as much.
        assert!(shown
            .windows(2)
            .all(|pair| pair[1].2.wrapping_sub(pair[0].2) == pair[1].0.wrapping_sub(pair[0].0)));
        shown.iter().map(|(original, ..)| *original).collect()
    }

    fn asked(&self, is: impl Fn(&Packet<'_>) -> bool) -> usize {
        self.anna.count(is)
    }
}

#[test]
fn a_first_key_frame_whose_first_packet_is_late_is_shown_with_all_that_came_before_it() {
    for repaired in [false, true] {
        for temporal in [0, 255] {
            let mut house = House::new(temporal);
            // The picture in front lets the gap be seen.
            let earlier = house.picture(false);
            house.send(&earlier);
            let key = house.picture(true);
            house.send(&key[1..]);
            house.sends(4);
            assert_eq!(house.got, [], "nobody could decode any of it");
            if repaired {
                assert!(house.asked(|packet| matches!(packet, Packet::Nack { .. })) > 0);
                house.send_again(&key[0]);
            } else {
                house.send(&key[..1]);
            }
            house.sends(2);
            let expected: &[u16] = match temporal {
                0 => &[65_535, 1, 3, 5],
                _ => &[65_535, 0, 1, 2, 3, 4, 5],
            };
            assert_eq!(house.numbers(), expected);
        }
    }
}

#[test]
fn other_templates_that_are_late_hold_back_what_points_at_them_and_nothing_else() {
    for temporal in [0, 255] {
        let mut house = House::new(temporal);
        let key = house.picture(true);
        house.send(&key);
        house.sends(2);
        let before = house.picture(false);
        let next = house.picture(true);
        house.send(&next[1..]);
        house.sends(3);
        house.send(&before); // on its way when the templates changed
        let came = house.shown().len();
        assert_eq!(came, if temporal == 0 { 2 } else { 4 });
        house.send_again(&next[0]);
        house.sends(1);
        let expected: &[u16] = match temporal {
            0 => &[65_534, 0, 2, 4, 6],
            _ => &[65_534, 65_535, 0, 1, 2, 3, 4, 5, 6],
        };
        assert_eq!(house.numbers(), expected);
        assert_eq!(house.shard.counters.get(Count::DropAwaitingTemplates), 11);
        assert_eq!(house.shard.counters.get(Count::DropIndexSpent), 0, "nothing goes twice");
    }
}

#[test]
fn templates_that_never_come_are_asked_for_as_a_key_frame() {
    let mut house = House::new(255);
    let key = house.picture(true);
    house.send(&key);
    let asked = house.asked(|packet| matches!(packet, Packet::Pli { .. }));
    let lost = house.picture(true);
    house.send(&lost[1..]);
    house.sends(11);
    assert_eq!(
        house.asked(|packet| matches!(packet, Packet::Pli { .. })),
        asked,
        "a repair may still come"
    );
    house.sends(4);
    assert_eq!(house.asked(|packet| matches!(packet, Packet::Pli { .. })), asked + 1);
    let first = house.number;
    let key = house.picture(true);
    house.send(&key);
    house.sends(1);
    let shown: Vec<u16> = house
        .got
        .iter()
        .map(|got| u16::from_be_bytes([got.payload[2], got.payload[3]]))
        .collect();
    assert_eq!(shown[3..], [first, first, first, first + 1, first + 1, first + 1]);
}

#[test]
fn a_stream_whose_templates_cannot_be_read_is_forwarded_without_them() {
    let mut house = House::new(255);
    let (_, mut key) = (house.number, house.picture(true));
    house.anna.descriptor = vec![0x80, 0, 0, 0xff];
    key[0].sealed = house
        .anna
        .packet_of(CAMERA, 0, AV1, key[0].timestamp, false, &key[0].payload);
    let first = key.remove(0);
    house.send(&[first]);
    house.sends(2);
    assert_eq!(house.got.len(), 1 + 2 * usize::from(PARTS));
}
