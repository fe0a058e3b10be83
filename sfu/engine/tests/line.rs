//! What time a receiver is told: sound and pictures stay on their slot's line, so that lips and voice agree.

mod client;
mod house;

use client::*;
use house::*;
use vardrum_engine::rtcp::{self, Packet, SenderInfo};
use vardrum_engine::shard::Shard;

const PICTURE: u32 = 4_500;

/// A sender report of `ssrc` that says that `rtp` was at `at`.
fn report(ssrc: u32, rtp: u32, at: u64) -> Vec<u8> {
    let info = SenderInfo {
        ntp: ((u128::from(at) << 32) / 1_000_000) as u64,
        rtp,
        packets: 1,
        octets: 1,
    };
    let mut compound = Vec::new();
    rtcp::sender_report(&mut compound, ssrc, &info, &[]);
    compound
}

/// How far the last packet in a slot is ahead of where the slot's own reports put what was captured at `captured`, in
/// ticks of its clock; `None` before the first.
fn ahead(viewer: &Client, slot: u8, captured: u64, rate: i128) -> Option<i32> {
    let ssrc = viewer.slot_ssrc(slot);
    let said = viewer
        .control
        .iter()
        .flat_map(|compound| rtcp::packets(compound))
        .filter_map(|packet| match packet {
            Ok(Packet::SenderReport { ssrc: of, info, .. }) if of == ssrc => Some(info),
            _ => None,
        });
    let (info, last) = (said.last()?, viewer.media.iter().rfind(|got| got.ssrc == ssrc)?);
    let ntp = (1u64 << 40) + ((u128::from(captured) << 32) / 1_000_000) as u64;
    let passed = ((i128::from(ntp) - i128::from(info.ntp)) * rate) >> 32;
    Some(last.timestamp.wrapping_sub(info.rtp.wrapping_add(passed as u32)) as i32)
}

/// Anna speaks on and on; once her microphone stands still for `late` milliseconds, or, where that is below 0, it turns
/// out that all is captured earlier than it seemed. How far her sound is ahead of its reports in the end, in
/// ticks of 48 kHz.
fn spoken_on(late: i64) -> i32 {
    let mut house = House::new();
    house.speak(1..11);
    house.pass(late.max(0) as u64);
    let said = (11 * FRAME).wrapping_sub((late.min(0) * 48) as u32);
    let compound = report(house.anna.ssrc(MICROPHONE, 0, false), said, house.now);
    house.anna.send_control(&mut house.shard, house.now, &compound);
    house.speak(11..400);
    let captured = (house.now as i64 + (late.min(0) - 20) * MS as i64) as u64;
    let off = ahead(&house.bo, SOUND_SLOT, captured, 48_000).expect("reports");
    let got = house.bo.got(SOUND_SLOT);
    in_a_row(&got);
    for pair in got.windows(2) {
        assert_eq!(
            pair[1].timestamp.wrapping_sub(pair[0].timestamp),
            FRAME,
            "late {late}: a gap, or less than a packet"
        );
    }
    off
}

#[test]
fn sound_is_never_moved_but_what_is_said_of_its_time_is() {
    for late in [60, 400, -60, -400] {
        let off = spoken_on(late);
        assert!(off.abs() <= 48, "late by {late} ms: {off} ticks from its lips");
    }
    let off = spoken_on(30);
    assert!((-off - 30 * 48).abs() <= 48, "{off} ticks: so little isn't noticed");
}

#[test]
fn a_picture_whose_first_packet_was_late_comes_back_to_its_line() {
    let mut shard = Shard::new([7; 16], 1 << 40);
    let mut anna = Client::connect(&mut shard, 1, 0);
    let mut bo = Client::connect(&mut shard, 2, 0);
    show(&mut shard, 0, 2, PICTURE_SLOT, 1, CAMERA, 0);
    let start = 1_000 * MS;
    let ssrc = anna.ssrc(CAMERA, 0, false);
    let mut off = None;
    for n in 0..200u32 {
        let captured = start + u64::from(n) * 50 * MS;
        // The first frame has waited 300 ms behind itself, all others come after 20 ms.
        let now = if n < 7 {
            start + 300 * MS + u64::from(n)
        } else {
            captured + 20 * MS
        };
        let mut p = anna.picture(0, n * PICTURE, n as u16, n == 0);
        shard.datagram(now, anna.address, &mut p);
        if n == 20 {
            let compound = report(ssrc, n * PICTURE, captured);
            anna.send_control(&mut shard, now, &compound);
        }
        shard.tick(now);
        deliver(&mut shard, &mut [&mut anna, &mut bo]);
        off = ahead(&bo, PICTURE_SLOT, captured, 90_000).or(off);
    }
    // The best that is known is the report's own way: 20 ms.
    let off = off.expect("reports");
    assert!((off - 1800).abs() <= 1800, "off by {} ms after 9 s", off / 90);
}
