//! What a participant or an outsider might do to others, and what a bad network does to a stay.

mod client;

use client::*;
use vardrum_engine::command::Command;
use vardrum_engine::counters::Count;
use vardrum_engine::event::Event;
use vardrum_engine::rtcp::{self, Packet};
use vardrum_engine::shard::Shard;

const MS: u64 = 1_000;
const FRAME: u32 = 4_500;

fn two() -> (Shard, Client, Client) {
    let mut shard = Shard::new([7; 16], 1 << 40);
    let anna = Client::connect(&mut shard, 1, 0);
    let bo = Client::connect(&mut shard, 2, 0);
    show(&mut shard, 0, 2, SOUND_SLOT, 1, MICROPHONE, 0);
    show(&mut shard, 0, 2, PICTURE_SLOT, 1, CAMERA, 0);
    (shard, anna, bo)
}

#[test]
fn a_repair_never_is_of_somebody_who_took_the_place() {
    let (mut shard, mut anna, mut bo) = two();
    let now = 1_000 * MS;
    for n in 0..4 {
        let mut p = anna.picture(0, n * FRAME, n as u16, n == 0);
        shard.datagram(now, anna.address, &mut p);
        deliver(&mut shard, &mut [&mut bo]);
    }
    let got = bo.got(PICTURE_SLOT);
    shard.command(now, Command::RemovePeer { peer: 1 });
    // A stranger, in another room: nothing is ever shown to Bo.
    let mut cleo = Client::connect(&mut shard, 3, now);
    for n in 0..4 {
        let mut p = cleo.picture(0, n * FRAME, 900 + n as u16, n == 0);
        shard.datagram(now, cleo.address, &mut p);
    }
    deliver(&mut shard, &mut [&mut bo, &mut cleo]);
    let ssrc = bo.slot_ssrc(PICTURE_SLOT);
    let all: Vec<u16> = got.iter().map(|g| g.sequence).collect();
    bo.nack(&mut shard, now, ssrc, &all);
    deliver(&mut shard, &mut [&mut bo, &mut cleo]);
    assert_eq!(bo.got(PICTURE_SLOT + 10).len(), 0, "a stranger's pictures came");
}

#[test]
fn what_is_asked_for_once_more_goes_twice_pictures_as_sound() {
    let (mut shard, mut anna, mut bo) = two();
    let now = 1_000 * MS;
    let mut sent = [anna.picture(0, 0, 0, true), anna.sound(0)];
    for datagram in &mut sent {
        shard.datagram(now, anna.address, datagram);
    }
    deliver(&mut shard, &mut [&mut bo]);
    let first = [PICTURE_SLOT, SOUND_SLOT].map(|slot| (bo.slot_ssrc(slot), bo.got(slot)[0].sequence));
    for copies in 1..=2 {
        let now = now + copies as u64 * 200 * MS;
        for (ssrc, sequence) in first {
            bo.nack(&mut shard, now, ssrc, &[sequence]);
        }
        shard.tick(now + 40 * MS);
        deliver(&mut shard, &mut [&mut bo]);
        assert_eq!(bo.got(PICTURE_SLOT + 10).len(), copies);
        // A viewer takes only one of them.
        let copied = shard.counters.get(Count::AudioResent) + shard.counters.get(Count::AudioCopied);
        assert_eq!(copied, [1, 3][copies - 1]);
    }
}

#[test]
fn an_address_nominated_after_the_handshake_gets_no_media_before_it_has_answered() {
    for keys_first in [true, false] {
        let mut shard = Shard::new([7; 16], 1 << 40);
        let mut anna = Client::connect(&mut shard, 1, 0);
        let mut mallory = Client::join(&mut shard, 2, 0);
        show(&mut shard, 0, 2, PICTURE_SLOT, 1, CAMERA, 0);
        let victim: vardrum_engine::address::Address = "198.51.100.9:53".parse().unwrap();
        let own = mallory.address;
        mallory.check(&mut shard, 0, false);
        shard.command(
            0,
            Command::SendDtls {
                peer: 2,
                datagram: vec![22; 100],
            },
        );
        assert_eq!(
            shard.outbox.get(shard.outbox.len() - 1).0,
            own,
            "the flight went to Mallory's own address"
        );
        if keys_first {
            mallory.set_keys(&mut shard, 0);
        }
        mallory.address = victim; // forged
        mallory.check(&mut shard, 0, true);
        mallory.address = own;
        mallory.set_keys(&mut shard, 0);
        shard.outbox.clear();
        for n in 0..20u32 {
            let now = u64::from(n) * 20 * MS;
            let mut p = anna.picture(0, n * FRAME, n as u16, n == 0);
            shard.datagram(now, anna.address, &mut p);
            shard.tick(now);
            for i in 0..shard.outbox.len() {
                let (to, datagram) = shard.outbox.get(i);
                assert!(
                    to != victim || datagram[0] < 4,
                    "media to a victim, keys first: {keys_first}"
                );
            }
            shard.outbox.clear();
        }
    }
}

