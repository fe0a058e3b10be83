//! A token bucket in one number: how often something may be, and how many times at once.

use crate::clock::Micros;

/// `burst` times at once, and once each `every` in the long run.
#[derive(Clone, Copy)]
pub struct Rate {
    pub burst: u64,
    pub every: Micros,
}

/// The generic cell rate algorithm (ITU-T I.371): one time instead of a count and a time.
#[derive(Clone, Copy, Default)]
pub struct Bucket {
    full_at: Micros,
}

impl Bucket {
    /// Whether there is a token.
    pub fn has(&self, now: Micros, rate: Rate) -> bool {
        self.full_at <= now + rate.every * (rate.burst - 1)
    }

    /// Takes a token, there or not: what happened is counted, and is no debt beyond an empty bucket.
    pub fn charge(&mut self, now: Micros, rate: Rate) {
        self.full_at = (self.full_at.max(now) + rate.every).min(now + rate.every * rate.burst);
    }

    /// Takes a token, if there is one.
    pub fn take(&mut self, now: Micros, rate: Rate) -> bool {
        let has = self.has(now, rate);
        if has {
            self.charge(now, rate);
        }
        has
    }

    /// When all tokens are there again.
    pub fn full_at(&self) -> Micros {
        self.full_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { burst: 3, every: 100 };

    #[test]
    fn it_gives_its_burst_at_once_and_then_one_each_interval() {
        let mut bucket = Bucket::default();
        let given = |bucket: &mut Bucket, now| (0..10).filter(|_| bucket.take(now, RATE)).count();
        assert_eq!(given(&mut bucket, 1_000), 3);
        assert_eq!(given(&mut bucket, 1_099), 0);
        assert_eq!(given(&mut bucket, 1_100), 1);
        assert_eq!(given(&mut bucket, 1_300), 2);
        assert_eq!(given(&mut bucket, 1_000_000), 3, "no more than the burst is saved");
    }

    #[test]
    fn what_is_charged_without_asking_is_no_debt() {
        let mut bucket = Bucket::default();
        (0..100).for_each(|_| bucket.charge(0, RATE));
        assert!(!bucket.has(99, RATE));
        assert!(bucket.has(100, RATE));
    }
}
