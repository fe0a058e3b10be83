//! A publisher, and a viewer behind a bottleneck, in virtual time.

use std::collections::VecDeque;

use crate::client::*;
use vardrum_engine::address::Address;
use vardrum_engine::command::Command;
use vardrum_engine::rtcp::Packet;
use vardrum_engine::rtp;
use vardrum_engine::shard::Shard;
use vardrum_engine::tables::DOWNLINK;
use vardrum_engine::twcc::Arrivals;

pub const MS: u64 = 1_000;
/// IPv4 and UDP.
const HEADERS: usize = 28;

/// A link with a rate, a queue without end, and a delay.
struct Link {
    bits_per_second: u64,
    delay: u64,
    free: u64,
    /// Arrival, and what arrives.
    under_way: VecDeque<(u64, Address, Vec<u8>)>,
}

/// One that went out: when, from which SSRC, how many bytes on the wire.
pub struct Out {
    pub at: u64,
    pub ssrc: u32,
    pub bytes: usize,
}

pub struct Visit {
    pub shard: Shard,
    pub now: u64,
    pub anna: Client,
    pub bo: Client,
    link: Link,
    arrivals: Arrivals,
    pub out: Vec<Out>,
    /// Numbers that a receiver has opened: none may come twice.
    seen: std::collections::HashSet<(u32, u16)>,
    pub frame: u32,
    sound: u32,
    /// By layer.
    pub key_wanted: [bool; 2],
    pub layers: u8,
    /// So many times as many packets as the lower layer has the upper one.
    pub upper: u32,
    /// As libvpx puts them out.
    pub upper_first: bool,
    /// PLIs that Anna got.
    pub asked: usize,
    /// Key frames that Anna sent: layer, number, and how many picture packets had gone out to Bo by then.
    pub keys: Vec<(u8, u32, usize)>,
    /// Each second picture is of an upper temporal layer.
    pub temporal: bool,
    pub since_key: [u32; 2],
    /// All that came in Bo's picture slot.
    pub got: Vec<Got>,
    /// Pictures that ended without their last packet, in front of a key frame.
    pub cut_off: usize,
    /// Numbers of Bo's that are lost on the link, and asked for again.
    pub lose_every: usize,
}

impl Visit {
    pub fn new(bits_per_second: u64) -> Visit {
        let mut shard = Shard::new([9; 16], 1 << 40);
        let anna = Client::connect(&mut shard, 1, 0);
        let bo = Client::connect(&mut shard, 2, 0);
        let mut visit = Visit {
            shard,
            now: 1_000 * MS,
            anna,
            bo,
            link: Link {
                bits_per_second,
                delay: 20 * MS,
                free: 0,
                under_way: VecDeque::new(),
            },
            arrivals: Arrivals::new(),
            out: Vec::new(),
            seen: Default::default(),
            frame: 0,
            sound: 0,
            key_wanted: [true; 2],
            layers: 1,
            upper: 1,
            upper_first: false,
            asked: 0,
            keys: Vec::new(),
            temporal: false,
            since_key: [0; 2],
            got: Vec::new(),
            cut_off: 0,
            lose_every: 0,
        };
        visit.show(SOUND_SLOT, MICROPHONE, 0);
        visit.show(PICTURE_SLOT, CAMERA, 0);
        visit
    }

    pub fn show(&mut self, slot: u8, track: u8, layer: u8) {
        self.show_of(1, slot, track, layer, true);
    }

    /// The same of a picture whose publisher is to send a key frame of it without being asked by us.
    pub fn show_coming(&mut self, layer: u8) {
        self.show_of(1, PICTURE_SLOT, CAMERA, layer, false);
    }

    /// Nobody is shown in Bo's picture slot.
    pub fn pause(&mut self) {
        self.show_of(0, PICTURE_SLOT, CAMERA, 0, true);
    }

    fn show_of(&mut self, publisher: u32, slot: u8, track: u8, layer: u8, asks: bool) {
        self.shard.command(
            self.now,
            Command::Show {
                viewer: 2,
                slot,
                publisher,
                track,
                layer,
                temporal: 255,
                asks,
            },
        );
    }

    pub fn target(&mut self, bits_per_second: u32) {
        let command = Command::SetTarget {
            peer: 2,
            bits_per_second,
        };
        self.shard.command(self.now, command);
    }

    pub fn probe(&mut self, id: u16, bits_per_second: u32, milliseconds: u16) {
        self.shard.command(
            self.now,
            Command::Probe {
                peer: 2,
                id,
                bits_per_second,
                milliseconds,
            },
        );
    }

