//! Anna speaks, and Bo hears her, in virtual time: what the tests of sound share.
#![allow(dead_code)]

use vardrum_codecs::red::{self, Block};
use vardrum_engine::command::{Command, SoundMode};
use vardrum_engine::counters::Count;
use vardrum_engine::rtp;
use vardrum_engine::shard::Shard;

use crate::client::*;

pub const MS: u64 = 1_000;
pub const FRAME: u32 = 960;

/// Sound as it comes.
pub const PLAIN: SoundMode = SoundMode {
    redundancy: 0,
    copies: 0,
    joined: false,
    pauses_dropped: false,
};

pub struct House {
    pub shard: Shard,
    pub now: u64,
    pub anna: Client,
    pub bo: Client,
    /// Every media datagram that was sent to Bo, sealed, and when.
    pub wire: Vec<(u64, Vec<u8>)>,
}

/// Opus, 20 ms in one frame, that says its number.
pub fn opus(number: u32) -> Vec<u8> {
    let mut payload = vec![0xf8];
    payload.extend_from_slice(&number.to_be_bytes());
    payload.extend_from_slice(&[7; 20]);
    payload
}

pub fn number(payload: &[u8]) -> u32 {
    u32::from_be_bytes([payload[1], payload[2], payload[3], payload[4]])
}

impl House {
    pub fn new() -> House {
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
        show(&mut house.shard, house.now, 2, SOUND_SLOT, 1, MICROPHONE, 0);
        house
    }

    /// Anna's packet `number`, not sent yet.
    pub fn plain(&mut self, number: u32) -> Vec<u8> {
        self.anna
            .packet_of(MICROPHONE, 0, OPUS, number * FRAME, false, &opus(number))
    }

    /// The same as RED with `redundancy` earlier ones, not sent yet.
    pub fn red(&mut self, number: u32, redundancy: u32) -> Vec<u8> {
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

    pub fn send(&mut self, mut packet: Vec<u8>) {
        self.shard.datagram(self.now, self.anna.address, &mut packet);
        self.deliver();
    }

    /// Lets time pass in steps of the runner's tick.
    pub fn pass(&mut self, ms: u64) {
        for _ in 0..ms / 10 {
            self.now += 10 * MS;
            self.shard.tick(self.now);
            self.deliver();
        }
    }

    pub fn deliver(&mut self) {
        for i in 0..self.shard.outbox.len() {
            let (to, datagram) = self.shard.outbox.get(i);
            if to == self.bo.address && datagram[0] & 0xc0 == 0x80 && !rtp::is_rtcp(datagram) {
                self.wire.push((self.now, datagram.to_vec()));
            }
        }
        deliver(&mut self.shard, &mut [&mut self.anna, &mut self.bo]);
    }

    /// How sound goes to Bo from now on.
    pub fn set(&mut self, mode: SoundMode) {
        self.shard.command(self.now, Command::SetSound { peer: 2, mode });
    }

    /// Sends the packets of these numbers, 20 ms apart.
    pub fn speak(&mut self, numbers: std::ops::Range<u32>) {
        for number in numbers {
            let packet = self.plain(number);
            self.send(packet);
            self.pass(20);
        }
    }

    pub fn count(&self, count: Count) -> u64 {
        self.shard.counters.get(count)
    }
}

/// No number is missing.
pub fn in_a_row(got: &[Got]) {
    for pair in got.windows(2) {
        assert_eq!(pair[1].sequence, pair[0].sequence.wrapping_add(1));
    }
}
