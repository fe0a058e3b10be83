//! Sound in other packets than it came in, in virtual time: joined, without its pauses, and from one way to another.

mod client;
mod house;
#[path = "../src/testing.rs"]
#[allow(dead_code)]
mod testing;

use std::collections::{HashMap, HashSet};

use client::*;
use house::*;
use testing::for_each_seed;
use vardrum_codecs::opus::Frames;
use vardrum_codecs::red;
use vardrum_engine::command::SoundMode;
use vardrum_engine::counters::Count;

/// The numbers of the frames in an Opus payload.
fn frames(payload: &[u8]) -> Vec<u32> {
    let frames = Frames::parse(payload).expect("what goes out is Opus");
    frames
        .iter()
        .map(|frame| u32::from_be_bytes([frame[0], frame[1], frame[2], frame[3]]))
        .collect()
}

#[test]
fn sound_for_a_starved_viewer_is_joined_to_60_ms_and_never_over_a_gap() {
    let mut house = House::new();
    house.speak(1..3);
    house.set(SoundMode { joined: true, ..PLAIN });
    house.speak(3..9);
    let _lost = house.plain(9);
    house.speak(10..14);
    house.pass(100);
    house.set(PLAIN);
    house.speak(14..16);
    let got = house.bo.got(SOUND_SLOT);
    in_a_row(&got);
    let numbers: Vec<Vec<u32>> = got.iter().map(|got| frames(&got.payload)).collect();
    let expected: [&[u32]; 8] = [&[1], &[2], &[3, 4, 5], &[6, 7, 8], &[10, 11, 12], &[13], &[14], &[15]];
    assert_eq!(numbers, expected);
    let first = got[0].timestamp.wrapping_sub(FRAME);
    for got in &got {
        assert_eq!(got.timestamp, first.wrapping_add(frames(&got.payload)[0] * FRAME));
    }
}

#[test]
fn every_joined_packet_is_counted_as_sent_or_under_the_name_of_its_drop() {
    let mut house = House::new();
    let joined = SoundMode { joined: true, ..PLAIN };
    house.set(joined);
    // Two wait when a gap, another way, or another speaker ends the packet; of the last only time does.
    house.speak(1..3);
    let _lost = house.plain(3);
    house.speak(4..6);
    house.set(PLAIN);
    house.speak(6..7);
    house.set(joined);
    house.speak(7..9);
    house.pass(100);
    let got = house.bo.got(SOUND_SLOT);
    assert_eq!(got.len(), 4);
    assert_eq!(house.count(Count::RtpOut), 4);
    assert_eq!(house.count(Count::AudioJoined), 6);
    // Two wait again, and there is room for one packet more when another way begins.
    house.speak(9..11);
    house.set(PLAIN);
    let room = std::iter::repeat(())
        .take_while(|_| house.shard.outbox.push(house.anna.address, &[0; 20]))
        .count();
    house.shard.outbox.clear();
    for _ in 1..room {
        house.shard.outbox.push(house.anna.address, &[0; 20]);
    }
    let mut packet = house.plain(11);
    house.shard.datagram(house.now, house.anna.address, &mut packet);
    assert_eq!(house.count(Count::RtpOut), 5);
    assert_eq!(house.count(Count::DropOutboxFull), 1);
    let (to, datagram) = house.shard.outbox.get(room - 1);
    house.bo.take(to, datagram);
    house.shard.outbox.clear();
    house.speak(12..13);
    let rest = house.bo.got(SOUND_SLOT);
    in_a_row(&[&got[3..], &rest].concat());
    let numbers: Vec<Vec<u32>> = rest.iter().map(|got| frames(&got.payload)).collect();
    assert_eq!(numbers, [vec![9, 10], vec![12]]);
}

#[test]
fn long_packets_are_neither_joined_nor_made_redundant_beyond_a_datagram() {
    for mode in [
        SoundMode { redundancy: 1, ..PLAIN },
        SoundMode { joined: true, ..PLAIN },
    ] {
        let mut house = House::new();
        house.speak(1..3);
        house.set(mode);
        for at in 3..9 {
            let mut long = opus(at);
            long.resize(900, 7);
            let packet = house.anna.packet_of(MICROPHONE, 0, OPUS, at * FRAME, false, &long);
            house.send(packet);
        }
        house.pass(100);
        let got = house.bo.got(SOUND_SLOT);
        in_a_row(&got);
        let numbers: Vec<u32> = got.iter().map(|got| frames(&got.payload)[0]).collect();
        // The first long one still has room for a short one before it.
        let rest = numbers.iter().copied().filter(|number| *number > 3 && *number < 9);
        assert_eq!(rest.collect::<Vec<_>>(), [4, 5, 6, 7, 8], "{mode:?}");
        assert_eq!(house.count(Count::DropTooLarge), 0);
    }
}

