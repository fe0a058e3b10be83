//! What happens in a visit, drawn from its seed: joins, leaves, switches, mutes, rebinding NATs, bad links.

use std::net::SocketAddr;

use crate::client::{CAMERA, MICROPHONE};
use crate::network::{Conditions, MS};
use crate::world::World;
use vardrum_engine::Micros;

/// What was seen of a visit, for figures.
#[derive(Default, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    pub log: u64,
    pub media: u64,
    pub repairs: u64,
    pub lost: u64,
    pub frames: u64,
}

/// How long links are calm at the end, so that all can recover: a lost PLI, its repetition, a key frame.
const CALM: Micros = 2_000 * MS;

/// Runs the visit of a seed; panics where something is not as it must be.
pub fn run(seed: u64) -> Seen {
    let mut world = World::new(seed);
    world.trusting = true;
    let people = 2 + world.random.below(3);
    for _ in 0..people {
        let (up, down) = conditions(&mut world);
        world.join(up, down);
    }
    world.introduce();
    let end = (500 + world.random.below(2_500)) as Micros * MS;
    while world.now < end {
        let pause = 1 + world.random.below(250) as Micros * MS;
        world.run(world.now + pause);
        something(&mut world);
    }
    settle(&mut world);
    world.run(world.now + CALM);
    world.check_recovered(world.now - 600 * MS);
    world.witness.close(&world.house);
    Seen {
        log: world.witness.log,
        media: world.witness.media,
        repairs: world.witness.repairs,
        lost: world.places.iter().map(|place| place.up.lost + place.down.lost).sum(),
        frames: world
            .places
            .iter()
            .flat_map(|place| &place.person.slots)
            .map(|slot| slot.decoder.frames)
            .sum(),
    }
}

fn conditions(world: &mut World) -> (Conditions, Conditions) {
    (
        Conditions::random(&mut world.random),
        Conditions::random(&mut world.random),
    )
}

fn something(world: &mut World) {
    let present = world.present();
    let place = present[world.random.below(present.len())];
    let other = present[world.random.below(present.len())];
    let (one, two) = (world.places[place].person.id, world.places[other].person.id);
    match world.random.below(19) {
        0..=3 => {
            let slot = 2 + world.random.below(2) as u8;
            if let Some((by, track, layer)) = world.house.shown(one, slot) {
                // Or the same one, with other temporal layers.
                let other_layer = if world.random.one_in(3) { layer } else { 1 - layer };
                world.show(one, slot, Some((by, track, other_layer)));
            }
        }
        4 | 5 if one != two => {
            let (slot, layer) = (world.random.below(4) as u8, world.random.below(2) as u8);
            let shown = if slot < 2 {
                (two, MICROPHONE, 0)
            } else {
                (two, CAMERA, layer)
            };
            world.show(one, slot, Some(shown));
        }
        6 => {
            let slot = world.random.below(4) as u8;
            world.show(one, slot, None);
        }
        7 | 8 => {
            let track = [MICROPHONE, CAMERA][world.random.below(2)];
            let muted = world.house.is_muted(one, track);
            world.mute(one, track, !muted);
        }
        9 => world.rebind(place),
        10 if world.places[place].person.answered => {
            world.forge(place, SocketAddr::from(([198, 51, 100, 9], 53)).into())
        }
        11 => world.places[place].person.sending.camera_on ^= true,
        12 => world.sound(one),
        14 => world.target(one),
        15 => world.probe(one),
        16 if present.len() > 2 => world.leave(place),
        13 if world.places.len() < 6 => {
            let (up, down) = conditions(world);
            world.join(up, down);
            world.introduce();
        }
        _ => {
            let (up, down) = conditions(world);
            let delays = (
                world.places[place].up.conditions.delay,
                world.places[place].down.conditions.delay,
            );
            world.places[place].up.conditions = Conditions { delay: delays.0, ..up };
            world.places[place].down.conditions = Conditions {
                delay: delays.1,
                ..down
            };
        }
    }
}

/// The network is good again, and all cameras are on.
fn settle(world: &mut World) {
    world.calm();
    for place in &mut world.places {
        place.person.sending.camera_on = true;
    }
    for place in world.present() {
        world.unlimited(world.places[place].person.id);
    }
}
