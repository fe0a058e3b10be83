//! Another layer, nobody, and somebody again, where what is shown waits in the pacer.

use vardrum_engine::counters::Count;
use vardrum_engine::event::Event;

use crate::client::*;
use crate::visit::{told, Visit, MS};

/// A visit that shows an upper layer of 1.3 Mbit/s, beside a lower one of a quarter.
fn above() -> Visit {
    let mut visit = Visit::new(50_000_000);
    visit.layers = 2;
    visit.upper = 4;
    visit.show(PICTURE_SLOT, CAMERA, 1);
    visit.run(2, 1_000);
    visit
}

#[test]
fn a_lower_layer_begins_behind_the_picture_that_is_going_out_and_nothing_else() {
    for backlog in [0, 120, 300, 450, 800] {
        let mut visit = above();
        visit.target(450_000);
        visit.run(2, backlog);
        visit.key_wanted = [false; 2];
        visit.keys.clear();
        let shown = visit.now;
        visit.show(PICTURE_SLOT, CAMERA, 0);
        // The key frame is as slow to come as from a publisher far away.
        visit.flush();
        visit.key_wanted = [false; 2];
        visit.run(2, 200);
        visit.key_wanted = [true; 2];
        visit.run(2, 1_500);
        visit.check_pictures();
        assert_eq!(visit.cut_off, 0, "whole pictures");
        let &(_, frame, out) = visit.keys.iter().find(|key| key.0 == 0).expect("a key frame was sent");
        let first = visit
            .got
            .iter()
            .position(|got| told(got).layer == 0 && told(got).frame >= frame);
        let first = first.expect("the lower layer is shown");
        assert_eq!(told(&visit.got[first]).frame, frame, "the first key frame is the one");
        assert!(told(&visit.got[first]).key);
        let going_out = told(&visit.got[out - 1]).frame;
        for got in &visit.got[out..first] {
            assert_eq!(
                (told(got).layer, told(got).frame),
                (1, going_out),
                "backlog of {backlog} ms"
            );
        }
        assert!(visit.got[first..].iter().all(|got| told(got).layer == 0));
        // What had gone out of the picture by then was nothing or more; 8 packets at most go out behind it.
        assert!(first - out < 8, "{}", first - out);
        let ssrc = visit.bo.slot_ssrc(PICTURE_SLOT);
        let late = visit
            .out
            .iter()
            .filter(|one| one.ssrc == ssrc)
            .nth(first)
            .map_or(0, |one| one.at - shown);
        assert!(late < 450 * MS, "{late}");
    }
}

#[test]
fn an_upper_layer_begins_behind_all_that_waits_of_the_lower_one() {
    let mut visit = Visit::new(50_000_000);
    visit.layers = 2;
    visit.upper = 2;
    visit.run(2, 500);
    visit.target(1_000_000);
    visit.show(PICTURE_SLOT, CAMERA, 1);
    visit.run(2, 1_000);
    visit.check_pictures();
    let first = visit
        .got
        .iter()
        .position(|got| told(got).layer == 1)
        .expect("it is shown");
    let (last, begins) = (told(&visit.got[first - 1]), told(&visit.got[first]));
    assert!(last.frame + 1 >= begins.frame, "{} and {}", last.frame, begins.frame);
    assert_eq!(visit.cut_off, 0);
}

#[test]
fn who_wants_a_lower_layer_is_not_sent_an_upper_ones_key_frame_first() {
    for target in [0, 400_000] {
        let mut visit = Visit::new(50_000_000);
        visit.layers = 2;
        visit.upper = 4;
        visit.upper_first = true;
        visit.run(2, 500);
        visit.pause();
        visit.run(2, 500);
        visit.check_pictures();
        let before = visit.got.len();
        visit.target(target);
        visit.show(PICTURE_SLOT, CAMERA, 0);
        visit.run(2, 500);
        visit.check_pictures();
        assert!(visit.got.len() > before + 8);
        assert!(visit.got[before..].iter().all(|got| told(got).layer == 0));
    }
}

#[test]
fn where_pictures_were_dropped_the_wanted_layer_begins_anew_and_no_other() {
    let mut visit = above();
    visit.check_pictures();
    let before = visit.got.len();
    // Sound alone takes more: what waits is given up.
    visit.target(20_000);
    visit.run(2, 1_500);
    visit.target(0);
    visit.run(2, 1_000);
    assert!(visit.shard.counters.get(Count::DropHeldTooLong) > 8);
    visit.check_pictures();
    assert!(visit.got.len() > before + 8);
    assert!(visit.got[before..].iter().all(|got| told(got).layer == 1));
}