#[test]
fn one_viewer_who_asks_for_everything_again_does_not_take_the_others_share() {
    let (mut shard, mut anna, mut bo) = two();
    let mut cleo = Client::connect(&mut shard, 3, 0);
    show(&mut shard, 0, 3, PICTURE_SLOT, 1, CAMERA, 0);
    let now = 1_000 * MS;
    for n in 0..500u32 {
        let mut p = anna.picture(0, n * FRAME, n as u16, n == 0);
        shard.datagram(now, anna.address, &mut p);
        deliver(&mut shard, &mut [&mut bo, &mut cleo]);
    }
    let got = bo.got(PICTURE_SLOT);
    let ssrc = bo.slot_ssrc(PICTURE_SLOT);
    // Within one batch of the runner.
    for round in 0..8 {
        let half: Vec<u16> = got[round % 2 * 244..][..256].iter().map(|g| g.sequence).collect();
        bo.nack(&mut shard, now, ssrc, &half);
    }
    let mut p = anna.picture(0, 500 * FRAME, 500, false);
    shard.datagram(now, anna.address, &mut p);
    deliver(&mut shard, &mut [&mut bo, &mut cleo]);
    assert_eq!(
        shard.counters.get(Count::DropOutboxFull),
        0,
        "{} repairs",
        shard.counters.get(Count::RtxOut)
    );
    assert_eq!(cleo.got(PICTURE_SLOT).len(), 501);
}

#[test]
fn a_slot_outlives_a_publisher_who_leaps_in_its_numbers() {
    let (mut shard, mut anna, mut bo) = two();
    let mut cleo = Client::connect(&mut shard, 3, 0);
    let now = 1_000 * MS;
    let ssrc = anna.ssrc(CAMERA, 0, false);
    let key = |n: u8| {
        vec![
            0x90, 0xc0, 0x80, n, n, 0, 0, 0, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xb4, 0x00, 1,
        ]
    };
    for (sequence, size) in [(1u16, 16), (32_768, 1_460), (65_535, 16)] {
        anna.start_at(ssrc, sequence);
        let mut payload = key(sequence as u8);
        payload.resize(size, 0);
        let mut p = anna.packet_of(CAMERA, 0, VP8, u32::from(sequence), true, &payload);
        shard.datagram(now, anna.address, &mut p);
        deliver(&mut shard, &mut [&mut bo, &mut cleo]);
    }
    shard.command(now, Command::RemovePeer { peer: 1 });
    bo.media.clear();
    show(&mut shard, now, 2, PICTURE_SLOT, 3, CAMERA, 0);
    for n in 0..5u32 {
        let mut p = cleo.picture(0, n * FRAME, n as u16, n == 0);
        shard.datagram(now + 100 * MS, cleo.address, &mut p);
        deliver(&mut shard, &mut [&mut bo, &mut cleo]);
    }
    assert_eq!(
        bo.got(PICTURE_SLOT).len(),
        5,
        "Cleo can't be seen in the slot that Anna left"
    );
}

#[test]
fn a_publisher_can_not_flood_python_with_layers() {
    for by_ssrc in [false, true] {
        let (mut shard, mut anna, _bo) = two();
        while shard.events.pop().is_some() {}
        let mut layers = 0;
        for n in 0..1000u32 {
            let now = 1_000 * MS + u64::from(n) * MS;
            let size = if by_ssrc { 1 } else { (n % 200) as u8 };
            let payload = [
                0x90, 0xc0, 0x80, n as u8, n as u8, 0, 0, 0, 0x9d, 0x01, 0x2a, size, 0x01, 0xb4, 0x00, 1,
            ];
            if by_ssrc {
                anna.id = 1 + n % 2 * 7; // another SSRC
            }
            let mut p = anna.packet_of(CAMERA, 0, VP8, n, true, &payload);
            shard.datagram(now, anna.address, &mut p);
            if n % 10 == 0 {
                shard.tick(now);
            }
            shard.outbox.clear();
            while let Some(event) = shard.events.pop() {
                layers += u32::from(matches!(event, Event::Layer { .. }));
            }
        }
        assert!(
            (1..=20).contains(&layers),
            "{layers} events in a second, by SSRC: {by_ssrc}"
        );
    }
}

