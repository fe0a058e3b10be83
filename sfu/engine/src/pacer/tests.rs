use super::shedding::LONGEST;
use super::*;
use crate::packet::Codec;
use crate::picture::Picture;

const MS: Micros = 1_000;
const SOURCE: (Feed, u32) = (
    Feed {
        peer: 1,
        track: 1,
        layer: 0,
    },
    1,
);

fn packet(sequence: u64, frame: u32, key: bool) -> Packet<'static> {
    Packet {
        sequence,
        timestamp: frame,
        marker: false,
        codec: Codec::VP8,
        payload: &[],
        level: None,
        picture: Picture {
            key,
            ..Picture::default()
        },
        capture: 0,
        dependency: &[],
    }
}

fn sequences(pacer: &mut Pacer) -> Vec<(u64, bool)> {
    std::iter::from_fn(|| pacer.next())
        .map(|held| (held.sequence, held.anew))
        .collect()
}

#[test]
fn without_a_target_everything_goes_at_once() {
    let mut pacer = Pacer::new(1);
    for now in 0..100 {
        assert!(!pacer.holds(now, None));
        pacer.on_sent(1_250);
    }
    assert_eq!((pacer.next_deadline(0), pacer.target()), (None, 0));
}

#[test]
fn a_rate_is_kept_and_a_burst_bounded() {
    for target in [80_000, 300_000, 2_000_000u32] {
        let mut pacer = Pacer::new(1);
        pacer.set_target(0, target);
        let (mut sent, mut most) = (0, 0);
        for tick in 1..=400 {
            let mut burst = 0;
            while pacer.may_send(tick * 5 * MS, None) {
                pacer.on_sent(1_250);
                burst += 1_250;
            }
            sent += burst;
            most = most.max(burst);
        }
        let off = f64::from(sent) * 8.0 / 2.0 / f64::from(target);
        assert!((off - 1.0).abs() < 0.05, "{target}: {off}");
        assert!(most <= 3 * 1_250.max(target as i32 / 8 / 100), "{most} bytes at once");
        // After a pause no more than a burst comes at once.
        let burst = (0..).take_while(|_| {
            pacer.on_sent(1_250);
            pacer.may_send(60_000 * MS, None)
        });
        assert!(burst.count() as u32 <= 2.max(target / 8 / 100 / 1_250), "{target}");
    }
}

#[test]
fn sound_beyond_the_target_delays_pictures_and_not_for_long() {
    let mut pacer = Pacer::new(1);
    pacer.set_target(0, 40_000);
    for tick in 1..500 {
        pacer.may_send(tick * 10 * MS, None);
        pacer.on_sent(120);
    }
    assert!(pacer.holds(5_000 * MS, None));
    let at = (0..).find(|ms| pacer.may_send((5_000 + ms) * MS, None)).unwrap();
    assert!(at <= 501, "{at} ms"); // two packets' time at so low a rate
}

#[test]
fn what_sound_owed_while_a_queue_drained_is_not_taken_from_pictures() {
    for (target, at_once) in [(39_000, false), (120_000, true)] {
        let mut pacer = Pacer::new(1);
        pacer.set_target(0, 30_000);
        for tick in 1..100 {
            pacer.may_send(tick * 10 * MS, None);
            pacer.on_sent(120);
        }
        pacer.set_target(1_000 * MS, target);
        assert_eq!(!pacer.holds(1_001 * MS, None), at_once, "{target}");
    }
}

#[test]
fn a_probe_raises_the_rate_while_it_runs() {
    let mut pacer = Pacer::new(1);
    pacer.set_target(0, 100_000);
    let mut sent = 0;
    for tick in 1..=100 {
        while pacer.may_send(tick * 5 * MS, Some(1_000_000)) {
            pacer.on_sent(1_000);
            sent += 1_000;
        }
    }
    assert!((60_000..=66_000).contains(&sent), "{sent}");
}

#[test]
fn what_is_held_says_when_it_may_go() {
    let mut pacer = Pacer::new(1);
    pacer.set_target(0, 100_000);
    pacer.on_sent(1_250);
    assert!(pacer.holds(0, None));
    pacer.hold(0, 0, SOURCE, &packet(1, 1, true));
    let at = pacer.next_deadline(0).unwrap();
    assert!((100 * MS..=101 * MS).contains(&at), "{at}");
    assert!(!pacer.may_send(at - 2, None) && pacer.may_send(at, None));
}

