//! Ways to a peer: UDP and TCP, one that ends, one that takes no more, and consent (RFC 6544, RFC 7675).

mod client;

use client::*;
use vardrum_engine::address::Address;
use vardrum_engine::command::Command;
use vardrum_engine::counters::Count;
use vardrum_engine::event::{Consent, Event};
use vardrum_engine::rtcp::Packet;
use vardrum_engine::shard::Shard;

const MS: u64 = 1_000;
const FRAME: u32 = 4_500;

/// Anna speaks and shows herself over UDP to Bo, who is where the test puts him.
struct Visit {
    shard: Shard,
    anna: Client,
    bo: Client,
    now: u64,
    frames: u32,
}

impl Visit {
    fn new(bo_at: Address) -> Visit {
        let mut shard = Shard::new([3; 16], 1 << 40);
        let anna = Client::connect(&mut shard, 1, 0);
        let mut bo = Client::join(&mut shard, 2, 0);
        bo.address = bo_at;
        bo.check(&mut shard, 0, true);
        bo.set_keys(&mut shard, 0);
        for (slot, track) in [(SOUND_SLOT, MICROPHONE), (PICTURE_SLOT, CAMERA)] {
            let show = Command::Show {
                viewer: 2,
                slot,
                publisher: 1,
                track,
                layer: 0,
                temporal: 255,
                asks: true,
            };
            shard.command(0, show);
        }
        let mut visit = Visit {
            shard,
            anna,
            bo,
            now: 0,
            frames: 0,
        };
        visit.pass(10);
        visit
    }

    fn deliver(&mut self) {
        deliver(&mut self.shard, &mut [&mut self.anna, &mut self.bo]);
    }

    fn pass(&mut self, milliseconds: u64) {
        for _ in 0..milliseconds / 10 {
            self.now += 10 * MS;
            self.shard.tick(self.now);
            self.deliver();
        }
    }

    /// One packet of sound and one picture from Anna; how many of each reach Bo.
    fn frame(&mut self, key: bool) -> (usize, usize) {
        self.frames += 1;
        let timestamp = self.frames * FRAME;
        let sound = self.anna.sound(timestamp);
        let picture = self.anna.picture(0, timestamp, self.frames as u16, key);
        for mut packet in [sound, picture] {
            self.shard.datagram(self.now, self.anna.address, &mut packet);
        }
        self.deliver();
        (self.bo.got(SOUND_SLOT).len(), self.bo.got(PICTURE_SLOT).len())
    }

    fn key_frames_asked(&self) -> usize {
        self.anna.count(|packet| matches!(packet, Packet::Pli { .. }))
    }

    fn transports(&mut self) -> Vec<Event> {
        let all = std::iter::from_fn(|| self.shard.events.pop());
        let mut all: Vec<Event> = all.filter(|event| matches!(event, Event::Transport { .. })).collect();
        all.sort_by_key(|event| match event {
            Event::Transport { peer, .. } => *peer,
            _ => 0,
        });
        all
    }
}

fn udp() -> Address {
    "192.0.2.3:5000".parse().unwrap()
}

fn tcp(text: &str) -> Address {
    Address::tcp(text.parse().unwrap())
}

#[test]
fn the_same_address_and_port_over_tcp_is_another_way_and_is_checked_by_itself() {
    let mut visit = Visit::new(udp());
    assert_eq!(visit.frame(true), (1, 1));
    visit.bo.address = Address::tcp(udp().socket);
    assert!(!visit.shard.knows(visit.bo.address));
    visit.bo.check(&mut visit.shard, visit.now, true);
    assert!(visit.shard.knows(visit.bo.address));
    assert_eq!(
        visit.frame(false),
        (1, 1),
        "where it was, before the new way has answered"
    );
    visit.pass(20);
    assert_eq!(visit.bo.asked.last().unwrap().1, visit.bo.address, "checked over TCP");
    visit.bo.answer_checks(&mut visit.shard, visit.now);
    visit.deliver();
    let (anna, bo) = (visit.anna.sound(99 * FRAME), visit.bo.address);
    visit.shard.datagram(visit.now, visit.anna.address, &mut anna.clone());
    assert_eq!(visit.shard.outbox.len(), 0, "nothing goes over UDP any more");
    assert_eq!(visit.shard.outbox.streams().next().unwrap().0, bo.socket);
}

#[test]
fn a_connection_that_ends_stops_media_and_another_one_heals_it_after_its_answer() {
    let mut visit = Visit::new(tcp("192.0.2.3:7000"));
    assert_eq!(visit.frame(true), (1, 1));
    let asked = visit.key_frames_asked();
    visit.shard.closed(visit.now, visit.bo.address);
    assert!(!visit.shard.knows(visit.bo.address));
    assert_eq!(visit.frame(false), (0, 0));
    assert!(visit.shard.counters.get(Count::DropNotConnected) > 0);
    visit.pass(200);

    visit.bo.address = tcp("192.0.2.3:7001");
    visit.bo.check(&mut visit.shard, visit.now, true);
    visit.deliver();
    assert_eq!(
        visit.frame(false),
        (0, 0),
        "a later way gets media only after it has answered"
    );
    visit.pass(20);
    visit.bo.answer_checks(&mut visit.shard, visit.now);
    visit.deliver();
    assert!(visit.key_frames_asked() > asked, "the picture begins anew");
    assert_eq!(visit.frame(true), (1, 1));
}

