//! Sound on a network that loses it, in virtual time: RED opened, and written anew as its viewer needs it.

mod client;
#[path = "../src/testing.rs"]
#[allow(dead_code)]
mod testing;

use std::collections::{HashMap, HashSet};

use client::*;
use testing::for_each_seed;
use vardrum_codecs::opus::Frames;
use vardrum_codecs::red::{self, Block};
use vardrum_engine::command::{Command, SoundMode};
use vardrum_engine::counters::Count;
use vardrum_engine::rtcp::Packet;
use vardrum_engine::rtp;
use vardrum_engine::shard::Shard;

const MS: u64 = 1_000;
const FRAME: u32 = 960;

struct House {
    shard: Shard,
    now: u64,
    anna: Client,
    bo: Client,
    /// Every media datagram that was sent to Bo, sealed, and when.
    wire: Vec<(u64, Vec<u8>)>,
}

/// Opus, 20 ms in one frame, that says its number.
fn opus(number: u32) -> Vec<u8> {
    let mut payload = vec![0xf8];
    payload.extend_from_slice(&number.to_be_bytes());
    payload.extend_from_slice(&[7; 20]);
    payload
}

fn number(payload: &[u8]) -> u32 {
    u32::from_be_bytes([payload[1], payload[2], payload[3], payload[4]])
}

impl House {
    fn new() -> House {
        let mut shard = Shard::new([7; 16], 1 << 40);
        let anna = Client::connect(&mut shard, 1, 0);
        let bo = Client::connect(&mut shard, 2, 0);
        let mut house = House {
            shard,
            now: 1_000 * MS,
            anna,
            bo,
            wire: vec![],
        };
        house.shard.command(
            house.now,
            Command::Show {
                viewer: 2,
                slot: SOUND_SLOT,
                publisher: 1,
                track: MICROPHONE,
                layer: 0,
                temporal: 255,
                asks: true,
            },
        );
        house
    }

    /// Anna's packet `number`, not sent yet.
    fn plain(&mut self, number: u32) -> Vec<u8> {
        self.anna
            .packet_of(MICROPHONE, 0, OPUS, number * FRAME, false, &opus(number))
    }

    /// The same as RED with `redundancy` earlier ones, not sent yet.
    fn red(&mut self, number: u32, redundancy: u32) -> Vec<u8> {
        let earlier: Vec<Vec<u8>> = (1..=redundancy).rev().map(|back| opus(number - back)).collect();
        let blocks: Vec<Block> = (1..=redundancy)
            .rev()
            .zip(&earlier)
            .map(|(back, data)| Block {
                payload_type: OPUS,
                offset: (back * FRAME) as u16,
                data,
            })
            .collect();
        let (mut payload, data) = (Vec::new(), opus(number));
        let primary = Block {
            payload_type: OPUS,
            offset: 0,
            data: &data,
        };
        red::write(&mut payload, &blocks, primary);
        self.anna.packet_of(MICROPHONE, 0, RED, number * FRAME, false, &payload)
    }

    fn send(&mut self, mut packet: Vec<u8>) {
        self.shard.datagram(self.now, self.anna.address, &mut packet);
        self.deliver();
    }

    /// Lets time pass in steps of the runner's tick.
    fn pass(&mut self, ms: u64) {
        for _ in 0..ms / 10 {
            self.now += 10 * MS;
            self.shard.tick(self.now);
            self.deliver();
        }
    }

    fn deliver(&mut self) {
        for i in 0..self.shard.outbox.len() {
            let (to, datagram) = self.shard.outbox.get(i);
            if to == self.bo.address && datagram[0] & 0xc0 == 0x80 && !rtp::is_rtcp(datagram) {
                self.wire.push((self.now, datagram.to_vec()));
            }
        }
        deliver(&mut self.shard, &mut [&mut self.anna, &mut self.bo]);
    }

    /// How sound goes to Bo from now on.
    fn set(&mut self, mode: SoundMode) {
        self.shard.command(self.now, Command::SetSound { peer: 2, mode });
    }

    /// Sends the packets of these numbers, 20 ms apart.
    fn speak(&mut self, numbers: std::ops::Range<u32>) {
        for number in numbers {
            let packet = self.plain(number);
            self.send(packet);
            self.pass(20);
        }
    }

    fn count(&self, count: Count) -> u64 {
        self.shard.counters.get(count)
    }
}

#[test]
fn what_a_publisher_lost_is_taken_from_red_in_its_own_place() {
    let mut house = House::new();
    let packets: Vec<Vec<u8>> = (10..20).map(|n| house.red(n, 2)).collect();
    for at in [0, 1, 2, 5, 6, 8, 9] {
        house.send(packets[at].clone());
    }
    let got = house.bo.got(SOUND_SLOT);
    let numbers: Vec<u32> = got.iter().map(|got| number(&got.payload)).collect();
    assert_eq!(numbers, (10..20).collect::<Vec<_>>(), "all, and in order");
    for pair in got.windows(2) {
        assert_eq!(pair[1].sequence, pair[0].sequence.wrapping_add(1));
        assert_eq!(pair[1].timestamp, pair[0].timestamp.wrapping_add(FRAME));
    }
    assert_eq!(house.count(Count::RedRecovered), 3);
    house.pass(100);
    let asked = house.anna.count(|packet| matches!(packet, Packet::Nack { .. }));
    assert_eq!(asked, 0, "what came out of RED is not asked for");
    house.send(packets[3].clone());
    assert!(house.bo.got(SOUND_SLOT).is_empty());
    assert_eq!(house.count(Count::DropDuplicate), 1, "the original was late");
}

