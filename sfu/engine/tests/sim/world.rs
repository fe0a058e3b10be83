//! One shard, some people, their links and a queue of what happens when: a visit on a bad network, in virtual time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;

use crate::client::{self, CAMERA, MICROPHONE};
use crate::content::Content;
use crate::house::{House, Shown};
use crate::network::{Conditions, Link, MS};
use crate::person::Person;
use crate::sending::Outgoing;
use crate::testing::Random;
use crate::witness::Witness;
use vardrum_engine::address::Address;
use vardrum_engine::command::{Command, SoundMode};
use vardrum_engine::counters::Count;
use vardrum_engine::shard::Shard;
use vardrum_engine::srtp::Profile;
use vardrum_engine::Micros;

/// As often as the runner lets the shard do what is due, and as a person looks at the clock.
const TICK: Micros = 2 * MS;
const WAKE: Micros = 5 * MS;

pub enum What {
    Tick,
    Wake(usize),
    Arrives {
        from: Address,
        sent: Outgoing,
    },
    Delivered {
        to: Address,
        bytes: Vec<u8>,
    },
    /// The server has a person's keys.
    Secured(usize),
}

pub struct Event {
    at: Micros,
    order: u64,
    what: What,
}

impl PartialEq for Event {
    fn eq(&self, other: &Event) -> bool {
        self.order == other.order
    }
}

impl Eq for Event {}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Event) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Event {
    fn cmp(&self, other: &Event) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// A person and both directions of the way to the server.
pub struct Place {
    pub person: Person,
    pub up: Link,
    pub down: Link,
    pub gone: bool,
    /// The server has this person's keys.
    keyed: bool,
    profile: Profile,
}

pub struct World {
    pub now: Micros,
    pub shard: Shard,
    pub places: Vec<Place>,
    pub house: House,
    pub witness: Witness,
    pub random: Random,
    /// Now and then a key frame is expected to come by itself, wrongly.
    pub trusting: bool,
    queue: BinaryHeap<Reverse<Event>>,
    events: u64,
    ticked: Micros,
    next_tick: Micros,
}

impl World {
    pub fn new(seed: u64) -> World {
        let mut random = Random::new(seed);
        let mut key = [0; 16];
        key[..8].copy_from_slice(&seed.to_be_bytes());
        World {
            now: 0,
            shard: Shard::new(key, random.next()),
            places: Vec::new(),
            house: House::default(),
            witness: Witness::default(),
            random,
            trusting: false,
            queue: BinaryHeap::new(),
            events: 0,
            ticked: 0,
            next_tick: 0,
        }
    }

    pub fn at(&mut self, at: Micros, what: What) {
        self.events += 1;
        let event = Event {
            at,
            order: self.events,
            what,
        };
        self.queue.push(Reverse(event));
    }

    /// Lets all happen that happens until `end`.
    pub fn run(&mut self, end: Micros) {
        while self.queue.peek().map_or(false, |next| next.0.at <= end) {
            if let Some(Reverse(event)) = self.queue.pop() {
                self.now = event.at;
                self.happen(event.what);
            }
        }
        self.now = end;
    }

    fn happen(&mut self, what: What) {
        let now = self.now;
        match what {
            What::Tick => {
                // Only the newest plan counts.
                if now != self.next_tick {
                    return;
                }
                self.ticked = now;
                self.shard.tick(now);
                self.send();
                while self.shard.events.pop().is_some() {}
            }
            What::Wake(place) => {
                if self.places[place].gone {
                    return;
                }
                self.at(now + WAKE, What::Wake(place));
                let mut out = Vec::new();
                self.places[place].person.wake(now, &mut out);
                self.upload(place, out);
            }
            What::Arrives { from, mut sent } => {
                // Before the server has the keys, what comes has not come.
                let of = |content: &Content| self.places[content.frame.by as usize - 1].keyed;
                let content = sent.content.filter(of);
                self.witness.entered(now, from, &sent.bytes, content.as_ref());
                self.shard.datagram(now, from, &mut sent.bytes);
                self.send();
            }
            What::Delivered { to, mut bytes } => {
                let of = |place: &Place| !place.gone && place.person.address == to;
                if let Some(place) = self.places.iter().position(of) {
                    let mut out = Vec::new();
                    let person = &mut self.places[place].person;
                    let before = person.answered;
                    person.take(now, &mut bytes, &mut out);
                    if person.answered && !before {
                        // The handshake: the server may have the keys somewhat before or after the browser.
                        person.secured = true;
                        let later = self.random.below(60) as Micros * MS;
                        self.at(now + later, What::Secured(place));
                    }
                    self.upload(place, out);
                }
            }
            What::Secured(place) => {
                let (peer, profile) = (self.places[place].person.id, self.places[place].profile);
                let keys = client::keys(peer, profile);
                self.places[place].keyed = true;
                self.command(Command::SetKeys { peer, keys });
            }
        }
    }