    /// A column of Bo's row.
    pub fn row(&self, column: &str) -> f64 {
        let mut table = Vec::with_capacity(100);
        self.shard.downlinks(self.now, &mut table);
        let columns = DOWNLINK.len();
        let row = table.chunks(columns).find(|row| row[0] == 2.0).expect("Bo has keys");
        row[DOWNLINK.iter().position(|name| *name == column).expect("a column")]
    }

    /// Anna sends a picture of so many packets of 1000 bytes: each says its frame, place and whether it is the last.
    pub fn picture(&mut self, packets: u32) {
        self.frame += 1;
        let layers: Vec<u8> = match self.upper_first {
            true => (0..self.layers).rev().collect(),
            false => (0..self.layers).collect(),
        };
        for layer in layers {
            for packet in self.layer(layer, packets * if layer == 0 { 1 } else { self.upper }) {
                self.send(packet);
            }
        }
    }

    pub fn send(&mut self, mut packet: Vec<u8>) {
        self.shard.datagram(self.now, self.anna.address, &mut packet);
    }

    /// How many picture packets have gone out to Bo.
    pub fn pictures_out(&self) -> usize {
        let ssrc = self.bo.slot_ssrc(PICTURE_SLOT);
        self.out.iter().filter(|out| out.ssrc == ssrc).count()
    }

    /// The packets of the present picture in one layer, not sent yet.
    pub fn layer(&mut self, layer: u8, packets: u32) -> Vec<Vec<u8>> {
        let key = std::mem::take(&mut self.key_wanted[usize::from(layer)]);
        let packets = if key { packets * 4 } else { packets };
        if key {
            self.keys.push((layer, self.frame, self.pictures_out()));
        }
        let since_key = &mut self.since_key[usize::from(layer)];
        *since_key = if key { 0 } else { *since_key + 1 };
        let tid = if self.temporal { (*since_key % 2) as u8 } else { 0 };
        let id = (self.frame as u16).to_be_bytes();
        let part = |i: u32| {
            let first = if i == 0 { 0x90 } else { 0x80 };
            let mut payload = vec![
                first,
                0xe0,
                0x80 | id[0] & 0x7f,
                id[1],
                self.frame as u8,
                tid << 6 | tid << 5,
                u8::from(!key),
            ];
            if key {
                payload.extend_from_slice(&[0, 0, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xb4, 0x00]);
            }
            payload.resize(1_000, 7);
            let what = u32::from(key) | u32::from(layer) << 1 | u32::from(tid) << 4;
            let tail = [self.frame.to_be_bytes(), i.to_be_bytes(), what.to_be_bytes()].concat();
            payload.extend_from_slice(&tail);
            let timestamp = self.frame.wrapping_mul(4_500);
            self.anna
                .packet_of(CAMERA, layer, VP8, timestamp, i + 1 == packets, &payload)
        };
        (0..packets).map(part).collect()
    }

    pub fn sound(&mut self) {
        self.sound = self.sound.wrapping_add(960);
        let mut packet = self.anna.sound(self.sound);
        self.shard.datagram(self.now, self.anna.address, &mut packet);
        let to = self.bo.address;
        assert!(
            (0..self.shard.outbox.len())
                .any(|i| self.shard.outbox.get(i).0 == to && self.ssrc(i) == self.bo.slot_ssrc(SOUND_SLOT)),
            "sound never waits"
        );
    }

    pub fn ssrc(&self, i: usize) -> u32 {
        let datagram = self.shard.outbox.get(i).1;
        u32::from_be_bytes([datagram[8], datagram[9], datagram[10], datagram[11]])
    }

    /// Puts what the shard sends on the link; Anna's has none.
    pub fn flush(&mut self) {
        for i in 0..self.shard.outbox.len() {
            let (to, datagram) = self.shard.outbox.get(i);
            if to == self.anna.address {
                self.anna.take(to, datagram);
                continue;
            }
            let bytes = datagram.len() + HEADERS;
            let (kept, ssrc) = (datagram.to_vec(), self.ssrc(i));
            let is_rtp = (128..192).contains(&kept[0]) && !rtp::is_rtcp(&kept);
            if is_rtp {
                self.out.push(Out {
                    at: self.now,
                    ssrc,
                    bytes,
                });
                if self.lose_every > 0
                    && self.out.len() % self.lose_every == 0
                    && ssrc == self.bo.slot_ssrc(PICTURE_SLOT)
                {
                    continue;
                }
            }
            let link = &mut self.link;
            link.free = link.free.max(self.now) + bytes as u64 * 8_000_000 / link.bits_per_second;
            link.under_way.push_back((link.free + link.delay, to, kept));
        }
        self.shard.outbox.clear();
        let pli = |packet: &Packet<'_>| matches!(packet, Packet::Pli { .. });
        let asked = self.anna.count(pli);
        self.asked += asked;
        if asked > 0 {
            self.key_wanted = [true; 2];
        }
        self.anna.control.clear();
    }

