//! Sound on a network that loses it, in virtual time: RED opened, and written anew as its viewer needs it.

mod client;

use client::*;
use vardrum_codecs::red::{self, Block};
use vardrum_engine::command::Command;
use vardrum_engine::counters::Count;
use vardrum_engine::rtcp::Packet;
use vardrum_engine::shard::Shard;

const MS: u64 = 1_000;
const FRAME: u32 = 960;

struct House {
    shard: Shard,
    now: u64,
    anna: Client,
    bo: Client,
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
        deliver(&mut self.shard, &mut [&mut self.anna, &mut self.bo]);
    }

    /// Lets time pass in steps of the runner's tick.
    fn pass(&mut self, ms: u64) {
        for _ in 0..ms / 10 {
            self.now += 10 * MS;
            self.shard.tick(self.now);
            deliver(&mut self.shard, &mut [&mut self.anna, &mut self.bo]);
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
