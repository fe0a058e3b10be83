//! Visits on a simulated network: a thousand seeds a run, each a few virtual seconds; the one that fails is printed.
//!
//! `SIM_SEED=n cargo test --test sim` replays exactly that one; `SIM_SEEDS=n` runs so many.

#[allow(dead_code)]
#[path = "../../src/testing.rs"]
mod testing;

#[path = "../client/mod.rs"]
mod client;

mod content;
mod decoder;
mod house;
mod loss;
mod network;
mod person;
mod receiving;
mod sending;
mod visit;
mod witness;
mod world;

use std::io::Write;
use std::ops::AddAssign;
use std::sync::Mutex;

use visit::Seen;

/// To be seen also when the test passes: what `println` writes is not.
macro_rules! report {
    ($($what:tt)*) => { let _ = writeln!(std::io::stderr(), $($what)*); };
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text}: not a number")))
}

impl AddAssign for Seen {
    fn add_assign(&mut self, other: Seen) {
        self.media += other.media;
        self.repairs += other.repairs;
        self.lost += other.lost;
        self.frames += other.frames;
    }
}

/// Runs one seed; says which it was if it fails.
fn run(seed: u64) -> Result<Seen, u64> {
    std::panic::catch_unwind(|| visit::run(seed)).map_err(|_| {
        report!("seed {seed} failed; again: SIM_SEED={seed} cargo test --test sim");
        seed
    })
}

#[test]
fn whatever_the_network_does_a_visit_keeps_its_promises() {
    let seeds: Vec<u64> = match number("SIM_SEED") {
        Some(seed) => vec![seed],
        None => (1..=number("SIM_SEEDS").unwrap_or(1000)).rev().collect(),
    };
    let count = seeds.len();
    let (left, seen, failed) = (Mutex::new(seeds), Mutex::new(Seen::default()), Mutex::new(vec![]));
    let next = || left.lock().unwrap().pop();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(seed) = next() {
                    match run(seed) {
                        Ok(one) => *seen.lock().unwrap() += one,
                        Err(seed) => failed.lock().unwrap().push(seed),
                    }
                }
            });
        }
    });
    let (seen, mut failed) = (seen.into_inner().unwrap(), failed.into_inner().unwrap());
    failed.sort_unstable();
    report!(
        "{count} visits: {} packets forwarded, {} repairs, {} lost on the way, {} pictures decoded",
        seen.media,
        seen.repairs,
        seen.lost,
        seen.frames
    );
    assert!(failed.is_empty(), "{} seeds failed: {failed:?}", failed.len());
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    for seed in 1..=10 {
        assert_eq!(visit::run(seed), visit::run(seed), "seed {seed}");
    }
    assert_ne!(visit::run(1).log, visit::run(2).log);
}