#[test]
fn a_connection_that_ends_while_media_goes_elsewhere_changes_nothing() {
    let mut visit = Visit::new(udp());
    visit.frame(true);
    visit.bo.address = tcp("192.0.2.3:7000");
    visit.bo.check(&mut visit.shard, visit.now, false);
    visit.deliver();
    visit.shard.closed(visit.now, visit.bo.address);
    visit.shard.closed(visit.now, tcp("192.0.2.99:1"));
    visit.bo.address = udp();
    assert_eq!(visit.frame(false), (1, 1));
}

#[test]
fn a_connection_that_takes_no_more_gets_sound_and_after_it_has_drained_a_picture_from_its_key_frame_on() {
    let mut visit = Visit::new(tcp("192.0.2.3:7000"));
    visit.frame(true);
    visit.shard.backlogged(visit.now, visit.bo.address, true);
    for _ in 0..5 {
        assert_eq!(visit.frame(false), (1, 0));
    }
    assert_eq!(visit.shard.counters.get(Count::DropTcpBacklog), 5);
    let asked = visit.key_frames_asked();
    visit.pass(1_000);
    assert_eq!(
        visit.key_frames_asked(),
        asked,
        "nobody is asked for what could not be sent"
    );
    visit.shard.backlogged(visit.now, visit.bo.address, false);
    visit.deliver();
    assert!(visit.key_frames_asked() > asked);
    assert_eq!(visit.frame(false), (1, 0), "what came between was not seen");
    assert_eq!(visit.frame(true), (1, 1));
    assert_eq!(visit.frame(false), (1, 1));
}

#[test]
fn a_backlog_of_a_way_that_was_left_holds_nothing_back() {
    let mut visit = Visit::new(tcp("192.0.2.3:7000"));
    visit.frame(true);
    visit.shard.backlogged(visit.now, visit.bo.address, true);
    visit.bo.address = udp();
    visit.bo.check(&mut visit.shard, visit.now, true);
    visit.pass(20);
    visit.bo.answer_checks(&mut visit.shard, visit.now);
    visit.deliver();
    assert_eq!(visit.frame(true), (1, 1));
}

#[test]
fn consent_that_is_lost_and_comes_back_is_told_of_once_each() {
    let mut visit = Visit::new(udp());
    visit.frame(true);
    assert_eq!(visit.transports(), []);
    let (anna, bo) = (1, 2);
    visit.pass(29_900);
    assert_eq!(visit.transports(), []);
    visit.pass(1_000);
    let lost = |peer| Event::Transport {
        peer,
        what: Consent::Lost,
    };
    assert_eq!(visit.transports(), [lost(anna), lost(bo)]);
    assert_eq!(visit.shard.counters.get(Count::ConsentLost), 2);
    visit.pass(5_000);
    assert_eq!(visit.transports(), []);
    visit.bo.check(&mut visit.shard, visit.now, true);
    visit.pass(20);
    let regained = Event::Transport {
        peer: bo,
        what: Consent::Regained,
    };
    assert_eq!(visit.transports(), [regained]);
}

#[test]
fn stun_is_answered_with_less_than_was_asked_or_not_at_all_where_integrity_is_missing() {
    let mut visit = Visit::new(udp());
    visit.deliver();
    let good = visit.bo.request(false);
    let integrity = good.len() - 24;
    // Without integrity (its length says so), with a wrong one, of nobody here, and cut short.
    let mut bare = good[..integrity].to_vec();
    let len = (bare.len() - 20) as u16;
    bare[2..4].copy_from_slice(&len.to_be_bytes());
    let mut forged = good.clone();
    *forged.last_mut().unwrap() ^= 1;
    let mut nobody = good.clone();
    nobody[24] = b'x';
    for mut request in [bare, forged, nobody, good[..40].to_vec(), vec![0, 1, 0, 0]] {
        let asked = request.len();
        visit.shard.datagram(visit.now, tcp("198.51.100.9:53"), &mut request);
        visit
            .shard
            .datagram(visit.now, "198.51.100.9:53".parse().unwrap(), &mut request);
        for i in 0..visit.shard.outbox.len() {
            assert!(visit.shard.outbox.get(i).1.len() <= asked);
        }
        assert!(visit.shard.outbox.streams().all(|(_, answer)| answer.len() <= asked));
        assert!(!visit.shard.knows("198.51.100.9:53".parse().unwrap()));
        visit.shard.outbox.clear();
        visit.shard.outbox.clear_streams();
    }
}