#[test]
fn nobody_is_asked_for_pictures_that_are_muted_nor_for_key_frames_of_sound() {
    let (mut shard, mut anna, mut bo) = two();
    let mut now = 1_000 * MS;
    for track in [MICROPHONE, CAMERA] {
        shard.command(
            now,
            Command::Mute {
                peer: 1,
                track,
                muted: true,
            },
        );
    }
    for n in 0..100u32 {
        now += 50 * MS;
        let mut p = anna.picture(0, n * FRAME, n as u16, n == 0);
        shard.datagram(now, anna.address, &mut p);
        let mut p = anna.sound(n * 2400);
        shard.datagram(now, anna.address, &mut p);
        shard.tick(now);
        deliver(&mut shard, &mut [&mut anna, &mut bo]);
    }
    assert_eq!(anna.count(|p| matches!(p, Packet::Pli { .. })), 0);
    anna.control.clear();
    shard.command(
        now,
        Command::Mute {
            peer: 1,
            track: CAMERA,
            muted: false,
        },
    );
    shard.tick(now + 10 * MS);
    deliver(&mut shard, &mut [&mut anna, &mut bo]);
    assert_eq!(
        anna.count(|p| matches!(p, Packet::Pli { .. })),
        1,
        "at once when it is to be seen again"
    );
}

#[test]
fn who_has_not_been_heard_of_for_long_is_sent_nothing_and_goes_on_without_a_seam() {
    let (mut shard, mut anna, mut bo) = two();
    let mut now = 1_000 * MS;
    let mut late = 0;
    for n in 0..(40 * 50u32) {
        now += 20 * MS;
        let mut p = anna.sound(n * 960);
        shard.datagram(now, anna.address, &mut p);
        shard.tick(now);
        for i in 0..shard.outbox.len() {
            late += u32::from(shard.outbox.get(i).0 == bo.address && now > 32_000 * MS);
        }
        if n == 0 {
            deliver(&mut shard, &mut [&mut anna, &mut bo]);
        }
        shard.outbox.clear();
    }
    assert_eq!(late, 0, "sent without consent (RFC 7675)");
    bo.check(&mut shard, now, true);
    shard.tick(now);
    shard.outbox.clear();
    let mut p = anna.sound(2000 * 960);
    shard.datagram(now, anna.address, &mut p);
    deliver(&mut shard, &mut [&mut anna, &mut bo]);
    assert_eq!(bo.got(SOUND_SLOT).len(), 2);
}

#[test]
fn a_forged_check_does_not_take_the_address_of_somebody_who_was_silent_for_a_while() {
    let (mut shard, mut anna, mut bo) = two();
    let mut mallory = Client::connect(&mut shard, 3, 0);
    let now = 20_000 * MS;
    let own = mallory.address;
    for _ in 0..2 {
        bo.check(&mut shard, now, true);
        mallory.address = bo.address; // forged
        mallory.check(&mut shard, now, true);
        mallory.address = own;
    }
    show(&mut shard, now, 1, SOUND_SLOT, 2, MICROPHONE, 0);
    anna.check(&mut shard, now, true);
    shard.outbox.clear();
    let mut p = bo.sound(0);
    shard.datagram(now, bo.address, &mut p);
    deliver(&mut shard, &mut [&mut anna]);
    assert_eq!(
        anna.got(SOUND_SLOT).len(),
        1,
        "Bo is cut off: {}",
        shard.counters.get(Count::DropAuthentication)
    );
}

#[test]
fn one_viewer_cannot_keep_a_publisher_at_key_frames_by_complaints_or_by_changing_wishes() {
    let complaints = |bo: &mut Client, shard: &mut Shard, now| {
        let ssrc = bo.slot_ssrc(PICTURE_SLOT);
        let mut compound = Vec::new();
        rtcp::receiver_report(&mut compound, 1, &[]);
        rtcp::pli(&mut compound, 1, ssrc);
        bo.send_control(shard, now, &compound);
    };
    let wishes = |_: &mut Client, shard: &mut Shard, now: u64| {
        show(shard, now, 2, PICTURE_SLOT, 1, CAMERA, (now / (100 * MS) % 2) as u8);
    };
    type Does<'a> = &'a dyn Fn(&mut Client, &mut Shard, u64);
    let cases: [(&str, Does, usize); 2] = [("complaints", &complaints, 32), ("wishes", &wishes, 72)];
    for (name, does, most) in cases {
        let (mut shard, mut anna, mut bo) = two();
        for n in 0..600u32 {
            let now = u64::from(n) * 100 * MS;
            // Each request is obeyed.
            let key = n == 0 || anna.count(|p| matches!(p, Packet::Pli { .. })) > 0;
            for layer in [0, 1] {
                let mut packet = anna.picture(layer, n * FRAME, n as u16, key);
                shard.datagram(now, anna.address, &mut packet);
            }
            anna.control.clear();
            does(&mut bo, &mut shard, now);
            shard.tick(now);
            deliver(&mut shard, &mut [&mut anna, &mut bo]);
        }
        let asked = shard.counters.get(Count::PliOut) as usize;
        println!("{name}: {asked} key frames a minute");
        assert!((10..=most).contains(&asked), "{name}: {asked} in a minute");
    }
}
