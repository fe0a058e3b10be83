//! Which datagrams go out in one message to the kernel: those for one destination, one after the other, of one size.
//!
//! UDP GSO takes several datagrams of one size as one, the last may be shorter, and parts them as late as it can: below
//! most of what a datagram costs. Whatever goes to one destination keeps its order; between destinations there is none.

use std::hash::{BuildHasher, Hash, Hasher};

use crate::address::Address;
use crate::hash::Keyed;
use crate::outbox::{Outbox, MAX_DATAGRAMS};

/// Datagrams in a run: what every kernel with GSO takes (UDP_MAX_SEGMENTS; later ones take 128).
pub const MAX_SEGMENTS: usize = 64;
/// Bytes of a run: what fits an IP packet's 16-bit length, less headers.
pub const MAX_RUN: usize = 65_000;

const NONE: u16 = u16::MAX;
/// Places of the table of destinations: at most half of them are taken.
const PLACES: usize = 2 * MAX_DATAGRAMS;

/// `len` datagrams of `Runs::order` from `start` on, for one destination, of `size` bytes but for the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    pub start: usize,
    pub len: usize,
    pub size: usize,
}

/// The datagrams for one destination: a chain through `Runs::next`.
struct Group {
    to: Address,
    first: u16,
    last: u16,
}

/// The plan for one outbox, made anew for each without allocation.
pub struct Runs {
    keyed: Keyed,
    /// Numbers of datagrams in the outbox, in the order in which they go out.
    pub order: Vec<u16>,
    pub runs: Vec<Run>,
    groups: Vec<Group>,
    next: Vec<u16>,
    /// In which plan a place was taken, and by which group.
    table: Vec<(u32, u16)>,
    plan: u32,
}

impl Runs {
    pub fn new(keyed: Keyed) -> Runs {
        Runs {
            keyed,
            order: Vec::with_capacity(MAX_DATAGRAMS),
            runs: Vec::with_capacity(MAX_DATAGRAMS),
            groups: Vec::with_capacity(MAX_DATAGRAMS),
            next: Vec::with_capacity(MAX_DATAGRAMS),
            table: vec![(0, NONE); PLACES],
            plan: 0,
        }
    }

    /// Plans every datagram as a run of its own, in the outbox's order.
    pub fn one_by_one(&mut self, outbox: &Outbox) {
        self.order.clear();
        self.runs.clear();
        for i in 0..outbox.len() {
            self.order.push(i as u16);
            self.runs.push(Run {
                start: i,
                len: 1,
                size: outbox.get(i).1.len(),
            });
        }
    }

    /// Plans as few runs as the datagrams' order and sizes allow.
    pub fn joined(&mut self, outbox: &Outbox) {
        self.group(outbox);
        self.order.clear();
        self.runs.clear();
        for group in &self.groups {
            let mut at = group.first;
            let mut run = Run {
                start: self.order.len(),
                len: 0,
                size: 0,
            };
            // Of the newest run: its bytes, and whether a shorter datagram has ended it.
            let (mut bytes, mut ended) = (0, false);
            while at != NONE {
                let len = outbox.get(usize::from(at)).1.len();
                let joins = !ended && len <= run.size && run.len < MAX_SEGMENTS && bytes + len <= MAX_RUN;
                if !joins {
                    if run.len > 0 {
                        self.runs.push(run);
                    }
                    run = Run {
                        start: self.order.len(),
                        len: 0,
                        size: len,
                    };
                    bytes = 0;
                }
                self.order.push(at);
                run.len += 1;
                bytes += len;
                ended = len < run.size;
                at = self.next[usize::from(at)];
            }
            self.runs.push(run);
        }
    }

    /// Chains the datagrams of each destination, destinations in the order of their first.
    fn group(&mut self, outbox: &Outbox) {
        self.groups.clear();
        self.next.clear();
        self.plan = self.plan.wrapping_add(1);
        if self.plan == 0 {
            self.table.fill((0, NONE));
            self.plan = 1;
        }
        for i in 0..outbox.len() {
            let (to, number) = (outbox.get(i).0, i as u16);
            self.next.push(NONE);
            let group = self.group_of(to, number);
            if group.last != number {
                let last = usize::from(group.last);
                group.last = number;
                self.next[last] = number;
            }
        }
    }

