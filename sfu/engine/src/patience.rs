//! How often one slot of a viewer may cost a publisher a key frame, which is as large as ten other pictures.
//!
//! A track is asked at most each 300 ms, whoever needs it (`track.rs`). That alone would let one viewer, who says that
//! every picture is broken or wants another layer each second, keep a publisher at three key frames a second for ever.

use crate::bucket::{Bucket, Rate};
use crate::clock::Micros;
use crate::counters::Count;

/// PLI and FIR. A decoder that lost much asks a few times in a row; if one key frame in three is lost, it comes through
/// all the same.
const BROKEN: Rate = Rate {
    burst: 5,
    every: 2_500_000,
};
/// As long as a request and its key frame are on their way another request is the same one again.
const ON_ITS_WAY: Micros = 300_000;
/// Switches, by wishes or for the network, and what they ask again for.
const SWITCHES: Rate = Rate {
    burst: 10,
    every: 1_000_000,
};

#[derive(Clone, Default)]
pub struct Patience {
    broken: Bucket,
    asked: Option<Micros>,
    switches: Bucket,
}

impl Patience {
    /// Takes a request of the viewer's: whether the publisher is to be asked, or has just been.
    ///
    /// Errors: there were too many of them.
    pub fn take_broken(&mut self, now: Micros) -> Result<bool, Count> {
        if self.asked.map_or(false, |asked| now < asked + ON_ITS_WAY) {
            return Ok(false);
        }
        if !self.broken.take(now, BROKEN) {
            return Err(Count::DropPliRate);
        }
        self.asked = Some(now);
        Ok(true)
    }

    /// Whether the slot may ask for a key frame to begin with now.
    pub fn take_switch(&mut self, now: Micros) -> bool {
        self.switches.take(now, SWITCHES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_complains_without_end_gets_one_key_frame_each_2500_ms() {
        let mut patience = Patience::default();
        let asked = (0..6_000u64).filter(|tick| patience.take_broken(tick * 10_000) == Ok(true));
        let asked = asked.count();
        assert!((27..=30).contains(&asked), "{asked} in a minute");
    }

    #[test]
    fn a_request_on_its_way_is_not_paid_for_twice() {
        let mut patience = Patience::default();
        assert_eq!(patience.take_broken(0), Ok(true));
        assert!((1..100).all(|n| patience.take_broken(n * 1_000) == Ok(false)));
        assert!((1..5).all(|n| patience.take_broken(n * 400_000) == Ok(true)));
        assert_eq!(patience.take_broken(2_000_000), Err(Count::DropPliRate));
        assert!(
            patience.take_switch(2_000_000),
            "what we ask ourselves is another matter"
        );
    }
}
