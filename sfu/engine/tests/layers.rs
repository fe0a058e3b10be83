//! Temporal layers as a viewer sees them, in virtual time.

mod client;

use client::*;
use vardrum_engine::command::Command;
use vardrum_engine::counters::Count;
use vardrum_engine::shard::Shard;

const MS: u64 = 1_000;
const KEY: usize = 0;

/// A stream of two temporal layers as libvpx makes it: every second picture is of layer 1, every fourth needs nothing
/// but layer 0.
struct House {
    shard: Shard,
    now: u64,
    anna: Client,
    bo: Client,
}

impl House {
    fn new(temporal: u8) -> House {
        let mut shard = Shard::new([7; 16], 1 << 40);
        let anna = Client::connect(&mut shard, 1, 0);
        let bo = Client::connect(&mut shard, 2, 0);
        let now = 1_000 * MS;
        let mut house = House { shard, now, anna, bo };
        house.show(temporal);
        house
    }

    fn show(&mut self, temporal: u8) {
        let command = Command::Show {
            viewer: 2,
            slot: PICTURE_SLOT,
            publisher: 1,
            track: CAMERA,
            layer: 0,
            temporal,
            asks: true,
        };
        self.shard.command(self.now, command);
    }

    /// The packets of picture `number` of a stream whose number 0 is the key frame.
    fn picture(&mut self, number: u16, packets: usize) -> Vec<Vec<u8>> {
        let (temporal, tl0) = ((number % 2) as u8, (number / 2) as u8);
        let (sync, key) = (number % 4 == 1, usize::from(number) == KEY);
        self.anna.layered(0, number, temporal, tl0, sync, key, packets)
    }

    fn send(&mut self, packets: Vec<Vec<u8>>) {
        for mut packet in packets {
            self.shard.datagram(self.now, self.anna.address, &mut packet);
        }
        self.now += 50 * MS;
        deliver(&mut self.shard, &mut [&mut self.anna, &mut self.bo]);
    }

    fn sends(&mut self, numbers: std::ops::Range<u16>) {
        for number in numbers {
            let packets = self.picture(number, 2);
            self.send(packets);
        }
    }

    fn got(&mut self) -> Vec<Got> {
        self.bo.got(PICTURE_SLOT)
    }
}

/// The number of the picture that a packet is of, and which part of it; nothing of padding.
fn tag(got: &Got) -> Option<(u16, u8)> {
    match *got.payload.as_slice() {
        [.., high, low, part] => Some((u16::from_be_bytes([high, low]), part)),
        _ => None,
    }
}

fn numbers(got: &[Got]) -> Vec<u16> {
    let mut numbers: Vec<u16> = got.iter().filter_map(tag).map(|(number, _)| number).collect();
    numbers.dedup();
    numbers
}

fn assert_no_gap(got: &[Got]) {
    for pair in got.windows(2) {
        assert_eq!(pair[1].sequence, pair[0].sequence.wrapping_add(1));
        let step = u16::from(pair[1].timestamp != pair[0].timestamp);
        assert_eq!(pair[1].picture_id(), (pair[0].picture_id() + step) & 0x7fff);
    }
}

#[test]
fn a_layer_above_the_limit_is_dropped_without_a_gap() {
    let mut house = House::new(0);
    house.sends(0..12);
    let got = house.got();
    assert_eq!(numbers(&got), [0, 2, 4, 6, 8, 10]);
    assert_no_gap(&got);
    assert_eq!(house.shard.counters.get(Count::DropTemporalLayer), 12);
}

#[test]
fn a_layer_goes_at_the_next_picture_and_comes_back_where_it_can_be_decoded() {
    let mut house = House::new(255);
    house.sends(0..4);
    house.show(0);
    house.sends(4..11);
    house.show(255);
    house.sends(11..16);
    let got = house.got();
    // 11 needs 9, which was dropped; 13 needs nothing but its layer 0.
    assert_eq!(numbers(&got), [0, 1, 2, 3, 4, 6, 8, 10, 12, 13, 14, 15]);
    assert_no_gap(&got);
}

#[test]
fn a_picture_that_began_goes_out_whole() {
    let mut house = House::new(255);
    house.sends(0..1);
    let mut packets = house.picture(1, 3);
    let rest = packets.split_off(1);
    house.send(packets);
    house.show(0);
    house.send(rest);
    house.sends(2..5);
    let got = house.got();
    assert_eq!(numbers(&got), [0, 1, 2, 4]);
    assert_no_gap(&got);
}

#[test]
fn what_is_lost_of_a_dropped_picture_leaves_no_gap() {
    for lost in 0..3 {
        let mut house = House::new(0);
        house.sends(0..3);
        let mut packets = house.picture(3, 3);
        let late = packets.remove(lost);
        house.send(packets);
        house.sends(4..6);
        house.send(vec![late]);
        house.sends(6..9);
        let got = house.got();
        assert_eq!(numbers(&got), [0, 2, 4, 6, 8], "packet {lost} lost");
        assert_no_gap(&got);
    }
}

