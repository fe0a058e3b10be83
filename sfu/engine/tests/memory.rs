//! What the shard allocates, counted at the allocator: so much for each participant, nothing for a packet, and nothing
//! that stays when they are gone. OpenSSL's own contexts are not in it.
#![allow(unsafe_code)] // A global allocator can't be had without.
#![deny(unsafe_op_in_unsafe_fn)]

mod client;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use client::*;
use vardrum_engine::command::Command;
use vardrum_engine::shard::Shard;

const MS: u64 = 1_000;
const VISIT: u32 = 3;
const VISITS: u32 = 6;

#[derive(Clone, Copy, Default)]
struct Count {
    inside: bool,
    bytes: isize,
    calls: usize,
}

thread_local! {
    static COUNT: Cell<Count> = const { Cell::new(Count { inside: false, bytes: 0, calls: 0 }) };
}

fn count(bytes: isize, calls: usize) {
    // Not to be had any more while the thread ends.
    let _ = COUNT.try_with(|count| {
        let mut now = count.get();
        if now.inside {
            now.bytes += bytes;
            now.calls += calls;
            count.set(now);
        }
    });
}

struct Counting;

// SAFETY: everything is the system allocator's; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize, 1);
        // SAFETY: the caller's word.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-(layout.size() as isize), 0);
        // SAFETY: the caller's word.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize, 1);
        // SAFETY: the caller's word.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Counts what `body` allocates; returns bytes that stay, and calls.
fn counted<T>(body: impl FnOnce() -> T) -> (T, isize, usize) {
    COUNT.with(|count| {
        count.set(Count {
            inside: true,
            ..Count::default()
        })
    });
    let value = body();
    let after = COUNT.with(|count| count.replace(Count::default()));
    (value, after.bytes, after.calls)
}

/// How often something was allocated: for packets, and for commands and time.
#[derive(Clone, Copy, Default)]
struct Calls {
    packets: usize,
    others: usize,
}

/// Visits of three, each of whom sees one of the others large and the other small, and hears both.
struct Crowd {
    shard: Shard,
    people: Vec<Client>,
    /// Bytes that the shard holds beyond an empty one's, and how often it has allocated.
    bytes: isize,
    calls: Calls,
    now: u64,
}

impl Crowd {
    fn new() -> Crowd {
        let mut crowd = Crowd {
            shard: Shard::new([7; 16], 1 << 40),
            people: Vec::new(),
            bytes: 0,
            calls: Calls::default(),
            now: 0,
        };
        crowd.join();
        crowd
    }

    fn tell(&mut self, command: Command) {
        let now = self.now;
        let shard = &mut self.shard;
        let ((), bytes, calls) = counted(|| shard.command(now, command));
        self.bytes += bytes;
        self.calls.others += calls;
    }

    fn join(&mut self) {
        let (now, shard) = (self.now, &mut self.shard);
        for id in 1..=VISITS * VISIT {
            // The offer itself is the client's and freed by the shard, so that this counts a little too little.
            let (client, bytes, calls) = counted(|| Client::connect(shard, id, now));
            self.bytes += bytes - std::mem::size_of::<Client>() as isize;
            self.calls.others += calls;
            self.people.push(client);
        }
        for viewer in 1..=VISITS * VISIT {
            let first = (viewer - 1) / VISIT * VISIT + 1;
            let others = (first..first + VISIT).filter(|&other| other != viewer);
            for (pair, publisher) in others.enumerate() {
                for (slot, track, layer) in [(SOUND_SLOT, MICROPHONE, 0), (PICTURE_SLOT, CAMERA, pair as u8)] {
                    self.tell(Command::Show {
                        viewer,
                        slot: slot + pair as u8,
                        publisher,
                        track,
                        layer,
                        temporal: 255,
                        asks: true,
                    });
                }
            }
        }
    }

