//! What addresses that are no peer's may cost: failed attempts to pass for one, each with cryptography in it, are
//! counted by address in a table of fixed size.
//!
//! Only what names a peer, by user fragment or SSRC, is attempted at all. What an address gets wrong makes it wait;
//! one that is not heard any more for it may be somebody else behind the same NAT, or the victim of whoever forges it,
//! so each peer has a few attempts of its own (`Peer::take_attempt`) that no stranger's failures use up.

use std::hash::{BuildHasher, Hasher};
use std::net::IpAddr;

use crate::bucket::{Bucket, Rate};
use crate::clock::Micros;
use crate::hash::Keyed;
use crate::rng::Rng;

/// A hospital's people share one address, and a phone that comes back may try old keys for a moment.
const PER_ADDRESS: Rate = Rate {
    burst: 64,
    every: 31_250,
};
/// All strangers together, about a hundredth of a core: whoever forges addresses has many.
const ALTOGETHER: Rate = Rate {
    burst: 1_000,
    every: 200,
};
const SETS: usize = 2_048;
const WAYS: usize = 2;

/// An address's failures; the tag is of IPv4 the address, of IPv6 the first 64 bits: a household has that many.
#[derive(Clone, Copy, Default)]
struct Entry {
    tag: u64,
    failures: Bucket,
}

pub struct Strangers {
    sets: Vec<[Entry; WAYS]>,
    all: Bucket,
    keyed: Keyed,
}

impl Strangers {
    pub fn new(rng: &mut Rng) -> Strangers {
        Strangers {
            sets: vec![[Entry::default(); WAYS]; SETS],
            all: Bucket::default(),
            keyed: Keyed::new(|bytes| rng.fill(bytes)),
        }
    }

    /// Whether an attempt from `ip` may cost anything now.
    pub fn may_try(&self, now: Micros, ip: IpAddr) -> bool {
        let tag = tag(ip);
        let entry = self.sets[self.set(tag)].iter().find(|entry| entry.tag == tag);
        self.all.has(now, ALTOGETHER) && entry.map_or(true, |entry| entry.failures.has(now, PER_ADDRESS))
    }

    /// An attempt from `ip` has failed.
    pub fn failed(&mut self, now: Micros, ip: IpAddr) {
        self.all.charge(now, ALTOGETHER);
        let tag = tag(ip);
        let set = self.set(tag);
        let set = &mut self.sets[set];
        let place = match set.iter().position(|entry| entry.tag == tag) {
            Some(place) => place,
            // Who has failed least, or longest ago, makes room; the limit of all together is none's to escape.
            None => {
                let (place, _) = (0..WAYS)
                    .map(|place| (place, set[place].failures.full_at()))
                    .min_by_key(|&(_, full_at)| full_at)
                    .unwrap_or((0, 0));
                set[place] = Entry {
                    tag,
                    failures: Bucket::default(),
                };
                place
            }
        };
        set[place].failures.charge(now, PER_ADDRESS);
    }

    fn set(&self, tag: u64) -> usize {
        let mut hash = self.keyed.build_hasher();
        hash.write_u64(tag);
        hash.finish() as usize & (SETS - 1)
    }
}

fn tag(ip: IpAddr) -> u64 {
    match ip {
        // A first half that no IPv6 address in use has.
        IpAddr::V4(four) => 0xffff_0000_0000 | u64::from(u32::from(four)),
        IpAddr::V6(six) => match six.octets() {
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d] => tag(IpAddr::from([a, b, c, d])),
            [a, b, c, d, e, f, g, h, ..] => u64::from_be_bytes([a, b, c, d, e, f, g, h]),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strangers() -> Strangers {
        Strangers::new(&mut Rng::new([3; 16]))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// How many of 1000 failures at one time an address may cost.
    fn cost(strangers: &mut Strangers, now: Micros, ip: IpAddr) -> usize {
        (0..1000)
            .filter(|_| {
                let may = strangers.may_try(now, ip);
                if may {
                    strangers.failed(now, ip);
                }
                may
            })
            .count()
    }

    #[test]
    fn an_address_costs_so_much_and_another_is_heard_all_the_same() {
        let mut strangers = strangers();
        assert_eq!(cost(&mut strangers, 0, ip("192.0.2.1")), 64);
        assert!(strangers.may_try(0, ip("192.0.2.2")));
        assert_eq!(cost(&mut strangers, 1_000_000, ip("192.0.2.1")), 32);
        assert!(strangers.may_try(1_000_000, ip("192.0.2.2")));
    }

    #[test]
    fn all_addresses_of_a_household_are_one_and_so_are_both_spellings_of_ipv4() {
        let mut strangers = strangers();
        assert_eq!(cost(&mut strangers, 0, ip("2001:db8:1:2::3")), 64);
        assert!(!strangers.may_try(0, ip("2001:db8:1:2:ffff::9")));
        assert!(strangers.may_try(0, ip("2001:db8:1:3::3")));
        assert_eq!(cost(&mut strangers, 0, ip("192.0.2.1")), 64);
        assert!(!strangers.may_try(0, ip("::ffff:192.0.2.1")));
    }

    #[test]
    fn many_forged_addresses_cost_no_more_than_the_limit_of_all() {
        let mut strangers = strangers();
        let mut cost = 0;
        for second in 0..10u64 {
            for n in 0..50_000u32 {
                let now = second * 1_000_000 + u64::from(n) * 20;
                let from = IpAddr::from(n.wrapping_mul(2_654_435_761).to_be_bytes());
                if strangers.may_try(now, from) {
                    strangers.failed(now, from);
                    cost += 1;
                }
            }
        }
        assert!((40_000..=52_000).contains(&cost), "{cost} in 10 s");
    }
}