    pub fn command(&mut self, command: Command) {
        self.shard.command(self.now, command);
        self.send();
    }

    /// What the shard has put out goes on its way.
    fn send(&mut self) {
        for i in 0..self.shard.outbox.len() {
            let (to, bytes) = self.shard.outbox.get(i);
            self.witness.leaves(self.now, to, bytes, &self.house);
            let of = |place: &Place| !place.gone && place.person.address == to;
            if let Some(place) = self.places.iter().position(of) {
                let bytes = bytes.to_vec();
                let arrivals = self.places[place].down.send(self.now, bytes.len(), &mut self.random);
                for at in arrivals.into_iter().flatten() {
                    let bytes = bytes.clone();
                    self.at(at, What::Delivered { to, bytes });
                }
            }
        }
        self.shard.outbox.clear();
        let tick = self.shard.next_deadline().max(self.ticked + TICK);
        if tick != self.next_tick && tick < Micros::MAX {
            self.next_tick = tick;
            self.at(tick, What::Tick);
        }
    }

    fn upload(&mut self, place: usize, out: Vec<Outgoing>) {
        let from = self.places[place].person.address;
        for sent in out {
            let arrivals = self.places[place].up.send(self.now, sent.bytes.len(), &mut self.random);
            for at in arrivals.into_iter().flatten() {
                let sent = sent.clone();
                self.at(at, What::Arrives { from, sent });
            }
        }
    }

    pub fn join(&mut self, up: Conditions, down: Conditions) -> usize {
        let place = self.places.len();
        let id = 1 + place as u32;
        let profiles = [Profile::AeadAes128Gcm, Profile::AeadAes256Gcm, Profile::Aes128CmSha1_80];
        let profile = profiles[self.random.below(3)];
        let keys = client::keys(id, profile);
        let address = Address::udp(SocketAddr::from(([192, 0, 2, id as u8], 5000)));
        self.command(Command::AddPeer(Box::new(client::offer(id))));
        self.witness.join(id, address, &keys);
        let round_trip = up.delay + down.delay + up.jitter + down.jitter;
        let random = Random::new(self.random.next());
        self.places.push(Place {
            person: Person::new(id, address, &keys, round_trip, self.now, random),
            up: Link::new(up),
            down: Link::new(down),
            gone: false,
            keyed: false,
            profile,
        });
        let first = self.now + self.random.below(5_000) as Micros;
        self.at(first, What::Wake(place));
        place
    }

    pub fn leave(&mut self, place: usize) {
        self.places[place].gone = true;
        let peer = self.places[place].person.id;
        self.house.leave(self.now, peer);
        self.command(Command::RemovePeer { peer });
    }

    /// Shows somebody in a slot, with all temporal layers or only the base.
    pub fn show(&mut self, viewer: u32, slot: u8, shown: Option<Shown>) {
        self.house.show(self.now, viewer, slot, shown);
        let (publisher, track, layer) = shown.unwrap_or((0, 0, 0));
        let temporal = [0, 255, 255][self.random.below(3)];
        let asks = !(self.trusting && self.random.one_in(4));
        self.command(Command::Show {
            viewer,
            slot,
            publisher,
            track,
            layer,
            temporal,
            asks,
        });
    }

