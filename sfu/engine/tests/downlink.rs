//! A downlink over a bottleneck, in virtual time: what the meter says of it, probes, and the pacer.

mod client;

use std::collections::VecDeque;

use client::*;
use vardrum_engine::address::Address;
use vardrum_engine::command::Command;
use vardrum_engine::counters::Count;
use vardrum_engine::rtcp::Packet;
use vardrum_engine::rtp;
use vardrum_engine::shard::Shard;
use vardrum_engine::tables::DOWNLINK;
use vardrum_engine::twcc::Arrivals;

const MS: u64 = 1_000;
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
struct Out {
    at: u64,
    ssrc: u32,
    bytes: usize,
}

struct Visit {
    shard: Shard,
    now: u64,
    anna: Client,
    bo: Client,
    link: Link,
    arrivals: Arrivals,
    out: Vec<Out>,
    /// Numbers that a receiver has opened: none may come twice.
    seen: std::collections::HashSet<(u32, u16)>,
    frame: u32,
    sound: u32,
    /// By layer.
    key_wanted: [bool; 2],
    layers: u8,
    /// Each second picture is of an upper temporal layer.
    temporal: bool,
    since_key: [u32; 2],
    /// All that came in Bo's picture slot.
    got: Vec<Got>,
    /// Pictures that ended without their last packet, in front of a key frame.
    cut_off: usize,
    /// Numbers of Bo's that are lost on the link, and asked for again.
    lose_every: usize,
}