#[test]
fn pauses_are_not_sent_and_leave_no_gap_in_the_numbers() {
    let mut house = House::new();
    house.set(SoundMode {
        pauses_dropped: true,
        ..PLAIN
    });
    house.speak(1..6);
    for number in 6..56 {
        let packet = house
            .anna
            .packet_of(MICROPHONE, 0, OPUS, number * FRAME, false, &[0xf8]);
        house.send(packet);
        house.pass(20);
    }
    house.speak(56..60);
    let got = house.bo.got(SOUND_SLOT);
    in_a_row(&got);
    let spoken: Vec<&Got> = got.iter().filter(|got| got.payload.len() > 1).collect();
    assert_eq!(spoken.len(), 9);
    assert_eq!(got.len(), 9 + 3, "an empty frame at once, and each 360 ms");
    let begins: Vec<bool> = spoken.iter().map(|got| got.marker).collect();
    assert_eq!(begins, [true, false, false, false, false, true, false, false, false]);
    assert_eq!(spoken[5].timestamp.wrapping_sub(spoken[4].timestamp), 51 * FRAME);
    assert_eq!(house.count(Count::DropSilence), 47);
}

#[test]
fn a_silent_frame_is_not_joined_to_the_end_of_a_word() {
    // Wherever in the 60 ms of a packet the word ends.
    for voiced in 3..6 {
        let mut house = House::new();
        house.set(SoundMode {
            joined: true,
            pauses_dropped: true,
            ..PLAIN
        });
        house.speak(1..voiced + 1);
        let silent = house
            .anna
            .packet_of(MICROPHONE, 0, OPUS, (voiced + 1) * FRAME, false, &[0xf8]);
        house.send(silent);
        house.pass(100);
        let got = house.bo.got(SOUND_SLOT);
        in_a_row(&got);
        let lengths: Vec<bool> = got.iter().map(|got| got.payload.len() == 1).collect();
        assert_eq!(
            lengths.last(),
            Some(&true),
            "alone: a receiver makes comfort noise of no other"
        );
        assert_eq!(lengths.iter().filter(|alone| **alone).count(), 1);
    }
}

#[test]
fn however_modes_change_no_index_is_sealed_twice_and_nothing_is_heard_twice_or_out_of_place() {
    for_each_seed(200, |random| {
        let mut house = House::new();
        let lossy = random.one_in(2);
        let first = [1, 60_000, 65_500][random.below(3)];
        let ssrc = house.anna.ssrc(MICROPHONE, 0, false);
        house.anna.start_at(ssrc, first);
        if first > 1 {
            house.anna.wrap(ssrc);
        }
        let mut held: Vec<Vec<u8>> = Vec::new();
        for number in 1..400 {
            if random.one_in(20) {
                house.set(SoundMode {
                    redundancy: random.below(3) as u8,
                    copies: random.below(3) as u8,
                    joined: random.one_in(2),
                    pauses_dropped: random.one_in(2),
                });
            }
            let redundancy = (random.below(3) as u32).min(number - 1);
            let packet = if random.one_in(2) {
                house.red(number, redundancy)
            } else {
                house.plain(number)
            };
            match random.below(if lossy { 10 } else { 1 }) {
                8 => held.push(packet),
                9 => {}
                _ => house.send(packet),
            }
            if random.one_in(5) {
                std::mem::take(&mut held)
                    .into_iter()
                    .for_each(|packet| house.send(packet));
            }
            house.pass(20);
            if random.one_in(4) {
                let lost = house
                    .bo
                    .media
                    .last()
                    .map_or(0, |got| got.sequence)
                    .wrapping_sub(random.below(40) as u16);
                let slot = house.bo.slot_ssrc(SOUND_SLOT);
                house.bo.nack(&mut house.shard, house.now, slot, &[lost]);
                house.deliver();
            }
        }
        house.pass(100);
        let mut sealed: HashMap<u16, Vec<u8>> = HashMap::new();
        for (_, datagram) in &house.wire {
            let sequence = u16::from_be_bytes([datagram[2], datagram[3]]);
            let before = sealed.entry(sequence).or_insert_with(|| datagram.clone());
            assert_eq!(before, datagram, "number {sequence} over two packets");
        }
        // The client opens each index once, so all of these are different.
        let got = house.bo.got(SOUND_SLOT);
        if !lossy {
            in_a_row(&got);
        }
        let mut heard = HashSet::new();
        let mut base = None;
        for got in &got {
            let payload = match got.payload_type {
                RED => red::parse(&got.payload).unwrap().primary().data,
                _ => &got.payload,
            };
            for (place, number) in frames(payload).into_iter().enumerate() {
                assert!(heard.insert(number), "{number} is heard twice");
                let zero = got
                    .timestamp
                    .wrapping_add(place as u32 * FRAME)
                    .wrapping_sub(number * FRAME);
                assert_eq!(*base.get_or_insert(zero), zero, "{number} is out of place");
            }
        }
        assert!(lossy || heard.len() == 399, "{} of 399", heard.len());
    });
}