    pub fn mute(&mut self, peer: u32, track: u8, muted: bool) {
        self.house.mute(self.now, peer, track, muted);
        self.command(Command::Mute { peer, track, muted });
    }

    /// Sound goes to a person in some way: RED, twice, joined.
    pub fn sound(&mut self, peer: u32) {
        let mode = SoundMode {
            redundancy: self.random.below(3) as u8,
            copies: self.random.below(3) as u8,
            joined: self.random.one_in(3),
            pauses_dropped: self.random.one_in(3),
        };
        self.house.sound(self.now, peer);
        self.command(Command::SetSound { peer, mode });
    }

    /// A person is sent no more than this.
    pub fn target(&mut self, peer: u32) {
        let bits_per_second = 20_000 << self.random.below(6);
        self.house.pace(peer);
        self.command(Command::SetTarget { peer, bits_per_second });
    }

    pub fn unlimited(&mut self, peer: u32) {
        let bits_per_second = 0;
        self.command(Command::SetTarget { peer, bits_per_second });
    }

    /// A person is sent padding for a while, to see what gets through.
    pub fn probe(&mut self, peer: u32) {
        self.house.pace(peer);
        let probe = Command::Probe {
            peer,
            id: 1 + self.random.below(100) as u16,
            bits_per_second: 100_000 << self.random.below(4),
            milliseconds: self.random.below(400) as u16,
        };
        self.command(probe);
    }

    /// A NAT gives a person another port, and says nothing.
    pub fn rebind(&mut self, place: usize) {
        let person = &mut self.places[place].person;
        person.address.socket.set_port(person.address.port() + 1);
        self.witness.moved(person.id, person.address);
    }

    /// Somebody forges a check, as if from somebody who is no party to this.
    pub fn forge(&mut self, place: usize, victim: Address) {
        let sent = self.places[place].person.check();
        self.at(self.now, What::Arrives { from: victim, sent });
    }

    /// From now on no link loses anything.
    pub fn calm(&mut self) {
        for place in &mut self.places {
            for link in [&mut place.up, &mut place.down] {
                link.conditions = Conditions::calm(link.conditions.delay);
            }
        }
    }

    /// Everybody sees and hears what is shown, as it is now. `since`: what counts as now.
    pub fn check_recovered(&self, since: Micros) {
        let present = |id: u32| self.places.iter().any(|place| !place.gone && place.person.id == id);
        for place in self.places.iter().filter(|place| !place.gone) {
            let person = &place.person;
            for (number, slot) in person.slots.iter().enumerate() {
                let shown = match self.house.shown(person.id, number as u8) {
                    Some(shown) if present(shown.0) && !self.house.is_muted(shown.0, shown.1) => shown,
                    _ => continue,
                };
                let newest: Option<Content> = if slot.picture {
                    slot.decoder.newest
                } else {
                    slot.sounds.values().next_back().copied()
                };
                let good = newest.map_or(false, |content| {
                    let frame = content.frame;
                    (frame.by, frame.track, frame.layer) == shown && content.captured >= since
                });
                assert!(
                    good,
                    "viewer {} has in slot {number} {newest:?} instead of {shown:?}",
                    person.id
                );
            }
        }
        for count in [Count::DropOutboxFull, Count::DropIndexSpent, Count::DropSeal] {
            assert_eq!(self.shard.counters.get(count), 0, "{count:?}");
        }
    }

    pub fn present(&self) -> Vec<usize> {
        (0..self.places.len())
            .filter(|&place| !self.places[place].gone)
            .collect()
    }

    /// The first slots show everyone the others.
    pub fn introduce(&mut self) {
        let present = self.present();
        for &viewer in &present {
            let others = present.iter().filter(|&&other| other != viewer);
            for (pair, &other) in others.take(2).enumerate() {
                let (viewer, other) = (self.places[viewer].person.id, self.places[other].person.id);
                self.show(viewer, pair as u8, Some((other, MICROPHONE, 0)));
                let layer = self.random.below(2) as u8;
                self.show(viewer, 2 + pair as u8, Some((other, CAMERA, layer)));
            }
        }
    }
}
