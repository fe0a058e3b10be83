//! No matter what a network does or a client sends: no panic, nothing sealed twice, nothing unbounded.

#[path = "../src/testing.rs"]
mod testing;

mod client;

use std::collections::HashMap;

use client::*;
use testing::{for_each_seed, Random};
use vardrum_engine::command::Command;
use vardrum_engine::counters::{Count, NAMES};
use vardrum_engine::event::Event;
use vardrum_engine::shard::Shard;

const MS: u64 = 1_000;

fn two(now: u64) -> (Shard, Client, Client) {
    let mut shard = Shard::new([1; 16], 0);
    let anna = Client::connect(&mut shard, 1, now);
    let bo = Client::connect(&mut shard, 2, now);
    for (slot, track) in [(SOUND_SLOT, MICROPHONE), (PICTURE_SLOT, CAMERA)] {
        shard.command(
            now,
            Command::Show {
                viewer: 2,
                slot,
                publisher: 1,
                track,
                layer: 0,
                temporal: 255,
                asks: true,
            },
        );
    }
    (shard, anna, bo)
}

/// A network that loses, doubles and delays, seeded.
struct Network<'a> {
    random: &'a mut Random,
    late: Vec<(u64, Vec<u8>)>,
}

impl Network<'_> {
    fn send(&mut self, now: u64, packet: Vec<u8>) {
        if self.random.one_in(12) {
            return;
        }
        if self.random.one_in(30) {
            self.late
                .push((now + self.random.below(80) as u64 * MS, packet.clone()));
        }
        let delay = if self.random.one_in(10) {
            self.random.below(60) as u64 * MS
        } else {
            0
        };
        self.late.push((now + delay, packet));
    }

    fn arrived(&mut self, now: u64) -> Vec<Vec<u8>> {
        let (due, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.late)
            .into_iter()
            .partition(|(at, _)| *at <= now);
        self.late = rest;
        due.into_iter().map(|(_, packet)| packet).collect()
    }
}

#[test]
fn on_a_network_that_loses_doubles_and_reorders_every_slot_stays_in_order() {
    for_each_seed(300, |random| {
        let mut now = 1_000 * MS;
        let (mut shard, mut anna, mut bo) = two(now);
        let mut sealed: HashMap<(u32, u16), Vec<u8>> = HashMap::new();
        let mut sent: HashMap<u16, Vec<u8>> = HashMap::new();
        let (mut number, mut layer) = (0u16, 0u8);
        let mut network = Network { random, late: vec![] };
        for step in 0..300u32 {
            now += 10 * MS;
            if network.random.one_in(40) {
                layer ^= 1;
                shard.command(
                    now,
                    Command::Show {
                        viewer: 2,
                        slot: PICTURE_SLOT,
                        publisher: 1,
                        track: CAMERA,
                        layer,
                        temporal: 255,
                        asks: true,
                    },
                );
            }
            if step % 5 == 0 {
                let key = anna.count(|p| matches!(p, vardrum_engine::rtcp::Packet::Pli { .. })) > 0 || number == 0;
                anna.control.clear();
                for which in 0..2 {
                    let packet = anna.picture(which, u32::from(number) * 4_500, number, key);
                    network.send(now, packet);
                }
                number += 1;
            }
            if step % 2 == 0 {
                let packet = anna.sound(step * 480);
                network.send(now, packet);
            }
            for mut packet in network.arrived(now) {
                shard.datagram(now, anna.address, &mut packet);
            }
            if step % 7 == 0 {
                let asked: Vec<u16> = (0..4).map(|_| network.random.next() as u16 % 64).collect();
                let slot = [SOUND_SLOT, PICTURE_SLOT][network.random.below(2)];
                let ssrc = bo.slot_ssrc(slot);
                bo.nack(&mut shard, now, ssrc, &asked);
            }
            shard.tick(now);
            for i in 0..shard.outbox.len() {
                let (to, bytes) = shard.outbox.get(i);
                if to == bo.address && bytes[0] >= 128 && !(192..224).contains(&bytes[1]) {
                    let key = (
                        u32::from_be_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]),
                        u16::from_be_bytes([bytes[2], bytes[3]]),
                    );
                    let first = sealed.entry(key).or_insert_with(|| bytes.to_vec());
                    assert_eq!(&first[..], bytes, "one SRTP index over two packets");
                }
            }
            deliver(&mut shard, &mut [&mut anna, &mut bo]);
        }
        let mut pictures = bo.got(PICTURE_SLOT);
        assert!(pictures.len() > 20, "only {} pictures", pictures.len());
        pictures.sort_by_key(|got| got.sequence);
        for pair in pictures.windows(2) {
            assert_ne!(pair[0].sequence, pair[1].sequence);
            let step = pair[1].timestamp.wrapping_sub(pair[0].timestamp);
            assert!(step < 1 << 31, "time runs back by {}", step.wrapping_neg());
            let ahead = pair[1].picture_id().wrapping_sub(pair[0].picture_id()) & 0x7fff;
            assert!(ahead < 1 << 14, "picture ids run back");
        }
        for got in bo.got(SOUND_SLOT) {
            let known = sent.entry(got.sequence).or_insert_with(|| got.payload.clone());
            assert_eq!(*known, got.payload, "one number over two sounds");
        }
    });
}

