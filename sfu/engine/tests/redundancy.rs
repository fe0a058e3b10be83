//! Sound that goes more than once, on a network that loses it: RED opened, and written anew as its viewer needs it.

mod client;
mod house;

use client::*;
use house::*;
use vardrum_codecs::red::{self, Block};
use vardrum_engine::command::{Command, SoundMode};
use vardrum_engine::counters::Count;
use vardrum_engine::rtcp::Packet;

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
    for (mode, expected) in [(PLAIN, vec![]), (SoundMode { redundancy: 1, ..PLAIN }, vec![4, 5])] {
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