#[test]
fn blocks_that_are_not_adjacent_are_not_given_a_number() {
    let mut house = House::new();
    let first = house.plain(10);
    let _lost = house.plain(11);
    let (far, data) = (opus(9), opus(12));
    let block = |offset, data| Block {
        payload_type: OPUS,
        offset,
        data,
    };
    let mut payload = Vec::new();
    red::write(&mut payload, &[block(3 * 960, &far)], block(0, &data));
    let third = house.anna.packet_of(MICROPHONE, 0, RED, 12 * FRAME, false, &payload);
    house.send(first);
    house.send(third);
    assert_eq!(house.bo.got(SOUND_SLOT).len(), 2);
    assert_eq!(house.count(Count::RedRecovered), 0);
}

#[test]
fn nothing_said_while_muted_is_heard_afterwards_out_of_red() {
    let mut house = House::new();
    let mute = |house: &mut House, muted| {
        let command = Command::Mute {
            peer: 1,
            track: MICROPHONE,
            muted,
        };
        house.shard.command(house.now, command);
    };
    let packets: Vec<Vec<u8>> = (10..20).map(|n| house.red(n, 2)).collect();
    house.send(packets[0].clone());
    mute(&mut house, true);
    house.send(packets[1].clone());
    mute(&mut house, false);
    // 12 and 13 were said while muted, and lost.
    house.send(packets[4].clone());
    house.send(packets[6].clone());
    let numbers: Vec<u32> = house
        .bo
        .got(SOUND_SLOT)
        .iter()
        .map(|got| number(&got.payload))
        .collect();
    assert_eq!(numbers, [10, 14, 15, 16]);
}

const RED_ONE: SoundMode = SoundMode {
    redundancy: 1,
    copies: 0,
    joined: false,
    pauses_dropped: false,
};
const PLAIN: SoundMode = SoundMode {
    redundancy: 0,
    ..RED_ONE
};

/// The numbers of the frames in an Opus payload.
fn frames(payload: &[u8]) -> Vec<u32> {
    let frames = Frames::parse(payload).expect("what goes out is Opus");
    frames
        .iter()
        .map(|frame| u32::from_be_bytes([frame[0], frame[1], frame[2], frame[3]]))
        .collect()
}

fn in_a_row(got: &[Got]) {
    for pair in got.windows(2) {
        assert_eq!(pair[1].sequence, pair[0].sequence.wrapping_add(1));
    }
}

#[test]
fn red_is_written_anew_for_a_viewer_who_needs_it() {
    let mut house = House::new();
    house.speak(10..12);
    house.set(SoundMode { redundancy: 2, ..PLAIN });
    house.speak(12..16);
    house.set(PLAIN);
    house.speak(16..18);
    let got = house.bo.got(SOUND_SLOT);
    in_a_row(&got);
    let types: Vec<u8> = got.iter().map(|got| got.payload_type).collect();
    assert_eq!(types, [OPUS, OPUS, OPUS, RED, RED, RED, OPUS, OPUS]);
    for (at, expected) in [(3, vec![12]), (4, vec![12, 13]), (5, vec![13, 14])] {
        let blocks = red::parse(&got[at].payload).unwrap();
        let earlier: Vec<u32> = blocks.redundant().map(|block| number(block.data)).collect();
        assert_eq!(earlier, expected);
        assert_eq!(number(blocks.primary().data), 10 + at as u32);
        assert!(blocks.redundant().all(|block| block.payload_type == OPUS));
        let offsets: Vec<u16> = blocks.redundant().map(|block| block.offset).collect();
        assert_eq!(offsets, [1920, 960][2 - expected.len()..]);
    }
}

#[test]
fn what_goes_twice_is_the_same_bytes_20_to_40_ms_later() {
    let mut house = House::new();
    house.set(SoundMode { copies: 1, ..PLAIN });
    house.speak(10..30);
    house.pass(100);
    assert_eq!(house.bo.got(SOUND_SLOT).len(), 20);
    assert_eq!(house.wire.len(), 40);
    for (at, datagram) in &house.wire {
        let times: Vec<u64> = house
            .wire
            .iter()
            .filter(|(_, other)| other == datagram)
            .map(|(at, _)| *at)
            .collect();
        assert_eq!(times.len(), 2);
        assert!((20 * MS..=40 * MS).contains(&(times[1] - times[0])), "{at}: {times:?}");
    }
    assert_eq!(house.count(Count::AudioCopied), 20);
}

/// Which of the datagrams to Bo, in the order in which they first went out, went out again.
fn repeated(house: &House) -> Vec<usize> {
    let mut seen: Vec<&[u8]> = vec![];
    let mut again = vec![];
    for (_, datagram) in &house.wire {
        match seen.iter().position(|former| former == datagram) {
            Some(at) => again.push(at),
            None => seen.push(datagram),
        }
    }
    again
}

#[test]
fn on_a_lossy_way_the_end_of_speech_and_what_follows_a_pause_go_once_more() {
    for (mode, expected) in [(PLAIN, vec![]), (RED_ONE, vec![4, 5])] {
        let mut house = House::new();
        house.set(mode);
        house.speak(10..14);
        // Discontinuous transmission begins with a byte, and goes on after 400 ms.
        let end = house.anna.packet_of(MICROPHONE, 0, OPUS, 14 * FRAME, false, &[0xf8]);
        house.send(end);
        house.pass(400);
        house.speak(34..37);
        house.pass(100);
        assert_eq!(repeated(&house), expected);
        assert_eq!(house.bo.got(SOUND_SLOT).len(), 8, "nobody hears a packet twice");
    }
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
    for mode in [RED_ONE, SoundMode { joined: true, ..PLAIN }] {
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