#[test]
fn what_is_too_old_goes_by_whole_pictures_but_not_the_one_that_has_begun() {
    for first in [0u64, 1, 65_534, 65_535] {
        let mut pacer = Pacer::new(1);
        pacer.set_target(0, 100_000);
        pacer.on_picture(0, 0, SOURCE, &packet(first, 1, false));
        for (i, frame) in [1, 1, 2, 2, 3].iter().enumerate() {
            pacer.hold(i as u64, 0, SOURCE, &packet(first + 1 + i as u64, *frame, false));
        }
        assert_eq!(pacer.end_of(0, None), Some(SOURCE));
        assert_eq!(pacer.shed_old(LONGEST), 0);
        assert_eq!(pacer.shed_old(LONGEST + 3), 3);
        assert_eq!(pacer.end_of(0, Some(SOURCE)), None, "only a key frame is taken now");
        assert_eq!(pacer.next_anew(), None, "not before the present picture is out");
        assert_eq!(sequences(&mut pacer), [(first + 1, false), (first + 2, false)]);
        assert!(pacer.is_waiting());
        assert_eq!((pacer.next_anew(), pacer.next_anew()), (Some(0), None));
        assert!(!pacer.is_waiting());
    }
}

#[test]
fn a_key_frame_that_waits_is_where_a_slot_begins_anew() {
    let mut pacer = Pacer::new(2);
    pacer.set_target(0, 100_000);
    let other = (Feed { layer: 1, ..SOURCE.0 }, 1);
    pacer.hold(0, 0, SOURCE, &packet(10, 1, false));
    pacer.hold(0, 1, other, &packet(90, 1, false));
    pacer.hold(40 * MS, 0, SOURCE, &packet(11, 2, true));
    pacer.hold(42 * MS, 0, SOURCE, &packet(12, 2, false));
    pacer.hold(44 * MS, 0, SOURCE, &packet(13, 3, false));
    assert_eq!(pacer.shed_old(LONGEST + 20 * MS), 2, "one in each slot");
    assert_eq!(pacer.end_of(0, None), Some(SOURCE));
    assert_eq!(sequences(&mut pacer), [(11, true), (12, false), (13, false)]);
    assert_eq!((pacer.next_anew(), pacer.next_anew()), (Some(1), None));
}

#[test]
fn a_key_frame_takes_the_place_of_what_has_waited_in_front_of_it() {
    let mut pacer = Pacer::new(2);
    pacer.set_target(0, 100_000);
    pacer.on_picture(0, 0, SOURCE, &packet(9, 1, false));
    let other = (Feed { layer: 1, ..SOURCE.0 }, 1);
    pacer.hold(0, 0, SOURCE, &packet(10, 1, false));
    pacer.hold(0, 1, other, &packet(90, 1, false));
    pacer.hold(10 * MS, 0, SOURCE, &packet(11, 2, false));
    pacer.hold(IN_TIME, 0, SOURCE, &packet(12, 3, true));
    assert_eq!(pacer.dropped(), 0, "what has hardly waited goes out");
    for sequence in 13..15 {
        pacer.hold(IN_TIME + 1, 0, SOURCE, &packet(sequence, 4, true));
    }
    assert_eq!(
        pacer.dropped(),
        2,
        "the packets of one key frame do not replace each other"
    );
    assert_eq!(
        sequences(&mut pacer),
        [(10, false), (90, false), (13, true), (14, false)]
    );
}

#[test]
fn behind_a_key_frame_pictures_may_wait_longer() {
    let mut pacer = Pacer::new(1);
    pacer.set_target(0, 100_000);
    pacer.on_picture(100 * MS, 0, SOURCE, &packet(1, 1, true));
    pacer.hold(100 * MS, 0, SOURCE, &packet(2, 2, false));
    assert_eq!(pacer.shed_old(900 * MS), 0);
    assert_eq!(pacer.shed_old(1_001 * MS), 1);
}

#[test]
fn a_full_queue_loses_pictures_of_the_slot_that_fills_it() {
    let mut pacer = Pacer::new(2);
    pacer.set_target(0, 100_000);
    pacer.hold(0, 1, SOURCE, &packet(1, 1, false));
    for sequence in 0..MOST_HELD as u64 + 5 {
        if pacer.end_of(0, Some(SOURCE)).is_some() {
            pacer.hold(0, 0, SOURCE, &packet(sequence, sequence as u32, false));
        }
        assert!(pacer.held() <= MOST_HELD);
    }
    assert_eq!(pacer.dropped(), MOST_HELD);
    assert_eq!(pacer.dropped(), 0);
    assert_eq!(sequences(&mut pacer), [(1, false)]);
    assert_eq!(pacer.next_anew(), Some(0));
}