impl Visit {
    fn new(bits_per_second: u64) -> Visit {
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

    fn show(&mut self, slot: u8, track: u8, layer: u8) {
        self.shard.command(
            self.now,
            Command::Show {
                viewer: 2,
                slot,
                publisher: 1,
                track,
                layer,
                temporal: 255,
            },
        );
    }

    fn target(&mut self, bits_per_second: u32) {
        let command = Command::SetTarget {
            peer: 2,
            bits_per_second,
        };
        self.shard.command(self.now, command);
    }

    fn probe(&mut self, id: u16, bits_per_second: u32, milliseconds: u16) {
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
    fn row(&self, column: &str) -> f64 {
        let mut table = Vec::with_capacity(100);
        self.shard.downlinks(self.now, &mut table);
        let columns = DOWNLINK.len();
        let row = table.chunks(columns).find(|row| row[0] == 2.0).expect("Bo has keys");
        row[DOWNLINK.iter().position(|name| *name == column).expect("a column")]
    }

    /// Anna sends a picture of so many packets of 1000 bytes: each says its frame, place and whether it is the last.
    fn picture(&mut self, packets: u32) {
        self.frame += 1;
        for layer in 0..self.layers {
            self.layer(layer, packets);
        }
    }

    fn layer(&mut self, layer: u8, packets: u32) {
        let key = std::mem::take(&mut self.key_wanted[usize::from(layer)]);
        let packets = if key { packets * 4 } else { packets };
        let since_key = &mut self.since_key[usize::from(layer)];
        *since_key = if key { 0 } else { *since_key + 1 };
        let tid = if self.temporal { (*since_key % 2) as u8 } else { 0 };
        let id = (self.frame as u16).to_be_bytes();
        for i in 0..packets {
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
            let mut packet = self
                .anna
                .packet_of(CAMERA, layer, VP8, timestamp, i + 1 == packets, &payload);
            self.shard.datagram(self.now, self.anna.address, &mut packet);
        }
    }

    fn sound(&mut self) {
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

    fn ssrc(&self, i: usize) -> u32 {
        let datagram = self.shard.outbox.get(i).1;
        u32::from_be_bytes([datagram[8], datagram[9], datagram[10], datagram[11]])
    }

    /// Puts what the shard sends on the link; Anna's has none.
    fn flush(&mut self) {
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
        if self.anna.count(pli) > 0 {
            self.key_wanted = [true; 2];
        }
        self.anna.control.clear();
    }

    /// Lets a millisecond pass.
    fn pass(&mut self) {
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

    fn arrive(&mut self, at: u64, to: Address, datagram: &[u8]) {
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
    fn run(&mut self, packets: u32, ms: u64) {
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
    fn rate(&self, from: u64) -> f64 {
        let bytes: usize = self.out.iter().filter(|out| out.at > from).map(|out| out.bytes).sum();
        bytes as f64 * 8e6 / (self.now - from) as f64
    }

    /// Checks that what a decoder would get of Bo's picture slot is whole pictures, each with all it refers to.
    fn check_pictures(&mut self) -> usize {
        let more = self.bo.got(PICTURE_SLOT);
        self.got.extend(more);
        let got = &self.got;
        let (mut place, mut pictures) = (0, 0);
        let mut before: Option<(u32, u32, bool)> = None; // number, layer, whole
        for pair in got.windows(2) {
            assert_eq!(pair[1].sequence, pair[0].sequence.wrapping_add(1), "no gap");
        }
        for packet in got {
            let tail = &packet.payload[packet.payload.len() - 12..];
            let word = |at: usize| u32::from_be_bytes([tail[at], tail[at + 1], tail[at + 2], tail[at + 3]]);
            let (frame, i, key, layer) = (word(0), word(4), word(8) & 1 == 1, word(8) >> 1 & 7);
            let base = word(8) >> 4 == 0;
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

#[test]
fn an_open_link_shows_neither_delay_nor_loss() {
    let mut visit = Visit::new(5_000_000);
    visit.run(3, 3_000);
    assert!(visit.row("queue_delay_us") < 6_000.0, "{}", visit.row("queue_delay_us"));
    assert!(visit.row("trend").abs() < 0.05, "{}", visit.row("trend"));
    assert_eq!(visit.row("lost_packets"), 0.0);
    let (sent, acked) = (visit.row("sent_packets"), visit.row("acked_packets"));
    assert!(
        acked > 0.95 * sent && sent == visit.out.len() as f64,
        "{acked} of {sent}"
    );
    let (rate, sent) = (visit.row("acked_rate_bps"), visit.rate(visit.now - 1_000 * MS));
    assert!((rate / sent - 1.0).abs() < 0.1, "{rate} of {sent}");
    // Once around, and a wait for the feedback's turn.
    let trip = visit.row("round_trip_us");
    assert!((20_000.0..50_000.0).contains(&trip), "{trip}");
    assert_eq!(visit.row("held_packets") + visit.row("target_bps"), 0.0);
}

#[test]
fn a_queue_in_front_of_a_bottleneck_is_seen_as_it_grows() {
    let mut visit = Visit::new(350_000);
    visit.run(1, 2_000);
    let (calm, flat) = (visit.row("queue_delay_us"), visit.row("trend"));
    visit.run(3, 1_500);
    let (delay, trend, rate) = (
        visit.row("queue_delay_us"),
        visit.row("trend"),
        visit.row("acked_rate_bps"),
    );
    assert!(calm < 40_000.0 && delay > 200_000.0, "{calm}, then {delay}");
    assert!(flat < 0.05 && trend > 0.15, "{flat}, then {trend}");
    assert!(
        (rate / 350_000.0 - 1.0).abs() < 0.1,
        "what arrives is the link's rate: {rate}"
    );
    assert!(visit.row("in_flight_bytes") > 8_000.0);
}

#[test]
fn a_probe_finds_a_links_rate_while_no_picture_is_shown() {
    for (link, probe, found) in [
        (300_000, 900_000, 300_000.0),
        (700_000, 1_200_000, 700_000.0),
        (2_500_000, 4_000_000, 2_500_000.0),
        (8_000_000, 1_000_000, 1_000_000.0),
    ] {
        let mut visit = Visit::new(link);
        visit.shard.command(
            0,
            Command::Show {
                viewer: 2,
                slot: PICTURE_SLOT,
                publisher: 0,
                track: 0,
                layer: 0,
                temporal: 255,
            },
        );
        visit.run(0, 500);
        visit.probe(7, probe, 150);
        let from = visit.now;
        let mut most = 0;
        for _ in 0..150 {
            visit.run(0, 1);
            most = most.max(
                visit
                    .out
                    .iter()
                    .filter(|out| out.at == visit.now)
                    .map(|out| out.bytes)
                    .sum(),
            );
        }
        let sent = visit.rate(from);
        assert!((sent / f64::from(probe) - 1.0).abs() < 0.1, "{sent} sent of {probe}");
        // 5 ms of it, what is begun with, a packet more, and sound.
        assert!(
            most as f64 <= f64::from(probe) / 8.0 * 0.0101 + 800.0,
            "{most} bytes at once"
        );
        assert_eq!(visit.row("probe_rate_bps"), 0.0, "not known yet");
        visit.run(0, 1_000);
        let rate = visit.row("probe_rate_bps");
        assert_eq!(visit.row("probe_id"), 7.0);
        assert!((rate / found - 1.0).abs() < 0.15, "{rate} found of {found}");
        assert_eq!(visit.shard.counters.get(Count::DropProbeUnsupported), 0);
    }
}

#[test]
fn a_probe_counts_the_pictures_that_are_sent_meanwhile() {
    let mut visit = Visit::new(1_000_000);
    visit.run(2, 1_000);
    let before = visit.rate(visit.now - 500 * MS);
    assert!(before > 300_000.0);
    visit.probe(9, 1_600_000, 200);
    visit.run(2, 1_500);
    let rate = visit.row("probe_rate_bps");
    assert!((rate / 1e6 - 1.0).abs() < 0.15, "{rate}");
    visit.check_pictures();
}

#[test]
fn the_pacer_keeps_a_rate_and_never_holds_sound() {
    let mut visit = Visit::new(50_000_000);
    visit.target(500_000);
    visit.run(3, 2_000);
    // 3 packets of 1 kB each 50 ms and sound are 530 kbit/s: a little too much.
    let from = visit.now;
    visit.run(3, 1_000);
    let rate = visit.rate(from);
    assert!((rate / 5e5 - 1.0).abs() < 0.05, "{rate}");
    let most = visit.out.iter().fold((0, 0, 0), |(at, bytes, most), out| {
        let bytes = if out.at == at { bytes + out.bytes } else { out.bytes };
        (out.at, bytes, most.max(bytes))
    });
    assert!(most.2 <= 3 * 1_250, "{} bytes at once", most.2);
    assert_eq!(visit.row("target_bps"), 500_000.0);
    visit.check_pictures();
}

#[test]
fn what_fits_a_target_all_arrives_in_order() {
    let mut visit = Visit::new(50_000_000);
    visit.target(800_000);
    visit.run(3, 5_000);
    visit.run(0, 300);
    assert_eq!(visit.row("held_packets"), 0.0);
    assert_eq!(visit.check_pictures(), 100);
    assert!(
        visit.shard.counters.get(Count::Held) > 5,
        "the key frame at least was smoothed"
    );
    assert_eq!(visit.shard.counters.get(Count::DropHeldTooLong), 0);
}

#[test]
fn what_never_fits_is_dropped_by_whole_pictures_and_goes_on_with_a_key_frame() {
    for target in [120_000, 250_000, 400_000] {
        let mut visit = Visit::new(50_000_000);
        visit.target(target);
        visit.run(3, 10_000);
        assert!(visit.shard.counters.get(Count::DropHeldTooLong) > 10);
        let pictures = visit.check_pictures();
        println!(
            "{pictures} pictures of 200 at {target} bit/s, {} dropped packets",
            visit.shard.counters.get(Count::DropHeldTooLong)
        );
        assert!(pictures >= 5, "{pictures} at {target}");
        assert_eq!(visit.cut_off, 0);
        let held = visit.row("held_packets");
        assert!(held < 80.0, "{held}");
        let rate = visit.rate(visit.now - 5_000 * MS);
        assert!(rate < f64::from(target) * 1.05, "{rate} at {target}");
        // What is shown next is shown at once when there is room again.
        visit.target(0);
        visit.run(3, 1_000);
        assert_eq!(visit.row("held_packets"), 0.0);
        assert!(visit.check_pictures() >= pictures + 15);
    }
}

#[test]
fn repairs_go_before_pictures_and_within_the_rate() {
    let mut visit = Visit::new(50_000_000);
    visit.run(3, 500);
    visit.target(300_000);
    visit.run(3, 300);
    let ssrc = visit.bo.slot_ssrc(PICTURE_SLOT);
    let lost: Vec<u16> = visit
        .bo
        .got(PICTURE_SLOT)
        .iter()
        .rev()
        .take(6)
        .map(|got| got.sequence)
        .collect();
    assert!(visit.row("held_packets") > 5.0);
    let from = visit.now;
    visit.bo.nack(&mut visit.shard, visit.now, ssrc, &lost);
    visit.flush();
    visit.run(0, 250);
    let video: Vec<u32> = visit
        .out
        .iter()
        .filter(|out| out.at > from && out.bytes > 500)
        .map(|out| out.ssrc)
        .collect();
    assert_eq!(video.iter().filter(|&&one| one == ssrc + 10).count(), 6);
    assert!(
        video[..6].iter().all(|&one| one == ssrc + 10),
        "repairs first: {video:?}"
    );
    assert!(
        visit.rate(from) < 300_000.0 * 1.1 + 2.0 * 1_250.0 * 8.0 * 4.0,
        "{}",
        visit.rate(from)
    );
    assert_eq!(visit.row("nacks"), 6.0);
}

#[test]
fn who_is_muted_is_not_seen_however_much_still_waits() {
    let mut visit = Visit::new(50_000_000);
    visit.target(150_000);
    visit.run(3, 400);
    assert!(visit.row("held_packets") > 5.0);
    let mute = Command::Mute {
        peer: 1,
        track: CAMERA,
        muted: true,
    };
    visit.shard.command(visit.now, mute);
    let from = visit.now;
    visit.run(0, 600);
    let ssrc = visit.bo.slot_ssrc(PICTURE_SLOT);
    assert!(visit.out.iter().all(|out| out.at <= from || out.ssrc != ssrc));
    assert_eq!(visit.row("held_packets"), 0.0);
}

#[test]
fn loss_is_counted_where_it_happens() {
    let mut visit = Visit::new(5_000_000);
    visit.lose_every = 10;
    visit.run(3, 3_000);
    let ssrc = visit.bo.slot_ssrc(PICTURE_SLOT);
    let lost = visit
        .out
        .iter()
        .enumerate()
        .filter(|(i, out)| (i + 1) % 10 == 0 && out.ssrc == ssrc)
        .count();
    let told = visit.row("lost_packets");
    assert!(told > 5.0 && (told - lost as f64).abs() <= 2.0, "{told} of {lost}");
    assert_eq!(visit.row("sound_lost"), 0.0);
    assert!(visit.row("sound_acked") > 140.0);
}

#[test]
fn a_little_too_much_costs_an_upper_temporal_layer_and_no_picture_below() {
    let run = |temporal| {
        let mut visit = Visit::new(50_000_000);
        visit.temporal = temporal;
        visit.target(440_000);
        visit.run(3, 10_000);
        let pictures = visit.check_pictures();
        println!(
            "with{} layers: {pictures} of 200 pictures",
            if temporal { "" } else { "out" }
        );
        (visit, pictures)
    };
    let (without, few) = run(false);
    let (with, many) = run(true);
    assert!(without.shard.counters.get(Count::DropHeldTooLong) > 0);
    assert_eq!(with.shard.counters.get(Count::DropHeldTooLong), 0);
    assert!(with.shard.counters.get(Count::DropTemporalLayer) > 0);
    assert!(many > few, "{many} with layers, {few} without");
}

/// What happens at random in `no_decoder_gets_a_part`, and when.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

#[test]
fn whatever_is_asked_of_the_pacer_no_decoder_gets_a_part_and_no_index_goes_twice() {
    for seed in 1..=60 {
        let mut chance = Chance(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed));
        let mut visit = Visit::new(3_000_000);
        visit.layers = 2;
        visit.temporal = seed % 2 == 0;
        for step in 0..40 {
            match chance.below(8) {
                0..=2 => visit.target(chance.below(900_000) as u32),
                3 => visit.target(0),
                4 => visit.show(PICTURE_SLOT, CAMERA, chance.below(2) as u8),
                5 => visit.probe(
                    step + 1,
                    100_000 + chance.below(2_000_000) as u32,
                    chance.below(200) as u16,
                ),
                6 => {
                    let (peer, track) = (1, CAMERA);
                    let muted = chance.below(2) == 0;
                    visit.shard.command(visit.now, Command::Mute { peer, track, muted });
                }
                _ => {
                    let newest: Vec<u16> = visit.got.iter().rev().take(9).map(|got| got.sequence).collect();
                    visit
                        .bo
                        .nack(&mut visit.shard, visit.now, visit.bo.slot_ssrc(PICTURE_SLOT), &newest);
                    visit.flush();
                }
            }
            visit.run(1 + chance.below(3) as u32, 20 + chance.below(300));
            visit.check_pictures();
            assert!(visit.row("held_packets") < 512.0 + 128.0, "seed {seed}");
        }
        let mute = Command::Mute {
            peer: 1,
            track: CAMERA,
            muted: false,
        };
        visit.shard.command(visit.now, mute);
        visit.target(0);
        let before = visit.check_pictures();
        visit.run(2, 2_000);
        assert!(visit.check_pictures() > before + 25, "seed {seed}: pictures go on");
        assert_eq!(visit.row("held_packets"), 0.0, "seed {seed}");
    }
}
