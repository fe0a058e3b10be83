//! How far away a peer is, from whatever tells.

use crate::clock::Micros;

/// Until something tells: what a phone's round trip may be.
const UNKNOWN: Micros = 100_000;
const LONGEST: Micros = 5_000_000;

/// A smoothed round trip, as TCP smooths it (RFC 6298, section 2).
#[derive(Clone, Copy, Debug, Default)]
pub struct RoundTrip {
    reported: Option<Micros>,
    repaired: Option<Micros>,
}

impl RoundTrip {
    /// A report block answered a sender report of ours.
    pub fn on_report(&mut self, sample: Micros) {
        self.reported = Some(smoothed(self.reported, sample));
    }

    /// A repair came so long after it was asked for. Who is shown nobody has no report to give, but repairs: their
    /// time is a little longer than the round trip.
    pub fn on_repair(&mut self, sample: Micros) {
        self.repaired = Some(smoothed(self.repaired, sample));
    }

    /// In microseconds; 100 ms while nothing is known.
    pub fn get(&self) -> Micros {
        self.reported.or(self.repaired).unwrap_or(UNKNOWN)
    }
}

fn smoothed(before: Option<Micros>, sample: Micros) -> Micros {
    let sample = sample.min(LONGEST);
    before.map_or(sample, |before| (before * 7 + sample) / 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_sample_counts_whole_and_reports_before_repairs() {
        let mut trip = RoundTrip::default();
        assert_eq!(trip.get(), UNKNOWN);
        trip.on_repair(80_000);
        assert_eq!(trip.get(), 80_000);
        trip.on_report(400_000);
        trip.on_repair(80_000);
        assert_eq!(trip.get(), 400_000);
        trip.on_report(80_000);
        assert_eq!(trip.get(), 360_000);
        trip.on_report(u64::MAX);
        assert_eq!(trip.get(), (360_000 * 7 + LONGEST) / 8);
    }
}
