//! One direction of somebody's link: what it loses, delays, doubles, reorders and queues, in virtual time.

use crate::testing::Random;
use vardrum_engine::Micros;

pub const MS: Micros = 1_000;

/// How packets get lost; chances in thousandths.
#[derive(Clone, Copy, Debug)]
pub enum Loss {
    None,
    /// Each packet by itself (Bernoulli).
    Single {
        chance: usize,
    },
    /// In bursts (Gilbert-Elliott): chances to enter and to leave the bad state, and to lose a packet in it.
    Burst {
        enter: usize,
        leave: usize,
        chance: usize,
    },
}

/// What a link is like; chances in thousandths.
#[derive(Clone, Copy, Debug)]
pub struct Conditions {
    pub delay: Micros,
    /// On top of the delay, between nothing and this; packets stay in order.
    pub jitter: Micros,
    pub loss: Loss,
    /// A packet that is reordered is late by up to 40 ms, whatever follows it.
    pub reorder: usize,
    pub duplicate: usize,
    /// In bit/s, with a drop-tail queue of `queue`; `None` is faster than anyone sends.
    pub rate: Option<u64>,
    pub queue: Micros,
}

impl Conditions {
    /// A link that does nothing but take its time.
    pub fn calm(delay: Micros) -> Conditions {
        Conditions {
            delay,
            jitter: 0,
            loss: Loss::None,
            reorder: 0,
            duplicate: 0,
            rate: None,
            queue: 0,
        }
    }

    /// Anything from a good office to a tram in a tunnel.
    pub fn random(random: &mut Random) -> Conditions {
        let loss = match random.below(4) {
            0 => Loss::None,
            1 | 2 => Loss::Single {
                chance: 5 + random.below(120),
            },
            _ => Loss::Burst {
                enter: 2 + random.below(15),
                leave: 60 + random.below(300),
                chance: 300 + random.below(700),
            },
        };
        let (far, uneven) = ([20, 60, 150][random.below(3)], [1, 5, 30][random.below(3)]);
        Conditions {
            delay: (1 + random.below(far)) as Micros * MS,
            jitter: random.below(uneven) as Micros * MS,
            loss,
            reorder: [0, 0, 5, 30][random.below(4)],
            duplicate: [0, 0, 5, 20][random.below(4)],
            rate: [None, None, Some(250_000), Some(600_000)][random.below(4)],
            queue: (50 + random.below(250)) as Micros * MS,
        }
    }
}

pub struct Link {
    pub conditions: Conditions,
    bad: bool,
    /// When what is queued will have been sent.
    free: Micros,
    newest_arrival: Micros,
    pub lost: u64,
    pub carried: u64,
}

/// What IPv4 and UDP add to a datagram.
const HEADERS: u64 = 28;

impl Link {
    pub fn new(conditions: Conditions) -> Link {
        Link {
            conditions,
            bad: false,
            free: 0,
            newest_arrival: 0,
            lost: 0,
            carried: 0,
        }
    }

    /// When a datagram of `len` bytes that is sent now arrives: never, once or twice.
    pub fn send(&mut self, now: Micros, len: usize, random: &mut Random) -> [Option<Micros>; 2] {
        if self.loses(random) || !self.queue(now, len) {
            self.lost += 1;
            return [None, None];
        }
        self.carried += 1;
        let c = self.conditions;
        let sent = if c.rate.is_some() { self.free } else { now };
        let jittered = sent + c.delay + random.below(c.jitter as usize + 1) as Micros;
        let arrival = if random.below(1000) < c.reorder {
            jittered + random.below(40_000) as Micros
        } else {
            self.newest_arrival = self.newest_arrival.max(jittered);
            self.newest_arrival
        };
        let again = random.below(1000) < c.duplicate;
        let second = arrival + random.below(20_000) as Micros;
        [Some(arrival), Some(second).filter(|_| again)]
    }

    fn loses(&mut self, random: &mut Random) -> bool {
        match self.conditions.loss {
            Loss::None => false,
            Loss::Single { chance } => random.below(1000) < chance,
            Loss::Burst { enter, leave, chance } => {
                let turn = if self.bad { leave } else { enter };
                self.bad ^= random.below(1000) < turn;
                self.bad && random.below(1000) < chance
            }
        }
    }

    /// Takes its turn in the queue; `false` where the queue is full.
    fn queue(&mut self, now: Micros, len: usize) -> bool {
        if let Some(rate) = self.conditions.rate {
            let begin = self.free.max(now);
            if begin > now + self.conditions.queue {
                return false;
            }
            self.free = begin + (len as u64 + HEADERS) * 8 * 1_000_000 / rate;
        }
        true
    }
}
