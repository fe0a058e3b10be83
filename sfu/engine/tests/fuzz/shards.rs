//! A whole shard with two people in it, one of whom sends whatever comes, sealed and not, and gets the other's media.

use crate::client::{
    deliver, Client, AV1, CAMERA, H264, MICROPHONE, OPUS, PICTURE_SLOT, RED, RTX, SOUND_SLOT, VP8, VP9,
};
use crate::testing::Random;
use crate::{corpus, Target};
use vardrum_engine::address::Address;
use vardrum_engine::command::Command;
use vardrum_engine::shard::Shard;

const MS: u64 = 1_000;
/// After so many inputs a new shard: what an input breaks must not hide behind what an earlier one did.
const LIFE: u64 = 20_000;

struct House {
    shard: Shard,
    anna: Client,
    bo: Client,
    now: u64,
    inputs: u64,
    random: Random,
    /// Somebody reads what the shard sends.
    heard: bool,
}

impl House {
    fn new() -> House {
        let mut shard = Shard::new([3; 16], 1 << 40);
        let anna = Client::connect(&mut shard, 1, 0);
        let bo = Client::connect(&mut shard, 2, 0);
        for (viewer, publisher) in [(1, 2), (2, 1)] {
            for (slot, track) in [(SOUND_SLOT, MICROPHONE), (PICTURE_SLOT, CAMERA)] {
                let command = Command::Show {
                    viewer,
                    slot,
                    publisher,
                    track,
                    layer: 0,
                    temporal: 255,
                    asks: true,
                };
                shard.command(0, command);
            }
        }
        House {
            shard,
            anna,
            bo,
            now: 1_000 * MS,
            inputs: 0,
            random: Random::new(1),
            heard: true,
        }
    }

    /// What the rest of the world does meanwhile: time, good media, and somebody who takes all of it.
    fn live(&mut self) {
        self.inputs += 1;
        if self.inputs == LIFE {
            let heard = self.heard;
            *self = House { heard, ..House::new() };
        }
        self.now += self.random.below(3) as u64 * MS;
        if self.inputs % 32 == 0 {
            let number = (self.inputs / 32) as u16;
            let mut picture = self.bo.picture(0, u32::from(number) * 3_000, number, number % 50 == 0);
            self.shard.datagram(self.now, self.bo.address, &mut picture);
            self.shard.tick(self.now);
            assert!(self.shard.outbox.len() <= 1024);
            if self.heard {
                deliver(&mut self.shard, &mut [&mut self.anna, &mut self.bo]);
            }
            self.shard.outbox.clear();
            self.anna.answer_checks(&mut self.shard, self.now);
            self.anna.media.clear();
            self.anna.control.clear();
            self.bo.media.clear();
            self.bo.control.clear();
            while self.shard.events.pop().is_some() {}
        } else if self.shard.outbox.len() > 500 {
            self.shard.outbox.clear();
        }
    }
}

pub fn targets() -> Vec<Target> {
    let mut datagrams = corpus::stun();
    datagrams.extend(corpus::rtp());
    datagrams.extend(corpus::rtcp());
    datagrams.push(vec![22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 1, 0, 4, 1, 2, 3, 4]);
    let (mut open, mut payloads, mut control, mut commands) = (House::new(), House::new(), House::new(), House::new());
    // Under keys that a command has changed, and Python's own DTLS, nobody could read.
    commands.heard = false;
    vec![
        Target::new("shard, any datagram", datagrams, move |bytes| {
            let strangers: Address = "203.0.113.1:1".parse().unwrap();
            let from = [open.anna.address, open.bo.address, strangers][bytes.len() % 3];
            open.shard.datagram(open.now, from, &mut bytes.to_vec());
            open.live();
        }),
        Target::new("shard, sealed media", media(), move |bytes| {
            // The first byte says what it claims to be, the rest is the payload.
            let (what, payload) = bytes.split_first().map_or((0, &[][..]), |(what, rest)| (*what, rest));
            let (track, kind) = (
                what & 1,
                [VP8, RTX, OPUS, RED, VP9, AV1, H264, 0][usize::from(what >> 1 & 7)],
            );
            // Or so: as many bytes as the next one says are a dependency descriptor.
            let described = what & 64 != 0 && !payload.is_empty();
            let len = if described {
                usize::from(payload[0]).min(payload.len() - 1)
            } else {
                0
            };
            payloads.anna.descriptor = payload[usize::from(described)..][..len].to_vec();
            let payload = &payload[usize::from(described) + len..];
            let payload = &payload[..payload.len().min(1_300)];
            let timestamp = payloads.inputs as u32 * 900;
            let mut packet = payloads
                .anna
                .packet_of(track, what >> 4 & 1, kind, timestamp, what & 32 != 0, payload);
            payloads
                .shard
                .datagram(payloads.now, payloads.anna.address, &mut packet);
            payloads.live();
        }),
        Target::new("shard, sealed RTCP", corpus::rtcp(), move |bytes| {
            if bytes.len() >= 8 && (192..=223).contains(&bytes[1]) && bytes.len() < 1_400 {
                let House { anna, shard, now, .. } = &mut control;
                anna.send_control(shard, *now, bytes);
            }
            control.live();
        }),
        Target::new("shard, command", corpus::commands(), move |bytes| {
            if let Some(command) = Command::parse(bytes) {
                commands.shard.command(commands.now, command);
            }
            commands.live();
        }),
    ]
}

/// Payloads behind a byte that says as what they are sent.
fn media() -> Vec<Vec<u8>> {
    vec![
        vec![
            1, 0x90, 0xe0, 0x80, 1, 1, 0x20, 0, 0, 0, 0x9d, 1, 0x2a, 0x40, 1, 0xb4, 0, 7,
        ],
        vec![1, 0x90, 0xe0, 0x80, 2, 1, 0x60, 1, 0, 0, 7, 7],
        vec![3, 0, 1, 0x90, 0xe0, 0x80, 2, 1, 0x60, 1, 0, 0, 7, 7],
        vec![4, 0x78, 1, 2, 3, 4, 5, 6],
        vec![9, 0x8a, 0x92, 0x34, 0x18, 1, 0x40, 0, 0xb4, 0x82, 0x49, 0x83, 0x42],
        vec![
            75, 4, 0xc1, 0, 4, 7, 0x18, 0x0a, 0x0b, 0, 0, 0, 0x24, 0xcf, 0x7f, 0x0d, 0x93, 0xf0, 0x30, 8, 0x32,
        ],
        vec![13, 0x7c, 0x85, 0x88, 0x80, 0x40],
        vec![6, 0xef, 0x0f, 0, 4, 111, 1, 2, 3, 4, 5, 6, 7, 8],
    ]
}