    /// The destination's group; a new one begins, and ends, with datagram `number`.
    fn group_of(&mut self, to: Address, number: u16) -> &mut Group {
        let mut state = self.keyed.build_hasher();
        to.hash(&mut state);
        let mut place = state.finish() as usize % PLACES;
        loop {
            let (plan, group) = self.table[place];
            if plan != self.plan {
                self.table[place] = (self.plan, self.groups.len() as u16);
                self.groups.push(Group {
                    to,
                    first: number,
                    last: number,
                });
                return self.groups.last_mut().expect("just pushed");
            }
            if self.groups[usize::from(group)].to == to {
                return &mut self.groups[usize::from(group)];
            }
            place = (place + 1) % PLACES;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    fn address(n: u16) -> Address {
        let ip = if n % 2 == 0 { "192.0.2.1" } else { "2001:db8::1" };
        Address::udp((ip.parse::<std::net::IpAddr>().unwrap(), 5_000 + n).into())
    }

    fn outbox(datagrams: &[(u16, usize)]) -> Outbox {
        let mut outbox = Outbox::default();
        for &(to, len) in datagrams {
            assert!(outbox.push(address(to), &[0; 1500][..len]));
        }
        outbox
    }

    fn plan(datagrams: &[(u16, usize)]) -> Vec<(Vec<u16>, usize)> {
        let mut runs = Runs::new(Keyed::new(|bytes| bytes.fill(0x5a)));
        runs.joined(&outbox(datagrams));
        let order = &runs.order;
        let shown = |run: &Run| (order[run.start..run.start + run.len].to_vec(), run.size);
        runs.runs.iter().map(shown).collect()
    }

    #[test]
    fn equal_sizes_for_one_destination_become_one_run_and_a_shorter_one_ends_it() {
        let datagrams = [(0, 900), (1, 900), (0, 900), (1, 901), (0, 400), (0, 400), (1, 901)];
        assert_eq!(
            plan(&datagrams),
            [(vec![0, 2, 4], 900), (vec![5], 400), (vec![1], 900), (vec![3, 6], 901),]
        );
        assert_eq!(plan(&[]), []);
    }

    #[test]
    fn a_run_ends_where_the_kernel_takes_no_more() {
        let segments: Vec<usize> = plan(&[(0, 100); 150]).iter().map(|(run, _)| run.len()).collect();
        assert_eq!(segments, [64, 64, 22]);
        let bytes: Vec<usize> = plan(&[(0, 1400); 100]).iter().map(|(run, _)| run.len()).collect();
        assert_eq!(bytes, [46, 46, 8]);
    }

    #[test]
    fn every_datagram_goes_out_once_and_in_order_for_its_destination_whatever_comes() {
        let mut rng = Rng::new([7; 16]);
        let mut runs = Runs::new(Keyed::new(|bytes| bytes.fill(0xc3)));
        for round in 0..300 {
            let n = if round == 0 {
                MAX_DATAGRAMS
            } else {
                rng.u32() as usize % 200
            };
            let (destinations, sizes) = (rng.u32() as u16 % 40 + 1, rng.u32() as usize % 4 + 1);
            let datagrams: Vec<(u16, usize)> = (0..n)
                .map(|_| (rng.u32() as u16 % destinations, 1_100 + rng.u32() as usize % sizes))
                .collect();
            runs.joined(&outbox(&datagrams));
            let mut seen = vec![Vec::new(); usize::from(destinations)];
            let mut at = 0;
            for run in &runs.runs {
                assert_eq!(run.start, at, "runs follow one another");
                at += run.len;
                let members = &runs.order[run.start..at];
                let to = datagrams[usize::from(members[0])].0;
                let (last, others) = members.split_last().unwrap();
                assert!(others.iter().all(|&i| datagrams[usize::from(i)] == (to, run.size)));
                assert!(datagrams[usize::from(*last)].0 == to && datagrams[usize::from(*last)].1 <= run.size);
                assert!(members.len() <= MAX_SEGMENTS && members.len() * run.size <= MAX_RUN + run.size);
                seen[usize::from(to)].extend_from_slice(members);
            }
            assert_eq!(at, n);
            for (to, order) in seen.iter().enumerate() {
                let expected: Vec<u16> = (0..n as u16)
                    .filter(|&i| usize::from(datagrams[usize::from(i)].0) == to)
                    .collect();
                assert_eq!(order, &expected, "destination {}", to);
            }
        }
    }
}