#[test]
fn repairs_are_bounded_too() {
    let mut pacer = Pacer::new(1);
    assert_eq!((0..500).filter(|&n| pacer.hold_repair(0, 0, n)).count(), MOST_REPAIRS);
    assert_eq!(pacer.next_repair(0), Some((0, 0)));
    pacer.clear();
    assert_eq!(pacer.dropped(), MOST_REPAIRS - 1);
    assert!(!pacer.is_waiting());
}

#[test]
fn a_repair_waits_once_not_for_long_and_not_behind_a_key_frame() {
    let mut pacer = Pacer::new(2);
    pacer.set_target(0, 100_000);
    for sequence in [7, 8, 7, 8, 7] {
        assert!(pacer.hold_repair(0, 0, sequence));
    }
    pacer.hold_repair(100_000, 0, 9);
    pacer.hold_repair(100_000, 1, 9);
    assert_eq!(pacer.held(), 4);
    assert_eq!(pacer.next_repair(LONGEST_REPAIR), Some((0, 7)));
    pacer.on_picture(LONGEST_REPAIR, 1, SOURCE, &packet(1, 1, false));
    pacer.on_picture(LONGEST_REPAIR, 1, SOURCE, &packet(2, 2, true));
    assert_eq!((pacer.held(), pacer.dropped()), (2, 1));
    assert_eq!(pacer.next_repair(LONGEST_REPAIR + 1), Some((0, 9)));
    assert_eq!((pacer.held(), pacer.dropped()), (0, 1));
}

#[test]
fn who_is_not_to_be_seen_any_more_does_not_wait_either() {
    let mut pacer = Pacer::new(2);
    pacer.set_target(0, 100_000);
    pacer.hold(0, 0, SOURCE, &packet(1, 1, false));
    pacer.hold(0, 1, SOURCE, &packet(1, 1, false));
    pacer.hold_repair(0, 0, 7);
    pacer.forget(0);
    assert_eq!((pacer.held(), pacer.dropped()), (1, 2));
    assert_eq!(pacer.end_of(0, Some(SOURCE)), Some(SOURCE));
}

#[test]
fn a_layer_that_waits_to_be_shown_and_is_not_wanted_any_more_leaves_a_slot_that_begins_anew() {
    let mut pacer = Pacer::new(1);
    pacer.set_target(0, 100_000);
    let other = (Feed { layer: 1, ..SOURCE.0 }, 1);
    pacer.hold(0, 0, SOURCE, &packet(1, 1, false));
    pacer.reconsider(0, Some(SOURCE));
    assert_eq!(pacer.end_of(0, Some(SOURCE)), Some(SOURCE));
    pacer.hold(0, 0, other, &packet(70, 2, true));
    pacer.reconsider(0, Some(SOURCE));
    assert_eq!(pacer.end_of(0, Some(SOURCE)), None);
    assert_eq!(sequences(&mut pacer), [(1, false)]);
    assert_eq!(pacer.next_anew(), Some(0));
}

#[test]
fn a_layer_below_is_waited_for_with_nothing_but_the_end_of_what_is_going_out() {
    let mut pacer = Pacer::new(2);
    pacer.set_target(0, 100_000);
    let upper = (Feed { layer: 1, ..SOURCE.0 }, 1);
    for (sequence, frame) in [(1, 1), (2, 1), (3, 2), (4, 3)] {
        pacer.hold(0, 0, upper, &packet(sequence, frame, false));
    }
    pacer.hold(0, 1, SOURCE, &packet(1, 1, false));
    assert_eq!(pacer.next().map(|held| held.sequence), Some(1));
    pacer.on_picture(0, 0, upper, &packet(1, 1, false));
    pacer.hold_repair(0, 0, 7);
    pacer.hold_repair(0, 1, 7);
    pacer.descend(0);
    assert!(pacer.descends(0) && !pacer.descends(1));
    assert_eq!(pacer.dropped(), 3, "two pictures and a repair");
    assert!(!pacer.hold_repair(0, 0, 8), "of no use");
    assert_eq!(pacer.next_repair(0), Some((1, 7)));
    assert_eq!(sequences(&mut pacer), [(2, false), (1, false)]);
    assert_eq!(pacer.next_anew(), Some(0));
    pacer.on_picture(0, 0, SOURCE, &packet(60, 4, true));
    assert!(!pacer.descends(0) && pacer.hold_repair(0, 0, 60));
}

