//! What is counted of all bots of this process, and histograms that a reader can add up.

use std::fmt::Write;

/// Times in microseconds, in buckets that are at most 3 % wide: 64 of one microsecond, then 32 to each doubling.
pub struct Histogram(Vec<u64>);

const LINEAR: u64 = 64;
const PARTS: u64 = 32;
const BUCKETS: usize = (LINEAR + 26 * PARTS) as usize;

impl Default for Histogram {
    fn default() -> Self {
        Histogram(vec![0; BUCKETS])
    }
}

impl Histogram {
    pub fn add(&mut self, micros: u64) {
        let bucket = if micros < LINEAR {
            micros
        } else {
            let doublings = 63 - u64::from(micros.leading_zeros());
            LINEAR + (doublings - 6) * PARTS + (micros >> (doublings - 5) & (PARTS - 1))
        };
        self.0[(bucket as usize).min(BUCKETS - 1)] += 1;
    }

    /// Appends `[[bucket, count], …]` of what is not empty, and empties it.
    pub fn drain(&mut self, out: &mut String) {
        out.push('[');
        for (bucket, count) in self.0.iter_mut().enumerate().filter(|(_, count)| **count > 0) {
            let comma = if out.ends_with('[') { "" } else { "," };
            let _ = write!(out, "{comma}[{bucket},{count}]");
            *count = 0;
        }
        out.push(']');
    }
}

/// Since the start, unless said otherwise.
#[derive(Default)]
pub struct Figures {
    /// Media packets, their repetitions not among them, and bytes of all datagrams.
    pub sent: u64,
    pub sent_bytes: u64,
    pub received: u64,
    pub received_bytes: u64,
    pub resent: u64,
    /// Arrived as a repetition, where the first had been lost.
    pub repaired: u64,
    /// Arrived although it had arrived before.
    pub duplicates: u64,
    /// On a repetition's SSRC, without media: bandwidth probes.
    pub padding: u64,
    /// Not authentic, or of nobody that was announced.
    pub strange: u64,
    /// Datagrams that the kernel refused to send.
    pub refused: u64,
    /// Asked by the server: for packets, and for key frames.
    pub nacked: u64,
    pub key_frames_asked: u64,
    /// Pictures sent, and received whole.
    pub pictures_sent: u64,
    pub pictures: u64,
    /// Intervals without a new picture, longer than half a second, and their milliseconds.
    pub freezes: u64,
    pub frozen_ms: u64,
    /// Of streams that are gone.
    pub lost_before: u64,
    pub overflow_before: u64,
    /// Added delay of each packet since the last report: from just before it is sent to when the kernel has it.
    pub sound_delay: Histogram,
    pub picture_delay: Histogram,
    /// How much later than planned packets were sent, since the last report.
    pub late: Histogram,
    /// How long one system call to send took, since the last report.
    pub sending: Histogram,
}

impl Figures {
    /// Appends the fields of a JSON object, without its braces.
    pub fn write(&mut self, out: &mut String) {
        let counts = [
            ("sent", self.sent),
            ("sent_bytes", self.sent_bytes),
            ("received", self.received),
            ("received_bytes", self.received_bytes),
            ("resent", self.resent),
            ("repaired", self.repaired),
            ("duplicates", self.duplicates),
            ("padding", self.padding),
            ("strange", self.strange),
            ("refused", self.refused),
            ("nacked", self.nacked),
            ("key_frames_asked", self.key_frames_asked),
            ("pictures_sent", self.pictures_sent),
            ("pictures", self.pictures),
            ("freezes", self.freezes),
            ("frozen_ms", self.frozen_ms),
        ];
        for (name, count) in counts {
            let _ = write!(out, "\"{name}\":{count},");
        }
        for (name, histogram) in [
            ("sound_delay", &mut self.sound_delay),
            ("picture_delay", &mut self.picture_delay),
            ("late", &mut self.late),
            ("sending", &mut self.sending),
        ] {
            let _ = write!(out, "\"{name}\":");
            histogram.drain(out);
            out.push(',');
        }
        out.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_fall_into_buckets_that_grow_with_them() {
        let mut histogram = Histogram::default();
        for micros in [0, 63, 64, 65, 66, 127, 128, 1 << 40] {
            histogram.add(micros);
        }
        let mut out = String::new();
        histogram.drain(&mut out);
        assert_eq!(out, "[[0,1],[63,1],[64,2],[65,1],[95,1],[96,1],[895,1]]");
        out.clear();
        histogram.drain(&mut out);
        assert_eq!(out, "[]");
    }
}
