use super::*;
use crate::rtcp::{packets, Packet};
use crate::testing::for_each_seed;
use crate::twcc::Arrivals;

const MS: Micros = 1_000;
const PACKET: usize = 1_250;
const PATH: Micros = 30 * MS;

/// A path of a given rate with an endless queue, its receiver, and the way back of its feedback.
struct Path {
    now: Micros,
    history: History,
    meter: Meter,
    probe: Probe,
    arrivals: Arrivals,
    bits_per_second: u64,
    /// When the path is free again.
    free: Micros,
    under_way: Vec<(u16, Micros)>,
    feedback_at: Micros,
    /// The receiver's clock is ahead of ours by so much.
    ahead: Micros,
    trips: Vec<Micros>,
}

impl Path {
    fn new(bits_per_second: u64) -> Path {
        Path {
            now: 1_000 * MS,
            history: History::default(),
            meter: Meter::default(),
            probe: Probe::default(),
            arrivals: Arrivals::new(),
            bits_per_second,
            free: 0,
            under_way: Vec::new(),
            feedback_at: 0,
            // The 24 bits of the reference time wrap one second into the test.
            ahead: (1 << 24) * 64 * MS - 2_000 * MS,
            trips: Vec::new(),
        }
    }

    fn send(&mut self, bytes: usize) {
        let number = self.history.next();
        self.history.record(self.now, bytes, self.probe.present(), false);
        self.probe.on_sent(number, bytes);
        self.free = self.free.max(self.now) + bytes as u64 * 8_000_000 / self.bits_per_second;
        self.under_way.push((number as u16, self.free + PATH));
    }

    /// Lets a millisecond pass.
    fn pass(&mut self) {
        self.now += MS;
        let (now, ahead) = (self.now, self.ahead);
        let arrivals = &mut self.arrivals;
        self.under_way.retain(|&(number, at)| {
            if at <= now {
                arrivals.record(number, at + ahead);
            }
            at > now
        });
        if self.now >= self.feedback_at {
            self.feedback_at = self.now + 50 * MS;
            let mut compound = Vec::new();
            if self.arrivals.build(&mut compound, 1, 2, self.now + ahead) {
                self.tell(&compound, PATH);
            }
        }
    }

    fn tell(&mut self, compound: &[u8], later: Micros) {
        for packet in packets(compound) {
            if let Packet::TransportFeedback { fci, .. } = packet.unwrap() {
                let at = self.now + later;
                let sample = self.meter.on_feedback(at, fci, &mut self.history, &mut self.probe);
                self.trips.extend(sample.unwrap());
            }
        }
    }

    /// Sends at a rate for so many milliseconds.
    fn run(&mut self, bits_per_second: u64, ms: u64) {
        let mut owed = 0;
        for _ in 0..ms {
            owed += bits_per_second / 1000;
            while owed >= PACKET as u64 * 8 {
                owed -= PACKET as u64 * 8;
                self.send(PACKET);
            }
            self.pass();
        }
    }
}

#[test]
fn an_empty_path_has_no_queue_and_no_trend_and_all_that_is_sent_arrives() {
    let mut path = Path::new(10_000_000);
    path.run(1_000_000, 3_000);
    assert!(path.meter.queue_delay() < 1_500.0, "{} us", path.meter.queue_delay());
    assert!(path.meter.trend().abs() < 0.01, "{}", path.meter.trend());
    let rate = path.meter.acked_rate(path.now);
    assert!((rate / 1e6 - 1.0).abs() < 0.05, "{rate} bit/s");
    assert_eq!(path.history.lost, 0);
    let trip = *path.trips.last().unwrap();
    assert!((2 * PATH..2 * PATH + 15 * MS).contains(&trip), "{trip} us");
}

#[test]
fn a_queue_that_builds_up_shows_as_delay_and_as_trend_and_the_rate_is_the_paths() {
    let mut path = Path::new(500_000);
    path.run(300_000, 2_000);
    assert!(path.meter.trend().abs() < 0.02, "{}", path.meter.trend());
    path.run(750_000, 1_000);
    // Half as much again as fits: who was sent two thirds of a second into it, and is told of now, waited for half of that.
    let delay = path.meter.queue_delay();
    assert!((250_000.0..350_000.0).contains(&delay), "{delay} us");
    assert!((0.2..0.6).contains(&path.meter.trend()), "{}", path.meter.trend());
    let rate = path.meter.acked_rate(path.now);
    assert!((rate / 5e5 - 1.0).abs() < 0.05, "{rate} bit/s");
    path.run(100_000, 1_000);
    assert!(path.meter.trend() < -0.1, "the queue empties: {}", path.meter.trend());
}