    /// Lets a millisecond pass.
    pub fn pass(&mut self) {
        self.now += MS;
        if self.shard.next_deadline() <= self.now && self.now % (5 * MS) == 0 {
            self.shard.tick(self.now);
        }
        self.flush();
        while self.link.under_way.front().map_or(false, |(at, ..)| *at <= self.now) {
            if let Some((at, to, datagram)) = self.link.under_way.pop_front() {
                self.arrive(at, to, &datagram);
            }
        }
        if self.now % (50 * MS) == 0 {
            let mut compound = Vec::new();
            if self.arrivals.build(&mut compound, 1, 2, self.now) {
                self.bo.send_control(&mut self.shard, self.now, &compound);
            }
        }
        self.flush();
    }

    pub fn arrive(&mut self, at: u64, to: Address, datagram: &[u8]) {
        if datagram[0] >= 128 && !rtp::is_rtcp(datagram) {
            let header = rtp::parse(datagram).expect("RTP");
            if let Some(&[high, low]) = rtp::extension(datagram, &header, TRANSPORT_CC) {
                self.arrivals.record(u16::from_be_bytes([high, low]), at);
            }
            assert!(
                self.seen.insert((header.ssrc, header.sequence)),
                "an index was used twice"
            );
            let opened = self.bo.media.len();
            self.bo.take(to, datagram);
            assert_eq!(self.bo.media.len(), opened + 1, "it opens");
        } else {
            self.bo.take(to, datagram);
        }
    }

    /// Sound each 20 ms and pictures of so many packets each 50 ms, for so long.
    pub fn run(&mut self, packets: u32, ms: u64) {
        for i in 0..ms {
            if i % 20 == 0 {
                self.sound();
            }
            if packets > 0 && i % 50 == 10 {
                self.picture(packets);
            }
            self.pass();
        }
    }

    /// bit/s that went out since `from`.
    pub fn rate(&self, from: u64) -> f64 {
        let bytes: usize = self.out.iter().filter(|out| out.at > from).map(|out| out.bytes).sum();
        bytes as f64 * 8e6 / (self.now - from) as f64
    }

    /// Checks that what a decoder would get of Bo's picture slot is whole pictures, each with all it refers to.
    pub fn check_pictures(&mut self) -> usize {
        let more = self.bo.got(PICTURE_SLOT);
        self.got.extend(more);
        let got = &self.got;
        let (mut place, mut pictures) = (0, 0);
        let mut before: Option<(u32, u32, bool)> = None; // number, layer, whole
        for pair in got.windows(2) {
            assert_eq!(pair[1].sequence, pair[0].sequence.wrapping_add(1), "no gap");
        }
        for packet in got {
            let Told {
                frame,
                i,
                key,
                layer,
                base,
            } = told(packet);
            match before {
                Some((number, of, whole)) if i == 0 => {
                    assert!(whole || key, "picture {number} is cut off, and {frame} refers to it");
                    let follows = frame == number + 1 || self.temporal && base && frame == number + 2;
                    assert!(key || follows && layer == of, "{frame} refers to what never came");
                    self.cut_off += usize::from(!whole);
                }
                Some((number, of, _)) => assert_eq!((frame, i, layer), (number, place + 1, of)),
                None => assert!(i == 0 && key),
            }
            place = i;
            before = Some((frame, layer, packet.marker));
            pictures += usize::from(packet.marker);
        }
        pictures
    }
}

/// What a picture packet says of itself.
pub struct Told {
    pub frame: u32,
    pub i: u32,
    pub key: bool,
    pub layer: u32,
    /// Of the lowest temporal layer.
    pub base: bool,
}

pub fn told(packet: &Got) -> Told {
    let tail = &packet.payload[packet.payload.len() - 12..];
    let word = |at: usize| u32::from_be_bytes([tail[at], tail[at + 1], tail[at + 2], tail[at + 3]]);
    Told {
        frame: word(0),
        i: word(4),
        key: word(8) & 1 == 1,
        layer: word(8) >> 1 & 7,
        base: word(8) >> 4 == 0,
    }
}