#[test]
fn the_end_of_a_large_picture_does_not_keep_a_small_one_waiting_for_long() {
    for comes in [false, true] {
        let mut pacer = Pacer::new(2);
        pacer.set_target(0, 100_000);
        let upper = (Feed { layer: 1, ..SOURCE.0 }, 1);
        pacer.on_picture(0, 0, upper, &packet(1, 1, false));
        pacer.hold(0, 0, upper, &packet(2, 1, false));
        pacer.hold(0, 1, SOURCE, &packet(1, 1, false));
        pacer.descend(0);
        if comes {
            pacer.hold(100 * MS, 0, SOURCE, &packet(60, 4, true));
        }
        assert_eq!(pacer.shed_old(200 * MS), 0);
        assert_eq!(pacer.shed_old(201 * MS), 1);
        if comes {
            assert_eq!(
                sequences(&mut pacer),
                [(60, true), (1, false)],
                "who stands still comes first"
            );
        } else {
            assert_eq!(pacer.next_anew(), Some(0));
            assert_eq!(sequences(&mut pacer), [(1, false)]);
        }
    }
}

#[test]
fn a_key_frame_that_waits_need_not_be_asked_for_again() {
    let mut pacer = Pacer::new(1);
    pacer.set_target(0, 100_000);
    assert!(!pacer.waits_with(0, Some(SOURCE.0)));
    pacer.hold(0, 0, SOURCE, &packet(1, 1, true));
    assert!(pacer.waits_with(0, Some(SOURCE.0)));
    assert!(!pacer.waits_with(0, Some(Feed { layer: 1, ..SOURCE.0 })));
    pacer.next();
    assert!(!pacer.waits_with(0, Some(SOURCE.0)));
}

#[test]
fn a_picture_that_has_begun_ends_before_another_slots() {
    let mut pacer = Pacer::new(2);
    pacer.set_target(0, 100_000);
    for sequence in 1..=3 {
        for slot in [0, 1] {
            pacer.hold(0, slot, SOURCE, &packet(sequence, 1, true));
        }
    }
    pacer.hold(0, 0, SOURCE, &packet(4, 2, false));
    let mut order = Vec::new();
    while let Some(held) = pacer.next() {
        pacer.on_picture(
            0,
            held.slot,
            held.source,
            &packet(held.sequence, held.timestamp, held.key),
        );
        order.push((held.slot, held.sequence));
    }
    assert_eq!(order, [(0, 1), (0, 2), (0, 3), (1, 1), (1, 2), (1, 3), (0, 4)]);
}

#[test]
fn slots_get_as_many_bytes_each_while_they_wait() {
    let mut pacer = Pacer::new(2);
    pacer.set_target(0, 100_000);
    let large = |sequence: u64| Packet {
        payload: &[0; 1_000],
        ..packet(sequence, (sequence as u32 + 1) / 2, sequence <= 2)
    };
    let small = |sequence: u64| Packet {
        payload: &[0; 400],
        ..packet(sequence, sequence as u32, false)
    };
    // A picture is shown larger, in two packets each; then the other's small ones come.
    (1..=8).for_each(|sequence| pacer.hold(0, 0, SOURCE, &large(sequence)));
    let mut order = Vec::new();
    let release = |pacer: &mut Pacer| {
        let held = pacer.next().unwrap();
        let sent = packet(held.sequence, held.timestamp, held.key);
        pacer.on_picture(0, held.slot, held.source, &sent);
        (held.slot, held.sequence)
    };
    order.extend([release(&mut pacer), release(&mut pacer)]);
    (1..=7).for_each(|sequence| pacer.hold(0, 1, SOURCE, &small(sequence)));
    order.extend((0..13).map(|_| release(&mut pacer)));
    let expected = [
        (0, 1),
        (0, 2),
        // Five of 400 bytes are as many as two of 1000.
        (1, 1),
        (1, 2),
        (1, 3),
        (1, 4),
        (1, 5),
        (0, 3),
        (0, 4),
        (1, 6),
        (1, 7),
        (0, 5),
        (0, 6),
        (0, 7),
        (0, 8),
    ];
    assert_eq!(order, expected);
    // Who hasn't waited for a while has no more due for it.
    pacer.hold(0, 1, SOURCE, &small(8));
    pacer.hold(0, 0, SOURCE, &large(9));
    assert_eq!([release(&mut pacer), release(&mut pacer)].map(|one| one.0), [1, 0]);
}