#[test]
fn a_delay_that_stays_becomes_the_paths_own_after_ten_seconds() {
    let mut path = Path::new(5_000_000);
    path.run(200_000, 2_000);
    path.ahead += 80 * MS; // as good as a longer path
    path.run(200_000, 5_000);
    assert!((path.meter.queue_delay() - 80_000.0).abs() < 3_000.0);
    path.run(200_000, 6_000);
    assert!(path.meter.queue_delay() < 3_000.0, "{}", path.meter.queue_delay());
}

#[test]
fn the_acked_rate_falls_when_feedback_fails_to_come() {
    let mut path = Path::new(5_000_000);
    path.run(400_000, 1_000);
    let rate = path.meter.acked_rate(path.now);
    assert!((rate / 4e5 - 1.0).abs() < 0.1, "{rate}");
    assert!(path.meter.acked_rate(path.now + 2_000 * MS) < rate / 3.0);
    assert!(path.meter.feedback_age(path.now + 2_000 * MS).unwrap() >= 1_900 * MS);
}

#[test]
fn feedback_told_twice_or_late_changes_nothing() {
    for first in [0u16, 1, 65_534, 65_535] {
        let mut path = Path::new(1_000_000);
        while path.history.next() as u16 != first {
            path.history.record(0, 0, 0, false);
        }
        let mut compounds: Vec<Vec<u8>> = Vec::new();
        for i in 0..6u16 {
            path.history.record(path.now, PACKET, 0, false);
            path.arrivals.record(first.wrapping_add(i), path.now + PATH);
            let mut compound = Vec::new();
            path.arrivals.build(&mut compound, 1, 2, path.now + PATH);
            compounds.push(compound);
            path.now += 20 * MS;
        }
        for compound in compounds.iter().chain(&compounds).chain(compounds.iter().rev()) {
            path.tell(compound, 0);
        }
        assert_eq!(path.history.acked.packets, 6, "from {first}");
        assert_eq!(path.meter.queue_delay(), 0.0);
    }
}

#[test]
fn a_receiver_whose_clock_is_set_begins_anew() {
    let mut path = Path::new(1_000_000);
    path.run(300_000, 1_000);
    path.ahead = 5_000_000 * MS;
    path.arrivals = Arrivals::new();
    path.run(300_000, 1_000);
    assert!(path.meter.queue_delay() < 5_000.0);
    let rate = path.meter.acked_rate(path.now);
    assert!((rate / 3e5 - 1.0).abs() < 0.1, "{rate}");
}

#[test]
fn a_probe_finds_the_paths_rate_where_it_sends_more_and_its_own_where_less() {
    for (path_rate, probe_rate, found) in [(800_000, 1_500_000, 800_000.0), (5_000_000, 1_500_000, 1_500_000.0)] {
        let mut path = Path::new(path_rate);
        path.run(200_000, 500);
        path.probe.start(path.now, 7, probe_rate, 150);
        for _ in 0..400 {
            let mut due = path.probe.due(path.now) as i64;
            while due > 0 {
                path.send(300);
                due -= 300;
            }
            assert!(path.probe.result() == 0.0 || path.probe.present() == 0);
            path.pass();
        }
        let result = path.probe.result();
        assert!((result / found - 1.0).abs() < 0.1, "{result} bit/s, not {found}");
        path.run(200_000, 500);
        assert_eq!(path.probe.result(), result, "it stays as measured");
    }
}

#[test]
fn a_probe_that_is_never_answered_has_no_result() {
    let mut probe = Probe::default();
    probe.start(0, 1, 300_000, 100);
    assert!(probe.due(0) > 0);
    probe.on_sent(70_000, 300);
    probe.due(200 * MS);
    probe.on_feedback(10_000 * MS, 0);
    assert_eq!((probe.present(), probe.result()), (0, 0.0));
}

#[test]
fn no_feedback_makes_it_panic() {
    for_each_seed(3_000, |random| {
        let mut path = Path::new(1_000_000);
        path.now = random.below(100_000) as Micros * MS;
        for _ in 0..random.below(50) {
            path.history.record(path.now, random.below(1_500), 0, random.one_in(2));
        }
        path.probe.start(path.now, 1, 1_000_000, 100);
        for _ in 0..20 {
            path.now += random.below(20_000_000) as Micros;
            let sequence = (path.history.next() as u16).wrapping_sub(random.below(60) as u16);
            let mut fci = sequence.to_be_bytes().to_vec();
            fci.extend([0, random.below(40) as u8]);
            fci.extend(random.bytes(60));
            let _ = path
                .meter
                .on_feedback(path.now, &fci, &mut path.history, &mut path.probe);
        }
        assert!(path.meter.queue_delay() >= 0.0);
        assert!(path.meter.trend().is_finite() && path.meter.acked_rate(path.now).is_finite());
        assert!(path.probe.result().is_finite());
    });
}
