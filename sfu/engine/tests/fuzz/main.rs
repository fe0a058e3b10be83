//! Every parser of what comes from outside, under bytes that are nearly right: nothing panics, nothing overflows,
//! and what is read again after it was written is the same.
//!
//! No coverage guides it; valid inputs do, of which a few bits, bytes and pieces go wrong. `FUZZ_SECONDS`
//! shares so much time among the parsers (5 by itself, more in `make test` and `make fuzz`), and `FUZZ_SEED`
//! is where chance begins. An input that fails is printed; it belongs into `KNOWN` then.

#[allow(dead_code)]
#[path = "../../src/testing.rs"]
mod testing;

#[path = "../client/mod.rs"]
mod client;

mod codecs;
mod corpus;
mod protocols;
mod shards;

use std::io::Write;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use testing::Random;

/// To be seen also when the test passes: what `println` writes is not.
macro_rules! report {
    ($($what:tt)*) => { let _ = writeln!(std::io::stderr(), $($what)*); };
}

type Check = Box<dyn FnMut(&[u8])>;

/// A parser, valid inputs for it, and what to try on it.
pub struct Target {
    pub name: &'static str,
    pub corpus: Vec<Vec<u8>>,
    pub check: Check,
}

impl Target {
    pub fn new(name: &'static str, corpus: Vec<Vec<u8>>, check: impl FnMut(&[u8]) + 'static) -> Target {
        Target {
            name,
            corpus,
            check: Box::new(check),
        }
    }
}

/// Inputs that once failed: parser, and bytes as hex.
const KNOWN: &[(&str, &str)] = &[];

/// Executions between two looks at the clock.
const ROUND: u64 = 256;

fn number(name: &str, otherwise: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text}: not a number")),
        Err(_) => otherwise,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Something like one of the valid inputs, or like two of them, or like nothing.
fn input(random: &mut Random, corpus: &[Vec<u8>]) -> Vec<u8> {
    let good = |random: &mut Random| corpus[random.below(corpus.len())].clone();
    match random.below(16) {
        0 => random.bytes(64),
        1 => {
            let (one, two) = (good(random), good(random));
            let (head, tail) = (random.below(one.len() + 1), random.below(two.len() + 1));
            [&one[..head], &two[tail..]].concat()
        }
        2 => {
            // A piece of it many times over.
            let one = good(random);
            let from = random.below(one.len());
            let piece = &one[from..from + random.below(one.len() - from + 1)];
            [&one[..from], &piece.repeat(1 + random.below(100))].concat()
        }
        3 => {
            let mut bytes = good(random);
            for byte in &mut bytes {
                if random.one_in(8) {
                    *byte = random.next() as u8;
                }
            }
            bytes
        }
        _ => {
            let one = good(random);
            random.mutated(&one)
        }
    }
}

/// Tries one input; says which it was if it fails.
fn run(target: &mut Target, bytes: &[u8]) {
    let check = AssertUnwindSafe(|| (target.check)(bytes));
    if std::panic::catch_unwind(check).is_err() {
        panic!("parser {}, {} bytes: {}", target.name, bytes.len(), hex(bytes));
    }
}

#[test]
fn whatever_the_bytes_no_parser_fails() {
    let seconds = number("FUZZ_SECONDS", 5);
    let seed = number("FUZZ_SEED", 1);
    let mut targets = protocols::targets();
    targets.extend(codecs::targets());
    targets.extend(shards::targets());
    for (name, text) in KNOWN {
        let target = targets.iter_mut().find(|target| target.name == *name);
        run(target.expect("a parser of that name"), &corpus::unhex(text));
    }
    let share = Duration::from_secs(seconds) / targets.len() as u32;
    let mut all = 0;
    for target in &mut targets {
        for good in target.corpus.clone() {
            run(target, &good);
        }
        let (began, mut random, mut count) = (Instant::now(), Random::new(seed), 0);
        while began.elapsed() < share || count == 0 {
            for _ in 0..ROUND {
                let bytes = input(&mut random, &target.corpus);
                run(target, &bytes);
            }
            count += ROUND;
        }
        report!("fuzz {:<22} {count:>12} executions", target.name);
        all += count;
    }
    report!("fuzz {:<22} {all:>12} executions in {seconds} s, seed {seed}", "all");
}