    /// 20 ms of sound, of 1.1 Mbit/s and of 130 kbit/s.
    fn frame(&mut self, number: u32) {
        self.now += 20 * MS;
        for place in 0..self.people.len() {
            let person = &mut self.people[place];
            let (id, at) = (number.to_be_bytes(), number * 1_800);
            let key = number % 500 == 1;
            let mut payload = vec![0x90, 0xc0, 0x80 | id[2], id[3], id[3], u8::from(!key)];
            payload.extend_from_slice(&[0, 0, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xb4, 0x00]);
            payload.resize(1100, 1);
            let mut packets = vec![person.packet_of(MICROPHONE, 0, OPUS, number * 960, false, &payload[..80])];
            packets.push(person.packet_of(CAMERA, 0, VP8, at, true, &payload[..320]));
            for part in 0..2 + number % 2 {
                payload[0] = if part == 0 { 0x90 } else { 0x80 };
                packets.push(person.packet_of(CAMERA, 1, VP8, at, part == 1 + number % 2, &payload));
            }
            let from = person.address;
            for packet in &mut packets {
                self.datagram(from, packet);
            }
        }
        let (now, shard) = (self.now, &mut self.shard);
        let ((), bytes, calls) = counted(|| shard.tick(now));
        self.bytes += bytes;
        self.calls.others += calls;
        self.shard.outbox.clear();
        while self.shard.events.pop().is_some() {}
    }

    fn datagram(&mut self, from: vardrum_engine::address::Address, packet: &mut [u8]) {
        let (now, shard) = (self.now, &mut self.shard);
        let ((), bytes, calls) = counted(|| shard.datagram(now, from, packet));
        self.bytes += bytes;
        self.calls.packets += calls;
        self.shard.outbox.clear();
    }
}

/// What an honest participant of a visit of three costs at most: 1.2 Mbit/s of pictures, kept for a second.
const ONE: isize = 450_000;
/// What one with two layers can make itself cost, whatever it sends.
const MOST: isize = 2_000_000;

#[test]
fn a_participant_costs_so_much_memory_and_a_packet_none() {
    let mut crowd = Crowd::new();
    let people = crowd.people.len() as isize;
    let joined = crowd.bytes / people;
    (1..=250).for_each(|number| crowd.frame(number));
    let with_media = crowd.bytes / people;
    let told = crowd.shard.memory() as isize / people;
    println!("bytes a participant: {joined} after joining, {with_media} with media, {told} by the shard's own count");
    assert!(with_media < ONE, "{with_media} bytes");
    assert!(
        (told - with_media).abs() < ONE / 10,
        "the shard says {told}, the allocator {with_media}"
    );
    let before = crowd.calls;
    (251..=400).for_each(|number| crowd.frame(number));
    assert_eq!(crowd.calls.packets, before.packets, "packets allocate");
    let reports = 3 * 2 * crowd.people.len();
    assert!(
        crowd.calls.others - before.others <= 2 * reports,
        "more than a report's few"
    );
    assert_eq!(crowd.bytes / people, with_media, "memory grows");
}

#[test]
fn nothing_stays_when_everybody_has_left() {
    let mut crowd = Crowd::new();
    let mut empty = 0;
    for round in 0..5 {
        (1..=100).for_each(|number| crowd.frame(number));
        crowd.people.clear();
        for peer in 1..=VISITS * VISIT {
            crowd.tell(Command::RemovePeer { peer });
        }
        assert_eq!(crowd.shard.memory(), 0);
        // The tables of who is who stay as large as they had to be.
        assert!(crowd.bytes < 20_000, "{} bytes stay", crowd.bytes);
        if round > 0 {
            assert!(crowd.bytes <= empty, "{} bytes stay instead of {empty}", crowd.bytes);
        }
        empty = crowd.bytes;
        crowd.join();
    }
}

#[test]
fn what_one_participant_sends_costs_memory_up_to_a_bound() {
    let mut shard = Shard::new([7; 16], 1 << 40);
    let mut anna = Client::connect(&mut shard, 1, 0);
    let mut most = 0;
    for number in 0..4_000u32 {
        let now = u64::from(number) * 100;
        let key = number % 10 == 0;
        let mut payload = vec![0x90, 0xc0, 0x80, number as u8, number as u8, u8::from(!key)];
        payload.resize(1_300, 1);
        for layer in [0, 1] {
            // With gaps, so that all that is missing is remembered too.
            let ssrc = anna.ssrc(CAMERA, layer, false);
            anna.start_at(ssrc, (number * 3) as u16);
            let mut packet = anna.packet_of(CAMERA, layer, VP8, number * 90, true, &payload);
            shard.datagram(now, anna.address, &mut packet);
        }
        shard.outbox.clear();
        if number % 100 == 0 {
            shard.tick(now);
            most = most.max(shard.memory() as isize);
        }
    }
    println!("a hostile participant: {most} bytes");
    assert!((1_000_000..MOST).contains(&most), "{most} bytes");
}
