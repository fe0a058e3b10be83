//! Which SRTP indices of a slot have been sealed: none is ever sealed over two different packets (DESIGN, "Sound is
//! repaired").

/// Indices this far back are known to be spent or not; older packets are not sent.
const WINDOW: u64 = 1024;

pub struct Spent {
    newest: u64,
    bits: [u64; (WINDOW / 64) as usize],
}

impl Spent {
    /// All up to `newest` count as not spent, and nothing after it is.
    pub fn new(newest: u64) -> Self {
        Self {
            newest,
            bits: [0; (WINDOW / 64) as usize],
        }
    }

    /// Whether an index was taken, as far as is known.
    pub fn has(&self, index: u64) -> bool {
        index <= self.newest
            && self.newest - index < WINDOW
            && self.bits[(index % WINDOW / 64) as usize] & 1 << (index % 64) != 0
    }

    /// Takes an index; `false` where it was taken before, or is older than the window.
    pub fn take(&mut self, index: u64) -> bool {
        if index > self.newest {
            if index - self.newest >= WINDOW {
                self.bits = [0; (WINDOW / 64) as usize];
            } else {
                for i in self.newest + 1..index {
                    self.bits[(i % WINDOW / 64) as usize] &= !(1 << (i % 64));
                }
            }
            self.newest = index;
        } else if self.newest - index >= WINDOW || self.bits[(index % WINDOW / 64) as usize] & 1 << (index % 64) != 0 {
            return false;
        }
        self.bits[(index % WINDOW / 64) as usize] |= 1 << (index % 64);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::for_each_seed;
    use std::collections::HashSet;

    #[test]
    fn no_index_is_taken_twice() {
        for_each_seed(50, |random| {
            let mut spent = Spent::new(65_530);
            let (mut taken, mut newest) = (HashSet::new(), 65_530);
            for _ in 0..2_000 {
                let back = if random.one_in(100) { 3_000 } else { 20 };
                let index = newest + 3 - random.below(back) as u64;
                newest = newest.max(index);
                let fresh = newest - index < WINDOW && !taken.contains(&index);
                assert_eq!(spent.take(index), fresh, "index {index}, newest {newest}");
                taken.insert(index);
            }
        });
    }
}
