//! A downlink over a bottleneck, in virtual time: what the meter says of it, probes, and the pacer.

#[path = "../client/mod.rs"]
mod client;
mod switches;
mod visit;

use client::*;
use vardrum_engine::command::Command;
use vardrum_engine::counters::Count;

use visit::{Visit, MS};

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
                asks: true,
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