#[test]
fn a_picture_that_began_to_go_out_before_there_was_a_target_goes_out_whole() {
    for early in 1..8 {
        let mut visit = above();
        visit.key_wanted = [false; 2];
        visit.frame += 1;
        let packets = visit.layer(1, 8);
        for packet in &packets[..early] {
            visit.send(packet.clone());
        }
        // Sound alone takes more: nothing of it goes out for so long that what waits is given up.
        visit.target(20_000);
        for packet in &packets[early..] {
            visit.send(packet.clone());
        }
        visit.run(2, 1_500);
        visit.target(0);
        visit.run(2, 500);
        assert!(visit.shard.counters.get(Count::DropHeldTooLong) > 8);
        visit.check_pictures();
        assert_eq!(visit.cut_off, 0, "{early} packets before");
    }
}

#[test]
fn who_is_shown_again_after_a_pause_begins_with_a_key_frame_and_asks_for_one() {
    for target in [0, 300_000] {
        let mut visit = Visit::new(50_000_000);
        visit.target(target);
        visit.run(3, 1_000);
        assert_eq!(visit.shard.counters.get(Count::Held) > 0, target > 0);
        visit.pause();
        let (paused, asked) = (visit.pictures_out(), visit.asked);
        visit.run(3, 1_000);
        assert_eq!(
            (visit.pictures_out(), visit.asked),
            (paused, asked),
            "nothing comes, nobody is asked"
        );
        visit.check_pictures();
        let before = visit.got.len();
        visit.keys.clear();
        visit.show(PICTURE_SLOT, CAMERA, 0);
        visit.run(3, 300);
        assert_eq!(visit.asked, asked + 1, "one request");
        visit.check_pictures();
        let first = told(&visit.got[before]);
        assert!(
            first.key && first.frame == visit.keys[0].1,
            "the key frame that was asked for"
        );
    }
}

/// The slots of Bo's of which it was told that a picture of whom they show has gone out.
fn told_of(visit: &mut Visit) -> Vec<u8> {
    std::iter::from_fn(|| visit.shard.events.pop())
        .filter_map(|event| match event {
            Event::Picture { peer: 2, slot } => Some(slot),
            _ => None,
        })
        .collect()
}

#[test]
fn the_first_picture_of_somebody_is_told_of_once_it_has_gone_out_whole() {
    for target in [0, 400_000] {
        let mut visit = Visit::new(50_000_000);
        visit.target(target);
        assert_eq!(told_of(&mut visit), [], "nothing has come");
        // A key frame of eight packets takes 160 ms at the target.
        visit.frame += 1;
        let mut packets = visit.layer(0, 2);
        let last = packets.pop().expect("eight");
        for packet in packets {
            visit.send(packet);
            visit.pass();
        }
        visit.run(0, 300);
        assert_eq!(told_of(&mut visit), [], "its end has not come");
        visit.send(last);
        visit.run(2, 1_000);
        assert_eq!(told_of(&mut visit), [PICTURE_SLOT]);
        // Another layer is no news, nor is a pause; who comes back from one is.
        visit.layers = 2;
        visit.show(PICTURE_SLOT, CAMERA, 1);
        visit.run(1, 1_000);
        visit.pause();
        visit.run(1, 500);
        assert_eq!(told_of(&mut visit), []);
        visit.show(PICTURE_SLOT, CAMERA, 0);
        visit.run(1, 2_000);
        assert_eq!(told_of(&mut visit), [PICTURE_SLOT]);
    }
}

#[test]
fn a_key_frame_that_comes_by_itself_is_asked_for_only_where_it_does_not_come() {
    let mut visit = above();
    let asked = visit.asked;
    visit.show_coming(0);
    visit.run(2, 200);
    assert_eq!(visit.asked, asked);
    visit.key_wanted = [true, false];
    visit.run(2, 600);
    assert_eq!(visit.asked, asked);
    visit.check_pictures();
    assert_eq!(visit.got.last().map(|got| told(got).layer), Some(0));
    visit.show_coming(1);
    visit.run(2, 450);
    assert_eq!(visit.asked, asked);
    visit.run(2, 200);
    assert_eq!(visit.asked, asked + 1, "none has come");
    visit.check_pictures();
    assert_eq!(visit.got.last().map(|got| told(got).layer), Some(1));
}

#[test]
fn a_key_frame_that_is_slow_to_go_out_is_asked_for_once() {
    let mut visit = Visit::new(50_000_000);
    visit.run(1, 1_000);
    visit.pause();
    visit.run(1, 500);
    let asked = visit.asked;
    visit.check_pictures();
    let before = visit.got.len();
    // Sound alone takes more.
    visit.target(30_000);
    visit.show(PICTURE_SLOT, CAMERA, 0);
    visit.run(1, 800);
    visit.target(500_000);
    visit.run(1, 500);
    assert_eq!(visit.asked, asked + 1);
    visit.check_pictures();
    assert!(
        visit.got[before..].iter().any(|got| told(got).key && got.marker),
        "{}",
        visit.got.len() - before
    );
}
