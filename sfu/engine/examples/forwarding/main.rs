//! CPU time that the engine needs for a forwarded packet, and that a bare loop of the same system calls and ciphers
//! needs, measured in turns over loopback. Prints a line of JSON for each measurement; `bench/engine.py` reads them.

mod bare;
mod case;
mod check;
mod crowd;
mod engine;
mod person;

use std::fs;
use std::process::exit;
use std::time::{Duration, Instant};

use bare::Bare;
use case::Case;
use crowd::Crowd;
use engine::Engine;
use person::Person;

/// A server's own thread, as of one moment at most 100 ms ago.
#[derive(Clone, Copy, Default, PartialEq)]
pub struct Figures {
    /// CPU time in nanoseconds.
    pub cpu: u64,
    /// Packets sent to viewers.
    pub forwarded: u64,
}

/// What is measured.
pub trait Server {
    fn name(&self) -> &'static str;
    /// The reasons for which packets went no further, and how many did.
    fn drops(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }
    /// The name of its thread.
    fn thread(&self) -> String;
    fn figures(&self) -> Figures;
}

/// Before a measurement, under load: caches and batches are then as they stay.
const WARM_UP: Duration = Duration::from_millis(60);

/// A server that has not had the CPU for so long never will.
const STARVED: Duration = Duration::from_secs(2);

fn main() {
    let case = Case::parse(std::env::args().skip(1)).unwrap_or_else(|problem| {
        eprintln!("{problem}");
        exit(2);
    });
    if let Err(problem) = measure(&case) {
        eprintln!("{problem}");
        exit(1);
    }
}

/// A server with the people that it serves.
struct Served {
    server: Box<dyn Server>,
    gso: bool,
    crowd: Crowd,
}

fn measure(case: &Case) -> Result<(), String> {
    let mut all = Vec::new();
    for gso in [false, true] {
        all.push(with_engine(case, gso)?);
        all.push(with_bare(case, gso)?);
    }
    for slice in 0..case.slices {
        // Who goes first changes, so that a machine that changes its pace favours nobody.
        for turn in 0..all.len() {
            let next = (slice + turn) % all.len();
            measure_slice(case, &mut all[next]);
        }
    }
    for served in &all {
        sum_up(case, served);
    }
    Ok(())
}

fn people(case: &Case) -> Result<Vec<Person>, String> {
    (0..case.crowd()).map(|place| Person::new(case, place)).collect()
}

fn with_engine(case: &Case, gso: bool) -> Result<Served, String> {
    let served = people(case)?;
    let (engine, address) = Engine::start(case, gso, &served)?;
    let mut crowd = Crowd::new(case, served, address);
    crowd.connect()?;
    crowd.meet(&engine, true)?;
    crowd.talk();
    Ok(Served {
        server: Box::new(engine),
        gso,
        crowd,
    })
}

fn with_bare(case: &Case, gso: bool) -> Result<Served, String> {
    let served = people(case)?;
    let (bare, address) = Bare::start(case, gso, &served)?;
    let mut crowd = Crowd::new(case, served, address);
    crowd.meet(&bare, false)?;
    Ok(Served {
        server: Box::new(bare),
        gso,
        crowd,
    })
}

/// One measurement: from one change of the server's figures to another, both under load.
fn measure_slice(case: &Case, served: &mut Served) {
    let Served { server, gso, crowd } = served;
    let (ready, length) = (Instant::now() + WARM_UP, Duration::from_secs_f64(case.seconds));
    let mut last = server.figures();
    let (mut first, mut wakes) = (None, 0);
    let mut line = String::new();
    crowd.drive(case.load, |_| {
        let (figures, now) = (server.figures(), Instant::now());
        if figures == last {
            return false;
        }
        last = figures;
        match first {
            None if now >= ready => {
                first = Some((figures, now));
                wakes = waits(&server.thread());
            }
            Some((from, since)) if now >= since + length => {
                line = format!(
                    r#"{{"server": "{}", "gso": {}, "cpu_ns": {}, "forwarded": {}, "wall_ns": {}, "wakes": {}}}"#,
                    server.name(),
                    gso,
                    figures.cpu - from.cpu,
                    figures.forwarded - from.forwarded,
                    (now - since).as_nanos(),
                    waits(&server.thread()) - wakes,
                );
            }
            _ => {}
        }
        !line.is_empty()
    });
    println!("{line}");
}

/// What was sent, forwarded and received since all have met, and why the rest wasn't.
fn sum_up(case: &Case, served: &Served) {
    let Served { server, gso, crowd } = served;
    let forwarded = fresh(server.as_ref()).forwarded - crowd.before;
    let drops = server.drops();
    let drops: Vec<String> = drops.iter().map(|(name, n)| format!(r#""{name}": {n}"#)).collect();
    println!(
        r#"{{"server": "{}", "gso": {}, "owed": {}, "forwarded": {}, "received": {}, "drops": {{{}}}}}"#,
        server.name(),
        gso,
        crowd.sent * case.fan_out as u64,
        forwarded,
        crowd.received,
        drops.join(", "),
    );
}

/// Figures that were written after this call, by a loop that had then read all that was there before it.
fn fresh(server: &dyn Server) -> Figures {
    // The first change may have been under way. Idle servers' CPU time grows too, by their ticks.
    for _ in 0..2 {
        let (before, since) = (server.figures(), Instant::now());
        while server.figures() == before && since.elapsed() < STARVED {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    server.figures()
}

/// How often a thread of ours has gone to sleep; 0 where that can't be read.
fn waits(thread: &str) -> u64 {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    tasks
        .filter(|task| fs::read_to_string(task.path().join("comm")).map_or(false, |name| name.trim() == thread))
        .filter_map(|task| fs::read_to_string(task.path().join("status")).ok())
        .flat_map(|status| status.lines().filter_map(count).collect::<Vec<_>>())
        .sum()
}

fn count(line: &str) -> Option<u64> {
    line.strip_prefix("voluntary_ctxt_switches:")?.trim().parse().ok()
}