#[test]
fn random_and_mutated_datagrams_change_nothing_and_are_all_counted() {
    for_each_seed(400, |random| {
        let (mut shard, mut anna, mut bo) = two(0);
        let mut good = vec![anna.sound(0), anna.picture(0, 0, 1, true)];
        let addresses = [anna.address, bo.address, "203.0.113.1:1".parse().unwrap()];
        for step in 0..200 {
            let mut bytes = match random.below(3) {
                0 => random.bytes(1600),
                1 => {
                    let mut bytes = random.bytes(100);
                    bytes.insert(0, [0, 1, 22, 128, 129, 144, 191][random.below(7)]);
                    bytes
                }
                _ => random.mutated(&good[step % 2]),
            };
            if good.contains(&bytes) {
                continue;
            }
            let from = addresses[random.below(addresses.len())];
            shard.datagram(step as u64 * MS, from, &mut bytes);
            if random.one_in(20) {
                shard.tick(step as u64 * MS);
            }
        }
        assert_eq!(shard.counters.get(Count::RtpOut), 0, "a forged packet was forwarded");
        deliver(&mut shard, &mut [&mut anna, &mut bo]);
        for packet in &mut good {
            shard.datagram(300 * MS, anna.address, packet);
        }
        assert_eq!(shard.counters.get(Count::RtpOut), 2, "the real ones still pass");
        let dropped: u64 = NAMES
            .iter()
            .zip(shard.counters.values())
            .filter(|(name, _)| name.starts_with("drop_"))
            .map(|(_, count)| count)
            .sum();
        assert!(dropped > 100, "{dropped} of some 200 were counted");
    });
}

#[test]
fn random_commands_and_control_packets_never_panic() {
    for_each_seed(300, |random| {
        let (mut shard, mut anna, mut bo) = two(0);
        for step in 0..100u64 {
            let now = step * 10 * MS;
            let mut bytes = random.bytes(60);
            bytes.insert(0, random.below(9) as u8);
            if let Some(command) = Command::parse(&bytes) {
                shard.command(now, command);
            }
            shard.command(
                now,
                match random.below(4) {
                    0 => Command::Show {
                        viewer: random.below(4) as u32,
                        slot: random.below(6) as u8,
                        publisher: random.below(4) as u32,
                        track: random.below(5) as u8,
                        layer: random.below(4) as u8,
                        temporal: 255,
                        asks: true,
                    },
                    1 => Command::Mute {
                        peer: random.below(4) as u32,
                        track: random.below(5) as u8,
                        muted: true,
                    },
                    2 if random.one_in(30) => Command::RemovePeer {
                        peer: random.below(3) as u32,
                    },
                    _ => Command::SendDtls {
                        peer: random.below(4) as u32,
                        datagram: random.bytes(1200),
                    },
                },
            );
            let kind = [
                0x80 | random.below(32) as u8,
                200 + random.below(8) as u8,
                0,
                random.below(50) as u8,
            ];
            let compound = [&kind[..], &[0; 4], &random.bytes(200)];
            bo.send_control(&mut shard, now, &compound.concat());
            let mut packet = anna.picture(random.below(2) as u8, step as u32 * 900, step as u16, random.one_in(5));
            shard.datagram(now, anna.address, &mut packet);
            shard.tick(now);
            shard.outbox.clear();
        }
    });
}

#[test]
fn whoever_is_sent_most_keeps_nobody_else_waiting() {
    let mut shard = Shard::new([1; 16], 0);
    let mut clients: Vec<Client> = (1..=6).map(|id| Client::connect(&mut shard, id, 0)).collect();
    for peer in 1..=5 {
        let probe = Command::Probe {
            peer,
            id: 1,
            bits_per_second: 100_000_000,
            milliseconds: 2_000,
        };
        shard.command(0, probe);
    }
    for tick in 1..=400 {
        shard.tick(tick * 5 * MS);
        let last = clients.last_mut().unwrap();
        deliver(&mut shard, &mut [last]);
    }
    let reports = clients[5].control.len();
    assert!(reports >= 4, "{reports} reports in 2 s");
}

#[test]
fn floods_of_handshakes_and_of_unknown_packets_stay_bounded() {
    let (mut shard, anna, _) = two(0);
    for _ in 0..100_000 {
        shard.datagram(0, anna.address, &mut [22, 254, 253, 0, 0]);
    }
    let mut datagrams = 0;
    while let Some(event) = shard.events.pop() {
        datagrams += usize::from(matches!(event, Event::Dtls { .. }));
    }
    assert!(datagrams <= 50, "{datagrams} reached Python");
    assert_eq!(shard.counters.get(Count::DropDtlsRate), 100_000 - datagrams as u64);
}