#[test]
fn a_lost_picture_keeps_its_numbers_and_goes_out_late_where_it_is_wanted() {
    let mut house = House::new(0);
    house.sends(0..3);
    let dropped = house.picture(3, 2);
    let wanted = house.picture(4, 2);
    house.sends(5..8);
    house.send(wanted);
    house.send(dropped);
    house.sends(8..9);
    let mut got = house.got();
    assert!(
        got.iter().any(|g| tag(g).is_none()),
        "padding where the dropped picture was"
    );
    got.sort_by_key(|g| g.sequence);
    assert!(got
        .windows(2)
        .all(|pair| pair[1].sequence == pair[0].sequence.wrapping_add(1)));
    got.retain(|g| tag(g).is_some());
    assert_eq!(numbers(&got), [0, 2, 4, 6, 8]);
}

#[test]
fn a_publisher_whose_dropped_pictures_are_far_apart_does_not_lead_a_viewer_around() {
    let mut house = House::new(0);
    house.sends(0..3);
    assert_eq!(numbers(&house.got()), [0, 2]);
    let ssrc = house.anna.ssrc(CAMERA, 0, false);
    // Between pictures that nobody gets, 63,000 numbers are missing in all: nearly once around.
    for step in 1..=255u16 {
        house.anna.start_at(ssrc, 250 * step);
        let packets = house.anna.layered(0, 1 + 2 * step, 1, 0, false, false, 2);
        house.send(packets);
    }
    let packets = house.anna.layered(0, 600, 0, 9, false, true, 2);
    house.send(packets);
    assert_eq!(numbers(&house.got()), [600], "the viewer still opens what comes");
}

#[test]
fn a_publisher_whose_packets_are_far_apart_leads_no_viewer_around_that_loses_some() {
    let mut house = House::new(255);
    house.sends(0..3);
    assert_eq!(numbers(&house.got()), [0, 1, 2]);
    let ssrc = house.anna.ssrc(CAMERA, 0, false);
    for step in 1..=255u16 {
        house.anna.start_at(ssrc, 250 * step);
        for mut lost in house.anna.layered(0, 2 + step, 0, 0, false, false, 2) {
            house.shard.datagram(house.now, house.anna.address, &mut lost);
        }
        house.now += 5 * MS;
        house.shard.outbox.clear();
    }
    let packets = house.anna.layered(0, 600, 0, 9, false, true, 2);
    house.send(packets);
    assert_eq!(numbers(&house.got()), [600], "the viewer still opens what comes");
}

#[test]
fn padding_that_was_lost_is_repaired_by_a_number_alone() {
    let mut house = House::new(0);
    house.sends(0..3);
    let dropped = house.picture(3, 1);
    let wanted = house.picture(4, 1);
    house.sends(5..7);
    house.send(wanted);
    house.send(dropped);
    let padding = house.got().into_iter().find(|g| tag(g).is_none()).unwrap();
    let ssrc = house.bo.slot_ssrc(PICTURE_SLOT);
    house.bo.nack(&mut house.shard, house.now, ssrc, &[padding.sequence]);
    house.send(vec![]);
    let repairs = house.bo.got(PICTURE_SLOT + 10);
    assert_eq!(repairs.len(), 1);
    assert_eq!(repairs[0].payload, padding.sequence.to_be_bytes());
}

#[test]
fn what_was_lost_to_us_when_its_source_was_left_is_answered_by_its_number_alone() {
    let mut house = House::new(255);
    house.sends(0..2);
    let mut packets = house.picture(2, 3);
    let lost = packets.remove(1);
    house.send(packets);
    let command = Command::Show {
        viewer: 2,
        slot: PICTURE_SLOT,
        publisher: 1,
        track: CAMERA,
        layer: 1,
        temporal: 255,
        asks: true,
    };
    house.shard.command(house.now, command);
    let other = house.anna.layered(1, 0, 0, 0, false, true, 1);
    house.send(other);
    house.send(vec![lost]);
    let got = house.got();
    let missing = got.last().unwrap().sequence.wrapping_sub(2);
    assert!(got.iter().all(|g| g.sequence != missing));
    let ssrc = house.bo.slot_ssrc(PICTURE_SLOT);
    // What was never given away is not filled.
    let never = [
        got[0].sequence.wrapping_sub(1),
        got.last().unwrap().sequence.wrapping_add(1),
    ];
    house
        .bo
        .nack(&mut house.shard, house.now, ssrc, &[never[0], missing, never[1]]);
    house.send(vec![]);
    let repairs = house.bo.got(PICTURE_SLOT + 10);
    assert_eq!(repairs.len(), 1);
    assert_eq!(repairs[0].payload, missing.to_be_bytes());
}
