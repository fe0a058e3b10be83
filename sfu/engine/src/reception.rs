//! How well one source is received: what a report block says of it (RFC 3550, sections 6.4.1, A.3 and A.8).

use crate::clock::Micros;
use crate::rtcp::ReportBlock;

/// The statistics of one SSRC.
#[derive(Debug)]
pub struct Reception {
    clock_rate: u32,
    range: Option<(u64, u64)>, // first and highest extended sequence number
    received: u64,
    expected_before: u64, // at the last report
    received_before: u64,
    transit: Option<u32>,
    jitter: u64, // 16 times the jitter, as in A.8
    last_sr: Option<(u32, Micros)>,
}

impl Reception {
    /// `clock_rate`: of the RTP timestamps, in Hz.
    pub fn new(clock_rate: u32) -> Self {
        Reception {
            clock_rate,
            range: None,
            received: 0,
            expected_before: 0,
            received_before: 0,
            transit: None,
            jitter: 0,
            last_sr: None,
        }
    }

    /// Takes note of a packet: its extended sequence number (`rtp::Unwrapper`), RTP timestamp and arrival.
    pub fn on_packet(&mut self, seq: u64, timestamp: u32, now: Micros) {
        self.received += 1;
        self.range = Some(
            self.range
                .map_or((seq, seq), |(first, highest)| (first, highest.max(seq))),
        );

        let rate = u64::from(self.clock_rate);
        let arrival = (now / 1_000_000 * rate + now % 1_000_000 * rate / 1_000_000) as u32;
        let transit = arrival.wrapping_sub(timestamp);
        if let Some(before) = self.transit {
            let distance = u64::from((transit.wrapping_sub(before) as i32).unsigned_abs());
            self.jitter = self.jitter + distance - (self.jitter + 8) / 16;
        }
        self.transit = Some(transit);
    }

    /// Takes note of an SR of this source: the middle 32 bits of its NTP time, `rtcp::compact`.
    pub fn on_sender_report(&mut self, compact_ntp: u32, now: Micros) {
        self.last_sr = Some((compact_ntp, now));
    }

    /// The extended sequence number of the first packet.
    pub fn first(&self) -> Option<u64> {
        self.range.map(|(first, _)| first)
    }

    /// Packets that should have come since the start.
    pub fn expected(&self) -> u64 {
        self.range.map_or(0, |(first, highest)| highest - first + 1)
    }

    /// Packets that came, duplicates included.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Expected less received since the start; negative with many duplicates.
    pub fn lost(&self) -> i64 {
        self.expected() as i64 - self.received as i64
    }

    /// Interarrival jitter in units of the RTP clock.
    pub fn jitter(&self) -> u32 {
        (self.jitter / 16).min(u64::from(u32::MAX)) as u32
    }

    /// The block for the next report, with the fraction lost since the one before; nothing before the first packet.
    pub fn report(&mut self, ssrc: u32, now: Micros) -> Option<ReportBlock> {
        let (first, highest) = self.range?;
        let expected = self.expected();
        let expected_now = expected - self.expected_before;
        let received_now = self.received - self.received_before;
        self.expected_before = expected;
        self.received_before = self.received;
        let lost_now = expected_now.saturating_sub(received_now);
        let fraction_lost = (lost_now * 256).checked_div(expected_now).unwrap_or(0).min(255) as u8;
        let (last_sr, delay_since_sr) = self.last_sr.map_or((0, 0), |(sr, at)| {
            let delay = u128::from(now.saturating_sub(at)) * 65_536 / 1_000_000;
            (sr, u32::try_from(delay).unwrap_or(u32::MAX))
        });
        Some(ReportBlock {
            ssrc,
            fraction_lost,
            lost: self.lost().clamp(-0x80_0000, 0x7f_ffff) as i32,
            highest: (highest - (first & !0xffff)) as u32, // the first round counts as 0
            jitter: self.jitter(),
            last_sr,
            delay_since_sr,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: u64 = 0x1_0000;

    #[test]
    fn nothing_is_said_before_the_first_packet() {
        assert_eq!(Reception::new(48_000).report(1, 0), None);
    }

    #[test]
    fn loss_is_counted_over_the_wrap_and_the_fraction_since_the_last_report() {
        let mut reception = Reception::new(48_000);
        for seq in [65_534, 65_535, 65_537, 65_538] {
            reception.on_packet(FIRST + seq, 0, 0); // 65536 is missing
        }
        let block = reception.report(7, 0).unwrap();
        assert_eq!(
            (block.ssrc, block.fraction_lost, block.lost, block.highest),
            (7, 51, 1, 65_538)
        );
        for seq in 65_539..65_549 {
            reception.on_packet(FIRST + seq, 0, 0);
        }
        let block = reception.report(7, 0).unwrap();
        assert_eq!((block.fraction_lost, block.lost, block.highest), (0, 1, 65_548));
    }

    #[test]
    fn an_older_packet_after_the_first_and_duplicates_make_the_loss_negative_and_the_fraction_zero() {
        for first in [0, 1, 65_534, 65_535] {
            let mut reception = Reception::new(48_000);
            reception.on_packet(FIRST + first, 0, 0);
            reception.on_packet(FIRST + first - 1, 0, 0);
            reception.on_packet(FIRST + first, 0, 0);
            let block = reception.report(7, 0).unwrap();
            assert_eq!(
                (block.fraction_lost, block.lost, u64::from(block.highest)),
                (0, -2, first)
            );
        }
    }

    #[test]
    fn a_total_loss_but_one_stays_within_its_byte() {
        let mut reception = Reception::new(48_000);
        reception.on_packet(FIRST, 0, 0);
        reception.report(7, 0);
        reception.on_packet(FIRST + 30_000, 0, 0);
        assert_eq!(reception.report(7, 0).unwrap().fraction_lost, 255);
    }

    #[test]
    fn even_packets_have_no_jitter_and_late_ones_a_sixteenth_of_their_delay() {
        let mut reception = Reception::new(48_000);
        let start = u32::MAX - 960; // the timestamp wraps as well
        for n in 0..10 {
            reception.on_packet(FIRST + n, start.wrapping_add(n as u32 * 960), n * 20_000);
        }
        assert_eq!(reception.jitter(), 0);
        reception.on_packet(FIRST + 10, start.wrapping_add(9600), 210_000); // 10 ms late: 480 units
        assert_eq!(reception.jitter(), 30);
    }

    #[test]
    fn hostile_timestamps_do_not_overflow_the_jitter() {
        let mut reception = Reception::new(90_000);
        for n in 0..1000 {
            reception.on_packet(FIRST + n, if n % 2 == 0 { 0 } else { 0x8000_0000 }, Micros::MAX / 2);
        }
        assert!(reception.jitter() > 0x7000_0000);
    }

    #[test]
    fn the_last_sender_report_and_its_age_are_told() {
        let mut reception = Reception::new(48_000);
        reception.on_packet(FIRST, 0, 0);
        assert_eq!(
            reception
                .report(7, 0)
                .map(|block| (block.last_sr, block.delay_since_sr)),
            Some((0, 0))
        );
        reception.on_sender_report(0x0304_0506, 1_000_000);
        let block = reception.report(7, 1_500_000).unwrap();
        assert_eq!((block.last_sr, block.delay_since_sr), (0x0304_0506, 0x8000));
    }
}
